"""ACIE on one machine, by docker compose."""

__all__ = ["ComposeProject", "render_compose"]

import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from acie.deploying.manifests import manifests_folder
from acie.deploying.programs import find_compose, run_program
from acie.deploying.request import Deployment
from acie.errors import ClusterUnreachable, ManifestError, ProgramMissing, RolloutFailed

#: ``up --wait`` with a time limit.
_OLDEST = (2, 20)
_FILE, _GPU_FILE = "docker-compose.production.yml", "docker-compose.gpu.yml"
_SERVICE = "acie"
_PLACEHOLDER = b"CHANGE-ME"


def render_compose(deployment: Deployment) -> dict[str, Any]:
    """The project as one file: what the manifests, the environment and the options say together.

    Arguments:
        deployment: What is asked for.

    Raises:
        ProgramMissing: There is no docker compose.
        ManifestError: Compose refuses the manifests.
    """
    folder = manifests_folder() / "compose"
    files = [folder / _FILE, *([folder / _GPU_FILE] if deployment.gpus else [])]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ManifestError(
            "manifests", expected=f"{', '.join(missing)} in {folder}", found="none"
        )
    command, _ = find_compose()
    named = [part for path in files for part in ("-f", str(path))]
    asked = {"ACIE_IMAGE": deployment.image, "ACIE_REPLICAS": deployment.replicas}
    given = {name: str(value) for name, value in asked.items() if value is not None}
    outcome = run_program([*command, *named, "config"], environment=given)
    if outcome.code != 0:
        raise ManifestError(
            "compose", expected="manifests that docker compose accepts", found=outcome.reason
        )
    project = yaml.safe_load(outcome.output)
    service = project.get("services", {}).get(_SERVICE)
    if service is None:
        raise ManifestError("compose", expected=f"a service {_SERVICE}", found="none")
    project["name"] = deployment.namespace or project.get("name", _SERVICE)
    if deployment.gpus:
        _devices(service.setdefault("deploy", {}))["count"] = deployment.gpus
    return project


def _devices(deploy: dict[str, Any]) -> dict[str, Any]:
    """The reservation of GPUs; its device_ids, if any, would contradict a count."""
    reserved = deploy.setdefault("resources", {}).setdefault("reservations", {})
    for one in reserved.setdefault("devices", []):
        if "gpu" in one.get("capabilities", ()):
            one.pop("device_ids", None)
            return one
    reserved["devices"].append({"driver": "nvidia", "capabilities": ["gpu"]})
    return reserved["devices"][-1]


class ComposeProject:
    """A project of this machine, and what was applied of it last.

    Arguments:
        project: As :func:`render_compose` gives it.
        state: Folder that keeps what was applied; when left out that of the user (XDG's folder of
            states).
    """

    def __init__(self, project: Mapping[str, Any], state: Path | None = None) -> None:
        self._project = project
        folder = state or _state_folder()
        self._kept = folder / f"compose-{project['name']}.yml"

    @property
    def text(self) -> str:
        """The project as YAML."""
        return yaml.safe_dump(dict(self._project), sort_keys=False, width=100)

    def check(self) -> None:
        """Refuse secrets that are missing, empty or the template's.

        Raises:
            ManifestError: One is.
        """
        wrong = []
        for name, one in (self._project.get("secrets") or {}).items():
            file = Path(one.get("file", ""))
            if "file" not in one:
                continue
            try:
                content = file.read_bytes().strip()
            except OSError as error:
                wrong.append(f"{name}: {file} ({error.strerror})")
                continue
            if not content or _PLACEHOLDER in content:
                wrong.append(f"{name}: {file} ({'the placeholder' if content else 'empty'})")
        if wrong:
            raise ManifestError(
                "secrets", expected="a file with a value for each", found="; ".join(wrong),
                remedy=f"{manifests_folder() / 'compose' / 'make_secrets.sh'} makes them.",
            )  # fmt: skip

    def difference(self) -> str:
        """What differs from what was applied last, as a diff."""
        old = self._kept.read_text("utf-8") if self._kept.is_file() else ""
        lines = difflib.unified_diff(
            old.splitlines(), self.text.splitlines(), "applied", "to be applied", lineterm="", n=2
        )
        return "".join(f"{line}\n" for line in lines)

    def roll_out(self, say: Callable[[str], None], patience_s: float = 900.0) -> None:
        """Start or change the containers and wait until all are healthy; else go back.

        Arguments:
            say: Told what happens, line by line.
            patience_s: Seconds until all must be healthy.

        Raises:
            ProgramMissing: docker compose is too old to wait.
            ClusterUnreachable: The engine does not answer.
            RolloutFailed: Containers did not become healthy; the message says what runs now.
        """
        command, version = find_compose()
        if version < _OLDEST:
            raise ProgramMissing(
                "docker compose",
                expected="2.20 or newer, which waits until containers are healthy",
                found=".".join(map(str, version)),
                remedy="Install docker-compose-plugin; --dry-run works with what is there.",
            )
        self._reach_engine()
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        new = self._kept.with_suffix(".new.yml")
        # Values of the environment may be part of it.
        _write_private(new, self.text)
        trouble = self._up(command, new, say, patience_s)
        if trouble is None:
            os.replace(new, self._kept)
            return
        raise RolloutFailed(
            "compose",
            expected=f"healthy containers within {patience_s:.0f} s",
            found=trouble,
            remedy=self._go_back(command, say, patience_s),
        )

    def _go_back(
        self, command: tuple[str, ...], say: Callable[[str], None], patience_s: float
    ) -> str:
        name = self._project["name"]
        look = f"{' '.join(command)} -p {name} ps, logs"
        if not self._kept.is_file():
            return f"This was the first release here; what was started stays: {look}."
        say("going back to what was applied before")
        trouble = self._up(command, self._kept, say, patience_s)
        if trouble is not None:
            return f"Going back failed too ({trouble}): {look}."
        return "The release before runs again. Migrations of the database are not undone."

    def _up(
        self, command: tuple[str, ...], file: Path, say: Callable[[str], None], patience_s: float
    ) -> str | None:
        """Apply a file; returns what went wrong."""
        say(f"docker compose up: {len(self._project['services'])} services")
        arguments = (
            "-p", self._project["name"], "-f", str(file), "up", "--detach", "--remove-orphans",
            "--wait", "--wait-timeout", f"{patience_s:.0f}",
        )  # fmt: skip
        try:
            outcome = run_program([*command, *arguments], limit_s=patience_s + 600.0)
        except ClusterUnreachable as error:
            return error.found
        if outcome.code != 0:
            return outcome.reason
        say("all containers are healthy")
        return None

    @staticmethod
    def _reach_engine() -> None:
        outcome = run_program(["docker", "version", "--format", "{{.Server.Version}}"], limit_s=30)
        if outcome.code != 0:
            raise ClusterUnreachable(
                "docker",
                expected="an engine that answers",
                found=outcome.reason,
                remedy="Start it, or name another with DOCKER_HOST or docker context use.",
            )


def _state_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "acie" / "deploy"


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user reads."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
