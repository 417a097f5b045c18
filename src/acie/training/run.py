"""A training run from templates to a bundle; every stage is resumable."""

__all__ = ["train"]

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from acie.bundle import ModelBundle
from acie.device import pick_device
from acie.inference import NeuralPosteriorEstimator
from acie.inference.encoder import SpectrumEncoder
from acie.physics import StellarPopulationModel, TemplateSet
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator, build_galaxy_scm
from acie.training.config import TrainConfig
from acie.training.data import TrainingPool, encoder_from_population

#: Takes numbers by name and the step that they belong to.
Curve = Callable[[Mapping[str, float], int], None]


def _save(module: nn.Module, stem: Path) -> None:
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, f"{stem}.safetensors")


def train(
    config: TrainConfig,
    out: Path,
    *,
    device: str = "auto",
    progress: Callable[[str], None] = lambda text: None,
    curve: Curve | None = None,
) -> Path:
    """Build templates and encoder, simulate, fit, and write the bundle ``out/bundle``.

    Whatever a killed run has finished (templates, shards, epochs) is kept in ``out`` and used.

    Arguments:
        config: The settings.
        out: Working folder of the run.
        device: As for :func:`acie.device.pick_device`; the network is fitted there.
        progress: Called with a line of text at each stage.
        curve: Called after each epoch with losses and learning rate by name, and the epoch.

    Returns:
        The folder of the bundle.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "templates.safetensors").exists():
        progress("reading and compressing the template grids")
        _save(TemplateSet.build(), out / "templates")
    templates = TemplateSet(load_file(out / "templates.safetensors"))
    physics = StellarPopulationModel(templates)
    simulator = Simulator(build_galaxy_scm(physics), physics, survey=config.survey)
    start = None if config.start is None else ModelBundle.load(config.start)
    encoder = start.encoder if start else _encoder(config, simulator, out, progress)
    pool = TrainingPool(simulator, encoder, out / "shards", config.shard, config.seed)
    for done in pool.grow(config.shards(0)):
        progress(f"shard {done + 1} of {config.shards(0)} before the first epoch")
    estimator = start.estimator.train() if start else _new_estimator(config, encoder, pool)
    fit = partial(_fit, config, encoder, pool, out, device, progress, curve, estimator)
    losses = {f"{factor}_loss": fit(factor) for factor in ("spectral", "latent")}
    estimator.cpu().eval()
    metrics = losses | {"simulations": len(pool.table()["redshift"])}
    bundle = ModelBundle(
        name=config.name,
        templates=templates,
        encoder=encoder,
        estimator=estimator,
        training=config.to_json(),
        metrics=metrics,
    )
    return bundle.save(out / "bundle")


def _encoder(
    config: TrainConfig, simulator: Simulator, out: Path, progress: Callable[[str], None]
) -> SpectrumEncoder:
    """The encoder of a run from nothing; its components are kept in ``out``."""
    if not (out / "encoder.json").exists():
        progress("principal components of the population")
        encoder = encoder_from_population(
            simulator, config.population, config.components, config.seed
        )
        _save(encoder, out / "encoder")
        (out / "encoder.json").write_text(json.dumps(encoder.config))
    return SpectrumEncoder.from_state(
        json.loads((out / "encoder.json").read_text()), load_file(out / "encoder.safetensors")
    )


def _new_estimator(
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
    encoder: SpectrumEncoder,
    pool: TrainingPool,
    out: Path,
    device: str,
    progress: Callable[[str], None],
    curve: Curve | None,
    estimator: NeuralPosteriorEstimator,
    factor: str,
) -> float:
    """Fit one factor of the estimator in place; returns its loss on the validation rows."""
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar

    from acie.training.curves import CurveCallback
    from acie.training.module import PosteriorModule, SimulationModule

    progress(f"fitting the {factor} factor")
    lightning.seed_everything(config.seed, verbose=False)
    data = SimulationModule(pool, encoder, config, progress, factor)
    chosen = pick_device(device)
    folder = out / "checkpoints" / factor
    trainer = lightning.Trainer(
        max_epochs=config.epochs_of(factor),
        accelerator={"cuda": "gpu"}.get(chosen.type, chosen.type),
        devices=1,
        precision=config.precision,
        gradient_clip_val=5.0,
        callbacks=[
            ModelCheckpoint(folder, save_last=True, monitor="validation_loss"),
            TQDMProgressBar(refresh_rate=20),
            *([] if curve is None else [CurveCallback(factor, curve)]),
        ],
        logger=lightning.pytorch.loggers.CSVLogger(out, name=f"log-{factor}"),
        reload_dataloaders_every_n_epochs=1,
        enable_model_summary=False,
    )
    last = folder / "last.ckpt"
    module = PosteriorModule(estimator, config, factor, data.steps)
    trainer.fit(module, data, ckpt_path=str(last) if last.exists() else None)
    # Measured here, because a run that was already finished fits nothing and logs nothing.
    return trainer.validate(module, data, verbose=False)[0]["validation_loss"]
