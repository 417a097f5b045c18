"""Sets of simulated observations that are made once and kept."""

__all__ = ["BenchmarkSet", "size_of"]

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from acie.engine import CounterfactualEngine
from acie.errors import ConfigurationError
from acie.observation import Observation
from acie.seeds import SeedStream
from acie.simulation import Simulator
from acie.tensor_files import find_tensors, write_tensors

#: Galaxies of a shard, 72 MB.
_SHARD = 1000
_NAMED = {"10k": 10_000, "20k": 20_000}
_COLUMNS = ("flux", "ivar", "lsf", "redshift")


def size_of(dataset: str) -> int:
    """Galaxies of a set, by name or number.

    Raises:
        ConfigurationError: It is neither a known name nor a positive number.
    """
    try:
        count = _NAMED.get(dataset.lower()) or int(dataset)
    except ValueError:
        count = 0
    if count < 1:
        raise ConfigurationError(
            "--dataset", expected=f"{', '.join(_NAMED)} or a number of galaxies", found=dataset
        )
    return count


@dataclass(frozen=True)
class BenchmarkSet:
    """Simulated observations in shards on disk.

    A shard depends on its number, the seed and what simulates it, not on the size of the set, so
    a larger set has the shards of a smaller one.

    Arguments:
        engine: Whose simulator makes them.
        count: Galaxies.
        seed: Seed of the simulations.
        folder: Where all sets are kept.
    """

    engine: CounterfactualEngine
    count: int
    seed: int
    folder: Path

    @property
    def key(self) -> str:
        """What the shards depend on, as 16 hexadecimal digits."""
        facts = {"model": self.engine.bundle.digest, "seed": self.seed, "shard": _SHARD}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def prepare(self, progress: Callable[[int], None] = lambda done: None) -> "BenchmarkSet":
        """Simulate the shards that are missing.

        Arguments:
            progress: Called with the galaxies that are there.
        """
        for number in range(self._shards):
            if find_tensors(self._path(number)) is None:
                self._simulate(number)
            progress(min(self.count, (number + 1) * _SHARD))
        return self

    def batches(self, size: int) -> Iterator[Observation]:
        """All galaxies in batches of at most ``size``, one shard in memory at a time."""
        left = self.count
        for number in range(self._shards):
            table = find_tensors(self._path(number))
            if table is None:
                raise ConfigurationError(
                    str(self._path(number)), expected="a shard of the set", found="none",
                    remedy="Prepare the set first; another program may clear its folder.",
                )  # fmt: skip
            rows = min(left, _SHARD)
            for start in range(0, rows, size):
                stop = min(start + size, rows)
                yield Observation(**{name: table[name][start:stop] for name in _COLUMNS})
            left -= rows

    @property
    def _shards(self) -> int:
        return -(-self.count // _SHARD)

    def _path(self, number: int) -> Path:
        return self.folder / "benchmark" / self.key / f"{number:05d}.safetensors"

    def _simulate(self, number: int) -> None:
        path = self._path(number)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                "ACIE_CACHE_DIR", expected="a folder that can be written",
                found=f"{path.parent} ({error.strerror})", remedy="Set it to another folder.",
            ) from None  # fmt: skip
        simulator = Simulator(self.engine.scm, self.engine.physics, self.engine.noise_model)
        generator = SeedStream(self.seed).generator(f"benchmark-{number}")
        drawn = simulator.draw(_SHARD, generator).observation
        write_tensors({name: getattr(drawn, name).float() for name in _COLUMNS}, path)
