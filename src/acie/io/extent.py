"""How much a file holds, told from its heads: what is packed well may be small and hold a lot."""

__all__ = ["stored_values"]

import gzip
import math

import pyarrow.parquet
from astropy.io import fits

from acie.io.registry import Source

_PIECE = 2**20
_GZIP, _HDF5 = b"\x1f\x8b", b"\x89HDF\r\n\x1a\n"


def stored_values(source: Source, most: int) -> int:
    """Numbers in a file, or bytes where these are not told apart; nothing is kept in memory.

    Arguments:
        source: The file.
        most: Where counting may end.
    """
    if source.head.startswith(_HDF5):
        return _hdf5(source)
    if source.kind == "parquet":
        facts = pyarrow.parquet.read_metadata(source.path)
        groups = [facts.row_group(index) for index in range(facts.num_row_groups)]
        return sum(g.column(place).num_values for g in groups for place in range(g.num_columns))
    if source.head.startswith(_GZIP):
        unpacked = _unpacked(source, most)
        if unpacked > most:
            return unpacked
    return _fits(source) if source.kind == "fits" else source.path.stat().st_size


def _unpacked(source: Source, most: int) -> int:
    """Length of a gzip file when unpacked, or a length above ``most``."""
    total = 0
    with gzip.open(source.path) as file:
        while total <= most and (piece := file.read(_PIECE)):
            total += len(piece)
    return total


def _fits(source: Source) -> int:
    with fits.open(source.path) as hdus:
        # Of a packed image the head tells the size of the image.
        return sum(math.prod(int(length) for length in hdu.shape) for hdu in hdus if hdu.is_image)


def _hdf5(source: Source) -> int:
    import h5py

    sizes: list[int] = []

    def count(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(int(item.size or 0))

    with h5py.File(source.path, "r") as file:
        file.visititems(count)
    return sum(sizes)
