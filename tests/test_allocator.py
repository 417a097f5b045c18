"""What the system is asked for memory in."""

import re
from pathlib import Path

import pytest
import torch

from acie.allocator import large_pages

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def huge_bytes(tensor):
    """Of the mapping that the middle of a tensor is in, what lies in large pages."""
    middle = tensor.data_ptr() + tensor.numel() * 2
    maps = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    for one in maps:
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", one)
        if found and int(found[1], 16) <= middle < int(found[2], 16):
            return 1024 * int(re.search(r"AnonHugePages:\s+(\d+) kB", one)[1])
    raise AssertionError("no such mapping")


@pytest.mark.skipif(
    not SWITCH.exists() or "[never]" in SWITCH.read_text(), reason="no large pages here"
)
def test_what_is_large_lies_in_large_pages():
    large = large_pages(torch.empty(16 * 2**20))
    large.fill_(1.0)
    assert huge_bytes(large) > 0.8 * large.numel() * 4


def test_the_tensor_itself_comes_back():
    for size in (0, 3, 16 * 2**20):
        tensor = torch.empty(size)
        assert large_pages(tensor) is tensor
