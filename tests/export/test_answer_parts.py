"""Parts of the graph of an answer against the parts of the engine that they stand for."""

import numpy as np
import pytest
import torch

import acie
from acie.export.answer.light import light_graph
from acie.export.answer.parity import QUESTIONS
from acie.export.answer.worlds import ACTIONS, CausalWorlds
from acie.export.graph.tables import LogNormalTail, TruncatedNormal
from acie.export.network.parity import eager_draws, simulate
from acie.physics import OBSERVED
from acie.scm.truncated_normal import noise_of_value, value_of_noise
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def engine():
    return acie.load()


def test_the_truncated_normal_law_is_that_of_the_model_at_any_depth():
    generator = torch.Generator().manual_seed(0)
    noise, middle = torch.randn(2, 20_000, generator=generator, dtype=torch.float64)
    width = 20.0 * torch.rand(20_000, generator=generator, dtype=torch.float64) ** 2 + 0.01
    ends = 8.0 * middle - width, 8.0 * middle + width
    law, value = TruncatedNormal(), value_of_noise(noise, *ends)
    torch.testing.assert_close(law.value_of_noise(noise, *ends), value, rtol=0, atol=1e-9)
    back = law.noise_of_value(value, *ends)
    torch.testing.assert_close(back, noise_of_value(value, *ends), rtol=0, atol=1e-8)


def test_the_tail_of_the_normal_law_keeps_its_digits():
    x = torch.linspace(0.0, 60.0, 4001, dtype=torch.float64)
    expected = torch.special.log_ndtr(-x)
    torch.testing.assert_close(LogNormalTail()(x), expected, rtol=1e-11, atol=1e-11)


@torch.no_grad()
@pytest.mark.parametrize(("question", "hold"), [*((q, ()) for q in QUESTIONS),
                                                (QUESTIONS[3], ("size",))])  # fmt: skip
def test_both_worlds_are_those_of_the_causal_model(engine, question, hold):
    sample, count = simulate(engine, 6, 3), 40
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 6, 11, generator=generator).numpy()
    uniform = torch.rand(count, 6, 2, generator=generator, dtype=torch.float64)
    redshift = sample.observation.redshift.double()
    drawn = eager_draws(engine.bundle.estimator)(sample.features.numpy(), redshift.numpy(), noise)
    x_s, x_l = (torch.from_numpy(part) for part in drawn[:2])
    module = CausalWorlds(engine.scm)
    kind = torch.zeros(6, len(module.names), dtype=torch.int64)
    value = torch.zeros(kind.shape, dtype=torch.float64)
    for name, (action, amount) in {**question.do, **dict.fromkeys(hold, ("hold", 0.0))}.items():
        kind[:, module.names.index(name)] = ACTIONS.index(action)
        value[:, module.names.index(name)] = amount
    factual, other, possible = module(x_s, x_l, redshift, uniform, kind, value)

    scm, x = engine.scm, torch.cat([x_s, x_l], -1).double()
    names = (*SPECTRAL_NAMES, *LATENT_NAMES)
    own, _ = scm.from_unconstrained(x, names, {"redshift": redshift.expand(x.shape[:-1])})
    odds = scm.enumerate_binary(own, "quenched")
    own["quenched"] = (uniform[..., 0] < torch.sigmoid(odds[1] - odds[0])).double()
    exogenous = scm.abduct(own, generator)
    low, high = scm.mechanisms["quenched"].invert_interval(own["quenched"], own)
    exogenous["quenched"] = low + (high - low) * uniform[..., 1]
    actions = engine.act(list(question.text))
    expected = scm.predict(exogenous, own, actions, hold, strict=False)
    allowed = torch.stack([~expected[name].isnan() for name in module.names]).all(0)
    assert bool((possible == allowed).all())
    assert bool(possible.any())
    for place, name in enumerate(module.names):
        torch.testing.assert_close(factual[..., place], own[name], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            other[..., place][allowed], expected[name][allowed], rtol=1e-7, atol=1e-9
        )


@pytest.fixture(scope="module")
def light(engine):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    model = light_graph(engine.physics).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@torch.no_grad()
@pytest.mark.parametrize("dispersion", [(100.0, 160.0), (250.0, 330.0), (22.0, 90.0),
                                        (350.0, 490.0)])  # fmt: skip
def test_the_change_of_the_spectrum_is_that_of_the_forward_model(engine, light, dispersion):
    generator, physics = torch.Generator().manual_seed(0), engine.physics
    redshift = torch.tensor([0.02, 0.11, 0.45], dtype=torch.float64)
    # The first is as sharp everywhere; the others are sharper than the templates in places.
    lsf = torch.stack([torch.full((6000,), 130.0), torch.linspace(85.0, 55.0, 6000),
                       torch.linspace(150.0, 60.0, 6000)])  # fmt: skip

    def between(low, high):
        return low + (high - low) * torch.rand(37, 3, generator=generator, dtype=torch.float64)

    worlds = [
        {
            "stellar_mass": 10.0 ** between(9.5, 11.5), "age": between(1.0, 8.0),
            "tau": between(0.5, 5.0), "metallicity": between(0.002, 0.04),
            "gas_metallicity": between(8.0, 9.0), "ionization_parameter": between(-3.5, -2.0),
            "dust_av": between(0.0, 2.0), "dust_slope": between(-1.0, 0.3),
            "velocity_dispersion": between(*dispersion), "redshift": redshift.expand(37, 3),
        }
        for _ in range(2)
    ]  # fmt: skip
    excess = physics.lsf_excess(redshift, lsf)
    sightlines = physics.sightlines(redshift, excess)
    spectra, coefficients = [], []
    for world in worlds:
        parts = physics.coefficients(world)
        coefficients.append(torch.cat(parts, -1))
        spectra.append(torch.stack([
            physics.observe(tuple(part[:, index] for part in parts),
                            {name: world[name][:, index] for name in OBSERVED}, sightline)
            for index, sightline in enumerate(sightlines)
        ], 1))  # fmt: skip
    flux = torch.randn(3, 6000, generator=generator)
    possible = np.ones((3, 37), bool)
    possible[1, 5] = False
    feed = {
        name: torch.stack([world[name] for world in worlds]).permute(2, 0, 1).float().numpy()
        for name in OBSERVED
    }
    feed |= {
        "light": torch.stack(coefficients).permute(2, 0, 1, 3).float().numpy(),
        "redshift": redshift.numpy(), "excess": excess.numpy(), "flux": flux.numpy(),
        "possible": possible,
    }  # fmt: skip
    feed = {name: np.ascontiguousarray(part) for name, part in feed.items()}
    (found,) = light.run(None, feed)
    assert np.isnan(found[5, 1]).all()
    assert np.isnan(found).sum() == 6000
    found[5, 1] = (flux + spectra[1] - spectra[0])[5, 1]
    error = np.abs(found - (flux + spectra[1] - spectra[0]).numpy())
    peak, level = torch.stack(spectra).amax((0, -1)).numpy(), torch.stack(spectra).mean((0, -1))
    assert (error.max(-1) / peak).max() < 0.003
    assert (np.sqrt((error**2).mean(-1)) / level.numpy()).max() < 0.003
