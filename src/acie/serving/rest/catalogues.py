"""``/api/v2/inference/catalogue``: a file of spectra in, a line for every galaxy out."""

__all__ = ["router"]

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, RootModel

from acie.io import SpectraShard
from acie.physics.features import FEATURES
from acie.scm import describe
from acie.serving.catalogues import (
    MEASURED,
    CatalogueQuestion,
    answer_rows,
    opened_catalogue,
)
from acie.serving.resources import Resources
from acie.serving.rest.dependencies import ResourcesOf
from acie.serving.rest.documents import problems
from acie.serving.rest.failures import problem_json
from acie.serving.schemas import ModelBody, ProblemBody
from acie.serving.service import CheckedQuestion
from acie.serving.uploads import binary_body, check_file_type, in_reader

router = APIRouter(prefix="/api/v2/inference", tags=["inference"])

_Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class Asked(BaseModel):
    """The question that is put to every galaxy of the file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("catalogue", min_length=1, max_length=200, description="Name of the file.")
    intervention: list[_Text] = Field(
        [], max_length=20, description="Actions, such as stellar_mass*=1.5."
    )
    hold: list[_Text] = Field([], max_length=20, description="Descendants that stay as they are.")
    samples: int | None = Field(None, ge=2, lt=2**31, description="Posterior draws.")
    model_version: str = Field("latest", max_length=200)


class ColumnBody(BaseModel):
    """A variable of the table, or a feature that is measured in both spectra."""

    name: str
    unit: str
    transform: str = Field(description="Scale on which it is additive: identity or log10.")
    description: str
    moved: bool = Field(description="Whether the action can change it.")


class CatalogueBody(BaseModel):
    """The first line: what is answered, about how many."""

    kind: Literal["catalogue"]
    name: str
    rows: int
    model: ModelBody
    interventions: list[str]
    hold: list[str]
    samples: int
    variables: list[ColumnBody]
    features: list[ColumnBody]


class RowBody(BaseModel):
    """A galaxy that was answered."""

    kind: Literal["row"]
    row: int
    id: str
    redshift: float
    confidence: float
    quality: list[str]
    state: dict[str, list[float]] = Field(
        description="Of every variable p16, median and p84 as it is, then in the other world."
    )
    features: dict[str, list[float | None]] = Field(
        description="Of the observed and of the counterfactual spectrum; null where not covered."
    )
    cached: bool


class RefusedBody(BaseModel):
    """A galaxy without an answer."""

    kind: Literal["refused"]
    row: int
    id: str
    problem: ProblemBody


class EndBody(BaseModel):
    """The last line; without it the answer is not whole."""

    kind: Literal["end"]
    answered: int
    refused: int
    seconds: float


class LineBody(RootModel):
    """One line of the answer."""

    root: Annotated[CatalogueBody | RowBody | RefusedBody | EndBody, Field(discriminator="kind")]


class Lines(StreamingResponse):
    """Lines of JSON, each sent when it is ready."""

    media_type = "application/x-ndjson"


@router.post(
    "/catalogue",
    response_class=Lines,
    responses={
        200: {
            "model": LineBody,
            "description": "Lines of JSON, each of this schema: CatalogueBody, then RowBody or"
            " RefusedBody in the order in which they are ready, then EndBody.",
        },
        **problems(400, 401, 403, 404, 413, 415, 422, 429, 503, 504),
    },
    openapi_extra=binary_body(),
    operation_id="answer_catalogue",
)
async def answers(
    request: Request, asked: Annotated[Asked, Query()], resources: ResourcesOf
) -> Lines:
    """Ask every galaxy of a FITS, Parquet, HDF5, ECSV or CSV file the same question.

    The file is the body. The layouts are those of ``acie infer`` and ``acie infer --ray``. A
    galaxy whose redshift is unknown has it estimated. Closing the connection ends the work.
    """
    check_file_type(request.headers.get("content-type", ""))
    checked = resources.service.check(
        asked.model_version, list(asked.intervention), asked.hold, asked.samples
    )
    limits = resources.settings.server
    body = await request.body()

    def opened() -> SpectraShard:
        return opened_catalogue(
            asked.name, body, limits.max_catalogue_rows, limits.max_body_bytes
        )

    shard = await in_reader(opened, limits.timeout_s)
    # Proxies hold lines back until there are many, unless they are told not to.
    headers = {"X-Accel-Buffering": "no"}
    return Lines(_lines(resources, asked.name, shard, checked), headers=headers)


async def _lines(
    resources: Resources, name: str, shard: SpectraShard, checked: CheckedQuestion
) -> AsyncIterator[bytes]:
    started = time.perf_counter()
    yield _line(_head(name, len(shard), checked))
    actions = tuple(describe(action, name) for name, action in checked.actions.items())
    model = f"{checked.model.name}@{checked.model.version}"
    question = CatalogueQuestion(actions, checked.hold, checked.samples, model)
    # Half a batch: the other half is for those who ask meanwhile.
    at_once = max(1, resources.settings.inference.max_batch // 2)
    rows = answer_rows(resources.service, shard, question, at_once)
    refused = 0
    async with aclosing(rows) as ready:
        async for row, found in ready:
            about = {"row": row, "id": shard.ids[row]}
            if isinstance(found, Exception):
                refused += 1
                problem = problem_json(found, f"{router.prefix}/catalogue#/{row}")
                yield _line({"kind": "refused", **about, "problem": problem})
            else:
                yield _line({"kind": "row", **about, **found})
    yield _line({
        "kind": "end", "answered": len(shard) - refused, "refused": refused,
        "seconds": round(time.perf_counter() - started, 3),
    })  # fmt: skip


def _line(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def _head(name: str, rows: int, checked: CheckedQuestion) -> dict[str, Any]:
    scm = checked.model.engine.scm
    moved = set(checked.actions).union(*(scm.graph.descendants(v) for v in checked.actions))
    variables = [
        {
            "name": v.name, "unit": v.unit, "transform": v.transform,
            "description": v.description, "moved": v.name in moved - set(checked.hold),
        }
        for v in scm.variables.values()
        if v.name != "redshift"
    ]  # fmt: skip
    features = [
        {
            "name": name, "unit": FEATURES[name].unit, "transform": "identity",
            "description": FEATURES[name].description, "moved": bool(checked.actions),
        }
        for name in MEASURED
    ]  # fmt: skip
    return {
        "kind": "catalogue", "name": name, "rows": rows, "model": checked.model.identity,
        "interventions": [describe(action, name) for name, action in checked.actions.items()],
        "hold": list(checked.hold), "samples": checked.samples,
        "variables": variables, "features": features,
    }  # fmt: skip
