"""How the C library keeps memory that was freed."""

__all__ = ["keep_freed_memory"]

import ctypes
import platform

#: Of ``mallopt(3)``: free memory at the end of the heap beyond which it is given back, and the
#: size from which an allocation is a mapping of its own.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST = 256 * 2**20, 32 * 2**20


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
