"""Laws of exogenous noise."""

__all__ = ["AbstractNoise", "GumbelNoise", "NormalNoise", "UniformNoise"]

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class AbstractNoise(ABC):
    """The law of the noise of one mechanism; stateless, so that it can be shared."""

    @abstractmethod
    def sample(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Independent draws, shape ``shape``."""

    @abstractmethod
    def log_prob(self, noise: Tensor) -> Tensor:
        """Log-density at ``noise``, same shape."""

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """Smallest and largest noise."""


@dataclass(frozen=True)
class NormalNoise(AbstractNoise):
    """The standard normal law, the default everywhere."""

    def sample(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Independent draws, shape ``shape``."""
        return torch.randn(tuple(shape), generator=generator, dtype=dtype, device=device)

    def log_prob(self, noise: Tensor) -> Tensor:
        """Log-density at ``noise``, same shape."""
        return -0.5 * noise.square() - 0.5 * math.log(2.0 * math.pi)

    @property
    def support(self) -> tuple[float, float]:
        """The real line."""
        return -math.inf, math.inf


@dataclass(frozen=True)
class UniformNoise(AbstractNoise):
    """The uniform law between two bounds.

    Arguments:
        low: Smallest noise.
        high: Largest noise.
    """

    low: float = 0.0
    high: float = 1.0

    def sample(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Independent draws, shape ``shape``."""
        unit = torch.rand(tuple(shape), generator=generator, dtype=dtype, device=device)
        return self.low + (self.high - self.low) * unit

    def log_prob(self, noise: Tensor) -> Tensor:
        """Log-density at ``noise``, same shape; minus infinity outside the bounds."""
        inside = (noise >= self.low) & (noise <= self.high)
        return torch.where(inside, -math.log(self.high - self.low), -math.inf).to(noise.dtype)

    @property
    def support(self) -> tuple[float, float]:
        """The two bounds."""
        return self.low, self.high


@dataclass(frozen=True)
class GumbelNoise(AbstractNoise):
    """The standard Gumbel law of maxima."""

    def sample(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Independent draws, shape ``shape``."""
        unit = torch.rand(tuple(shape), generator=generator, dtype=dtype, device=device)
        # Zero is drawn once in 2^53, or 2^24, and has no logarithm.
        return -(-unit.clamp_min(torch.finfo(dtype).tiny).log()).log()

    def log_prob(self, noise: Tensor) -> Tensor:
        """Log-density at ``noise``, same shape."""
        return -noise - torch.exp(-noise)

    @property
    def support(self) -> tuple[float, float]:
        """The real line."""
        return -math.inf, math.inf
