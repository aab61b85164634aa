#!/usr/bin/python3
"""Runs docker-compose.yml for real, every profile but what Debian has no image for, on a Docker engine
of its own, and leaves nothing behind.

usage: tests/compose/run.py [PYTEST-ARGUMENT…]
Exit code 3, and a loud word: no engine can run here, and nothing was tested."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NO_ENGINE = 3
ENGINE_SECONDS = 60
# The images that docker-compose.yml takes from elsewhere, and what stands in for them.
STANDINS = {"POSTGRES_IMAGE": "postgres", "RABBITMQ_IMAGE": "rabbitmq", "MAIL_IMAGE": "mail",
            "PROMETHEUS_IMAGE": "prometheus"}
# What makes mmdebstrap's tree the size of Debian's own slim image.
SLIM = ["--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--customize-hook=chroot \"$1\" sh -c 'apt-get install -y -qq usr-is-merged usrmerge- perl-"
        " && apt-get purge -y -qq \"libperl5*\" \"perl-modules*\" \"libfile-find-rule-perl*\"'"
        " >/dev/null 2>&1",
        "--customize-hook=cp -L /etc/resolv.conf \"$1/etc/\"; apt-config dump |"
        " grep -E '^Acquire::.*(Proxy|CaInfo|Verify)' >\"$1/etc/apt/apt.conf.d/90host\" || true",
        "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin"]


def say(text):
    print(f"compose-test: {text}", flush=True)


class Engine:
    """A dockerd of our own: whatever engine the machine has keeps its images, networks and names."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock",
                            "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(folder / "config")}
        self.log = open(folder / "dockerd.log", "wb")
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            ["dockerd", "--bridge=none", "--data-root", self.folder / "data",
             "--exec-root", self.folder / "exec", "--pidfile", self.folder / "pid",
             "--default-address-pool", "base=10.213.0.0/16,size=24",
             "-H", f"unix://{self.folder}/docker.sock"], stdout=self.log, stderr=self.log)
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            # dockerd leaves this mounted, and the folder couldn't be removed
            subprocess.run(["umount", self.folder / "exec" / "netns" / "default"], check=False,
                           stderr=subprocess.DEVNULL)
        self.log.close()

    def is_up(self):
        deadline = time.monotonic() + ENGINE_SECONDS
        while self.docker("info", check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def can_run(self):
        """A container that does nothing: needs namespaces, cgroups and mounts."""
        done = self.docker("run", "--rm", "--network=none", "debian:bookworm-slim", "true", check=False)
        return done.returncode == 0 or (say(done.stderr.strip()) and False)

    def docker(self, *arguments, check=True, **options):
        return subprocess.run(["docker", *map(str, arguments)], env=self.environment, check=check,
                              capture_output=True, text=True, **options)

    def make_base(self):
        tree = self.folder / "base.tar"
        sources = [path for path in ("/etc/apt/sources.list.d/debian.sources",
                                     "/etc/apt/sources.list") if os.path.exists(path)]
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", *SLIM, "bookworm", tree,
                        *sources[:1]], check=True)
        self.docker("import", tree, "debian:bookworm-slim")
        tree.unlink()

    def build(self, tag, context):
        began = time.monotonic()
        done = self.docker("build", "--network=host", "-t", tag, context, check=False)
        if done.returncode:
            say(done.stdout[-3000:] + done.stderr[-3000:])
            raise SystemExit(1)
        say(f"built {tag} in {time.monotonic() - began:.0f} s")


def start_engine(engine):
    """None, or why there is no engine."""
    if os.geteuid() != 0:
        return "it takes root to start one"
    if not shutil.which("dockerd"):
        return "dockerd isn't installed"
    engine.__enter__()
    if not engine.is_up():
        return "dockerd doesn't start:\n" + (engine.folder / "dockerd.log").read_text()[-1500:]
    engine.make_base()
    return None if engine.can_run() else "it starts no containers"


def test(engine, arguments):
    engine.build("tillbox:latest", ROOT)
    for image in STANDINS.values():
        engine.build(f"tillbox-standin-{image}", HERE / "images" / image)
    images = {variable: f"tillbox-standin-{image}" for variable, image in STANDINS.items()}
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x",
                           HERE, *arguments], check=False, cwd=ROOT,
                          env={**engine.environment, **images}).returncode


def main():
    began = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tillbox-compose-"))
    engine = Engine(folder)
    try:
        missing = start_engine(engine)
        if missing:
            say(f"NO DOCKER ENGINE HERE: NOTHING WAS TESTED: {missing}")
            return NO_ENGINE
        code = test(engine, sys.argv[1:])
        say(f"{'passed' if code == 0 else 'FAILED'} after {time.monotonic() - began:.0f} s")
        return code
    finally:
        engine.__exit__()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
