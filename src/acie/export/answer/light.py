r"""From the light of two worlds to the change of the observed spectrum, as a graph of loops.

The steps are those of :meth:`acie.physics.StellarPopulationModel.observe`, in the form that ONNX
Runtime computes fastest. It has no fast Fourier transform worth the name. The broadening is a
convolution with few taps, whose values come from a short transform; a convolution of blocks is a
product with a Toeplitz matrix, which is a vector repeated with one place more than a row has.
Galaxies come one after another, and of each a few draws at a time, which stay in the cache.
"""

__all__ = ["light_graph"]

import math
from typing import Any

import numpy as np
import onnx
import torch

from acie.export.graph.tape import Tape
from acie.physics import StellarPopulationModel
from acie.physics.dust import BIRTH_CLOUD_RATIO
from acie.physics.pixels import spline_prefilter
from acie.physics.sampler import BLOCK as PIXELS
from acie.physics.sampler import LEAST_REACH, REACH, gaussian_filter
from acie.physics.screen import BLOCK as SCREEN
from acie.physics.sightline import UNRESOLVED_STEP
from acie.physics.templates import REST_STEP
from acie.units import LIGHT_KM_S

#: Draws computed at a time, each in both worlds.
_CHUNK = 32
#: Period of the transform that the taps of a broadening come from.
_PERIOD = 256
#: Lengths of blocks, which are twice the reach of the taps, and up to which width of the Gaussian
#: in pixels each is used: all that is cut off lies beyond 4.5 standard deviations.
_HOPS, _WIDTHS = (32, 64, 88), (3.0, 6.4)
#: Below this width, in pixels, the prefilter of the spline rings far: the longest taps are used,
#: and their outer halves fade out. The sharpest lines are then wrong by 0.002 of their peak where
#: nothing broadens them; cut off they would be by 0.02.
_SHARP = 1.0
#: Blocks of the dust screen that cover a window and its margins.
_BLOCKS = 91
#: Longest filter of the pixels' own broadening, in pixels of the grid on either side.
_LONGEST = 40
_TAPS = 8


class _Tables:
    """Constants of the forward model in the layout of the graph.

    Pixels are counted from a block of the screen before the first one.
    """

    def __init__(self, physics: StellarPopulationModel) -> None:
        window, screen = physics.window, physics.screen
        self.size, self.first = window.size, window.first
        self.lead = screen.before + SCREEN
        count = (self.first + self.lead) // SCREEN + _BLOCKS
        extra = (1, count - 1 - len(screen.log_curve))
        self.log_curve, self.log_wave = (
            np.pad(table.numpy(), (extra, (0, 0)), mode="edge")
            for table in (screen.log_curve, screen.log_wave)
        )
        self.fill = screen.fill.float().numpy()
        basis = physics.light_basis.float().numpy()
        behind = count * SCREEN - self.lead - basis.shape[1]
        self.basis = np.pad(basis, ((0, 0), (self.lead, behind)))
        self.old = physics.old_size
        taper = window.taper(torch.ones(window.size)).numpy()
        self.taper = np.pad(taper, 2 * SCREEN)
        index, weights = (part.numpy() for part in window.taps(slice(None)))
        self.weights = weights
        self.begin = index[::PIXELS, None]
        self.offset = (index - np.repeat(self.begin[:, 0], PIXELS))[:, None]
        # Taps in descending order, as the Toeplitz matrix takes them.
        half = _HOPS[-1] // 2
        wave = np.arange(_PERIOD // 2 + 1)
        gain = spline_prefilter(torch.from_numpy(wave / _PERIOD)).numpy() / _PERIOD
        gain[1:-1] *= 2.0
        self.omega = 2.0 * math.pi / _PERIOD * wave
        angle = self.omega[:, None] * np.arange(half, -half - 1, -1)
        sine = gain[:, None] * np.sin(angle)
        sine[-1] = 0.0
        self.cosine, self.sine = (gain[:, None] * np.cos(angle)).astype("f4"), sine.astype("f4")
        beyond = np.maximum(np.abs(np.arange(-half, half + 1)) - 0.5 * half, 0.0)
        fade = np.cos(0.5 * math.pi * beyond / (0.5 * half + 1.0)) ** 2
        self.fade = fade[None].astype("f4")
        self.decay = (-0.5 * (self.omega / (LIGHT_KM_S * REST_STEP)) ** 2).astype("f4")
        self.filters, self.exponents = _filters()


def _filters() -> tuple[np.ndarray, np.ndarray]:
    """:func:`gaussian_filter` of all lengths, padded with zeros."""
    halves = range(LEAST_REACH, _LONGEST + 1)
    longest = gaussian_filter(_LONGEST)
    fits = np.zeros((len(halves), *longest[1].shape), "f4")
    exponents = np.zeros((len(halves), len(longest[0])), "f4")
    for place, half in enumerate(halves):
        exponent, fit = (part.numpy() for part in gaussian_filter(half))
        fits[place, : len(fit), : fit.shape[1]] = fit
        exponents[place, : len(exponent)] = exponent * math.log(2.0)
    return fits, exponents


def light_graph(physics: StellarPopulationModel) -> onnx.ModelProto:
    """The graph.

    Inputs: ``light`` ``(batch, 2, sample, component)``, coefficients of the factual and of the
    counterfactual world; ``dust_av``, ``dust_slope`` and ``velocity_dispersion``
    ``(batch, 2, sample)``; ``redshift`` ``(batch,)``; ``excess`` ``(batch, wave)`` from
    :meth:`StellarPopulationModel.lsf_excess`; ``flux`` ``(batch, wave)``; ``possible``
    ``(batch, sample)``.

    Output: ``counterfactual`` ``(sample, batch, wave)``, the flux and the change of the model.
    """
    tape, tables = Tape(), _Tables(physics)
    state = ("light", "dust_av", "dust_slope", "velocity_dispersion")

    def galaxy(t: Tape, turn: str) -> tuple[list[str], list[str]]:
        own = {name: t.Gather(name, turn, axis=0) for name in (*state, "redshift", "excess")}
        view = _view(t, tables, own)
        change = _draws(t, tables, own, view)
        flux = t.Add(change, t.Gather("flux", turn, axis=0))
        possible = t.Unsqueeze(t.Gather("possible", turn, axis=0), np.array([1]))
        return [], [t.Where(possible, flux, np.float32(np.nan))]

    (found,) = tape.loop(tape.size("redshift", 0), galaxy, [], [np.float32])
    wave = physics.window.instrument.numel()
    rows = ("batch", 2, "sample")
    return tape.model(
        {
            "light": (np.float32, (*rows, len(tables.basis))),
            **dict.fromkeys(state[1:], (np.float32, rows)),
            "redshift": (np.float64, ("batch",)),
            "excess": (np.float64, ("batch", wave)),
            "flux": (np.float32, ("batch", wave)),
            "possible": (np.bool_, ("batch", "sample")),
        },
        {"counterfactual": (tape.Transpose(found, perm=[1, 0, 2]), np.float32,
                            ("sample", "batch", wave))},
    )  # fmt: skip


def _view(t: Tape, tables: _Tables, own: dict[str, str]) -> dict[str, Any]:
    """What all draws of a galaxy share."""
    shift = t.Div(t.Log(t.Add(own["redshift"], np.float64(1))), np.float64(REST_STEP))
    whole = t.Floor(shift)
    start = t.Sub(np.int64(tables.first + tables.lead), t.Cast(whole, to=onnx.TensorProto.INT64))
    block = t.Sub(t.Div(start, np.int64(SCREEN)), np.int64(1))
    pixel = t.Mul(block, np.int64(SCREEN))
    offset = t.Sub(start, pixel)
    stop, last = t.Add(block, np.int64(_BLOCKS)), t.Add(pixel, np.int64(_BLOCKS * SCREEN))
    ramp = t.part(
        tables.taper, t.Sub(np.int64(2 * SCREEN), offset),
        t.Sub(np.int64((_BLOCKS + 2) * SCREEN), offset), 0,
    )  # fmt: skip
    basis = t.Mul(t.part(tables.basis, pixel, last, 1), ramp)
    angle = t.Mul(tables.omega, t.Sub(shift, whole))
    turned = [
        t.Mul(t.Unsqueeze(t.Cast(part, to=onnx.TensorProto.FLOAT), np.array([1])), table)
        for part, table in ((t.Cos(angle), tables.cosine), (t.Sin(angle), tables.sine))
    ]
    flat = np.array([-1])
    view = {
        "offset": offset,
        "basis": t.Split(basis, np.array([tables.old, len(tables.basis) - tables.old]),
                         outputs=2, axis=0),
        "log_curve": t.Reshape(t.part(tables.log_curve, block, stop, 0), flat),
        "log_wave": t.Reshape(t.part(tables.log_wave, block, stop, 0), flat),
    }  # fmt: skip
    least = t.ReduceMin(own["excess"], keepdims=0)
    dispersion = own["velocity_dispersion"]
    variance = t.Mul(dispersion, dispersion)
    base = t.Add(variance, t.Cast(least, to=onnx.TensorProto.FLOAT))
    view["base"] = t.Max(base, np.float32(0))
    view |= _resolution(t, own["excess"], least, variance)
    view |= _samplers(t, tables, own["excess"], least, view)
    return view | _taps(t, tables, t.Add(*turned), view["base"])


def _taps(t: Tape, tables: _Tables, taps: str, base: str) -> dict[str, str]:
    """How long the taps of the broadening are, and what makes them of its transform."""
    width = t.Div(t.Sqrt(base), np.float32(LIGHT_KM_S * REST_STEP))
    widest, narrowest = t.ReduceMax(width, keepdims=0), t.ReduceMin(width, keepdims=0)
    wide = t.Cast(t.Greater(widest, np.array(_WIDTHS, "f4")), to=onnx.TensorProto.INT64)
    sharp = t.Cast(t.Less(narrowest, np.float32(_SHARP)), to=onnx.TensorProto.INT64)
    longest = np.int64(len(_HOPS) - 1)
    place = t.Max(t.ReduceSum(wide, keepdims=0), t.Mul(sharp, longest))
    hop = t.Gather(np.array(_HOPS), place, axis=0)
    half = t.Div(hop, np.int64(2))
    middle = np.int64(_HOPS[-1] // 2)
    ends = t.Sub(middle, half), t.Add(t.Add(middle, half), np.int64(1))
    return {
        "hop": hop,
        "half": half,
        "taps": t.part(taps, *ends, 1),
        "fade": t.part(tables.fade, *ends, 1),
    }


def _resolution(t: Tape, excess: str, least: str, variance: str) -> dict[str, str]:
    """Where between the prepared dispersions each draw lies; see :mod:`acie.physics.sightline`."""
    step, zero = np.float32(UNRESOLVED_STEP), np.float32(0)
    top = t.Neg(t.Cast(least, to=onnx.TensorProto.FLOAT))
    number = t.Ceil(t.Div(t.Sqrt(t.Max(top, zero)), step))
    lower = t.Floor(t.Div(t.Sqrt(variance), step))
    ends = [t.Mul(step, lower), t.Mul(step, t.Add(lower, np.float32(1)))]
    low, high = (t.Mul(end, end) for end in ends)
    high = t.Min(high, top)
    width = t.Max(t.Sub(high, low), np.float32(1e-6))
    between = t.Add(lower, t.Div(t.Sub(variance, low), width))
    place = t.Where(t.GreaterOrEqual(variance, top), number, between)
    first = t.Floor(t.ReduceMin(place, keepdims=0))
    count = t.Cast(t.Add(t.Sub(number, first), np.float32(1)), to=onnx.TensorProto.INT64)
    return {"place": place, "first": first, "count": count, "number": number}


def _samplers(
    t: Tape, tables: _Tables, excess: str, least: str, view: dict[str, Any]
) -> dict[str, str]:
    """What makes pixels of the broadened light, for each of the prepared dispersions."""
    zero, grid = np.float64(0), np.float64((LIGHT_KM_S * REST_STEP) ** -2)
    largest = t.Mul(t.Sub(t.ReduceMax(excess, keepdims=0), least), grid)
    half = t.Cast(t.Ceil(t.Mul(t.Sqrt(largest), np.float64(REACH))), to=onnx.TensorProto.INT64)
    half = t.Min(t.Max(half, np.int64(LEAST_REACH)), np.int64(_LONGEST))
    own = t.Sub(half, np.int64(LEAST_REACH))
    rows = t.Add(t.Mul(half, np.int64(2)), np.int64(1))
    columns = t.Add(t.Mul(half, np.int64(3)), np.int64(1))
    fit = t.part(t.part(t.Gather(tables.filters, own, axis=0), 0, rows, 0), 0, columns, 1)
    exponent = t.part(t.Gather(tables.exponents, own, axis=0), 0, columns, 0)
    exponent = t.Unsqueeze(exponent, np.array([1]))
    taps = t.Add(rows, np.int64(_TAPS - 1))
    reach = t.Add(taps, np.int64(int(tables.offset.max())))
    places = t.Add(tables.offset, t.count(taps))
    wave = len(tables.offset)
    empty = t.Expand(np.float32(0), t.shape(wave, reach))
    ends = np.zeros((_TAPS - 1, wave), "f4")
    widest = np.float64((_LONGEST / REACH) ** 2)

    def one(s: Tape, turn: str) -> tuple[list[str], list[str]]:
        index = s.Add(view["first"], s.Cast(turn, to=onnx.TensorProto.FLOAT))
        node = s.Mul(np.float32(UNRESOLVED_STEP), index)
        node = s.Cast(s.Mul(node, node), to=onnx.TensorProto.DOUBLE)
        node = s.Where(s.Less(index, view["number"]), node, s.Neg(least))
        total = s.Max(s.Add(node, excess), zero)
        total = s.Sub(total, s.Max(s.Add(node, least), zero))
        total = s.Min(s.Mul(total, grid), widest)
        transfer = s.Exp(s.Mul(exponent, s.Cast(total, to=onnx.TensorProto.FLOAT)))
        gaussian = s.Concat(ends, s.MatMul(fit, transfer), ends, axis=0)
        parts = [
            s.Mul(s.part(gaussian, _TAPS - 1 - tap, s.Add(taps, np.int64(_TAPS - 1 - tap)), 0),
                  tables.weights[tap])
            for tap in range(_TAPS)
        ]  # fmt: skip
        found = s.Transpose(s.Sum(*parts), perm=[1, 0])
        dense = s.ScatterElements(empty, places, found, axis=1)
        return [], [s.Reshape(dense, s.shape(wave // PIXELS, PIXELS, reach))]

    (matrices,) = t.loop(view["count"], one, [], [np.float32])
    columns = t.Add(t.Sub(tables.begin, half), t.count(reach))
    return {"matrices": matrices, "columns": columns}


def _draws(t: Tape, tables: _Tables, own: dict[str, str], view: dict[str, Any]) -> str:
    """Change of the spectrum of all draws of a galaxy, ``(sample, wave)``."""
    one, chunk = np.int64(1), np.int64(_CHUNK)
    total = t.size(own["dust_av"], 1)
    turns = t.Div(t.Add(total, chunk - one), chunk)
    # Parts of equal size, the last draw repeated where it does not come out even.
    size = t.Div(t.Add(total, t.Sub(turns, one)), turns)
    last, numbers = t.Sub(total, one), t.count(size)
    wave = len(tables.offset)
    nothing = t.Expand(np.float32(0), t.shape(wave, size))

    def some(s: Tape, turn: str) -> tuple[list[str], list[str]]:
        index = s.Min(s.Add(s.Mul(turn, size), numbers), last)

        def of(value: str, *axes: int) -> str:
            return s.Reshape(s.Gather(value, index, axis=1), np.array([-1, *axes]))

        light = _attenuated(
            s, tables, view, of(own["light"], len(tables.basis)), of(own["dust_av"], 1),
            of(own["dust_slope"], 1),
        )  # fmt: skip
        moved = _broadened(s, tables, view, light, of(view["base"], 1))
        worlds = s.Split(s.Reshape(moved, s.shape(2, size, tables.size)), outputs=2, axis=0,
                         num_outputs=2)  # fmt: skip
        place = s.Gather(view["place"], index, axis=1)

        def pixels(r: Tape, number: str, so_far: str) -> tuple[list[str], list[str]]:
            node = r.Add(view["first"], r.Cast(number, to=onnx.TensorProto.FLOAT))
            share = r.Sub(np.float32(1), r.Abs(r.Sub(place, node)))
            share = r.Unsqueeze(r.Max(share, np.float32(0)), np.array([2]))
            shares = r.Split(share, outputs=2, axis=0, num_outputs=2)
            before, after = (r.Mul(*pair) for pair in zip(worlds, shares, strict=True))
            change = r.Transpose(r.Squeeze(r.Sub(after, before), np.array([0])), perm=[1, 0])
            read = r.Gather(change, view["columns"], axis=0)
            found = r.MatMul(r.Gather(view["matrices"], number, axis=0), read)
            return [r.Add(so_far, r.Reshape(found, r.shape(wave, size)))], []

        (found,) = s.loop(view["count"], pixels, [(nothing, np.float32)], [])
        return [], [s.Transpose(found, perm=[1, 0])]

    (found,) = t.loop(turns, some, [], [np.float32])
    return t.part(t.Reshape(found, np.array([-1, wave])), 0, total, 0)


def _attenuated(
    s: Tape, tables: _Tables, view: dict[str, Any], light: str, a_v: str, slope: str
) -> str:
    """Light on the blocks of the screen that cover the window, tapered, ``(row, pixel)``."""
    parts = s.Split(light, np.array([tables.old, len(tables.basis) - tables.old]), outputs=2,
                    axis=1)  # fmt: skip
    curve = s.Exp(s.Add(view["log_curve"], s.Mul(slope, view["log_wave"])))
    depth = s.Mul(curve, s.Mul(a_v, np.float32(-0.4 * math.log(10.0))))
    points, pixels = np.array([0, _BLOCKS, -1]), np.array([0, -1])
    passed = []
    for part, basis, ratio in zip(parts, view["basis"], (1.0, BIRTH_CLOUD_RATIO), strict=True):
        through = s.Exp(depth if ratio == 1.0 else s.Mul(depth, np.float32(ratio)))
        through = s.Reshape(s.MatMul(s.Reshape(through, points), tables.fill), pixels)
        passed.append(s.Mul(s.MatMul(part, basis), through))
    return s.Add(*passed)


def _broadened(s: Tape, tables: _Tables, view: dict[str, Any], light: str, base: str) -> str:
    """Light on the window after the Gaussian and the shift, ``(row, block, pixel)``."""
    hop, half, one = view["hop"], view["half"], np.int64(1)
    begin = s.Sub(view["offset"], half)
    stop = s.Add(begin, s.Add(hop, np.int64(tables.size)))
    blocks = s.Reshape(s.part(light, begin, stop, 1), s.shape(0, -1, hop))
    count = s.Div(np.int64(tables.size), hop)
    both = s.Concat(s.part(blocks, 0, count, 1), s.part(blocks, 1, s.Add(count, one), 1), axis=2)
    taps = s.MatMul(s.Exp(s.Mul(base, tables.decay)), view["taps"])
    sharp = s.Less(base, np.float32((_SHARP * LIGHT_KM_S * REST_STEP) ** 2))
    taps = s.Mul(taps, s.Where(sharp, view["fade"], np.float32(1)))
    # A row repeated that is one longer than those of the matrix: each is one further to the right.
    rows = s.size(taps, 0)
    width = s.Mul(hop, np.int64(2))
    row = s.Concat(taps, s.Expand(np.float32(0), s.shape(rows, hop)), axis=1)
    row = s.Expand(s.Unsqueeze(row, np.array([1])), s.shape(rows, hop, s.Add(width, one)))
    row = s.part(s.Reshape(row, np.array([0, -1])), 0, s.Mul(hop, width), 1)
    matrix = s.Transpose(s.Reshape(row, s.shape(rows, hop, width)), perm=[0, 2, 1])
    return s.MatMul(both, matrix)
