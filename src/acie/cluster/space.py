"""What Ray Tune may change of a training configuration, and between which values."""

__all__ = ["DEFAULT_SPACE", "read_space", "with_values"]

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from acie.errors import ConfigurationError
from acie.training import TrainConfig

#: Setting to its values: a list to choose from, or a range ``{low, high}``, drawn evenly in the
#: logarithm. ``network.x`` is a setting of the spectral flow.
DEFAULT_SPACE: dict[str, Any] = {
    "learning_rate": {"low": 1e-4, "high": 5e-3},
    "batch": [128, 256, 512, 1024],
    "network.width": [128, 256, 384, 512],
    "network.transforms": [3, 4, 5, 6],
}
#: Others would change the simulations, which all trials share.
_FREE = ("learning_rate", "batch", "clip", "accumulate")


def read_space(path: Path | None, config: TrainConfig) -> dict[str, Any]:
    """The search space of a YAML file; the default one without a file.

    Arguments:
        path: Of the file; None for the default space, without batches that the first epoch cannot
            fill.
        config: From which the trials differ.

    Raises:
        ConfigurationError: It cannot be read, or a setting or its values cannot be searched.
    """
    rows = config.shards(0) * config.shard - config.validation
    if path is None:
        batches = [batch for batch in DEFAULT_SPACE["batch"] if batch <= rows]
        return DEFAULT_SPACE | {"batch": batches or [config.batch]}
    try:
        space = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "--space", expected="a readable YAML file", found=str(error).splitlines()[0]
        ) from None
    if not isinstance(space, dict) or not space:
        raise ConfigurationError(
            "--space", expected="settings with their values", found=type(space).__name__,
            remedy="For example: learning_rate: {low: 1.0e-4, high: 5.0e-3}",
        )  # fmt: skip
    for name, values in space.items():
        _check(name, values)
    return space


def _check(name: str, values: Any) -> None:
    if name not in _FREE and not str(name).startswith("network."):
        raise ConfigurationError(
            f"--space {name}", expected=f"{', '.join(_FREE)}, or network.NAME",
            found="a setting that is not searched",
            remedy="Settings of the simulations are the same for all trials.",
        )  # fmt: skip
    choice = isinstance(values, list) and values
    span = isinstance(values, dict) and set(values) == {"low", "high"}
    if not choice and not (
        span
        and all(isinstance(v, int | float) for v in values.values())
        and 0 < values["low"] < values["high"]
    ):
        raise ConfigurationError(
            f"--space {name}", expected="a list, or {low: A, high: B} with 0 < A < B",
            found=repr(values),
        )  # fmt: skip


def with_values(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """The configuration with the values of a trial."""
    known = {f.name for f in fields(config)}
    own = {name: value for name, value in values.items() if name in known}
    network = {
        name.removeprefix("network."): value
        for name, value in values.items()
        if name.startswith("network.")
    }
    return replace(config, **own, network={**config.network, **network})
