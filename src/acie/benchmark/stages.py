"""What is measured of the engine, as functions to call."""

__all__ = ["stages_of"]

import copy
import itertools
from collections.abc import Callable, Iterator

import torch

from acie.benchmark.config import BenchmarkConfig
from acie.benchmark.dataset import BenchmarkSet
from acie.benchmark.exports import network_stages
from acie.benchmark.stage import Stage
from acie.engine import CounterfactualEngine
from acie.observation import Observation
from acie.physics import PhysicsConstraints
from acie.simulation import SPECTRAL_NAMES

#: Spectra of a galaxy computed together, galaxies of a batch, states of the constraints.
_SPECTRA, _BATCH, _STATES = 256, 40, 20_000
_CAUSES = (*SPECTRAL_NAMES, "tau", "redshift")


def stages_of(
    engine: CounterfactualEngine, data: BenchmarkSet, config: BenchmarkConfig, device: torch.device
) -> Iterator[Stage]:
    """The stages of the settings that a device can do, one after another.

    Arguments:
        engine: The model.
        data: Observations.
        config: Which stages.
        device: The simulator, the network and the constraints run on any; the refinement, and
            with it whole answers, on the CPU.
    """
    makers = {
        "forward_model": _forward_model,
        "amortised_posterior": _amortised,
        "constraints": _constraints,
    }
    if device.type == "cpu":
        makers |= {
            "refined_posterior": _refined,
            "counterfactual_one": _one,
            "counterfactual_batch": _batch,
        }
    for name in config.stages:
        if name in makers:
            yield makers[name](engine, data, config, device)
    if device.type == "cpu":
        yield from network_stages(engine, data, config)


def _cycle(data: BenchmarkSet, size: int) -> Callable[[], Observation]:
    """The next galaxies of the set, from the beginning again after its end."""
    batches = itertools.chain.from_iterable(data.batches(size) for _ in itertools.count())
    return lambda: next(batches)


def _states(engine: CounterfactualEngine, count: int, redshift: float, seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    given = {"redshift": torch.full((count,), redshift, dtype=torch.float64)}
    values, _ = engine.scm.sample((count,), given=given, generator=generator)
    return values


@torch.no_grad()
def _forward_model(
    engine: CounterfactualEngine, data: BenchmarkSet, config: BenchmarkConfig, device: torch.device
) -> Stage:
    """Spectra of states of one galaxy at the resolution of its spectrum."""
    physics = copy.deepcopy(engine.physics).to(device)
    first = next(data.batches(1))
    values = _states(engine, _SPECTRA, float(first.redshift), config.seed)
    # Apple's accelerator has no double precision.
    kind = torch.float32 if device.type == "mps" else torch.float64
    state = {name: values[name].to(device, kind)[:, None] for name in _CAUSES}
    excess = engine.physics.lsf_excess(first.redshift, first.lsf).to(device, kind)
    return Stage(
        "forward_model", "spectra", _SPECTRA, torch.no_grad()(lambda: physics(state, excess))
    )


def _amortised(
    engine: CounterfactualEngine, data: BenchmarkSet, config: BenchmarkConfig, device: torch.device
) -> Stage:
    """256 draws of the network for each galaxy, from its spectrum; no likelihood."""
    encoder = copy.deepcopy(engine.bundle.encoder).to(device)
    estimator = copy.deepcopy(engine.bundle.estimator).to(device)
    generator = torch.Generator(device).manual_seed(config.seed)
    following = _cycle(data, _BATCH)

    @torch.no_grad()
    def call() -> object:
        observation = following().to(device)
        features = encoder.standardise(encoder.encode(observation).features).float()
        return estimator.sample(256, features, observation.redshift.float(), generator)

    return Stage("amortised_posterior", "galaxies", _BATCH, call)


def _refined(
    engine: CounterfactualEngine, data: BenchmarkSet, config: BenchmarkConfig, device: torch.device
) -> Stage:
    """64 draws of the exact posterior of each galaxy of a batch."""
    following = _cycle(data, _BATCH)
    return Stage(
        "refined_posterior", "galaxies", _BATCH, lambda: engine.infer(following(), num_samples=64)
    )


def _one(
    engine: CounterfactualEngine, data: BenchmarkSet, config: BenchmarkConfig, device: torch.device
) -> Stage:
    """One question about one galaxy, 256 draws, spectra included."""
    following = _cycle(data, 1)
    return Stage(
        "counterfactual_one",
        "galaxies",
        1,
        lambda: engine.counterfactual(following(), config.question, num_samples=256),
    )


def _batch(
    engine: CounterfactualEngine, data: BenchmarkSet, config: BenchmarkConfig, device: torch.device
) -> Stage:
    """One question about each galaxy of a batch, 64 draws, spectra included."""
    following = _cycle(data, _BATCH)
    return Stage(
        "counterfactual_batch",
        "galaxies",
        _BATCH,
        lambda: engine.counterfactual(following(), config.question, num_samples=64),
    )


@torch.no_grad()
def _constraints(
    engine: CounterfactualEngine, data: BenchmarkSet, config: BenchmarkConfig, device: torch.device
) -> Stage:
    """Residuals and penalty of states of the population, in single precision."""
    constraints = PhysicsConstraints(copy.deepcopy(engine.physics), device)
    values = _states(engine, _STATES, 0.1, config.seed)
    state = {name: value.float().to(device) for name, value in values.items()}
    call = torch.no_grad()(lambda: constraints.penalty(state, constraints.residuals(state)))
    return Stage("constraints", "states", _STATES, call)
