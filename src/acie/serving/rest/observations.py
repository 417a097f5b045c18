"""Spectrum files over REST: an uploaded one, or an example that ships with ACIE."""

__all__ = ["router"]

import asyncio
import re
import tempfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources as package_files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathPart
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

import acie.io
from acie.errors import ACIEError, ConfigurationError
from acie.observation import Observation
from acie.results import QualityFlag
from acie.serving.batching import TooLate
from acie.serving.refusals import BodyTooLarge, UnsupportedContent
from acie.serving.rest.dependencies import ResourcesOf
from acie.serving.rest.documents import problems
from acie.serving.rest.wire import Wanted, reply

router = APIRouter(prefix="/api/v2", tags=["observations"])

#: Types of files; what a file is, is decided by its content.
_FILES = ("application/octet-stream", "application/fits", "image/fits")
_EXAMPLES = {"example": "Simulated galaxy with known answers"}
# One at a time: reading is quick, and several would take the cores from the engine.
_READER = ThreadPoolExecutor(1, thread_name_prefix="acie-reader")
_BODY = {
    "requestBody": {
        "required": True,
        "content": {_FILES[0]: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class SpectrumBody(BaseModel):
    """A spectrum on the instrument grid, with what its file says of it."""

    name: str
    file: str
    format: str = Field(description="Which reader read it, such as sdss.")
    row: int = Field(description="Which spectrum of the file this is, from 0.")
    rows: int = Field(description="How many the file holds.")
    wavelength_start: float = Field(description="Centre of the first pixel, vacuum angstrom.")
    wavelength_step: float = Field(description="Width of a pixel, angstrom.")
    flux: list[float] = Field(description="1e-17 erg/s/cm2/AA; 0 where bad.")
    ivar: list[float] = Field(description="Inverse variance; 0 where bad.")
    mask: list[bool] = Field(description="True where bad.")
    lsf: list[float] = Field(description="Instrumental sigma, km/s.")
    redshift: float | None = Field(description="Null where the file has none.")
    signal_to_noise: float = Field(description="Median over the good pixels.")
    quality: list[str] = Field(description="Names of the quality flags known from reading.")


class ExampleBody(BaseModel):
    """A spectrum that ships with ACIE."""

    name: str
    title: str


class ExamplesBody(BaseModel):
    """All of them."""

    examples: list[ExampleBody]


@router.post(
    "/inference/observation",
    response_model=SpectrumBody,
    responses=problems(400, 404, 406, 413, 415, 422, 503, 504),
    openapi_extra=_BODY,
    operation_id="read_observation",
)
async def read_observation(
    request: Request,
    kind: Wanted,
    resources: ResourcesOf,
    name: Annotated[str, Query(max_length=200, description="Name of the file.")] = "upload",
    row: Annotated[int, Query(ge=0, lt=10**6, description="Which spectrum of the file.")] = 0,
    redshift: Annotated[
        float | None, Query(allow_inf_nan=False, description="Replaces that of the file.")
    ] = None,
) -> Response:
    """Read a spectrum file: SDSS, BOSS, DESI, tables, one-dimensional FITS images.

    The body is the file as it is. Nothing is kept; send what comes back with a question.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in _FILES:
        raise UnsupportedContent(
            "Content-Type", expected=_FILES[0], found=repr(given[:60]) if given else "none"
        )
    resources.access.charge(1)
    body, settings = await request.body(), resources.settings.server
    content = await _in_time(
        lambda: _read_bytes(body, _file_name(name), row, redshift, settings.max_body_bytes),
        settings.timeout_s,
    )
    return reply(content, kind)


@router.get(
    "/examples", response_model=ExamplesBody, responses=problems(406), operation_id="examples"
)
async def examples(kind: Wanted) -> Response:
    """Spectra that ship with ACIE."""
    found = [{"name": name, "title": title} for name, title in _EXAMPLES.items()]
    return reply({"examples": found}, kind)


@router.get(
    "/examples/{name}",
    response_model=SpectrumBody,
    responses=problems(404, 406, 422, 504),
    operation_id="example",
)
async def example(
    kind: Wanted, resources: ResourcesOf, name: Annotated[str, PathPart(max_length=200)]
) -> Response:
    """One of them."""
    if name not in _EXAMPLES:
        raise HTTPException(404)
    source = package_files.files("acie") / "examples" / f"{name}.fits"

    def read() -> dict[str, Any]:
        with package_files.as_file(source) as path:
            return _spectrum(acie.io.read(path), path.name, 0)

    return reply(await _in_time(read, resources.settings.server.timeout_s), kind)


async def _in_time(work: Callable[[], dict[str, Any]], timeout_s: float) -> dict[str, Any]:
    """The result of work in the thread of the reader."""
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.get_running_loop().run_in_executor(_READER, work)
    except TimeoutError:
        raise TooLate(
            "file", expected=f"a file that is read in {timeout_s:g} s", found="none",
            remedy="Send fewer spectra in one file, or come back later.",
        ) from None  # fmt: skip


def _file_name(given: str) -> str:
    """The last part of a name, of letters that are safe everywhere."""
    name = re.sub(r"[^\w.+-]", "_", re.split(r"[/\\]", given)[-1])[:100]
    return name if name.strip("._") else "upload"


def _read_bytes(
    body: bytes, name: str, row: int, redshift: float | None, limit: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="acie-upload-") as folder:
        path = Path(folder) / name
        path.write_bytes(_unpacked(body, limit))
        try:
            return _spectrum(acie.io.read(path, redshift=redshift), name, row)
        except ACIEError as error:
            # Where the file lay for a moment is nobody's business.
            words = {
                part: str(getattr(error, part) or "").replace(f"{folder}/", "")
                for part in ("argument", "expected", "found", "remedy")
            }
            raise type(error)(words.pop("argument"), **words) from error


def _unpacked(body: bytes, limit: int) -> bytes:
    """A gzipped file unpacked, as far as the limit of bodies: a few bytes may hold gigabytes."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        unpacked = zlib.decompressobj(31).decompress(body, limit + 1)
    except zlib.error:
        return body  # The reader will say that it is damaged.
    if len(unpacked) > limit:
        raise BodyTooLarge(
            "body", expected=f"at most {limit} bytes, unpacked", found="more",
            remedy="Send fewer spectra in one file.",
        )  # fmt: skip
    return unpacked


def _spectrum(observation: Observation, file: str, row: int) -> dict[str, Any]:
    flat = observation.batched()
    if row >= len(flat):
        raise ConfigurationError(
            "row", expected=f"0 to {len(flat) - 1}", found=str(row),
            remedy=f"{file} holds {len(flat)} spectra, counted from 0.",
        )  # fmt: skip
    one = flat[row]
    wave = one.wavelength
    redshift = float(one.redshift)
    return {
        "name": one.names[0] if one.names else Path(file).stem,
        "file": file,
        "format": str(observation.meta.get("reader", "")),
        "row": row,
        "rows": len(flat),
        "wavelength_start": float(wave[0]),
        "wavelength_step": float(wave[1] - wave[0]),
        **{
            part: getattr(one, part).numpy().astype(np.float32) for part in ("flux", "ivar", "lsf")
        },
        "mask": (one.ivar <= 0).numpy(),
        "redshift": redshift if np.isfinite(redshift) else None,
        "signal_to_noise": float(one.signal_to_noise),
        "quality": list(QualityFlag(int(one.quality)).names),
    }
