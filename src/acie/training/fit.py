"""Fitting one factor of the posterior with Lightning, from where a killed run has stopped."""

__all__ = ["Fitting", "fit"]

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger

from acie.inference import NeuralPosteriorEstimator
from acie.training.config import TrainConfig
from acie.training.curves import CurveCallback
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
        curve: Called after each epoch with losses and learning rate by name, and the epoch.
    """

    config: TrainConfig
    out: Path
    plan: DevicePlan
    processes: Processes
    progress: Callable[[str], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    curve: Callable[[Mapping[str, float], int], None] | None = None

    def folder(self, factor: str) -> Path:
        """Where the checkpoints of a factor are."""
        return self.out / "checkpoints" / factor

    def _checkpoint(self, factor: str, which: str) -> ModelCheckpoint:
        # Under a name that stays the same when a run goes on. (What Lightning's save_last calls
        # the last one leaves out every epoch that was not the best.)
        return ModelCheckpoint(
            self.folder(factor),
            filename=which,
            monitor="validation_loss" if which == "best" else None,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def trainer(self, factor: str) -> lightning.Trainer:
        """The trainer of one factor."""
        config, options = self.config, dict(self.options)
        callbacks: list[Callback] = [TQDMProgressBar(refresh_rate=20)]
        if self.curve is not None:
            callbacks.append(CurveCallback(factor, self.curve))
        if config.patience:
            callbacks += [_Patience(config.patience), self._checkpoint(factor, "best")]
        # The last one to save: what the others remember is part of it.
        callbacks.append(self._checkpoint(factor, "last"))
        table = CSVLogger(self.out, name=f"log-{factor}", flush_logs_every_n_steps=1)
        return lightning.Trainer(
            **self.plan.trainer_arguments()
            | {
                "max_epochs": config.epochs_of(factor),
                "accumulate_grad_batches": config.accumulate,
                "gradient_clip_val": config.clip or None,
                "callbacks": options.pop("callbacks", []) + callbacks,
                "logger": [table, *options.pop("logger", [])],
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
    with _algorithms_restored():
        return _fit(fitting, data, estimator, factor)


def _fit(
    fitting: Fitting, data: SimulationModule, estimator: NeuralPosteriorEstimator, factor: str
) -> float:
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


@contextlib.contextmanager
def _algorithms_restored() -> Iterator[None]:
    """Lightning asks torch for deterministic algorithms for good; here only while fitting."""
    before = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn)


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
