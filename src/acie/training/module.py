"""The Lightning modules that fit the amortised posterior while simulations come in."""

__all__ = ["PosteriorModule", "SimulationModule"]

from collections.abc import Callable

import lightning
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from acie.inference import NeuralPosteriorEstimator
from acie.inference.encoder import SpectrumEncoder
from acie.training.config import TrainConfig
from acie.training.data import TrainingPool

_COLUMNS = ("features", "spectral", "latent", "redshift")


class SimulationModule(lightning.LightningDataModule):
    """Training rows, of which more are simulated before each epoch.

    The first rows of the pool are kept for validation and never trained on.

    Arguments:
        pool: Where simulations are kept.
        encoder: Its scaling must be set.
        config: Sizes and batches.
        progress: Called with a line of text when a shard was added.
    """

    def __init__(
        self,
        pool: TrainingPool,
        encoder: SpectrumEncoder,
        config: TrainConfig,
        progress: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._pool, self._encoder = pool, encoder
        self._config, self._progress = config, progress

    def columns(self, epoch: int) -> list[Tensor]:
        """Features, spectral and latent variables and redshift of an epoch, validation first."""
        for shard in self._pool.grow(self._config.shards(epoch)):
            self._progress(f"shard {shard + 1} of {self._config.shards(self._config.epochs)}")
        table = self._pool.table()
        table["features"] = self._encoder.standardise(table["features"])
        return [table[name] for name in _COLUMNS]

    def train_dataloader(self) -> DataLoader:
        """Rows of the present epoch."""
        held = self._config.validation
        return self._loader([c[held:] for c in self.columns(self.trainer.current_epoch)], True)

    def val_dataloader(self) -> DataLoader:
        """The same rows in every epoch."""
        return self._loader([c[: self._config.validation] for c in self.columns(0)], False)

    def _loader(self, columns: list[Tensor], training: bool) -> DataLoader:
        # Rows are gathered a batch at a time: one Python call per batch, not per row.
        rows = TensorDataset(*columns)
        batches = BatchSampler(RandomSampler(rows), self._config.batch, drop_last=training)
        return DataLoader(rows, sampler=batches, batch_size=None)


class PosteriorModule(lightning.LightningModule):
    """Maximum likelihood of the true variables under the amortised posterior.

    Arguments:
        estimator: The posterior to fit.
        config: Learning rate, and the number of steps of its one-cycle schedule.
    """

    def __init__(self, estimator: NeuralPosteriorEstimator, config: TrainConfig) -> None:
        super().__init__()
        self.estimator = estimator
        self._rate = config.learning_rate
        self._steps = sum(config.steps(epoch) for epoch in range(config.epochs))

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
        optimizer = torch.optim.AdamW(self.parameters(), self._rate, weight_decay=1e-4)
        # Shards may hold a few more rows than asked for: a spare step per epoch.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self._rate, total_steps=self._steps + 200, pct_start=0.1
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
