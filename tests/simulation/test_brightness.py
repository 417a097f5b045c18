"""A model far too bright must lose, however single precision rounds."""

import pytest
import torch

from acie.observation import Observation
from acie.simulation import NoiseModel, SpectrumLikelihood


@pytest.mark.parametrize("error", [0.02, 0.0])
def test_a_far_too_bright_model_loses(error: float):
    generator = torch.Generator().manual_seed(4)
    truth = 2.0 + torch.linspace(0.0, 3.0, 6000).sin().expand(8, -1)
    sigma = truth / 20.0
    flux = truth + sigma * torch.randn(truth.shape, generator=generator)
    observation = Observation(
        flux=flux, ivar=sigma**-2, redshift=torch.full((8,), 0.1), lsf=torch.full_like(flux, 70.0)
    )
    likelihood = SpectrumLikelihood(
        observation, NoiseModel(template_error=error, template_error_outside=error)
    )
    factors = torch.tensor([1.0, 2.0, 10.0, 100.0, 500.0, 3000.0])[:, None, None]
    found = likelihood(truth * factors)
    assert bool((found[0] > found[1:] + 100.0).all())
