"""Questions and answers that are quick to make, for what stands around the engine."""

__all__ = ["a_record", "an_answer", "an_observation", "run"]

import asyncio
import dataclasses
import uuid

import numpy as np
import torch

from acie.observation import WAVELENGTH, Observation
from acie.serving.query import Answer
from acie.serving.storage import InferenceRecord, made_now


def run(coroutine, patience_s: float = 60.0):
    """The result of a coroutine on a new loop; nothing may wait for ever."""
    return asyncio.run(asyncio.wait_for(coroutine, patience_s))


def an_observation(seed: int = 0, dtype: torch.dtype = torch.float64, **changes) -> Observation:
    generator = torch.Generator().manual_seed(seed)
    flux = torch.randn(1, WAVELENGTH.size, generator=generator).to(dtype)
    observation = Observation(
        flux=flux,
        ivar=torch.ones_like(flux),
        lsf=torch.full_like(flux, 60.0),
        redshift=torch.tensor([0.1], dtype=torch.float64),
    )
    return dataclasses.replace(observation, **changes)


def an_answer(number: float = 1.0, **changes) -> Answer:
    flux = np.full(WAVELENGTH.size, number) + np.linspace(0.0, 1.0, WAVELENGTH.size)
    state = {"stellar_mass": {"unit": "Msun", "median": 1e10, "p16": 5e9, "p84": 2e10}}
    answer = Answer(
        model={"name": "m", "version": "1", "digest": "d" * 64},
        redshift=0.1,
        interventions=("dust_av=0",),
        counterfactual=flux,
        counterfactual_p16=flux - 1.0,
        counterfactual_p84=flux + 1.0,
        latent_draws=np.linspace(1e9, 1e10, 4),
        counterfactual_draws=np.linspace(2e9, 2e10, 4),
        latent=state,
        counterfactual_latent=state,
        confidence=0.2,
        quality=("LOW_SNR",),
        samples=64,
        seed=None,
        redshift_estimate={"value": 0.1, "error": 1e-4, "second": None},
    )
    return dataclasses.replace(answer, **changes)


def a_record(**changes) -> InferenceRecord:
    record = InferenceRecord(
        **made_now(),
        request_id=uuid.uuid4().hex,
        principal="local:local",
        transport="rest",
        model_name="galaxy",
        model_version="1",
        model_digest="d" * 64,
        observation_digest="e" * 64,
        latency_ms=12.5,
        status="ok",
    )
    return dataclasses.replace(record, **changes)
