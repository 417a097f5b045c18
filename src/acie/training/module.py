"""The Lightning module that fits the amortised posterior."""

__all__ = ["PosteriorModule"]

import lightning
import torch
from torch import Tensor

from acie.inference import NeuralPosteriorEstimator


class PosteriorModule(lightning.LightningModule):
    """Maximum likelihood of the true variables under the amortised posterior.

    Arguments:
        estimator: The posterior to fit.
        learning_rate: Peak of the one-cycle schedule.
    """

    def __init__(self, estimator: NeuralPosteriorEstimator, learning_rate: float) -> None:
        super().__init__()
        self.estimator = estimator
        self.learning_rate = learning_rate

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """Loss of one batch of ``(features, spectral, latent, redshift)``."""
        loss = self.estimator.loss(*batch)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """The same on observations that are never trained on."""
        self.log("validation_loss", self.estimator.loss(*batch), prog_bar=True)

    def configure_optimizers(self) -> dict:
        """Adam with weight decay on a one-cycle schedule."""
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, weight_decay=1e-4)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=steps, pct_start=0.15
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
