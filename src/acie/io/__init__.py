"""Spectrum files: read onto the instrument grid, written with units.

:func:`read` recognises SDSS, BOSS and DESI spectra, tables and one-dimensional images by content.
"""

__all__ = [
    "identify",
    "read",
    "read_desi",
    "reader",
    "rebin",
    "write_observation",
]

from acie.io import images as _images
from acie.io import sdss as _sdss
from acie.io import tables as _tables
from acie.io.desi import read_desi
from acie.io.rebin import rebin
from acie.io.registry import identify, read, reader
from acie.io.results import write_observation

# Importing these modules registered their readers; nothing else of them is public.
del _images, _sdss, _tables
