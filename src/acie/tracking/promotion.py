"""Promotion and its undoing; what was in production is kept as a tag of the registered model."""

__all__ = ["history", "promote", "rollback"]

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acie.errors import ConfigurationError, TrackingError, UnknownModel
from acie.tracking.facts import user
from acie.tracking.gate import Gate, Shortfall, refusal
from acie.tracking.names import ModelName
from acie.tracking.registry import ModelVersion, Registry

_HISTORY = "acie.production"
#: Changes that are kept: a tag of MLflow has room for 100,000 characters.
_KEPT = 200


def promote(
    registry: Registry,
    name: str,
    which: str,
    to: str,
    evaluation: Path | None = None,
    gate: Gate | None = None,
) -> ModelVersion:
    """Let an alias be a version; production only what passes the gate.

    Arguments:
        registry: Where the model is.
        name: Name of the registered model.
        which: Version, as ``3`` or as an alias.
        to: ``staging`` or ``production``.
        evaluation: The JSON of ``acie evaluate``, to be kept with the version.
        gate: What production asks for; the standard margins when left out.

    Raises:
        ConfigurationError: No such stage, or an evaluation that cannot be used.
        UnknownModel: There is no such version.
        PromotionRefused: It falls short of the gate; nothing has changed.
    """
    if to not in ("staging", "production"):
        raise ConfigurationError("--to", expected="staging or production", found=repr(to))
    version = registry.find(ModelName.of(name, which))
    if evaluation is not None:
        registry.attach(version, evaluation)
        version = registry.find(ModelName(version.name, version.version))
    if to == "production":
        present = _present(registry, version.name)
        _pass(registry, version, present, gate or Gate())
        if present is None or present.version != version.version:
            stack = [] if present is None else [
                *_before(registry, version.name, present.version), present.version
            ]  # fmt: skip
            _remember(registry, version, [*stack, version.version], "promote")
    registry.point(version, to)
    return registry.find(ModelName(version.name, version.version))


def rollback(registry: Registry, name: str) -> tuple[ModelVersion, ModelVersion]:
    """Let production be what it was before.

    Returns:
        The version that left, and the one that is back.

    Raises:
        UnknownModel: Nothing is in production, or the version before is gone.
        TrackingError: Nothing was there before.
    """
    present = registry.find(ModelName(name, alias="production"))
    stack = _before(registry, name, present.version)
    if not stack:
        raise TrackingError(
            "rollback",
            expected="a version that was in production before",
            found=f"{present.uri}, the first one",
            remedy="Promote another version instead.",
        )
    version = registry.find(ModelName(name, stack[-1]))
    _remember(registry, version, stack, "rollback")
    registry.point(version, "production")
    return present, registry.find(ModelName(name, version.version))


def history(registry: Registry, name: str) -> dict[str, list[Any]]:
    """What was in production.

    Returns:
        ``stack``, the versions that rolling back brings, the present one last; and ``log``, every
        change with ``action``, ``version``, ``at`` and ``by``.
    """
    found = registry.notes(name).get(_HISTORY)
    return {"stack": [], "log": []} if found is None else json.loads(found)


def _present(registry: Registry, name: str) -> ModelVersion | None:
    try:
        return registry.find(ModelName(name, alias="production"))
    except UnknownModel:
        return None


def _pass(
    registry: Registry, version: ModelVersion, present: ModelVersion | None, gate: Gate
) -> None:
    """Let a version through the gate.

    Raises:
        PromotionRefused: It falls short.
    """
    version.manifest  # noqa: B018 - what ACIE has not registered cannot be served
    report, old = registry.evaluation(version), None
    if present is not None and present.version != version.version:
        old = registry.evaluation(present)
        if old is None:
            missing = Shortfall(
                f"evaluation of {present.uri}, in production", "none",
                f"one to compare with: acie models promote {present.version} --to production "
                "--evaluation FILE",
            )  # fmt: skip
            raise refusal(version.uri, [*gate.judge(report), missing])
    shortfalls = gate.judge(report, old)
    if shortfalls:
        raise refusal(version.uri, shortfalls)


def _before(registry: Registry, name: str, present: int) -> list[int]:
    """Versions that were in production before the present one, the last of them last.

    The alias counts, not the history: it may have been moved by hand.
    """
    stack = history(registry, name)["stack"]
    if present in stack:
        return stack[: len(stack) - 1 - stack[::-1].index(present)]
    return stack


def _remember(registry: Registry, version: ModelVersion, stack: list[int], action: str) -> None:
    """Note a change before it is made, so that a crash between the two loses no version."""
    entry = {
        "action": action,
        "version": version.version,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": user(),
    }
    log = [*history(registry, version.name)["log"], entry]
    note = {"stack": stack[-_KEPT:], "log": log[-_KEPT:]}
    registry.note(version.name, _HISTORY, json.dumps(note))
