"""The disk that the box is tried on: were it to keep what wasn't flushed, a power cut would prove
nothing."""

import signal
import subprocess

import pytest

from machine import Disk

SIZE_BYTES = 1 << 16


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path / "disk", tmp_path)
    disk.image.write_bytes(bytes(SIZE_BYTES))
    disk.power_on()
    yield disk
    disk.process.kill()
    disk.process.wait()


def use_and_cut(disk, *commands):
    """Has a machine's disk driver do this, then both end in the middle of their work."""
    steps = [word for command in (*commands, "abort") for word in ("-c", command)]
    done = subprocess.run(["qemu-io", "-f", "raw", "-t", "none", *steps, disk.url],
                          capture_output=True, check=False)
    assert done.returncode == -signal.SIGABRT, done
    disk.process.kill()
    disk.process.wait()
    return disk.image.read_bytes()


@pytest.mark.parametrize("last, kept", [("flush", b"\2"), ("length", b"\0")])
def test_a_power_cut_takes_what_was_not_flushed_and_nothing_else(disk, last, kept):
    left = use_and_cut(disk, "write -P 1 0 8k", "flush", "write -P 2 8k 8k", last)
    assert left[:8192] == b"\1" * 8192
    assert left[8192:16384] == kept * 8192
