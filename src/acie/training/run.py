"""A training run from templates to a bundle; every stage is resumable."""

__all__ = ["train"]

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from acie.bundle import ModelBundle
from acie.device import pick_device
from acie.inference import NeuralPosteriorEstimator
from acie.inference.encoder import SpectrumEncoder
from acie.physics import StellarPopulationModel, TemplateSet
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator, build_galaxy_scm
from acie.training.config import TrainConfig
from acie.training.data import encoder_from_population, load_features, simulate_features


def _save(module: nn.Module, stem: Path) -> None:
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, f"{stem}.safetensors")


def train(
    config: TrainConfig,
    out: Path,
    *,
    device: str = "auto",
    progress: Callable[[str], None] = lambda text: None,
) -> Path:
    """Build templates and encoder, simulate, fit, and write the bundle ``out/bundle``.

    Whatever a killed run has finished (templates, shards, epochs) is kept in ``out`` and used.

    Arguments:
        config: The settings.
        out: Working folder of the run.
        device: As for :func:`acie.device.pick_device`; the network is fitted there.
        progress: Called with a line of text at each stage.

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
    if not (out / "encoder.json").exists():
        progress("principal components of the population")
        encoder = encoder_from_population(
            simulator, config.population, config.components, config.seed
        )
        _save(encoder, out / "encoder")
        (out / "encoder.json").write_text(json.dumps(encoder.config))
    encoder = SpectrumEncoder.from_state(
        json.loads((out / "encoder.json").read_text()), load_file(out / "encoder.safetensors")
    )
    shards = config.simulations // config.shard
    folder = out / "shards"
    for done in simulate_features(simulator, encoder, folder, shards, config.shard, config.seed):
        progress(f"simulated shard {done + 1} of {shards}")
    table = load_features(folder)
    encoder.fit_scaling(table["features"], table["reduced_chi2"])
    progress(f"fitting on {len(table['features'])} simulations")
    estimator, metrics = _fit(config, encoder, table, out, device)
    bundle = ModelBundle(
        name=config.name,
        templates=templates,
        encoder=encoder,
        estimator=estimator,
        training=config.to_json(),
        metrics=metrics,
    )
    return bundle.save(out / "bundle")


def _fit(
    config: TrainConfig,
    encoder: SpectrumEncoder,
    table: dict[str, torch.Tensor],
    out: Path,
    device: str,
) -> tuple[NeuralPosteriorEstimator, dict[str, float]]:
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
    from torch.utils.data import DataLoader, TensorDataset

    from acie.training.module import PosteriorModule

    columns = [table[name] for name in ("features", "spectral", "latent", "redshift")]
    columns[0] = encoder.standardise(columns[0])
    held = config.validation
    estimator = NeuralPosteriorEstimator(
        columns[0].shape[1], len(SPECTRAL_NAMES), len(LATENT_NAMES)
    )
    estimator.fit_scaling(*(column[held:] for column in columns))
    lightning.seed_everything(config.seed, verbose=False)
    rows = [
        TensorDataset(*(c[held:] for c in columns)),
        TensorDataset(*(c[:held] for c in columns)),
    ]
    # Rows are gathered by the sampler a batch at a time: one Python call per batch, not per row.
    loaders = [
        DataLoader(
            data,
            sampler=torch.utils.data.BatchSampler(
                torch.utils.data.RandomSampler(data), config.batch, drop_last=index == 0
            ),
            batch_size=None,
        )
        for index, data in enumerate(rows)
    ]
    chosen = pick_device(device)
    checkpoint = ModelCheckpoint(out / "checkpoints", save_last=True, monitor="validation_loss")
    trainer = lightning.Trainer(
        max_epochs=config.epochs,
        accelerator={"cuda": "gpu"}.get(chosen.type, chosen.type),
        devices=1,
        precision=config.precision,
        gradient_clip_val=5.0,
        callbacks=[checkpoint, TQDMProgressBar(refresh_rate=20)],
        logger=lightning.pytorch.loggers.CSVLogger(out, name="log"),
        enable_model_summary=False,
    )
    last = out / "checkpoints" / "last.ckpt"
    module = PosteriorModule(estimator, config.learning_rate)
    trainer.fit(module, *loaders, ckpt_path=str(last) if last.exists() else None)
    # Measured here, because a run that was already finished fits nothing and logs nothing.
    loss = trainer.validate(module, loaders[1], verbose=False)[0]["validation_loss"]
    return estimator.cpu().eval(), {"validation_loss": loss, "simulations": len(columns[0])}
