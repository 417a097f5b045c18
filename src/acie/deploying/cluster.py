"""A cluster, as kubectl reaches it."""

__all__ = ["Cluster", "Key", "key_of"]

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acie.deploying.objects import label_of
from acie.deploying.programs import Kubectl, version_of
from acie.deploying.rendering import as_yaml
from acie.errors import ClusterUnreachable, ManifestError

#: Kind and name of an object; all of a deployment are in one namespace.
Key = tuple[str, str]
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def key_of(one: Mapping[str, Any]) -> Key:
    """What tells an object from the others."""
    return one["kind"], one["metadata"]["name"]


class Cluster:
    """One namespace of a cluster.

    Arguments:
        kubectl: Talks to the cluster.
        namespace: Need not be there yet.
    """

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl, self.namespace = kubectl, namespace

    def version(self) -> tuple[int, int]:
        """Major and minor version of the cluster.

        Raises:
            ClusterUnreachable: It does not answer.
        """
        outcome = self._kubectl.ask(
            "version", "-o", "json", "--request-timeout=10s", good=(0, 1), limit_s=30
        )
        version = version_of(outcome.output, "serverVersion")
        if version == (0, 0):
            raise ClusterUnreachable(
                "cluster",
                expected="one that kubectl reaches",
                found=outcome.reason,
                remedy="Look at kubectl config get-contexts, or name one with --context.",
            )
        return version

    def describe(self) -> str:
        """Where that is, for people who are about to change it."""
        view = json.loads(self._kubectl.run("config", "view", "--minify", "-o", "json"))
        contexts, clusters = view.get("contexts") or [{}], view.get("clusters") or [{}]
        server = clusters[0].get("cluster", {}).get("server", "?")
        name = contexts[0].get("name", "?")
        return f"namespace {self.namespace} of {name} ({server})"

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object of the namespace, or None."""
        text = self._kubectl.run(
            "-n", self.namespace, "get", kind.lower(), name, "--ignore-not-found", "-o", "json"
        )
        return json.loads(text) if text.strip() else None

    def pods(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Pods with these labels."""
        chosen = ",".join(f"{name}={value}" for name, value in labels.items())
        text = self._kubectl.run("-n", self.namespace, "get", "pods", "-l", chosen, "-o", "json")
        return json.loads(text)["items"]

    def last_applied(
        self, objects: Sequence[Mapping[str, Any]]
    ) -> dict[Key, dict[str, Any] | None]:
        """What was applied before of objects that are there; None where nobody wrote it down."""
        if self._is_new():
            return {}
        text = self._kubectl.run(
            "get", "-f", "-", "--ignore-not-found", "-o", "json", text=as_yaml(objects)
        )
        if not text.strip():
            return {}
        found = json.loads(text)
        live = found["items"] if found["kind"] == "List" else [found]
        notes = {key_of(one): one["metadata"].get("annotations", {}) for one in live}
        return {
            key: json.loads(kept[_APPLIED]) if _APPLIED in kept else None
            for key, kept in notes.items()
        }

    def difference(self, objects: Sequence[Mapping[str, Any]]) -> str:
        """What applying would change, as a diff; the cluster itself computes both sides.

        Raises:
            ManifestError: The cluster would refuse an object.
        """
        if self._is_new():
            return "".join(f"+ {label_of(one)}\n" for one in objects)
        text = self._kubectl.run("diff", "-f", "-", text=as_yaml(objects), good=(0, 1))
        # Of the names of kubectl's temporary files the last part tells which object it is.
        text = re.sub(r"^diff .*\n", "", text, flags=re.MULTILINE)
        return re.sub(r"^(---|\+\+\+) .*/(\S+)\t.*$", r"\1 \2", text, flags=re.MULTILINE)

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> str:
        """Make objects what they are to be.

        Raises:
            ManifestError: The cluster refuses one; those before it are applied.
        """
        return self._kubectl.run("apply", "-f", "-", text=as_yaml(objects), limit_s=300)

    def delete(self, keys: Iterable[Key]) -> None:
        """Remove objects, and what belongs to them."""
        names = [f"{kind.lower()}/{name}" for kind, name in keys]
        if names:
            self._kubectl.run(
                "-n", self.namespace, "delete", "--ignore-not-found", "--wait=true", *names,
                limit_s=300,
            )  # fmt: skip

    def _is_new(self) -> bool:
        """Whether the namespace is yet to be made."""
        try:
            text = self._kubectl.run(
                "get", "namespace", self.namespace, "--ignore-not-found", "-o", "name"
            )
        except ManifestError:
            return False  # Who may not look at namespaces may have been given one.
        return not text.strip()
