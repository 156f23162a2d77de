"""A training asks the system for its memory once, not in every step."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from skcdf.allocator import KEPT, keep_freed_memory

PROGRAM = """
import resource
from skcdf.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    size = {bytes}
    block = b"x" * size
    del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(min(faults() for _ in range(5)))
"""

FEW = 4
"""Where pages are huge, the block has sixteen."""


def faults_of_a_repeated_block(keep: bool, size: int) -> int:
    program = PROGRAM.format(keep=keep, bytes=size)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library hands it back")
class TestKeepFreedMemory:
    def test_spares_the_pages_of_a_block_that_is_asked_for_again(self):
        assert faults_of_a_repeated_block(True, 2**25) < FEW <= faults_of_a_repeated_block(False, 2**25)

    @pytest.mark.slow
    def test_gives_the_largest_blocks_back(self):
        assert faults_of_a_repeated_block(True, 2 * KEPT) >= FEW


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("no library to be asked"))
    assert not keep_freed_memory()
