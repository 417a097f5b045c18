r"""The amortised posterior as modules that become good graphs.

Base noise is an input, so that a graph is a function: the same noise gives the same draws in any
runtime. Nothing here is trained; the modules hold the weights of the estimator in the form in
which sampling needs them, with masks multiplied in.
"""

__all__ = ["FlowSampling", "LatentSampling"]

import math

import torch
from torch import Tensor, nn

from acie.errors import ConfigurationError
from acie.export.network.coupling import Coupling, Dense
from acie.inference import NeuralPosteriorEstimator, PosteriorFlow


class FlowContext(nn.Module):
    """What the draws of a flow need of each context.

    Arguments:
        flow: A fitted flow.
    """

    def __init__(self, flow: PosteriorFlow) -> None:
        super().__init__()
        self.dim = flow.dim
        self.embed = _ResidualMLP(flow.embed)
        self.affine = Dense(flow.affine.weight, flow.affine.bias)
        for name in ("x_mean", "x_std", "context_mean", "context_std"):
            self.register_buffer(name, getattr(flow, name).clone())
        # Puts the values below the diagonal into a matrix.
        row, column = torch.tril_indices(flow.dim, flow.dim, -1)
        place = torch.zeros(len(row), flow.dim, flow.dim)
        place[torch.arange(len(row)), row, column] = 1.0
        self.register_buffer("_place", place.flatten(1))

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of contexts ``(batch, context)``.

        Returns:
            The embedding ``(batch, embedding)``; a matrix ``(batch, dim, dim)`` that whitened
            variables are multiplied with and a centre ``(batch, dim)`` that is added; the log
            determinant of the matrix, ``(batch,)``.
        """
        scaled = ((context - self.context_mean) / self.context_std).clamp(-8.0, 8.0)
        embedded = self.embed(scaled)
        affine, dim = self.affine(embedded), self.dim
        log_diagonal = affine[:, dim : 2 * dim].clamp(-6.0, 9.0)
        # A row of the root of the precision is its diagonal times a row of a unit triangle.
        inverse = self._inverse(affine[:, 2 * dim :]) * torch.exp(-log_diagonal)[:, None]
        centre = affine[:, :dim] * self.x_std + self.x_mean
        log_det = self.x_std.log().sum() - log_diagonal.sum(-1)
        return embedded, inverse * self.x_std[:, None], centre, log_det

    def _inverse(self, below: Tensor) -> Tensor:
        r"""Inverse of :math:`1 + N` with N strictly lower triangular, ``(batch, dim, dim)``.

        N is nilpotent, so its Neumann series ends: :math:`(1 - N)(1 + N^2)(1 + N^4)...`, here in
        double precision, because its terms may cancel.
        """
        power = (below @ self._place).unflatten(-1, (self.dim, self.dim)).double()
        inverse, order = torch.eye(self.dim, dtype=power.dtype) - power, 2
        while order < self.dim:
            power = power @ power
            inverse, order = inverse + inverse @ power, 2 * order
        return inverse.float()


class FlowStart(nn.Module):
    """Noise with its variables first, as the layers take it."""

    def forward(self, noise: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes ``(dim, batch, *sample)`` and ``(batch, *sample)``.

        Arguments:
            noise: Shape ``(*sample, batch, dim)``.
            log_det: Shape ``(batch,)``.
        """
        value = noise.permute(*reversed(range(noise.ndim)))
        return value, log_det if noise.ndim == 2 else log_det[:, None].expand(value.shape[1:])


class FlowPlacement(nn.Module):
    """Whitened variables to their location and scale.

    Arguments:
        order: Which variable each row holds.
    """

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("back", order.argsort())

    def forward(
        self, value: Tensor, log_det: Tensor, matrix: Tensor, centre: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draws ``(*sample, batch, dim)`` and log |d draw / d noise| ``(*sample, batch)``.

        Arguments:
            value: Whitened, ``(dim, batch, *sample)``.
            log_det: Shape ``(batch, *sample)``.
            matrix: From :class:`FlowContext`, as is the next one.
            centre: Shape ``(batch, dim)``.
        """
        white = value.index_select(0, self.back)
        if value.ndim == 2:
            return (matrix @ white.T[..., None])[..., 0] + centre, log_det
        return (matrix @ white.transpose(0, 1)).permute(2, 0, 1) + centre, log_det.T


class FlowSampling(nn.Module):
    """Contexts and standard normal noise to draws of a :class:`PosteriorFlow`.

    Arguments:
        flow: A fitted flow of two variables or more.
    """

    def __init__(self, flow: PosteriorFlow) -> None:
        super().__init__()
        layers = list(reversed(flow.flow.transform.transforms))
        if flow.dim < 2 or any(layer.passes != 2 for layer in layers):
            raise ConfigurationError(
                "flow",
                expected="coupling layers over two variables or more",
                found=f"{flow.dim} variables",
            )
        self.dim = flow.dim
        self.context, self.start = FlowContext(flow), FlowStart()
        self.layers = nn.ModuleList(Coupling(layer, flow.dim) for layer in layers)
        # Each layer wants its first half first, of what the layer before it left.
        orders = [torch.arange(flow.dim), *(layer.rows for layer in self.layers)]
        for index, (before, layer) in enumerate(zip(orders, self.layers, strict=False)):
            self.register_buffer(f"take{index}", before.argsort()[layer.rows])
        self.place = FlowPlacement(orders[-1])

    def forward(self, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws and log |d draw / d noise|.

        Arguments:
            context: Shape ``(batch, context)``.
            noise: Shape ``(sample, batch, dim)``, or ``(batch, dim)`` for one draw of each.

        Returns:
            Shapes ``(*sample, batch, dim)`` and ``(*sample, batch)``.
        """
        embedded, matrix, centre, log_det = self.context(context)
        value, log_det = self.start(noise, log_det)
        for index, layer in enumerate(self.layers):
            taken = value.index_select(0, getattr(self, f"take{index}"))
            value, log_det = layer(taken, log_det, embedded)
        return self.place(value, log_det, matrix, centre)


class LatentSampling(nn.Module):
    """One draw of the latent factor for each draw of the spectral one.

    Arguments:
        estimator: A fitted estimator with a latent factor and one root.
    """

    def __init__(self, estimator: NeuralPosteriorEstimator) -> None:
        super().__init__()
        if estimator.latent is None or estimator.n_root != 1:
            raise ConfigurationError(
                "estimator",
                expected="a latent factor and one observed root",
                found=f"{estimator.n_latent} latent variables, {estimator.n_root} roots",
            )
        self.flow = FlowSampling(estimator.latent)

    def forward(self, x_s: Tensor, redshift: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws and their log density.

        Arguments:
            x_s: Unconstrained spectral variables, ``(sample, batch, n_spectral)``.
            redshift: Shape ``(batch,)``.
            noise: Standard normal, ``(sample, batch, n_latent)``.

        Returns:
            Shapes ``(sample, batch, n_latent)`` and ``(sample, batch)``.
        """
        root = redshift[:, None].expand(*x_s.shape[:-1], 1)
        context = torch.cat([x_s, root], -1).flatten(0, 1)
        x_l, log_det = self.flow(context, noise.flatten(0, 1))
        base = -0.5 * (noise * noise).sum(-1) - 0.5 * self.flow.dim * math.log(2.0 * math.pi)
        shape = x_s.shape[:-1]
        return x_l.unflatten(0, shape), base - log_det.unflatten(0, shape)


class _ResidualMLP(nn.Module):
    """The embedding network of a flow, ``(batch, in)`` to ``(batch, out)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        norm, _, last = network.last
        self.first, self.norm, self.last = _of(network.first), norm, _of(last)
        self.blocks = nn.ModuleList(
            nn.ModuleList([block[0], _of(block[1]), _of(block[3])]) for block in network.blocks
        )

    def forward(self, value: Tensor) -> Tensor:
        hidden = self.first(value)
        for norm, inner, outer in self.blocks:
            hidden = hidden + outer(nn.functional.silu(inner(norm(hidden))))
        return self.last(nn.functional.silu(self.norm(hidden)))


def _of(layer: nn.Linear) -> Dense:
    return Dense(layer.weight, layer.bias)
