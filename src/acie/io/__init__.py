"""Spectrum files: read onto the instrument grid, written with units.

:func:`read` recognises SDSS, BOSS and DESI spectra, tables and one-dimensional images by content.
"""

__all__ = [
    "Catalogue",
    "SpectraShard",
    "from_arrays",
    "identify",
    "read",
    "read_catalogue",
    "read_desi",
    "read_shard",
    "reader",
    "rebin",
    "same_unit",
    "write_arrays",
    "write_catalogue",
    "write_observation",
    "write_shard",
]

from acie.io import images as _images
from acie.io import sdss as _sdss
from acie.io import tables as _tables
from acie.io.arrays import from_arrays
from acie.io.catalogues import Catalogue, read_catalogue, write_catalogue
from acie.io.desi import read_desi
from acie.io.rebin import rebin
from acie.io.registry import identify, read, reader
from acie.io.results import write_observation
from acie.io.shards import SpectraShard, read_shard, write_arrays, write_shard
from acie.io.units import same_unit

# Importing these modules registered their readers; nothing else of them is public.
del _images, _sdss, _tables
