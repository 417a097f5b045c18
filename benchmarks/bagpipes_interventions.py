"""Counterfactual spectra against Bagpipes: what it paints when one parameter is changed.

Galaxies are drawn from the causal model and painted by Bagpipes at converged sampling; ACIE is
shown a noisy spectrum of each and asked for direct interventions, with the descendants of the
variable held. The answer, the median of the counterfactual model spectra and their 16-84 % band,
is compared with Bagpipes' noise-free spectrum of the changed parameter; so is the change alone,
counterfactual minus factual. Neither the galaxy nor its change has passed through ACIE's forward
model. With ``--noise shipped`` the mocks have the calibration errors, template errors and noise
scale that the shipped model reckons with, with ``plain`` only Gaussian noise, and ACIE is told.

    python benchmarks/bagpipes_interventions.py --n 40 --noise shipped

Columns: size of the change over the flux, relative error of the spectrum (median over pixels, and
its 90th percentile over galaxies), the same over half of the band, error of the change over its
size, share of pixels whose true spectrum is inside the band, and the same for the change, in the
pixels that it moves.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import torch

from acie.engine import CounterfactualEngine
from acie.quantiles import quantiles
from acie.seeds import SeedStream
from acie.simulation import NoiseModel
from bagpipes_bridge import Bagpipes, engine_without_line_width
from bagpipes_problems import noise_model, observe, paint

#: Interventions as text, and the variable whose Bagpipes parameter changes.
ACTIONS = {
    "dust_av+=0.3": "dust_av",
    "metallicity+=0.15dex": "metallicity",
    "velocity_dispersion*=1.3": "velocity_dispersion",
    "ionization_parameter+=0.4": "ionization_parameter",
}
#: Galaxies for which an action leads outside the grids are drawn again.
_LIMITS = {
    "metallicity": (0.0005, 0.03),
    "ionization_parameter": (-3.99, -2.0),
    "velocity_dispersion": (50.0, 350.0),
}
_LEVELS = (0.16, 0.5, 0.84)
REDSHIFT = (0.02, 0.25)


def draw(engine: CounterfactualEngine, count: int, seed: int) -> list[dict[str, float]]:
    """States from the causal model inside the limits."""
    generator = SeedStream(seed).generator("states")
    wanted = 8 * count
    low, high = REDSHIFT
    redshift = low + (high - low) * torch.rand(wanted, generator=generator, dtype=torch.float64)
    values, _ = engine.scm.sample((wanted,), given={"redshift": redshift}, generator=generator)
    good = torch.ones(wanted, dtype=torch.bool)
    for name, (least, most) in _LIMITS.items():
        good &= (values[name] > least) & (values[name] < most)
    chosen = good.nonzero()[:count, 0].tolist()
    return [{name: float(value[row]) for name, value in values.items()} for row in chosen]


def changed(engine: CounterfactualEngine, state: dict[str, float], action: str) -> dict:
    """The state with one variable changed and everything else as it was."""
    (name, intervention), = engine.act(action).items()  # fmt: skip
    value = torch.tensor([state[name]], dtype=torch.float64)
    return {**state, name: float(intervention.apply(value, {name: value})[0])}


def measure(
    engine: CounterfactualEngine,
    state: dict[str, float],
    bagpipes: Bagpipes,
    noise: NoiseModel | None,
    stream: SeedStream,
    draws: int,
) -> dict[str, dict[str, float]]:
    """Figures of each action for one galaxy."""
    factual = paint(state, bagpipes, engine.physics)
    generator = stream.generator("noise")
    observation = observe(factual, state["redshift"], generator, "mock", noise)
    abduction = engine.abduct(observation, draws, stream.generator("infer"))
    spectra = abduction.posterior.spectra[:, 0].double()
    truth = torch.as_tensor(factual)
    rows = {"factual": _against(spectra, truth, float(abduction.posterior.effective_draws[0]))}
    rows["factual"]["efficiency"] = float(abduction.posterior.confidence[0])
    for action, name in ACTIONS.items():
        target = torch.as_tensor(paint(changed(engine, state, action), bagpipes, engine.physics))
        hold = engine.scm.graph.descendants(name) - {name}
        answer = engine.predict(observation, abduction, engine.act(action), hold)
        change = answer.change[:, 0].double()
        # Draws without an allowed value are left out, so the spectra are the answer's own.
        spectra = answer.abduction.posterior.spectra[:, 0].double()
        effective = float(answer.effective_draws[0])
        rows[action] = {
            **_against(spectra + change, target, effective),
            **_change(change, target - truth, effective),
            "change": float((target - truth).abs().sum() / truth.sum()),
        }
    return rows


def _against(spectra: torch.Tensor, target: torch.Tensor, effective: float) -> dict[str, float]:
    """Spectra of draws ``(sample, wave)`` against the true one ``(wave,)``."""
    low, middle, high = quantiles(spectra, _LEVELS, effective)
    error = (middle - target).abs()
    return {
        "relative_error": float((error / target).median()),
        "offset": float((middle / target - 1.0).median()),
        "error_over_half_band": float((2.0 * error / (high - low)).median()),
        "coverage_68": float(((target >= low) & (target <= high)).double().mean()),
    }


def _change(change: torch.Tensor, truth: torch.Tensor, effective: float) -> dict[str, float]:
    """The change alone; its coverage where it exceeds a twentieth of its largest value."""
    low, middle, high = quantiles(change, _LEVELS, effective)
    moved = truth.abs() > 0.05 * truth.abs().max()
    inside = ((truth >= low) & (truth <= high))[moved]
    return {
        # Weighted by the change itself: pixels that hardly change do not count.
        "change_error": float((middle - truth).abs().sum() / truth.abs().sum()),
        "change_coverage_68": float(inside.double().mean()),
    }


def run(engine: CounterfactualEngine, count: int, seed: int, draws: int, shipped: bool) -> dict:
    """Medians over galaxies, mean coverage with its standard error over galaxies."""
    bagpipes = Bagpipes(30000.0, log_sampling=1e-4)
    noise = engine.noise_model if shipped else None
    rows = [
        measure(engine, state, bagpipes, noise, SeedStream(seed + 1 + index), draws)
        for index, state in enumerate(draw(engine, count, seed))
    ]
    result: dict = {"galaxies": len(rows), "draws": draws, "seed": seed, "actions": {}}
    result["noise"] = "shipped" if shipped else "plain"
    for action in ("factual", *ACTIONS):
        summary: dict[str, float] = {}
        for key in rows[0][action]:
            values = np.array([row[action][key] for row in rows])
            if key.endswith("coverage_68"):
                summary[key] = float(values.mean())
                summary[f"{key}_error"] = float(values.std(ddof=1) / len(rows) ** 0.5)
                continue
            summary[key] = float(np.median(values))
            if key == "relative_error":
                summary["relative_error_p90"] = float(np.percentile(values, 90))
        result["actions"][action] = summary
    return result


def table(result: dict) -> str:
    """At 80 columns; errors in per cent."""
    lines = [
        f"{result['galaxies']} galaxies, S/N 20, {result['noise']} noise, {result['draws']} draws",
        f"{'':>25}{'change':>7}{'error':>7}{'p90':>7}{'/band':>6}{'dchange':>8}"
        f"{'covered':>12}{'dcover':>7}",
    ]
    for action, row in result["actions"].items():
        moved = "change" in row
        lines.append(
            f"{action:>25}"
            + (f"{100 * row['change']:6.2f}%" if moved else f"{'':7}")
            + f"{100 * row['relative_error']:6.2f}%{100 * row['relative_error_p90']:6.2f}%"
            + f"{row['error_over_half_band']:6.2f}"
            + (f"{100 * row['change_error']:7.1f}%" if moved else f"{'':8}")
            + f"{row['coverage_68']:7.3f}+-{row['coverage_68_error']:.2f}"
            + (f"{row['change_coverage_68']:7.3f}" if moved else "")
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--n", type=int, default=40, help="galaxies")
    parser.add_argument("--samples", type=int, default=256, help="draws per galaxy")
    parser.add_argument("--noise", choices=("shipped", "plain"), default="shipped")
    parser.add_argument("--model", default="galaxy-v1")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("bagpipes-fits"), help="cache")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    cache = arguments.work / "templates-narrow-lines.safetensors"
    engine = engine_without_line_width(arguments.model, cache)
    shipped = arguments.noise == "shipped"
    if not shipped:
        engine = CounterfactualEngine(engine.bundle, noise_model(calibrated=False))
    result = run(engine, arguments.n, arguments.seed, arguments.samples, shipped)
    print(json.dumps(result) if arguments.json else table(result))


if __name__ == "__main__":
    main()
