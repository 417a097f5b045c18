"""A release: applied in steps, waited for, undone when it does not come up."""

__all__ = ["Release", "roll_out"]

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from acie.deploying.cluster import Cluster, Key, key_of
from acie.deploying.objects import label_of
from acie.deploying.readiness import State, state_of, troubles
from acie.errors import ClusterUnreachable, DeploymentError, RolloutFailed

#: What serves requests: comes last, when what it needs is there.
_LAST = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress")
#: What holds data or may be looked at afterwards; never removed by going back.
_KEPT = ("Namespace", "PersistentVolumeClaim", "Secret", "StatefulSet", "Job")
_WATCHED = ("Deployment", "StatefulSet", "Job")
_POLL_S = 2.0
_SERVICE: Key = ("Deployment", "acie")


@dataclass(frozen=True)
class Release:
    """What is applied.

    Arguments:
        objects: All objects but the Secret.
        secret: Values of the Secret, or None when the cluster's is kept.
        steps: The objects in three steps: what the service needs, migrations, the service.
    """

    objects: Sequence[Mapping[str, Any]]
    secret: Mapping[str, Any] | None = None
    steps: tuple[list[Mapping[str, Any]], ...] = field(init=False)

    def __post_init__(self) -> None:
        steps: tuple[list[Mapping[str, Any]], ...] = ([], [], [])
        for one in (*([self.secret] if self.secret else []), *self.objects):
            late = one["kind"] in _LAST or key_of(one) == _SERVICE
            steps[2 if late else 1 if one["kind"] == "Job" else 0].append(one)
        # An object is refused where its namespace is not there yet.
        steps[0].sort(key=lambda one: one["kind"] != "Namespace")
        object.__setattr__(self, "steps", steps)

    @property
    def size(self) -> int:
        """How many objects there are."""
        return sum(map(len, self.steps))

    def least(self, key: Key) -> int:
        """Replicas that the autoscaler of a Deployment will not go below."""
        for one in self.objects:
            if one["kind"] == "HorizontalPodAutoscaler":
                target = one["spec"]["scaleTargetRef"]
                if (target["kind"], target["name"]) == key:
                    return one["spec"].get("minReplicas", 1)
        return 1


def roll_out(
    cluster: Cluster,
    release: Release,
    say: Callable[[str], None],
    patience_s: float = 900.0,
    poll_s: float = _POLL_S,
) -> None:
    """Apply a release step by step; go back to the one before when it does not come up.

    Arguments:
        cluster: Where to.
        release: What.
        say: Told what happens, line by line.
        patience_s: Seconds that each step may take.
        poll_s: Seconds between looks at the cluster.

    Raises:
        ClusterUnreachable: The cluster did not answer before anything was applied.
        RolloutFailed: It did not come up; the message says what the cluster has now.
    """
    before = cluster.last_applied(release.objects)
    applied: list[Mapping[str, Any]] = []
    try:
        for step in release.steps:
            _forget_failed_jobs(cluster, step)
            if not step:
                continue
            # Noted first: what was applied of a step that failed half-way is to be undone too.
            applied += step
            cluster.apply(step)
            say(f"applied {len(step)} objects: {_kinds(step)}")
            _wait(cluster, release, step, say, patience_s, poll_s)
    except KeyboardInterrupt:
        raise RolloutFailed(
            "rollout",
            expected="to be waited for",
            found=f"an interruption after {len(applied)} of {release.size} objects",
            remedy="What was applied stays, and the cluster goes on with it. acie deploy again "
            f"goes on; kubectl -n {cluster.namespace} rollout undo deployment/acie goes back.",
        ) from None
    except DeploymentError as error:
        done = _go_back(cluster, release, before, applied, say, patience_s, poll_s)
        raise RolloutFailed(
            error.argument, expected=error.expected, found=error.found, remedy=done
        ) from None


def _kinds(step: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for one in step:
        counts[one["kind"]] = counts.get(one["kind"], 0) + 1
    return ", ".join(f"{n} {kind}" if n > 1 else kind for kind, n in counts.items())


def _forget_failed_jobs(cluster: Cluster, step: Sequence[Mapping[str, Any]]) -> None:
    """A Job that has failed does not run again by being applied."""
    for one in step:
        if one["kind"] == "Job":
            live = cluster.find(*key_of(one))
            if live is not None and state_of(live).failed:
                cluster.delete([key_of(one)])


def _wait(
    cluster: Cluster, release: Release, step: Sequence[Mapping[str, Any]],
    say: Callable[[str], None], patience_s: float, poll_s: float,
) -> None:  # fmt: skip
    end = time.monotonic() + patience_s
    for one in step:
        if one["kind"] not in _WATCHED:
            continue
        last = ""
        while True:
            try:
                state = state_of(cluster.find(*key_of(one)), release.least(key_of(one)))
            except ClusterUnreachable as error:
                # A control plane may be away for a moment; what was applied goes on without it.
                state = State(False, f"the cluster does not answer ({error.found[:80]})")
            late = time.monotonic() > end
            if state.done:
                say(f"{label_of(one)}: {state.text}")
                break
            if state.failed or late:
                raise _not_up(cluster, one, state, patience_s)
            if state.text != last:
                last = state.text
                say(f"{label_of(one)}: {state.text}")
            time.sleep(poll_s)


def _not_up(
    cluster: Cluster, one: Mapping[str, Any], state: State, patience_s: float
) -> RolloutFailed:
    why = ""
    try:
        labels = one["spec"]["template"]["metadata"]["labels"]
        why = troubles(cluster.pods(labels))
    except DeploymentError:
        pass  # The state that is known already must do.
    goal = "completion" if one["kind"] == "Job" else "all replicas"
    return RolloutFailed(
        label_of(one),
        expected=f"{goal} within {patience_s:.0f} s",
        found=f"{state.text} ({why})" if why else state.text,
    )


def _go_back(
    cluster: Cluster, release: Release, before: Mapping[Key, Mapping[str, Any] | None],
    applied: Sequence[Mapping[str, Any]], say: Callable[[str], None], patience_s: float,
    poll_s: float,
) -> str:  # fmt: skip
    """Undo what was applied; returns what the cluster has now, in words."""
    if not applied:
        return "Nothing was applied."
    keys = [key_of(one) for one in applied]
    if _SERVICE not in before:
        return (
            "This was the first release here: there is none to go back to. What was made stays, "
            f"to be looked at: kubectl -n {cluster.namespace} get pods. kubectl delete namespace "
            f"{cluster.namespace} removes it, with its data."
        )
    old = [before[key] for key in keys if before.get(key) is not None]
    new = [key for key in keys if key not in before and key[0] not in _KEPT]
    unknown = [key for key in keys if key in before and before[key] is None]
    say(f"going back: {len(old)} objects as they were, {len(new)} new ones removed")
    try:
        cluster.apply(old)
        cluster.delete(new)
        earlier = Release([one for one in old if one["kind"] != "Job"])
        _wait(cluster, earlier, earlier.objects, say, patience_s, poll_s)
    except DeploymentError as error:
        return (
            f"Going back failed too ({error}): the namespace {cluster.namespace} needs a look; "
            f"kubectl -n {cluster.namespace} get pods,events."
        )
    text = (
        f"The release before runs again: {len(old)} objects as they were, {len(new)} new ones "
        "removed. Migrations of the database are not undone."
    )
    if any(kind == "Secret" for kind, _ in keys):
        text += " The Secret is the new one."
    if unknown:
        names = ", ".join(f"{kind.lower()}/{name}" for kind, name in unknown)
        text += f" Not known how they were, and left as applied: {names}."
    return text
