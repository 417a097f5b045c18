"""Estimated redshifts: laws of the scan, its errors, and the redshifts of a survey's pipeline."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import acie
import acie.io
from acie.cli import main
from acie.observation import WAVELENGTH, Observation
from acie.redshift import RedshiftScanner, estimate_redshift, settle_redshift, with_redshift
from acie.results import QualityFlag
from acie.seeds import SeedStream
from acie.simulation import Simulator, SurveyConfig

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
#: Spectra whose pipeline redshift carries no warning, inside the range of the model.
GOOD = (
    "sdss/spec-0266-51602-0166.fits",
    "sdss/spec-0266-51602-0573.fits",
    "sdss/spec-0266-51630-0168.fits",
    "sdss/spec-0266-51630-0174.fits",
    "sdss/spec-0266-51630-0215.fits",
    "sdss/spec-0266-51630-0367.fits",
    "sdss/spec-0266-51630-0481.fits",
    "sdss/spec-0266-51630-0486.fits",
    "sdss/spec-0266-51630-0598.fits",
    "sdss/spec-0267-51608-0413.fits",
    "sdss/spec-0268-51633-0074.fits",
    "sdss/spec-0268-51633-0223.fits",
    "sdss/spec-0268-51633-0251.fits",
    "desi/coadd-4-80613-thru20210324.fits",
)


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def scanner(engine):
    return RedshiftScanner(engine.bundle.encoder)


@pytest.fixture(scope="module")
def galaxies(engine):
    survey = replace(SurveyConfig(), snr=(8.0, 12.0))
    simulator = Simulator(engine.scm, engine.physics, engine.noise_model, survey)
    return simulator.draw(60, SeedStream(5).generator("redshift"))


@pytest.fixture(scope="module")
def found(scanner, galaxies):
    return scanner(galaxies.observation)


def test_simulated_galaxies_are_found(galaxies, found):
    difference = found.value - galaxies.values["redshift"]
    assert float(difference.abs().max()) < 1e-3
    assert not bool(found.ambiguous.any())


def test_errors_are_those_of_the_estimates(galaxies, found):
    pull = (found.value - galaxies.values["redshift"]) / found.error
    # The scale of the noise is drawn with 20 degrees of freedom, so pulls follow a Student law
    # of variance 20/18 and kurtosis 3 + 6/16; four standard errors of a variance of 60 draws.
    variance = 20.0 / 18.0
    tolerance = 4.0 * variance * np.sqrt((2.0 + 6.0 / 16.0) / len(pull))
    assert float(pull.square().mean()) == pytest.approx(variance, abs=tolerance)


def test_the_unit_of_flux_does_not_matter(scanner, galaxies, found):
    observation = galaxies.observation[:6]
    scaled = replace(observation, flux=observation.flux * 1e3, ivar=observation.ivar * 1e-6)
    again = scanner(scaled)
    torch.testing.assert_close(again.value, found.value[:6], rtol=0, atol=1e-7)
    torch.testing.assert_close(again.delta_chi2, found.delta_chi2[:6], rtol=1e-3, atol=1e-2)


def test_the_redshift_at_hand_is_not_used(scanner, galaxies, found):
    observation = galaxies.observation[:3]
    other = replace(observation, redshift=torch.full((3,), torch.nan, dtype=torch.float64))
    torch.testing.assert_close(scanner(other).value, found.value[:3], rtol=0, atol=0)


def test_the_fourier_scan_is_the_direct_fit(engine, scanner, galaxies):
    """The chi-square at single lags against a dense ridge regression on the log grid."""
    from acie.inference.projection import scatter_to_rest
    from acie.redshift import POLYNOMIAL, POLYNOMIAL_PRIOR

    encoder, observation = engine.bundle.encoder, galaxies.observation[:1]
    redshifts, chi2 = scanner.chi_square(observation)
    flux, weight = observation.flux.double(), observation.ivar.double()
    weight = weight / (1.0 + weight * (0.02 * flux).square())
    step = encoder.config["log_step"]
    size = int(np.log(WAVELENGTH[-1] / WAVELENGTH[0]) / step) + 2
    position = torch.as_tensor(np.log(WAVELENGTH / WAVELENGTH[0]) / step)[None]
    stacked = torch.stack([weight, weight * flux, weight * flux**2])
    w, wy, wyy = scatter_to_rest(stacked, position, size)[:, 0].numpy()
    basis = torch.cat([encoder.mean[:, None], encoder.components[:, :16]], 1).double().numpy()
    smooth = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, size), POLYNOMIAL - 1)
    scale = np.sqrt(wyy.sum() / w.sum())

    def fit(design, prior):
        matrix = design.T @ (design * w[:, None]) * np.outer(prior, prior)
        matrix = matrix + np.eye(len(prior))
        right = design.T @ wy * prior
        return right @ np.linalg.solve(matrix, right) - np.linalg.slogdet(matrix)[1]

    for lag in (400, 1500, 2300):  # redshifts at which the components cover every pixel
        shift = np.log1p(float(redshifts[lag])) - np.log(
            WAVELENGTH[0] / encoder.config["rest_start"]
        )
        start = -int(round(shift / step))
        rows = np.zeros((size, basis.shape[1]))
        inside = np.arange(size) + start
        covered = (inside >= 0) & (inside < len(basis))
        rows[covered] = basis[inside[covered]]
        amplitude = (rows[:, 0] @ wy) / (rows[:, 0] ** 2 @ w)
        amplitude = max(amplitude, 1e-3 * scale)
        values = encoder.eigenvalues[:16].double().sqrt().numpy()
        prior = amplitude * np.array([3.0, *values, *[POLYNOMIAL_PRIOR] * POLYNOMIAL])
        visible = smooth * covered[:, None]
        alone = np.full(POLYNOMIAL, 3.0 * scale)
        full = fit(np.concatenate([rows, visible], 1), prior)
        expected = wyy.sum() - fit(smooth, alone) - (full - fit(visible, alone))
        assert float(chi2[lag]) == pytest.approx(expected, rel=1e-6, abs=1e-3)


def test_noise_has_no_redshift(scanner):
    """Of pure noise, the best of thousands of trials is seldom far ahead of the second best."""
    generator = torch.Generator().manual_seed(2)
    flux = torch.randn((20, WAVELENGTH.size), generator=generator, dtype=torch.float64)
    noise = Observation(
        flux=flux,
        ivar=torch.ones_like(flux),
        redshift=torch.full((20,), torch.nan, dtype=torch.float64),
        lsf=torch.full_like(flux, 65.0),
    )
    found = scanner(noise)
    assert float(found.ambiguous.double().mean()) > 0.8
    flags = with_redshift(noise, found).quality
    marked = (flags & int(QualityFlag.REDSHIFT_AMBIGUOUS)) > 0
    assert torch.equal(marked, found.ambiguous)
    assert bool(((flags & int(QualityFlag.REDSHIFT_ESTIMATED)) > 0).all())


def test_gaps_and_short_spectra_are_scanned(scanner, galaxies, found):
    """A third of the pixels is enough; where the components see no pixel there is no minimum."""
    wave = torch.as_tensor(WAVELENGTH.copy())
    seen = galaxies.observation[:4]
    part = replace(seen, ivar=seen.ivar * ((wave > 5000.0) & (wave < 7000.0)))
    again = scanner(part)
    agree = (again.value - found.value[:4]).abs() < 1e-3
    assert bool((agree | again.ambiguous).all())
    assert bool(agree.any())
    blue = replace(seen, ivar=seen.ivar * (wave < 4200.0))
    short = scanner(blue)
    # At z = 1 the components end at 4500 angstrom: redder than every pixel that is left.
    assert float(short.value.max()) < 0.95
    assert bool(short.error.isfinite().all())


def test_only_an_unknown_redshift_is_estimated(engine, scanner, galaxies, found):
    known = galaxies.observation[4]
    same, estimate = settle_redshift(known, scanner)
    assert estimate is None
    assert torch.equal(same.redshift, known.redshift)
    assert int(same.quality) == int(known.quality)
    unknown = replace(known, redshift=torch.full_like(known.redshift, torch.nan))
    filled, estimate = settle_redshift(unknown, engine)
    assert filled.redshift.shape == known.redshift.shape
    assert float(filled.redshift) == float(found.value[4]) == float(estimate.value[0])
    assert filled.meta["redshift_source"] == "estimated"
    torch.testing.assert_close(
        estimate_redshift(unknown, engine.bundle.encoder).error, found.error[4:5]
    )


@pytest.mark.parametrize("name", GOOD)
def test_the_redshift_of_the_survey_is_found(scanner, name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"needs {name}, which is not part of the repository")
    observation = acie.io.read(path)
    found = scanner(observation)
    assert float(found.value[0]) == pytest.approx(float(observation.redshift), abs=1e-3)
    assert not bool(found.ambiguous[0])


@pytest.mark.slow
def test_the_command_line_estimates_what_the_file_does_not_say(capsys, galaxies, tmp_path):
    row = galaxies.observation[7]
    unknown = replace(row, redshift=torch.full_like(row.redshift, torch.nan))
    path = acie.io.write_observation(unknown, tmp_path / "unknown.fits")
    known = acie.io.write_observation(row, tmp_path / "known.fits")
    truth = float(row.redshift)
    for arguments in ([path], [known, "--redshift", "estimate"]):
        assert main(["infer", *map(str, arguments), "--samples", "16", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        estimate = answer["redshift_estimate"]
        assert set(estimate) == {"value", "error", "delta_chi2", "second"}
        assert answer["redshift"] == estimate["value"] == pytest.approx(truth, abs=1e-3)
        assert "REDSHIFT_ESTIMATED" in answer["quality"]
    assert main(["infer", str(known), "--samples", "16", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "redshift_estimate" not in answer
    assert answer["redshift"] == truth
    assert "REDSHIFT_CONFLICT" not in answer["quality"]
    other = str(truth + 0.05 if truth < 0.3 else truth - 0.05)
    assert main(["infer", str(known), "--samples", "16", "--json", "--redshift", other]) == 0
    assert "REDSHIFT_CONFLICT" in json.loads(capsys.readouterr().out)["quality"]
