"""Whether what was applied is there: read from the state that a cluster reports."""

__all__ = ["State", "state_of", "troubles"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class State:
    """How far an object is.

    Arguments:
        done: It is what it is to be.
        text: For people.
        failed: It will not be, and waiting longer is of no use.
    """

    done: bool
    text: str
    failed: bool = False


def state_of(live: Mapping[str, Any] | None, least: int = 1) -> State:
    """How far a Deployment, StatefulSet or Job is.

    Arguments:
        live: The object as the cluster has it.
        least: Replicas that an autoscaler will have.
    """
    if live is None:
        return State(False, "not there yet")
    if live["kind"] == "Job":
        return _job(live)
    return _replicas(live, least)


def troubles(pods: Iterable[Mapping[str, Any]]) -> str:
    """Why pods do not run, each reason once."""
    found: dict[str, None] = {}
    for pod in pods:
        status = pod.get("status", {})
        for one in status.get("conditions", ()):
            if one["type"] == "PodScheduled" and one["status"] == "False":
                found[f"{one.get('reason', 'Unschedulable')}: {one.get('message', '')}"] = None
        for one in status.get("containerStatuses", ()):
            state = one.get("state", {})
            waiting, ended = state.get("waiting"), state.get("terminated")
            before = one.get("lastState", {}).get("terminated")
            if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
                text = f"{waiting.get('reason')}: {waiting.get('message', '')}"
                if before:
                    text += f" (exit code {before.get('exitCode')})"
                found[text] = None
            elif ended and ended.get("exitCode"):
                found[f"{ended.get('reason', 'Error')}: exit code {ended['exitCode']}"] = None
    return "; ".join(text.rstrip(": ")[:200] for text in list(found)[:4])


def _conditions(live: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {one["type"]: one for one in live.get("status", {}).get("conditions") or ()}


def _job(live: Mapping[str, Any]) -> State:
    conditions = _conditions(live)
    if conditions.get("Complete", {}).get("status") == "True":
        return State(True, "complete")
    failed = conditions.get("Failed", {})
    if failed.get("status") == "True":
        text = f"{failed.get('reason', 'failed')}: {failed.get('message', '')}".rstrip(": ")
        return State(False, text, failed=True)
    return State(False, f"{live.get('status', {}).get('failed', 0)} attempts failed")


def _replicas(live: Mapping[str, Any], least: int) -> State:
    status = live.get("status", {})
    wanted = max(live["spec"].get("replicas", 1), least)
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    updated = status.get("updatedReplicas", 0)
    ready = status.get("availableReplicas", status.get("readyReplicas", 0)) or 0
    old = status.get("replicas", 0) - updated
    text = f"{min(updated, ready)} of {wanted} replicas ready"
    if old > 0:
        text += f", {old} of the release before"
    progress = _conditions(live).get("Progressing", {})
    if seen and progress.get("reason") == "ProgressDeadlineExceeded":
        return State(False, f"{text}: {progress.get('message', 'no progress')}", failed=True)
    return State(seen and updated >= wanted and ready >= wanted and old <= 0, text)
