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
        factor: ``spectral`` or ``latent``.
    """

    def __init__(
        self,
        pool: TrainingPool,
        encoder: SpectrumEncoder,
        config: TrainConfig,
        progress: Callable[[str], None],
        factor: str,
    ) -> None:
        super().__init__()
        # The latent factor is fitted last, on everything there is.
        self._grown = factor == "latent"
        self._pool, self._encoder = pool, encoder
        self._config, self._progress = config, progress

    def columns(self, epoch: int) -> list[Tensor]:
        """Features, spectral and latent variables and redshift of an epoch, validation first."""
        epoch = self._config.epochs if self._grown else epoch
        for shard in self._pool.grow(self._config.shards(epoch)):
            self._progress(f"shard {shard + 1} of {self._config.shards(self._config.epochs)}")
        table = self._pool.table()
        table["features"] = self._encoder.standardise(table["features"])
        return [table[name] for name in _COLUMNS]

    @property
    def steps(self) -> int:
        """Optimiser steps of all epochs."""
        config = self._config
        if self._grown:
            return config.latent_epochs * config.steps(config.epochs)
        return sum(config.steps(epoch) for epoch in range(config.epochs))

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
    """Maximum likelihood of the true variables under one factor of the amortised posterior.

    Arguments:
        estimator: The posterior.
        config: Learning rate, and the number of steps of its one-cycle schedule.
        factor: ``spectral`` or ``latent``.
        steps: Optimiser steps of the whole run.
    """

    def __init__(
        self, estimator: NeuralPosteriorEstimator, config: TrainConfig, factor: str, steps: int
    ) -> None:
        super().__init__()
        self.density = getattr(estimator, factor)
        # Not registered: the other factor is not this module's to train or to save.
        self._pair = getattr(estimator, f"{factor}_pair")
        self._rate, self._steps = config.learning_rate, steps

    def _loss(self, batch: list[Tensor]) -> Tensor:
        return -self.density.log_prob(*self._pair(*batch)).mean()

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """Loss of one batch of ``(features, spectral, latent, redshift)``."""
        loss = self._loss(batch)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """The same on observations that are never trained on."""
        self.log("validation_loss", self._loss(batch), prog_bar=True)

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
