"""Compiled kernels for what an answer spends its time on, where they were built and may be used.

They do what the torch code beside each of their callers does, in one pass over memory in place of
ten, on the CPU, in the precision of that code, without derivatives. That code remains what
counts: it is taken wherever a kernel may not be, and the tests compare the two. ``ACIE_NATIVE=0``
in the environment switches the kernels off.
"""

__all__ = ["available", "kernels", "kernels_off", "usable"]

from acie.native.loading import available, kernels, kernels_off, usable
