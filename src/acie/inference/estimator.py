"""The amortised posterior in two factors, chosen by d-separation."""

__all__ = ["NeuralPosteriorEstimator"]

import torch
from torch import Tensor, nn

from acie.errors import ConfigurationError
from acie.inference.flow import PosteriorFlow


class NeuralPosteriorEstimator(nn.Module):
    r"""q(x_s, x_l | spectrum, root) = q_1(x_s | features) q_2(x_l | x_s, root).

    Variables that act on the spectrum directly (``x_s``) are inferred from its features. Those
    that are independent of the spectrum given ``x_s`` and the observed root (``x_l``) need no
    spectrum: their factor is a conditional of the prior, and is learned from the same
    simulations. The split is exact, not an approximation, whenever the graph d-separates
    ``x_l`` from the spectrum.

    References:
        Papamakarios & Murray 2016, arXiv:1605.06376, proposition 1 (the loss is minimal at the
        true posterior).

    Arguments:
        n_features: Number of spectral features; they hold the root variables too.
        n_spectral: Number of variables in ``x_s``.
        n_latent: Number of variables in ``x_l``, 0 for none.
        n_root: Number of observed root variables.
        spectral: Settings of the spectral :class:`PosteriorFlow`.
        latent: Settings of the latent :class:`PosteriorFlow`.
    """

    def __init__(
        self,
        n_features: int,
        n_spectral: int,
        n_latent: int = 0,
        n_root: int = 1,
        *,
        spectral: dict | None = None,
        latent: dict | None = None,
    ) -> None:
        super().__init__()
        small = {"width": 64, "embedding": 32, "transforms": 3, "hidden": (64, 64)}
        self.n_spectral, self.n_latent, self.n_root = n_spectral, n_latent, n_root
        self.spectral = PosteriorFlow(n_spectral, n_features, **(spectral or {}))
        self.latent = None
        if n_latent:
            context = n_spectral + n_root
            self.latent = PosteriorFlow(n_latent, context, **{**small, **(latent or {})})
        sizes = ("dim", "context")
        self.config = {
            "n_features": n_features,
            "n_spectral": n_spectral,
            "n_latent": n_latent,
            "n_root": n_root,
            "spectral": {k: v for k, v in self.spectral.config.items() if k not in sizes},
            "latent": {k: v for k, v in self.latent.config.items() if k not in sizes}
            if self.latent is not None
            else {},
        }

    @classmethod
    def from_state(cls, config: dict, tensors: dict[str, Tensor]) -> "NeuralPosteriorEstimator":
        """Rebuild from :attr:`config` (plain JSON) and a state dict (safetensors)."""
        estimator = cls(**config)
        estimator.load_state_dict(tensors)
        return estimator.eval()

    def fit_scaling(self, features: Tensor, x_s: Tensor, x_l: Tensor, root: Tensor) -> None:
        """Set the standardisation from training data; same shapes as :meth:`loss`."""
        self.spectral.fit_scaling(x_s, features)
        if self.latent is not None:
            self.latent.fit_scaling(x_l, self._context(x_s, root))

    def loss(self, features: Tensor, x_s: Tensor, x_l: Tensor, root: Tensor) -> Tensor:
        """Mean negative log density of the true variables, a scalar.

        Arguments:
            features: Spectral features, ``(batch, n_features)``.
            x_s: True spectral variables, unconstrained, ``(batch, n_spectral)``.
            x_l: True latent variables, unconstrained, ``(batch, n_latent)``.
            root: Observed roots, ``(batch,)`` or ``(batch, n_root)``.
        """
        return -self.log_prob(features, x_s, x_l, root).mean()

    def log_prob(self, features: Tensor, x_s: Tensor, x_l: Tensor, root: Tensor) -> Tensor:
        """Joint log density of ``(*sample, batch, n)`` variables, shape ``(*sample, batch)``."""
        total = self.spectral.log_prob(x_s, features)
        if self.latent is not None:
            lead = x_s.shape[:-1]
            latent, context = self.latent_pair(features, x_s, x_l, root)
            total = total + self.latent.log_prob(latent, context).reshape(lead)
        return total

    @staticmethod
    def spectral_pair(
        features: Tensor, x_s: Tensor, x_l: Tensor, root: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Variables and context of the spectral factor; arguments as of :meth:`loss`."""
        return x_s, features

    def latent_pair(
        self, features: Tensor, x_s: Tensor, x_l: Tensor, root: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Variables and context of the latent factor, flattened over samples and batch."""
        context = self._context(x_s, root).reshape(-1, self.n_spectral + self.n_root)
        return x_l.reshape(-1, self.n_latent), context

    def sample(
        self, num_samples: int, features: Tensor, root: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw from both factors.

        Returns:
            ``x_s`` ``(sample, batch, n_spectral)``, ``x_l`` ``(sample, batch, n_latent)`` and the
            joint log density ``(sample, batch)``.
        """
        x_s, log_q = self.spectral.sample_and_log_prob(num_samples, features, generator)
        x_l, log_latent = self.sample_latent(x_s, root, generator)
        return x_s, x_l, log_q + log_latent

    def sample_latent(
        self, x_s: Tensor, root: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """One latent draw for each ``x_s`` ``(sample, batch, n_spectral)``, with log density."""
        noise = torch.randn(*x_s.shape[:-1], self.n_latent, generator=generator).to(x_s)
        return self.latent_of(noise, x_s, root)

    @torch.no_grad()
    def latent_of(self, noise: Tensor, x_s: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        """Latent draws of standard normal noise ``(sample, batch, n_latent)``, with log density.

        Arguments:
            noise: One for each draw of the spectral variables.
            x_s: Shape ``(sample, batch, n_spectral)``.
            root: Observed roots, as of :meth:`loss`.
        """
        lead = x_s.shape[:-1]
        if self.latent is None:
            return x_s.new_empty((*lead, 0)), x_s.new_zeros(lead)
        context = self._context(x_s, root).reshape(-1, self.n_spectral + self.n_root)
        x_l, log_q = self.latent.draw(noise.reshape(-1, self.n_latent), context)
        return x_l.reshape(*lead, self.n_latent), log_q.reshape(lead)

    def _context(self, x_s: Tensor, root: Tensor) -> Tensor:
        batch = x_s.shape[-2]
        if root.numel() != batch * self.n_root:
            raise ConfigurationError(
                "root",
                expected=f"shape ({batch},) or ({batch}, {self.n_root})",
                found=str(tuple(root.shape)),
            )
        root = root.reshape(batch, self.n_root).to(x_s.dtype)
        return torch.cat([x_s, root.expand(*x_s.shape[:-1], self.n_root)], dim=-1)
