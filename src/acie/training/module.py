"""The Lightning modules that fit the amortised posterior while simulations come in."""

__all__ = ["PosteriorModule", "SimulationModule"]

from collections.abc import Callable

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from acie.inference import NeuralPosteriorEstimator
from acie.inference.encoder import SpectrumEncoder
from acie.seeds import SeedStream
from acie.training.config import TrainConfig
from acie.training.data import TrainingPool
from acie.training.order import GlobalBatches
from acie.training.processes import Processes

_COLUMNS = ("features", "spectral", "latent", "redshift")


class SimulationModule(lightning.LightningDataModule):
    """Training rows, of which more are simulated before each epoch.

    The first rows of the pool are kept for validation and never trained on. All rows lie on the
    device of the process, so that no batch has to travel there.

    Arguments:
        pool: Where simulations are kept.
        encoder: Its scaling must be set.
        config: Sizes and batches.
        progress: Called with a line of text when a shard was added.
        factor: ``spectral`` or ``latent``.
        processes: Who shares the work.
    """

    def __init__(
        self,
        pool: TrainingPool,
        encoder: SpectrumEncoder,
        config: TrainConfig,
        progress: Callable[[str], None],
        factor: str,
        processes: Processes | None = None,
    ) -> None:
        super().__init__()
        # The latent factor is fitted last, on everything there is.
        self._grown = factor == "latent"
        self._pool, self._encoder, self._factor = pool, encoder, factor
        self._config, self._progress = config, progress
        self._processes = Processes() if processes is None else processes

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
        """Rows of the present epoch, in the order that belongs to it."""
        config, epoch = self._config, self.trainer.current_epoch
        rows = self._rows([c[config.validation :] for c in self.columns(epoch)])
        # Named by factor and epoch: a run that goes on elsewhere sees the same order.
        order = SeedStream(config.seed).generator(f"order-{self._factor}-{epoch}")
        batches = GlobalBatches(
            len(rows), config.batch, order, config.accumulate, self._processes
        )
        # Rows are gathered a batch at a time: one Python call per batch, not per row.
        return DataLoader(rows, sampler=batches, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """The same rows in every epoch."""
        part = self._processes.part(self._config.validation)
        rows = self._rows([c[: self._config.validation][part] for c in self.columns(0)])
        batches = torch.arange(len(rows)).split(self._config.batch // self._processes.size)
        return DataLoader(rows, sampler=batches, batch_size=None)

    def _rows(self, columns: list[Tensor]) -> TensorDataset:
        return TensorDataset(*(column.to(self._processes.device) for column in columns))


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
        # A compiled function is no module: names in checkpoints are the same with and without.
        compiled = config.compile
        self._log_prob = torch.compile(self.density.log_prob) if compiled else self._eager

    def _eager(self, x: Tensor, context: Tensor) -> Tensor:
        return self.density.log_prob(x, context)

    def _loss(self, batch: list[Tensor]) -> Tensor:
        return -self._log_prob(*self._pair(*batch)).mean()

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """Loss of one share of a batch of ``(features, spectral, latent, redshift)``."""
        loss = self._loss(batch)
        # The mean over processes is that of the batch, because their shares are of equal size.
        self.log("loss", loss, prog_bar=True, sync_dist=True)
        self.log("epoch_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Nothing is summed yet."""
        self._sums = torch.zeros(2, device=self.device)

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """The same on observations that are never trained on."""
        rows = len(batch[0])
        self._sums += torch.stack([self._loss(batch) * rows, self._sums.new_tensor(rows)])

    def on_validation_epoch_end(self) -> None:
        """The mean over all rows, however shared (Lightning's own is off for odd numbers)."""
        total, rows = self.trainer.strategy.reduce(self._sums, reduce_op="sum")
        self.log("validation_loss", total / rows, prog_bar=True, sync_dist=True)

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
