"""What the system is asked for memory in."""

import mmap
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from acie.allocator import large_pages

#: In a process of its own: the heap of this one may have had large pages before.
ADVICE = """
import re, torch
from pathlib import Path
from acie.allocator import large_pages

def advice(tensor):
    middle = tensor.data_ptr() + tensor.numel() * 2
    for one in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", one)
        if found and int(found[1], 16) <= middle < int(found[2], 16):
            return "hg" in re.search(r"VmFlags:(.*)", one)[1].split()

plain, large = torch.empty(16 * 2**20), large_pages(torch.empty(16 * 2**20))
print(advice(plain), advice(large))
"""


def listens():
    """Whether the system takes the advice and says so: asked without the code under test."""
    if not hasattr(mmap, "MADV_HUGEPAGE") or not Path("/proc/self/smaps").exists():
        return False
    with mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return False
        return re.search(r"VmFlags:.* hg\b", Path("/proc/self/smaps").read_text()) is not None


# Whether the system has a large page left is its own affair, so the advice is looked at.
@pytest.mark.slow
@pytest.mark.skipif(not listens(), reason="the system does not know large pages")
def test_large_pages_are_asked_for_what_is_large():
    done = subprocess.run([sys.executable, "-c", ADVICE], capture_output=True, text=True)
    assert done.stdout == "False True\n", done.stderr


def test_the_tensor_itself_comes_back():
    for size in (0, 3, 16 * 2**20):
        tensor = torch.empty(size)
        assert large_pages(tensor) is tensor
