"""A training run from templates to a bundle; every stage is resumable."""

__all__ = ["Prepared", "new_estimator", "prepare", "train"]

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from acie.bundle import ModelBundle
from acie.inference import NeuralPosteriorEstimator
from acie.inference.encoder import SpectrumEncoder
from acie.physics import StellarPopulationModel, TemplateSet
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator, build_galaxy_scm
from acie.tensor_files import read_tensors, write_tensors
from acie.training.config import TrainConfig
from acie.training.data import TrainingPool, encoder_from_population
from acie.training.devices import DevicePlan
from acie.training.processes import Processes

#: Takes numbers by name and the step that they belong to.
Curve = Callable[[Mapping[str, float], int], None]


def train(
    config: TrainConfig,
    out: Path,
    *,
    device: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
    options: Mapping[str, Any] | None = None,
    curve: Curve | None = None,
) -> Path:
    """Build templates and encoder, simulate, fit, and write the bundle ``out/bundle``.

    Whatever a killed run has finished (templates, shards, epochs) is kept in ``out`` and used, on
    whatever number of devices the run goes on. With several processes, each of them calls this
    function, and ``out`` is a folder that all of them see.

    Arguments:
        config: The settings.
        out: Working folder of the run.
        device: In place of that of the settings.
        progress: Called with a line of text at each stage, in the first process only.
        options: See :class:`acie.training.fit.Fitting`.
        curve: Called after each epoch with losses and learning rate by name, and the epoch.

    Returns:
        The folder of the bundle.

    Raises:
        ConfigurationError: As of :meth:`DevicePlan.of`, before anything is computed.
    """
    config = config if device is None else replace(config, device=device)
    plan = DevicePlan.of(config)
    processes = Processes.start(plan)
    say = progress if processes.rank == 0 else lambda text: None
    made = prepare(config, out, processes, say)
    start, encoder, pool = made.start, made.encoder, made.pool
    estimator = start.estimator.train() if start else new_estimator(config, encoder, pool)
    fit = partial(_fit, config, out, plan, processes, say, options or {}, curve)
    metrics = fit(pool, encoder, estimator)
    bundle = ModelBundle(
        name=config.name,
        templates=made.templates,
        encoder=encoder,
        estimator=estimator.cpu().eval(),
        training=config.to_json(),
        metrics=metrics,
    )
    processes.first(lambda: bundle.save(out / "bundle"))
    return out / "bundle"


@dataclass(frozen=True)
class Prepared:
    """What there is before the first epoch.

    Arguments:
        templates: Compressed template grids.
        encoder: Compression of spectra.
        pool: The simulations made so far.
        start: The model that is gone on from.
    """

    templates: TemplateSet
    encoder: SpectrumEncoder
    pool: TrainingPool
    start: ModelBundle | None


def prepare(
    config: TrainConfig, out: Path, processes: Processes, progress: Callable[[str], None]
) -> Prepared:
    """Templates, encoder and the simulations of the first epoch, kept in ``out``."""
    templates = _templates(out, processes, progress)
    simulator = _simulator(config, templates, processes.device, progress)
    start = None if config.start is None else ModelBundle.load(config.start)
    encoder = start.encoder if start else _encoder(config, simulator, out, processes, progress)
    observer = copy.deepcopy(encoder).to(simulator.device)
    pool = TrainingPool(
        simulator, observer, out / "shards", config.shard, config.seed, processes
    )
    for done in pool.grow(config.shards(0)):
        progress(f"shard {done + 1} of {config.shards(0)} before the first epoch")
    return Prepared(templates, encoder, pool, start)


def _templates(
    out: Path, processes: Processes, progress: Callable[[str], None]
) -> TemplateSet:
    path = out / "templates.safetensors"

    def build() -> None:
        out.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            progress("reading and compressing the template grids")
            write_tensors(TemplateSet.build().state_dict(), path)

    processes.first(build)
    return TemplateSet(read_tensors(path))


def _simulator(
    config: TrainConfig,
    templates: TemplateSet,
    device: torch.device,
    progress: Callable[[str], None],
) -> Simulator:
    """The simulator, on the device unless that has no double precision."""
    if device.type == "mps":
        progress("simulating on the CPU: MPS has no double precision")
        device = torch.device("cpu")
    physics = StellarPopulationModel(copy.deepcopy(templates)).to(device)
    return Simulator(build_galaxy_scm(physics), physics, survey=config.survey)


def _encoder(
    config: TrainConfig,
    simulator: Simulator,
    out: Path,
    processes: Processes,
    progress: Callable[[str], None],
) -> SpectrumEncoder:
    """The encoder of a run from nothing; its components are kept in ``out``."""
    settings, tensors = out / "encoder.json", out / "encoder.safetensors"

    def build() -> None:
        if not settings.exists():
            progress("principal components of the population")
            encoder = encoder_from_population(
                simulator, config.population, config.components, config.seed
            )
            write_tensors(encoder.state_dict(), tensors)
            settings.write_text(json.dumps(encoder.config))

    processes.first(build)
    return SpectrumEncoder.from_state(json.loads(settings.read_text()), read_tensors(tensors))


def new_estimator(
    config: TrainConfig, encoder: SpectrumEncoder, pool: TrainingPool
) -> NeuralPosteriorEstimator:
    """An estimator, and the encoder, scaled to the simulations made so far."""
    table = pool.table()
    encoder.fit_scaling(table["features"], table["reduced_chi2"])
    estimator = NeuralPosteriorEstimator(
        table["features"].shape[1],
        len(SPECTRAL_NAMES),
        len(LATENT_NAMES),
        spectral=config.network,
        latent=config.latent_network,
    )
    features = encoder.standardise(table["features"])
    columns = [features, *(table[name] for name in ("spectral", "latent", "redshift"))]
    estimator.fit_scaling(*(column[config.validation :] for column in columns))
    return estimator


def _fit(
    config: TrainConfig,
    out: Path,
    plan: DevicePlan,
    processes: Processes,
    progress: Callable[[str], None],
    options: Mapping[str, Any],
    curve: Curve | None,
    pool: TrainingPool,
    encoder: SpectrumEncoder,
    estimator: NeuralPosteriorEstimator,
) -> dict[str, float]:
    """Fit both factors in place; returns what the bundle says of the run."""
    from acie.training.fit import Fitting, fit
    from acie.training.module import SimulationModule

    fitting = Fitting(config, out, plan, processes, progress, options, curve)
    metrics = {}
    for factor in ("spectral", "latent"):
        data = SimulationModule(pool, encoder, config, progress, factor, processes)
        metrics[f"{factor}_loss"] = fit(fitting, data, estimator, factor)
    return metrics | {"simulations": len(pool.table()["redshift"])}
