"""Spectrum files: read onto the instrument grid, written with units.

``read`` recognises SDSS and BOSS spectra by content.
"""

__all__ = [
    "air_to_vacuum",
    "identify",
    "read",
    "reader",
    "rebin",
    "vacuum_to_air",
]

# Readers are asked in the order of their registration: surveys before generic tables.
import acie.io.sdss  # noqa: F401
from acie.io.air import air_to_vacuum, vacuum_to_air
from acie.io.rebin import rebin
from acie.io.registry import identify, read, reader
