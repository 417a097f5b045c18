"""Which files are the shards of a catalogue, and what each is called."""

__all__ = ["Shard", "find_shards"]

import glob
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from acie.errors import ConfigurationError

#: Files of a folder that are taken; a pattern or a name takes any file.
SUFFIXES = (".parquet", ".pq", ".fits", ".fit", ".fits.gz", ".h5", ".hdf5")


@dataclass(frozen=True)
class Shard:
    """A file of a catalogue.

    Arguments:
        key: Its path below the folder of the catalogue, with ``/``. The names of the outputs and
            the seeds follow from it, so a catalogue may be moved.
        path: Where it is, absolute.
    """

    key: str
    path: Path


def find_shards(catalogue: Sequence[str]) -> list[Shard]:
    """The files of folders, patterns and names, by key.

    Arguments:
        catalogue: Folders are searched with what is below them; in patterns ``**`` stands for any
            number of folders.

    Raises:
        ConfigurationError: There are none, or two have the same key.
    """
    shards = sorted((s for entry in catalogue for s in _below(entry)), key=lambda s: s.key)
    if not shards:
        raise ConfigurationError(
            "CATALOGUE",
            expected="a folder, a pattern or names of spectra in shards",
            found=f"no file in {', '.join(catalogue) or 'nothing'}",
            remedy=f"Of a folder, {', '.join(SUFFIXES)} are taken; see docs/cluster.md.",
        )
    twice = [key for key, count in Counter(s.key for s in shards).items() if count > 1]
    if twice:
        paths = [str(s.path) for s in shards if s.key == twice[0]]
        raise ConfigurationError(
            "CATALOGUE",
            expected="shards of different names below their folders",
            found=f"{twice[0]!r} as {' and '.join(paths)}",
            remedy="Rename one, or give the folder above both.",
        )
    return shards


def _below(entry: str) -> Iterator[Shard]:
    path = Path(entry)
    if path.is_dir():
        found: Iterable[Path] = (p for p in path.rglob("*") if p.name.lower().endswith(SUFFIXES))
        yield from _keyed(found, path)
    elif not path.exists() and glob.has_magic(entry):
        yield from _keyed(map(Path, glob.glob(entry, recursive=True)), _fixed_part(path))
    else:
        # One that does not exist is reported with the others that cannot be read.
        yield Shard(path.name, path.absolute())


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern in front of its first wildcard."""
    parts = pattern.parts[:-1]
    magic = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:magic])


def _keyed(paths: Iterable[Path], folder: Path) -> Iterator[Shard]:
    for path in paths:
        # Hidden files are what others are still writing.
        if path.is_file() and not path.name.startswith("."):
            yield Shard(path.relative_to(folder).as_posix(), path.absolute())
