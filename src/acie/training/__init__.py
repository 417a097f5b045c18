"""Training of the amortised posterior on simulated observations."""

__all__ = ["TrainConfig"]

from acie.training.config import TrainConfig
