"""What tests that run under node need."""

import subprocess

INSTALL_S = 300


def install_packages(folder):
    """What its package-lock.json names, unless it is there already. No package runs a script."""
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder,
                   check=True, timeout=INSTALL_S)
