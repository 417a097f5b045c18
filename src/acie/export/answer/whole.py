"""A whole answer as one graph: observation, noise and intervention to a counterfactual spectrum.

The answer is the amortised one: draws of the network, which the exact likelihood has not refined.
Stages: the encoder; the two flows; the causal model, both worlds; the forward model, both worlds.
"""

__all__ = ["AnswerState", "answer_facts", "answer_graph"]

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from acie.engine import CounterfactualEngine
from acie.export.answer.encoding import GraphEncoder
from acie.export.answer.light import light_graph
from acie.export.answer.worlds import ACTIONS, CausalWorlds
from acie.export.graph.joining import Stage, joined
from acie.export.graph.recorder import record
from acie.export.graph.tape import Tape
from acie.inference import NeuralPosteriorEstimator
from acie.observation import WAVELENGTH
from acie.physics import OBSERVED

#: Sizes of examples: prime numbers of which no size of the model is a multiple.
_SAMPLE, _BATCH = 53, 59
#: Outputs of the whole, and of which stage each is one.
_OUTPUTS = {
    "counterfactual": "light/counterfactual",
    "factual_state": "state/factual",
    "counterfactual_state": "state/counterfactual",
    "log_q": "density/log_q",
}


class AnswerState(nn.Module):
    """What the draws of the network mean in both worlds, and the light of these.

    Arguments:
        engine: Gives the causal model and the forward model.
    """

    outputs = ("factual", "counterfactual", "light", *OBSERVED, "excess", "possible")

    def __init__(self, engine: CounterfactualEngine) -> None:
        super().__init__()
        self.worlds, self.physics = CausalWorlds(engine.scm), engine.physics

    def forward(
        self, x_s: Tensor, x_l: Tensor, redshift: Tensor, uniform: Tensor, kind: Tensor,
        value: Tensor, lsf: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """See :meth:`CausalWorlds.forward` for the arguments but the last.

        Arguments:
            x_s: There, as are the next five.
            x_l: As above.
            redshift: As above.
            uniform: As above.
            kind: As above.
            value: As above.
            lsf: Instrumental width, km/s, ``(batch, wave)``.

        Returns:
            Values of the variables in both worlds ``(sample, batch, variable)``, not a number
            where the action is impossible; inputs of :func:`light_graph`.
        """
        factual, other, possible = self.worlds(x_s, x_l, redshift, uniform, kind, value)
        stacked = torch.stack([factual, other])
        state = dict(zip(self.worlds.names, stacked.unbind(-1), strict=True))
        light = torch.cat(self.physics.coefficients(state), -1).permute(2, 0, 1, 3)
        observed = (state[name].permute(2, 0, 1).float() for name in OBSERVED)
        excess = self.physics.lsf_excess(redshift, lsf)
        shown = torch.where(possible[..., None], other, torch.nan)
        return factual, shown, light, *observed, excess, possible.T


def answer_graph(
    engine: CounterfactualEngine, spectral: onnx.ModelProto, latent: onnx.ModelProto
) -> onnx.ModelProto:
    """The whole answer.

    Arguments:
        engine: Of the model.
        spectral: From :func:`acie.export.network.stages.spectral_graph`.
        latent: From :func:`acie.export.network.stages.latent_graph`.

    Returns:
        A graph of ``flux``, ``ivar``, ``lsf``, ``redshift``, ``noise`` and the arguments of
        :meth:`CausalWorlds.forward` to ``counterfactual`` ``(sample, batch, wave)``;
        ``factual_state`` and ``counterfactual_state`` ``(sample, batch, variable)``, and
        ``log_q`` ``(sample, batch)``.
    """
    estimator = engine.bundle.estimator
    stages = [
        Stage("given", _given(estimator)),
        Stage("encoder", encoder_graph(engine)),
        Stage("spectral", spectral,
              {"features": "encoder/features", "noise": "given/noise_s"}),
        Stage("latent", latent, {"x_s": "spectral/draws", "redshift": "given/redshift_f",
                                 "noise": "given/noise_l"}),
        Stage("state", state_graph(engine), {"x_s": "spectral/draws", "x_l": "latent/x_l"}),
        Stage("light", light_graph(engine.physics), {
            name: f"state/{name}" for name in ("light", *OBSERVED, "excess", "possible")
        }),
        Stage("density", _density(estimator), {
            "noise": "given/noise_s", "log_det": "spectral/log_det", "log_l": "latent/log_q",
        }),
    ]  # fmt: skip
    return joined(stages, _OUTPUTS)


def answer_facts(engine: CounterfactualEngine) -> dict[str, Any]:
    """What the manifest says of the graph, so that others can ask it."""
    variables, estimator = engine.scm.variables, engine.bundle.estimator
    return {
        "variables": list(variables),
        "noise": estimator.n_spectral + estimator.n_latent,
        "answer": {
            "refined": False,
            "outputs": list(_OUTPUTS),
            "actions": list(ACTIONS),
            "intervenable": [name for name, v in variables.items() if v.intervenable],
            "redshift": list(variables["redshift"].support),
        },
    }


def encoder_graph(engine: CounterfactualEngine) -> onnx.ModelProto:
    """``flux``, ``ivar``, ``lsf`` and ``redshift`` to ``features``."""
    rows = torch.rand(3, _BATCH, WAVELENGTH.size) + 1.0
    inputs = {
        name: (row, ("batch", ""))
        for name, row in zip(("flux", "ivar", "lsf"), rows, strict=True)
    }
    inputs["redshift"] = (torch.full((_BATCH,), 0.1, dtype=torch.float64), ("batch",))
    encoder = GraphEncoder.of(engine.bundle.encoder)
    return record(encoder, inputs, ["features"])


def state_graph(engine: CounterfactualEngine) -> onnx.ModelProto:
    """:class:`AnswerState` as a graph."""
    module, estimator = AnswerState(engine), engine.bundle.estimator
    # The table of histories is made before the graph, not by it.
    one = torch.ones(1, dtype=torch.float64)
    engine.scm.mechanisms["tau"].assign(None, {"sfr": one, "stellar_mass": 1e10 * one, "age": one})
    count = len(module.worlds.names)
    sizes = {"sample": _SAMPLE, "batch": _BATCH}

    def example(kind: torch.dtype, *axes: str | int) -> tuple[Tensor, Sequence[str]]:
        shape = [sizes.get(axis, axis) for axis in axes]
        names = [axis if isinstance(axis, str) else "" for axis in axes]
        return torch.zeros(shape, dtype=kind) + 0.1, names

    inputs = {
        "x_s": example(torch.float32, "sample", "batch", estimator.n_spectral),
        "x_l": example(torch.float32, "sample", "batch", estimator.n_latent),
        "redshift": example(torch.float64, "batch"),
        "uniform": example(torch.float64, "sample", "batch", 2),
        "kind": (torch.zeros(_BATCH, count, dtype=torch.int64), ("batch", "")),
        "value": example(torch.float64, "batch", count),
        "lsf": example(torch.float32, "batch", WAVELENGTH.size),
    }
    return record(module, inputs, module.outputs)


def _given(estimator: NeuralPosteriorEstimator) -> onnx.ModelProto:
    """Noise of the two flows, and the redshift in their precision."""
    tape, n = Tape(), estimator.n_spectral
    count = n + estimator.n_latent
    rows = ("sample", "batch")
    return tape.model(
        {"noise": (np.float32, (*rows, count)), "redshift": (np.float64, ("batch",))},
        {
            "noise_s": (tape.part("noise", 0, n, 2), np.float32, (*rows, n)),
            "noise_l": (tape.part("noise", n, count, 2), np.float32, (*rows, count - n)),
            "redshift_f": (tape.Cast("redshift", to=onnx.TensorProto.FLOAT), np.float32,
                           ("batch",)),
        },
    )  # fmt: skip


def _density(estimator: NeuralPosteriorEstimator) -> onnx.ModelProto:
    """Log density of the draws of both flows."""
    tape, n, rows = Tape(), estimator.n_spectral, ("sample", "batch")
    square = tape.ReduceSum(tape.Mul("noise", "noise"), np.array([2]), keepdims=0)
    base = tape.Sub(np.float32(-0.5 * n * math.log(2.0 * math.pi)),
                    tape.Mul(np.float32(0.5), square))  # fmt: skip
    total = tape.Add(tape.Sub(base, "log_det"), "log_l")
    return tape.model(
        {"noise": (np.float32, (*rows, n)), **dict.fromkeys(("log_det", "log_l"),
                                                            (np.float32, rows))},
        {"log_q": (total, np.float32, rows)},
    )  # fmt: skip
