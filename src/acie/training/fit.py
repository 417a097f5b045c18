"""Fitting one factor of the posterior with Lightning, from where a killed run has stopped."""

__all__ = ["Fitting", "fit"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger

from acie.inference import NeuralPosteriorEstimator
from acie.training.config import TrainConfig
from acie.training.devices import DevicePlan
from acie.training.module import PosteriorModule, SimulationModule
from acie.training.processes import Processes


@dataclass(frozen=True)
class Fitting:
    """Where and how the factors are fitted.

    Arguments:
        config: The settings.
        out: Working folder of the run.
        plan: Devices.
        processes: Who shares the work.
        progress: Called with a line of text at each stage.
        options: Further arguments of ``lightning.Trainer``, such as ``strategy`` and ``plugins``
            of another launcher; ``callbacks`` and ``logger`` are lists, added to the run's own.
    """

    config: TrainConfig
    out: Path
    plan: DevicePlan
    processes: Processes
    progress: Callable[[str], None]
    options: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, factor: str) -> Path:
        """Where the checkpoints of a factor are."""
        return self.out / "checkpoints" / factor

    def trainer(self, factor: str) -> lightning.Trainer:
        """The trainer of one factor."""
        config, options = self.config, dict(self.options)
        callbacks = [_Checkpoints(self.folder(factor)), TQDMProgressBar(refresh_rate=20)]
        if config.patience:
            callbacks.append(_Patience(config.patience))
        loggers = [CSVLogger(self.out, name=f"log-{factor}"), *options.pop("logger", [])]
        return lightning.Trainer(
            **self.plan.trainer_arguments()
            | {
                "max_epochs": config.epochs_of(factor),
                "accumulate_grad_batches": config.accumulate,
                "gradient_clip_val": config.clip or None,
                "callbacks": callbacks + options.pop("callbacks", []),
                "logger": loggers,
                "log_every_n_steps": min(50, config.steps(0)),
                "reload_dataloaders_every_n_epochs": 1,
                "enable_model_summary": False,
            }
            | options
        )


def fit(
    fitting: Fitting, data: SimulationModule, estimator: NeuralPosteriorEstimator, factor: str
) -> float:
    """Fit one factor of the estimator in place.

    Arguments:
        fitting: Where and how.
        data: The simulations.
        estimator: The posterior.
        factor: ``spectral`` or ``latent``.

    Returns:
        Its loss on the validation rows.
    """
    fitting.progress(f"fitting the {factor} factor")
    lightning.seed_everything(fitting.config.seed, verbose=False)
    trainer = fitting.trainer(factor)
    last = fitting.folder(factor) / "last.ckpt"
    module = PosteriorModule(estimator, fitting.config, factor, data.steps)
    trainer.fit(module, data, ckpt_path=str(last) if last.exists() else None)
    if fitting.config.patience:
        best = torch.load(fitting.folder(factor) / "best.ckpt", "cpu", weights_only=True)
        module.load_state_dict(best["state_dict"])
    # Measured here, because a run that was already finished fits nothing and logs nothing.
    return trainer.validate(module, data, verbose=False)[0]["validation_loss"]


class _Checkpoints(ModelCheckpoint):
    """The best and the last epoch, under names that stay the same when a run goes on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            filename="best",
            monitor="validation_loss",
            save_last=True,
            enable_version_counter=False,
        )


class _Patience(EarlyStopping):
    """Stops after so many epochs without a smaller loss, and stays stopped when run again."""

    def __init__(self, patience: int) -> None:
        super().__init__("validation_loss", patience=patience)

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Nothing more to do where the loaded state says that training had stopped."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
