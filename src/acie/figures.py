"""Figures for people: spectra in both worlds, and the state before and after."""

__all__ = ["counterfactual_band", "plot_counterfactual"]

from pathlib import Path

import numpy as np

from acie.quantiles import quantiles
from acie.results import CounterfactualResult
from acie.variables import Variable

_LINES = {"[O II]": 3728.5, "H$\\beta$": 4862.7, "[O III]": 5008.2, "H$\\alpha$": 6564.6}
_LEVELS = (0.16, 0.5, 0.84)
_FACTUAL, _COUNTER = "#4c5a67", "#c8442d"


def _smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    return np.convolve(values, np.ones(width) / width, mode="same")


def plot_counterfactual(
    result: CounterfactualResult, variables: dict[str, Variable], path: str | Path, title: str
) -> None:
    """Write a figure of the first galaxy of a result.

    Top: observed spectrum, and the counterfactual with its 16-84 % band. Bottom: the ratio of the
    two, and the posteriors of the variables that moved most.
    """
    from matplotlib.figure import Figure

    wave = np.asarray(result.observation.wavelength)
    good = (result.observation.ivar[0] > 0).numpy()
    observed = np.where(good, result.observation.flux[0].numpy(), np.nan)
    low, middle, high = counterfactual_band(result)
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplot_mosaic(
        [["spectrum"] * 4, ["ratio"] * 4, list("abcd")], height_ratios=[3, 1.2, 1.5]
    )
    top = axes["spectrum"]
    axes["ratio"].sharex(top)
    top.tick_params(labelbottom=False)
    top.plot(wave, _smooth(observed), color=_FACTUAL, lw=0.7, label="observed (5 pixel mean)")
    shown = np.where(good, middle, np.nan)
    top.plot(wave, _smooth(shown), color=_COUNTER, lw=0.8, label=", ".join(result.actions))
    top.fill_between(wave, low, high, where=good, color=_COUNTER, alpha=0.25, lw=0)
    limit = np.nanpercentile(np.concatenate([observed, shown]), [0.3, 99.7])
    top.set_ylim(min(0.0, limit[0]), limit[1] * 1.15)
    redshift = float(result.observation.redshift[0])
    for name, rest in _LINES.items():
        at = rest * (1.0 + redshift)
        if wave[0] < at < wave[-1]:
            top.axvline(at, color="0.8", lw=0.7, zorder=0)
            top.text(at, top.get_ylim()[1], name, ha="center", va="bottom", fontsize=8)
    top.set_ylabel(r"$F_\lambda$ [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ $\mathrm{\AA}^{-1}$]")
    top.set_title(title, loc="left", pad=18, fontsize=10)
    # Above the panels: within them, lines of the spectrum would run through the words.
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    spectra = result.abduction.posterior.spectra[:, 0]
    ratio = ((spectra + result.change[:, 0]) / spectra.clamp(min=1e-12)).double()
    bands = quantiles(ratio, _LEVELS, result.effective_draws[0]).numpy()
    axes["ratio"].fill_between(wave, bands[0], bands[2], color=_COUNTER, alpha=0.25, lw=0)
    axes["ratio"].plot(wave, bands[1], color=_COUNTER, lw=0.8)
    axes["ratio"].axhline(1.0, color="0.6", lw=0.7)
    axes["ratio"].set_ylabel("counterfactual\n/ factual model")
    axes["ratio"].set_xlabel(r"vacuum wavelength [$\mathrm{\AA}$]")
    for key, name in zip("abcd", _most_moved(result, variables), strict=True):
        _plot_marginals(axes[key], result, variables[name])
    figure.savefig(path, dpi=130)


def counterfactual_band(result: CounterfactualResult, galaxy: int = 0) -> tuple[np.ndarray, ...]:
    """16, 50 and 84 % of the counterfactual spectrum, each ``(wave,)``."""
    bands = quantiles(result.change[:, galaxy], _LEVELS, result.effective_draws[galaxy])
    flux = result.observation.flux[galaxy].double()
    return tuple((flux + band).numpy() for band in bands)


def _most_moved(result: CounterfactualResult, variables: dict[str, Variable]) -> list[str]:
    factual = result.abduction.posterior.values

    def moved(name: str) -> float:
        before = variables[name].forward(factual[name][:, 0].clamp(min=1e-12))
        after = variables[name].forward(result.values[name][:, 0].clamp(min=1e-12))
        return float((after - before).abs().median() / (before.std() + 1e-6))

    names = [n for n, v in variables.items() if v.kind == "continuous" and n != "redshift"]
    return sorted(names, key=moved, reverse=True)[:4]


def _plot_marginals(axis, result: CounterfactualResult, variable: Variable) -> None:  # noqa: ANN001
    before = variable.forward(result.abduction.posterior.values[variable.name][:, 0]).numpy()
    after = variable.forward(result.values[variable.name][:, 0]).numpy()
    edges = np.linspace(min(before.min(), after.min()), max(before.max(), after.max()) + 1e-9, 28)
    axis.hist(before, edges, color=_FACTUAL, alpha=0.6)
    axis.hist(after, edges, color=_COUNTER, alpha=0.6)
    log = r"\log_{10}" if variable.transform == "log10" else ""
    unit = f" [{variable.unit}]" if variable.unit else ""
    axis.set_xlabel(f"${log} {variable.symbol}$ {unit}", fontsize=9)
    axis.set_yticks([])
