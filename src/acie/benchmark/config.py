"""Settings of a benchmark."""

__all__ = ["STAGES", "BenchmarkConfig"]

from dataclasses import dataclass

from acie.errors import ConfigurationError

#: What can be measured, in the order of a galaxy's way through the engine.
STAGES = (
    "forward_model",
    "amortised_posterior",
    "refined_posterior",
    "counterfactual_one",
    "counterfactual_batch",
    "constraints",
    "network",
    "network_eager",
    "network_onnx",
    "network_int8",
)


@dataclass(frozen=True)
class BenchmarkConfig:
    """One benchmark.

    Arguments:
        model: Name or folder of a galaxy model.
        dataset: ``10k``, ``20k`` or a number of galaxies.
        device: ``all`` for each device present, or as for :func:`acie.device.pick_device`.
        seconds: Time spent on each stage.
        stages: Those of :data:`STAGES` to measure.
        question: What is asked of each galaxy.
        seed: Seed of everything random.
        exported: Exports of the model to measure, from ``acie export``; the one that
            ``--runtime onnx`` uses when left out. Each is ``network_onnx`` or ``network_int8``.

    Raises:
        ConfigurationError: A stage is unknown, or the time is not positive.
    """

    model: str = "galaxy-v1"
    dataset: str = "10k"
    device: str = "all"
    seconds: float = 10.0
    stages: tuple[str, ...] = STAGES
    question: str = "stellar_mass*=1.5"
    seed: int = 1
    exported: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for stage in self.stages:
            if stage not in STAGES:
                raise ConfigurationError(
                    "--only", expected=f"stages among {', '.join(STAGES)}", found=stage
                )
        if not self.seconds > 0.0:
            raise ConfigurationError(
                "--seconds", expected="a positive number", found=f"{self.seconds:g}"
            )
