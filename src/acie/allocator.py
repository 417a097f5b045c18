"""How the C library keeps memory that was freed."""

__all__ = ["keep_freed_memory", "large_pages"]

import ctypes
import functools
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Of ``mallopt(3)``: free memory at the end of the heap beyond which it is given back, and the
#: size from which an allocation is a mapping of its own.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST = 256 * 2**20, 32 * 2**20
#: Of ``madvise(2)``, and the size of a page.
_MADV_HUGEPAGE, _PAGE = 14, 4096


def keep_freed_memory() -> bool:
    """Let the process keep what it has freed, to be used again, up to 256 MB of it.

    The spectra of a galaxy are arrays of a few megabytes, which the C library gives back to the
    system when they are freed and gets anew, page by page, for the next: up to a tenth of the time
    of an answer. It concerns the whole process, so programs ask for it, not a library on import.

    Returns:
        Whether it was done: only the GNU C library can.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(
        library.mallopt(name, size) == 1
        for name, size in ((_M_TRIM_THRESHOLD, _KEPT), (_M_MMAP_THRESHOLD, _LARGEST))
    )


def large_pages(tensor: "Tensor") -> "Tensor":
    """The same tensor, whose memory the system is asked to hand out in pages of 2 MB.

    What is larger than the C library keeps comes from the system anew every time; in pages of
    4 kB, writing it for the first time takes four times as long. Where the system does not know
    how, nothing happens.

    Arguments:
        tensor: Just made, with nothing written to it.
    """
    size = tensor.numel() * tensor.element_size()
    advise = _advise()
    if size >= _LARGEST and tensor.device.type == "cpu" and advise is not None:
        # Pages that are wholly in it.
        start = -(-tensor.data_ptr() // _PAGE) * _PAGE
        length = (tensor.data_ptr() + size - start) // _PAGE * _PAGE
        advise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_HUGEPAGE)
    return tensor


@functools.cache
def _advise() -> Callable | None:
    """``madvise(2)`` of Linux."""
    if platform.system() != "Linux":
        return None
    return getattr(ctypes.CDLL(None), "madvise", None)
