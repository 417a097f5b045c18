"""What the system is asked for memory in."""

import mmap
import re
from pathlib import Path

import pytest
import torch

from acie.allocator import large_pages


def advice(address):
    """The flags of the mapping that an address is in: "hg" where large pages were asked for."""
    maps = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    for one in maps:
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", one)
        if found and int(found[1], 16) <= address < int(found[2], 16):
            return re.search(r"VmFlags:(.*)", one)[1].split()
    raise AssertionError("no such mapping")


def listens():
    """Whether the system takes the advice and says so: asked without the code under test."""
    if not hasattr(mmap, "MADV_HUGEPAGE") or not Path("/proc/self/smaps").exists():
        return False
    with mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return False
        return " hg" in Path("/proc/self/smaps").read_text()


# Whether the system has a large page left is its own affair, so the advice is looked at.
@pytest.mark.skipif(not listens(), reason="the system does not know large pages")
def test_large_pages_are_asked_for_what_is_large():
    plain, large = torch.empty(16 * 2**20), large_pages(torch.empty(16 * 2**20))
    assert "hg" in advice(large.data_ptr() + large.numel() * 2)
    assert "hg" not in advice(plain.data_ptr() + plain.numel() * 2)


def test_the_tensor_itself_comes_back():
    for size in (0, 3, 16 * 2**20):
        tensor = torch.empty(size)
        assert large_pages(tensor) is tensor
