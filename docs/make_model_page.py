"""Write docs/model.md from the code: python docs/make_model_page.py.

``page()`` returns the text; a test compares it with the committed file.
"""

__all__ = ["page"]

import enum
import inspect
import math
import re
from pathlib import Path

import torch
from torch import Tensor

from acie import quality, redshift, refinement
from acie.observation import WAVELENGTH
from acie.physics import StellarPopulationModel
from acie.results import QualityFlag
from acie.scm import StructuralCausalModel
from acie.simulation import (
    LATENT_NAMES,
    NoiseModel,
    build_galaxy_scm,
    load_relations,
    published_log_mass,
)
from acie.simulation.galaxy import ALIASES

TARGET = Path(__file__).with_name("model.md")

STATUS = {
    "TeX": "checked against the source text of the paper",
    "code": "taken from independent public codes",
    "fit": "a smooth least-squares fit of ours to a published table",
    "declared": "an assumption of this model, with no publication behind it",
}

INTRO = """\
# The galaxy model, version 1

*Written by `docs/make_model_page.py` from the declarations, the coefficients and the docstrings in
the code. Change those, run the script, commit both.*

The model is a structural causal model: every variable is a function of its direct causes and of
its own exogenous noise, `v = f(parents, u)`. The noise of different variables is independent.
Continuous mechanisms are monotone in `u`, so the noise that explains an observed value is unique;
`quenched` is binary, so its noise is known only up to an interval, and is drawn from it.
"""

ASSUMPTIONS = """\
## What is assumed

1. **Population relations are used as mechanisms.** The relations describe how properties go
   together among observed galaxies. Reading them as what *would* happen to one galaxy whose mass
   were different is an assumption, and nothing in a spectrum can test it. An answer is as good as
   the graph and its relations; both can be replaced (see [CONTRIBUTING](../CONTRIBUTING.md)).
2. **No hidden common causes.** The noises of different variables are independent. Residuals that
   are correlated in reality (for example those of star-formation rate and gas metallicity beyond
   the fundamental metallicity relation) are not modelled.
3. **Age is the time since the onset of star formation**, but its mechanism is a fit to
   *light-weighted* ages. The two differ, most for galaxies that form stars now.
4. **One smooth history.** Star formation follows a delayed exponential. `tau` is not free: it is
   the value that gives this `sfr` at this `stellar_mass` and `age`. No bursts, no rejuvenation.
5. **Surviving mass at solar metallicity.** `stellar_mass` counts stars and remnants; the fraction
   of the mass formed that survives is taken at solar metallicity whatever the metallicity is.
6. **Declared parts.** The halo-mass prior, the quenched branch of `sfr` and its scatter, the
   fading of dust in quiescent galaxies, and the scatters called declared in the table are choices
   of ours. Some published scatters include measurement error and are wider than the intrinsic
   ones.
7. **Gas shares the stellar velocity dispersion.** Emission lines are as broad as absorption lines.
8. **Redshift is given.** It comes with the observation, is taken as exact, and cannot be acted on.
9. **Left out:** active nuclei, the dust of the Milky Way (spectra are not corrected for it), the
   2175 angstrom bump, the light outside the fibre (masses are those of the light observed).

Because noise is held fixed, an action moves all descendants along their relations. To ask for the
effect along some paths only, keep descendants with `hold`; see
[counterfactuals.md](counterfactuals.md).
"""


def _number(value: float) -> str:
    return re.sub(r"e([+-])0*", lambda match: "e" + match[1].strip("+"), f"{value:.3g}")


def _scm() -> StructuralCausalModel:
    """The causal model without template grids: drawing the graph evaluates no mechanism."""

    class _NoPhysics:
        history = None

        def surviving_fraction(self, age_gyr: Tensor, tau_gyr: Tensor) -> Tensor:
            return torch.ones_like(age_gyr)

    return build_galaxy_scm(_NoPhysics())  # type: ignore[arg-type]


def _graph(scm: StructuralCausalModel) -> str:
    read = set(re.findall(r'state\["(\w+)"\]', inspect.getsource(StellarPopulationModel)))
    direct = [name for name in scm.graph.order if name in read]
    lines = [scm.graph.to_mermaid(), "    spectrum([spectrum])"]
    lines += [f"    {name} -.-> spectrum" for name in direct]
    return (
        "## The graph\n\n```mermaid\n" + "\n".join(lines) + "\n```\n\n"
        "Dashed arrows are the forward model (light). It reads these variables and no others; "
        "`sfr` reaches the spectrum through `tau`. "
        f"{', '.join(f'`{name}`' for name in LATENT_NAMES)} and `quenched` reach it only through "
        "the rest, and are therefore known only as well as the relations tie them.\n"
    )


def _range(name: str, section: dict) -> str:
    if "range" not in section:
        return "not recorded"
    low, high = section["range"]
    return f"log M* {low:g} to {high:g}"


def _variables(scm: StructuralCausalModel) -> str:
    relations = load_relations()
    rows = [
        "| variable | symbol | unit | support | parents | mechanism |",
        "|---|---|---|---|---|---|",
    ]
    for name, variable in scm.variables.items():
        support = " to ".join(_number(bound) for bound in variable.support)
        if variable.kind == "binary":
            support = "0 or 1"
        parents = ", ".join(variable.parents) or "none (root)"
        mechanism = type(scm.mechanisms[name]).__name__
        rows.append(
            f"| `{name}` | $`{variable.symbol}`$ | {variable.unit or '-'} | {support} "
            f"| {parents} | {mechanism} |"
        )
    meaning = [
        f"- `{v.name}`: {v.description}.{'' if v.intervenable else ' Cannot be acted on.'}"
        for v in scm.variables.values()
    ]
    sources = ["| variable | source | status | published range |", "|---|---|---|---|"]
    for name in scm.variables:
        section = relations.get(name)
        if section is None:
            continue
        sources.append(
            f"| `{name}` | {section['source']} | {section['status']} | {_range(name, section)} |"
        )
    aliases = ", ".join(f"`{alias}` for `{name}`" for alias, name in ALIASES.items())
    status = [f"- **{key}**: {text}." for key, text in STATUS.items()]
    return "\n".join([
        "## The variables", "", *rows, "", *meaning, "", f"Aliases: {aliases}.", "",
        "## The mechanisms", "",
        "`redshift` is given with the observation and `tau` is derived; every other mechanism has "
        "its coefficients, source and status in `src/acie/simulation/relations.toml`.", "",
        *sources, "", "Status:", "", *status, "",
        "The status is about where the coefficients come from. It does not say that the relation "
        "is causal; none has been shown to be.", "",
    ])  # fmt: skip


def _noise() -> str:
    model = NoiseModel()
    return f"""\
## The noise model

The instrument grid has {WAVELENGTH.size} pixels, {WAVELENGTH[0]:.0f} to {WAVELENGTH[-1]:.0f}
angstrom in vacuum. A spectrum differs from a perfect one by:

- **pixel noise** with the stated inverse variance, times a common unknown scale: the true
  variance is the stated one times dof / chi2(dof), with dof = {model.scale_dof:g};
- **template error**, {100 * model.template_error:g} % of the flux per pixel where the templates
  are MILES (3540 to 7350 angstrom at rest) and {100 * model.template_error_outside:g} % outside,
  added in quadrature;
- **calibration**, a multiplicative polynomial of {model.calibration_terms} Chebyshev terms whose
  coefficients have a standard deviation of {model.calibration:g} times that scale.

Calibration and noise scale are integrated out exactly, so the likelihood is a Student law in the
chi-square of what is left. Caveats: the noise of neighbouring pixels is taken as independent,
although rebinning and template errors correlate it; and the pixels of a galaxy share one noise
scale, which stands for errors that are wrong by a common factor, not for a few bad pixels.

In a counterfactual the residual of the observed pixels, observed minus model, is part of the noise
and is kept: the counterfactual spectrum is the observation plus the change of the model. It
carries the noise of the observation, and calibration errors in it are not scaled with the change.
"""


def _confidence() -> str:
    return f"""\
## What `confidence` means

The neural posterior proposes states. Exact spectra of a few of them make a reduced likelihood, on
which the proposal is adapted in a few rounds; the draws that are chosen get exact spectra and are
weighted with the exact likelihood above. `confidence` is the importance-sampling efficiency: the
effective sample size over the number of draws in the last round, times the same for the last
weighting, between 0 and 1. Near 1, the draws needed hardly any correction; near 0, a few draws
carry all the weight and the intervals are unreliable. It is computed for every galaxy. It judges
the agreement of the adapted proposal with *this* model's likelihood; it does not say that the
model is right (see `POOR_FIT` and `OUT_OF_DISTRIBUTION`), nor that the causal assumptions hold.

A galaxy gets a longer refinement, and if need be one or two in which every draw has an exact
spectrum, when all its draws together are worth fewer than {refinement.HARD:g} of the number asked
for, or when
its residuals are correlated: when their robust standard deviation in bins of five pixels, in units
of the stated errors (the misfit, about 1 for a good fit), exceeds that of single pixels by more
than the factor {refinement.MISFIT:g}. The log likelihood of these refinements is then divided
by that ratio squared, so that correlated misfits do not pass for information; intervals get wider.
Its `confidence` is that of the best of these refinements. Where all of them fail, so that the
draws are worth fewer than 16, their weights are flattened until they are worth 16: the intervals
are then too wide rather than of no width, and `LOW_CONFIDENCE` says so.
"""


def _flag_comments() -> dict[str, str]:
    """The comment above each quality bit in the source."""
    source = inspect.getsource(QualityFlag)
    pairs = re.findall(r"((?:    #: .*\n)+)    (\w+) = 1 << ", source)
    return {name: " ".join(comment.replace("#:", "").split()) for comment, name in pairs}


def _quality() -> str:
    comments = _flag_comments()
    low, high = published_log_mass()
    edges = ", ".join(f"`{name}`" for name in quality.EDGE_NAMES)
    extra = {
        "LOW_CONFIDENCE": f"Threshold: {quality.LOW_CONFIDENCE:g}.",
        "POOR_FIT": f"Raised when the posterior predictive p value is below {quality.POOR_FIT:g}: "
        "[how](trust.md#poor_fit).",
        "OUT_OF_DISTRIBUTION": "Judged by the encoder: the chi-square of the projection, or the "
        "distance of the features, is beyond the training population.",
        "AT_EDGE": f"Raised when {quality.EDGE_DRAWS:.0%} of the draws lie within the last "
        f"{quality.EDGE_WIDTH:.0%} of the range of {edges} (of the last one the upper end only).",
        "REDSHIFT_AMBIGUOUS": "Raised when the gap in chi-square is below "
        f"{redshift.SMALL_GAP:g}.",
        "REDSHIFT_CONFLICT": f"Raised when the two differ by {redshift.CONFLICT_SIGMA:g} standard "
        f"errors and {redshift.CONFLICT_KM_S:g} km/s, and the gap is no smaller than that.",
        "LOW_SNR": f"Threshold: {quality.LOW_SNR:g}.",
        "EXTRAPOLATED": "Raised when the median of log10 stellar mass, of the factual or of the "
        f"counterfactual world, is outside {low:g} to {high:g}, where most sources stop.",
    }
    rows = ["| bit | name | meaning |", "|--:|---|---|"]
    for flag in _members(QualityFlag):
        bit = int(math.log2(flag.value))
        meaning = f"{comments[flag.name]} {extra.get(flag.name, '')}".strip()
        rows.append(f"| {bit} | `{flag.name}` | {meaning} |")
    return "\n".join([
        "## What `quality` means", "",
        "A bit mask; 0 means that nothing is known to be wrong. Bad input raises an error "
        "instead, and nothing is repaired silently. Bits 16 to 30 are reserved and never set.",
        "", *rows, "",
    ])  # fmt: skip


def _members(flags: type[enum.IntFlag]) -> list[enum.IntFlag]:
    return sorted(flags, key=lambda flag: flag.value)


def page() -> str:
    """The text of the page."""
    scm = _scm()
    parts = (
        INTRO, _graph(scm), _variables(scm), ASSUMPTIONS, _noise(), _confidence(), _quality(),
    )  # fmt: skip
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
