"""Losses and learning rate after each epoch, handed to whoever draws or tracks them."""

__all__ = ["CurveCallback"]

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class CurveCallback(Callback):
    """Calls back after every epoch of one factor.

    The training loss is the mean over the batches of the epoch, not that of the last one, and over
    all processes.

    Arguments:
        factor: ``spectral`` or ``latent``; names begin with it.
        curve: Called with numbers by name and the epoch, in the first process alone.
    """

    def __init__(self, factor: str, curve: Callable[[Mapping[str, float], int], None]) -> None:
        self._factor, self._curve = factor, curve
        self._sum: Tensor | float = 0.0
        self._batches = 0

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin a new mean."""
        self._sum, self._batches = 0.0, 0

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Add a batch, without waiting for the device."""
        self._sum = self._sum + outputs["loss"].detach()
        self._batches += 1

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Hand over what the epoch was; its validation has run by now."""
        mean = torch.as_tensor(self._sum / max(self._batches, 1), device=module.device)
        mean = trainer.strategy.reduce(mean, reduce_op="mean")
        if not trainer.is_global_zero:
            return
        values = {
            "loss": float(mean),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
        }
        if "validation_loss" in trainer.callback_metrics:
            values["validation_loss"] = float(trainer.callback_metrics["validation_loss"])
        self._curve({f"{self._factor}/{k}": v for k, v in values.items()}, trainer.current_epoch)
