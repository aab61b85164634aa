"""Packages of the version that comes after the one that is tested."""

import subprocess


def next_version(package, version, folder, changed=()):
    """A package like `package`, of another version, made in `folder`. The settings files of the names
    in `changed` have a line more."""
    content = folder / package.stem
    subprocess.run(["dpkg-deb", "-R", package, content], check=True)
    control = content / "DEBIAN" / "control"
    of_now = package.stem.split("_")[1]
    control.write_text(control.read_text().replace(of_now, version))
    for conffile in (content / "DEBIAN" / "conffiles").read_text().splitlines():
        if conffile.endswith(tuple(changed)):
            with open(f"{content}{conffile}", "a", encoding="utf-8") as file:
                file.write("# what is new in the next version\n")
    made = folder / package.name.replace(of_now, version)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", content, made], check=True,
                   stdout=subprocess.DEVNULL)
    return made
