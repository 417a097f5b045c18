"""The amortised posterior computed by ONNX Runtime, in the engine's own refinement.

The engine asks the estimator for draws of given noise; which library computes them is all that
changes. Noise comes from the same generators, so the draws are the same to rounding, and the
exact likelihood weights them in any case.
"""

__all__ = ["OnnxEstimator", "with_onnx"]

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acie.bundle import ModelBundle
from acie.errors import IncompatibleBundle
from acie.export.folder import read_export
from acie.export.runner import open_session
from acie.inference import NeuralPosteriorEstimator


def with_onnx(bundle: ModelBundle, folder: str | Path) -> ModelBundle:
    """The same bundle with an estimator that ONNX Runtime computes.

    Arguments:
        bundle: A trained model.
        folder: Its export.

    Raises:
        IncompatibleBundle: The export is none, or is that of another model.
        ChecksumMismatch: A file of it is truncated or was changed.
    """
    manifest = read_export(folder)
    source = manifest["source"]
    if source["digest"] != bundle.digest:
        raise IncompatibleBundle(
            str(folder),
            expected=f"an export of {bundle.name} {bundle.version}, digest {bundle.digest[:12]}",
            found=f"one of {source['name']} {source['version']}, digest {source['digest'][:12]}",
            remedy=f"Export it again: acie export --model {bundle.name} --out DIR.",
        )
    return dataclasses.replace(bundle, estimator=OnnxEstimator(bundle.estimator, Path(folder)))


class OnnxEstimator:
    """A :class:`NeuralPosteriorEstimator` whose draws ONNX Runtime computes.

    Densities at given values, which only training and tests ask for, stay with torch.

    Arguments:
        estimator: What was exported.
        folder: The export.
    """

    def __init__(self, estimator: NeuralPosteriorEstimator, folder: Path) -> None:
        self._eager = estimator
        # One thread per call: the engine calls from as many threads as it has galaxies in work.
        self._latent = open_session(folder / "latent.onnx")
        self.spectral = _OnnxFlow(estimator.n_spectral, folder / "spectral.onnx")
        self.n_latent = estimator.n_latent

    def sample_latent(
        self, x_s: Tensor, root: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`NeuralPosteriorEstimator.sample_latent`."""
        noise = torch.randn(*x_s.shape[:-1], self.n_latent, generator=generator)
        return self.latent_of(noise, x_s, root)

    def latent_of(self, noise: Tensor, x_s: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`NeuralPosteriorEstimator.latent_of`."""
        lead = x_s.shape[:-1]
        feed = {
            "x_s": _array(x_s.reshape(-1, *x_s.shape[-2:])),
            "redshift": _array(root.reshape(-1)),
            "noise": _array(noise.reshape(-1, x_s.shape[-2], self.n_latent)),
        }
        x_l, log_q = self._latent.run(None, feed)
        return torch.from_numpy(x_l).reshape(*lead, -1), torch.from_numpy(log_q).reshape(lead)

    def __getattr__(self, name: str) -> object:
        return getattr(self._eager, name)


class _OnnxFlow:
    """The spectral factor; called with features it gives what draws for them."""

    def __init__(self, dim: int, path: Path) -> None:
        self.dim, self._session = dim, open_session(path)

    def __call__(self, features: Tensor) -> "_OnnxLaw":
        return _OnnxLaw(self._session, _array(features))


class _OnnxLaw:
    """The density for some contexts, as a map from noise."""

    def __init__(self, session: object, features: np.ndarray) -> None:
        self._session, self._features = session, features

    def whitened(self) -> "_OnnxLaw":
        """The map itself."""
        return self

    def __call__(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws ``(sample, batch, dim)`` and log |d draw / d noise|, ``(sample, batch)``."""
        feed = {"features": self._features, "noise": _array(noise)}
        draws, log_det = self._session.run(None, feed)
        return torch.from_numpy(draws), torch.from_numpy(log_det)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()
