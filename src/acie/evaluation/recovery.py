"""Parameter recovery and counterfactual error on fresh simulations."""

__all__ = ["Recovery", "measure_recovery"]

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.quantiles import quantiles
from acie.seeds import SeedStream
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator, SurveyConfig

_LEVELS = torch.tensor([0.16, 0.5, 0.84], dtype=torch.float64)
_BATCH = 20


@dataclass(frozen=True)
class Recovery:
    """What was measured.

    Arguments:
        figures: Scatter, bias and coverage by variable; efficiency; counterfactual coverage.
        truth: True values, each ``(batch,)``.
        bands: 16, 50 and 84 % of the posteriors, each ``(3, batch)``.
    """

    figures: dict[str, Any]
    truth: dict[str, Tensor]
    bands: dict[str, Tensor]


def measure_recovery(
    engine: CounterfactualEngine,
    count: int,
    *,
    snr: float = 20.0,
    do: str = "stellar_mass*=1.5",
    samples: int = 256,
    seed: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Recovery:
    """Simulate ``count`` galaxies at one S/N, infer them, and compare with the truth.

    Scatter is half of the 16-84 % range of median minus truth, on the natural scale of the
    variable (dex for log10 ones). Counterfactual coverage is the share of pixels whose true
    noise-free counterfactual lies between the 16 and 84 % of the counterfactual model spectra.
    """
    survey = replace(SurveyConfig(), snr=(snr, snr * 1.0001))
    simulator = Simulator(engine.scm, engine.physics, engine.noise_model, survey)
    names = (*SPECTRAL_NAMES, *LATENT_NAMES)
    truth: dict[str, list[Tensor]] = {name: [] for name in names}
    bands: dict[str, list[Tensor]] = {name: [] for name in names}
    efficiency, inside, error, fit = [], [], [], []
    for start in range(0, count, _BATCH):
        stream = SeedStream(seed)
        drawn = simulator.draw(min(_BATCH, count - start), stream.generator(f"draw-{start}"))
        generator = stream.generator(f"infer-{start}")
        result = engine.counterfactual(drawn.observation, do, (), samples, generator)
        posterior = result.abduction.posterior
        effective, levels = posterior.effective_draws, _LEVELS.tolist()
        for name in names:
            truth[name].append(drawn.values[name])
            bands[name].append(quantiles(posterior.values[name], levels, effective))
        _, target = simulator.true_counterfactual(drawn, do)
        spectra = (posterior.spectra + result.change).double()
        band = quantiles(spectra, levels, effective[:, None])
        inside.append(((target >= band[0]) & (target <= band[2])).float().mean(-1))
        error.append(((band[1] - target).abs() / target.clamp(min=1e-12)).median(-1).values)
        efficiency.append(result.confidence)
        fit.append(posterior.fit)
        progress(min(start + _BATCH, count))
    true = {name: torch.cat(values) for name, values in truth.items()}
    band_table = {name: torch.cat(values, 1) for name, values in bands.items()}
    figures: dict[str, Any] = {"count": count, "snr": snr, "do": do}
    scatter, bias, coverage = {}, {}, {}
    for name in names:
        variable = engine.scm.variables[name]
        low, middle, high = band_table[name]
        difference = variable.forward(middle) - variable.forward(true[name])
        ends = torch.quantile(difference, _LEVELS)
        scatter[name] = float(ends[2] - ends[0]) / 2.0
        bias[name] = float(ends[1])
        coverage[name] = float(((true[name] >= low) & (true[name] <= high)).double().mean())
    fast = true["velocity_dispersion"] > 100.0
    ratio = band_table["velocity_dispersion"][1][fast] / true["velocity_dispersion"][fast] - 1.0
    spread = torch.quantile(ratio, _LEVELS)
    figures |= {
        "scatter": scatter,
        "bias": bias,
        "coverage_68": coverage,
        "velocity_dispersion_relative_scatter": float(spread[2] - spread[0]) / 2.0,
        "efficiency_median": float(torch.cat(efficiency).median()),
        "counterfactual_coverage_68": float(torch.cat(inside).mean()),
        "counterfactual_relative_error": float(torch.cat(error).median()),
        "fit_median": float(torch.cat(fit).median()),
    }
    return Recovery(figures, true, band_table)
