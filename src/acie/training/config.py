"""Settings of a training run, read from YAML."""

__all__ = ["TrainConfig"]

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from acie.errors import ConfigurationError
from acie.simulation import SurveyConfig


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Arguments:
        name: Name of the model.
        start: A model to go on from, by name or folder: its encoder and weights are taken, and the
            settings of the networks with them.
        seed: Seed of everything random.
        components: Principal components of the encoder.
        population: Galaxies from which the components are computed.
        simulations: Simulated observations in the end.
        initial: Those made before the first epoch.
        growth: Those added before each further epoch, until ``simulations`` is reached.
        shard: Observations per shard; a finished shard is never simulated again.
        validation: Observations kept aside.
        epochs: Passes over the simulations.
        batch: Observations per optimiser step, of all processes together: the loss curve does not
            depend on how many share the work.
        accumulate: Parts in which each process takes its share of a batch, where the memory of
            a device does not hold it.
        learning_rate: Peak of the one-cycle schedule.
        clip: Largest norm of the gradient; 0 for no limit.
        patience: Epochs without a smaller loss on the validation rows before training stops, and
            the best epoch is kept; 0 trains all epochs and keeps the last.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``; the density itself is always
            computed in single precision.
        compile: Compile the network with torch.compile.
        deterministic: Ask torch for algorithms that give the same digits in every run.
        device: As for :func:`acie.device.pick_device`.
        devices: Devices, or processes of the CPU, per node.
        nodes: Machines.
        network: Settings of the spectral flow, as of ``PosteriorFlow``.
        latent_network: Settings of the flow of the variables that the spectrum does not show.
        latent_epochs: Passes over the simulations for that flow.
        survey: The population of observations.
    """

    name: str = "galaxy"
    start: str | None = None
    seed: int = 1
    components: int = 80
    population: int = 6000
    simulations: int = 40000
    initial: int = 40000
    growth: int = 8000
    shard: int = 4000
    validation: int = 2000
    epochs: int = 30
    batch: int = 512
    accumulate: int = 1
    learning_rate: float = 1e-3
    clip: float = 5.0
    patience: int = 0
    precision: str = "32-true"
    compile: bool = False
    deterministic: bool = False
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    network: dict[str, Any] = field(default_factory=dict)
    latent_network: dict[str, Any] = field(default_factory=dict)
    latent_epochs: int = 5
    survey: SurveyConfig = field(default_factory=SurveyConfig)

    def __post_init__(self) -> None:
        least = {"batch": 1, "accumulate": 1, "devices": 1, "nodes": 1, "shard": 1, "epochs": 1}
        for name, low in (least | {"validation": 1, "patience": 0, "clip": 0}).items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or value < low:
                raise ConfigurationError(name, expected=f"at least {low}", found=str(value))

    @classmethod
    def read(cls, path: str | Path) -> "TrainConfig":
        """Settings from a YAML file; unknown ones are refused."""
        try:
            table = yaml.safe_load(Path(path).read_text("utf-8")) or {}
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                "config", expected="a readable YAML file", found=str(error).splitlines()[0]
            ) from None
        survey = _known(SurveyConfig, table.pop("survey", {}), "survey")
        ranges = {k: tuple(v) if isinstance(v, list) else v for k, v in survey.items()}
        return cls(**_known(cls, table, "config"), survey=SurveyConfig(**ranges))

    def epochs_of(self, factor: str) -> int:
        """Epochs of the ``spectral`` or of the ``latent`` factor."""
        return self.epochs if factor == "spectral" else self.latent_epochs

    def shards(self, epoch: int) -> int:
        """Shards that take part in an epoch, counted from 0."""
        rows = min(self.simulations, self.initial + epoch * self.growth)
        return max(1, rows // self.shard)

    def steps(self, epoch: int) -> int:
        """Optimiser steps of an epoch."""
        return max(1, (self.shards(epoch) * self.shard - self.validation) // self.batch)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        return asdict(self)


def _known(kind: type, table: dict[str, Any], argument: str) -> dict[str, Any]:
    names = [f.name for f in fields(kind)]
    for name in table:
        if name not in names:
            raise ConfigurationError(
                f"{argument}.{name}", expected=", ".join(names), found="an unknown setting"
            )
    return table
