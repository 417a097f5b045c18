"""Losses and learning rate after each epoch, handed to whoever draws or tracks them."""

__all__ = ["CurveCallback"]

from collections.abc import Callable, Mapping

from lightning.pytorch import Callback, LightningModule, Trainer


class CurveCallback(Callback):
    """Calls back after every epoch of one factor.

    The training loss is the mean over the batches of the epoch, not that of the last one, and over
    all processes, as the module logs it.

    Arguments:
        factor: ``spectral`` or ``latent``; names begin with it.
        curve: Called with numbers by name and the epoch, in the first process alone.
    """

    def __init__(self, factor: str, curve: Callable[[Mapping[str, float], int], None]) -> None:
        self._factor, self._curve = factor, curve

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Hand over what the epoch was; its validation has run by now."""
        # Asked for in every process: the first question takes the mean over all of them.
        logged = trainer.callback_metrics
        if not trainer.is_global_zero:
            return
        names = {"loss": "epoch_loss", "validation_loss": "validation_loss"}
        values = {own: float(logged[name]) for own, name in names.items() if name in logged}
        values["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        self._curve({f"{self._factor}/{k}": v for k, v in values.items()}, trainer.current_epoch)
