"""The evaluation of a loaded model: found, checked against its digest, cut down for a page.

It lies as ``evaluation.json``, the file of ``acie evaluate``, in the bundle's folder, or was given
to the registry that the bundle came from. One of another digest says nothing about this model.
"""

__all__ = ["Evaluations", "model_card"]

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acie.errors import ACIEError, UnknownModel
from acie.manifest import find_bundle
from acie.serving.registry import LoadedModel

if TYPE_CHECKING:
    from acie.serving.following import AliasFollower

#: Parts of a report that are shown as they are; drawn values and settings of no use stay out.
_PARTS = (
    "acie", "model", "count", "seconds", "survey", "verdicts", "recovery", "sbc", "coverage",
    "tarp", "efficiency", "counterfactuals", "laws", "binned",
)  # fmt: skip
_NEEDED = ("verdicts", "recovery", "sbc", "coverage")
_BINS, _CARD_BYTES, _REPORT_BYTES = 20, 2**16, 2**24
#: Seconds until the registry is asked again.
_AGAIN_S = 60.0

log = logging.getLogger("acie.serving")


class Evaluations:
    """Finds evaluations, and remembers what the registry said for a minute.

    Arguments:
        follower: Knows which models came from a registry; without it there is none.
    """

    def __init__(self, follower: "AliasFollower | None" = None) -> None:
        self._follower = follower
        self._known: dict[str, tuple[float, dict[str, Any] | None]] = {}

    async def find(self, model: LoadedModel) -> dict[str, Any]:
        """The evaluation of a model, with ``source``: ``bundle`` or ``registry``.

        Raises:
            UnknownModel: There is none.
        """
        report, source = await asyncio.to_thread(_in_bundle, model), "bundle"
        if report is None:
            report, source = await self._registered(model), "registry"
        if report is None:
            raise UnknownModel(
                "evaluation",
                expected=f"an evaluation of {model.name}@{model.version} ({model.digest[:12]})",
                found="none, in its folder or in the registry",
                remedy="Make one with acie evaluate; put its evaluation.json into the bundle's "
                "folder, or register it with acie models register --evaluation.",
            )
        return {**_shown(report), "source": source}

    async def _registered(self, model: LoadedModel) -> dict[str, Any] | None:
        if self._follower is None:
            return None
        asked, report = self._known.get(model.digest, (-_AGAIN_S, None))
        if time.monotonic() - asked < _AGAIN_S:
            return report
        try:
            found = await asyncio.to_thread(self._follower.evaluation, model)
        except ACIEError as error:  # A registry that is away: the model answers all the same.
            log.warning("no evaluation of %s: %s", model.name, error)
            found = None
        report = found if _is_about(found, model) else None
        self._known[model.digest] = time.monotonic(), report
        return report


def model_card(model: LoadedModel) -> str | None:
    """The text of ``MODEL_CARD.md`` of a bundle, where it has one."""
    return _text(model, "MODEL_CARD.md", _CARD_BYTES)


def _in_bundle(model: LoadedModel) -> dict[str, Any] | None:
    text = _text(model, "evaluation.json", _REPORT_BYTES)
    if text is None:
        return None
    try:
        report = json.loads(text)
    except ValueError:
        return None
    return report if _is_about(report, model) else None


def _text(model: LoadedModel, name: str, most: int) -> str | None:
    try:
        path = Path(find_bundle(model.source)) / name
        return path.read_text("utf-8") if path.stat().st_size <= most else None
    except (OSError, ValueError, ACIEError):
        return None


def _is_about(report: Any, model: LoadedModel) -> bool:
    """Whether this is a report of ``acie evaluate`` about a model."""
    if not isinstance(report, dict) or not all(name in report for name in _NEEDED):
        return False
    about = report.get("model")
    return isinstance(about, dict) and about.get("digest") == model.digest


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    shown = {name: report.get(name) for name in _PARTS}
    predictive = report.get("predictive")
    if isinstance(predictive, dict):
        p_values = {
            name: {key: value for key, value in table.items() if key != "values"}
            | {"counts": _histogram(table.get("values", []))}
            for name, table in predictive.items()
            if isinstance(table, dict)
        }
        predictive = {"replicates": predictive.get("replicates"), **p_values}
    return shown | {"predictive": predictive}


def _histogram(values: list[float]) -> list[int]:
    return np.histogram(values, bins=_BINS, range=(0.0, 1.0))[0].tolist()
