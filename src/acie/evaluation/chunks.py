"""Measuring in chunks that are stored, so that a killed run loses one chunk at most.

A chunk is a safetensors file under ``OUT/chunks/KEY``. The key covers the model's digest, the
settings that a measurement depends on and the library's own code, so a chunk is never taken for
one of another model, of other settings, or of an engine that has changed since.
"""

__all__ = ["measure", "measurement_key"]

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

import acie
from acie.engine import CounterfactualEngine
from acie.evaluation.config import EvaluationConfig
from acie.evaluation.draws import measure_chunk
from acie.evaluation.population import Population
from acie.evaluation.questions import make_questions
from acie.seeds import SeedStream
from acie.tensor_files import find_tensors, write_tensors

#: What turns chunks into a report, and so does not change what is in them.
_LATER = (
    "cli", "tracking", "evaluation/binning.py", "evaluation/calibration.py", "evaluation/figures",
    "evaluation/local_test.py", "evaluation/recovery.py", "evaluation/report.py",
    "evaluation/sbi_bridge.py", "evaluation/style.py", "evaluation/summary.py",
    "evaluation/chunks.py", "evaluation/causal.py", "evaluation/__init__.py",
)  # fmt: skip


def measurement_key(engine: CounterfactualEngine, config: EvaluationConfig) -> str:
    """What a stored chunk belongs to, as 16 hexadecimal digits."""
    text = json.dumps(
        {"model": engine.bundle.digest, "code": _code(), **config.measurement}, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def measure(
    engine: CounterfactualEngine,
    config: EvaluationConfig,
    folder: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Tensor]:
    """Every measurement of ``config.count`` galaxies, chunk by chunk.

    Arguments:
        engine: What is evaluated.
        config: Settings.
        folder: Where chunks are stored and found again; nothing is stored without it.
        progress: Called with the number of galaxies done.

    Returns:
        What :func:`measure_chunk` returns, for all galaxies.
    """
    stream = SeedStream(config.seed)
    population = Population.of(engine, stream.generator("population"))
    questions = make_questions(engine, population, config)
    store = None
    if folder is not None:
        store = folder / measurement_key(engine, config)
        store.mkdir(parents=True, exist_ok=True)
    parts = []
    for start, size in _pieces(config):
        path = None if store is None else store / f"{start:07d}-{size}.safetensors"
        found = None if path is None else find_tensors(path)
        if found is None:
            found = measure_chunk(engine, population, questions, config, start, size)
            if path is not None:
                write_tensors(found, path)
        parts.append(found)
        progress(start + size)
    return {name: _join(name, [part[name] for part in parts]) for name in parts[0]}


def _pieces(config: EvaluationConfig) -> Iterator[tuple[int, int]]:
    for start in range(0, config.count, config.chunk):
        yield start, min(config.chunk, config.count - start)


def _join(name: str, parts: list[Tensor]) -> Tensor:
    """Galaxies are the second axis of draws and of answers, the first of everything else."""
    return torch.cat(parts, 1 if name == "draws" or name.startswith("answer/") else 0)


def _code() -> str:
    root = Path(acie.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.toml")]):
        name = path.relative_to(root).as_posix()
        if not name.startswith(_LATER):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
