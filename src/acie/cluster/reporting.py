"""Epochs of a Lightning run, told to Ray."""

__all__ = ["EpochReport"]

from collections.abc import Callable
from typing import Any

import lightning


class EpochReport(lightning.Callback):
    """Reports the validation loss after every epoch.

    Arguments:
        report: Called with ``epoch``, of which so many are finished, and ``validation_loss``.
    """

    def __init__(self, report: Callable[[dict[str, Any]], None]) -> None:
        self._report = report

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """After validation, which Lightning does within the epoch."""
        loss = trainer.callback_metrics["validation_loss"]
        self._report({"epoch": trainer.current_epoch + 1, "validation_loss": float(loss)})
