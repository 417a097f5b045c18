"""Answers as FITS files, the same that ``acie infer`` writes."""

__all__ = ["FITS", "fits_reply"]

import asyncio
import io
import re

import numpy as np
from fastapi import Response

from acie.observation import WAVELENGTH
from acie.report import result_to_fits
from acie.serving.query import Answer, Query

FITS = "application/fits"


async def fits_reply(query: Query, answer: Answer) -> Response:
    """The file of an answer, to be saved under the name of the galaxy."""
    body = await asyncio.to_thread(_file, query, answer)
    name = re.sub(r"[^\w.+-]", "_", (query.observation.names or ("",))[0])[:80] or "galaxy"
    headers = {"Content-Disposition": f'attachment; filename="{name}.fits"', "Vary": "Accept"}
    return Response(body, media_type=FITS, headers=headers)


def _file(query: Query, answer: Answer) -> bytes:
    good = (query.observation.ivar[0] > 0).numpy()
    spectra = {
        "observed": query.observation.flux[0].numpy(),
        "counterfactual": answer.counterfactual,
        "counterfactual_p16": answer.counterfactual_p16,
        "counterfactual_p84": answer.counterfactual_p84,
    }
    content = {
        "wavelength": WAVELENGTH,
        **{name: np.where(good, flux, np.nan) for name, flux in spectra.items()},
        "latent_state": answer.latent,
        "counterfactual_state": answer.counterfactual_latent,
        "redshift": answer.redshift,
        "model": answer.model,
        "confidence": answer.confidence,
        "quality": answer.quality,
        "interventions": answer.interventions,
    }
    if answer.redshift_estimate is not None:
        content["redshift_estimate"] = answer.redshift_estimate
    stream = io.BytesIO()
    result_to_fits(content, stream)
    return stream.getvalue()
