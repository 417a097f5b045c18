"""Programs of others: found, run with a time limit, their failures told as ACIE's."""

__all__ = ["Kubectl", "Outcome", "find_compose", "run_program"]

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acie.errors import ClusterUnreachable, ManifestError, ProgramMissing

#: Components of kustomize, and matchLabelKeys in the schema that kubectl knows.
_OLDEST_KUBECTL = (1, 27)
#: What kubectl says when there is no cluster, rather than one that refuses.
_NOBODY = re.compile(
    r"connection to the server .* was refused|Unable to connect to the server|no such host|"
    r"i/o timeout|connection refused|context .* does not exist|no configuration has been provided|"
    r"current-context is not set|context was not found|Client\.Timeout|TLS handshake timeout|"
    r"must be logged in|couldn't get current server API group list|EOF",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Arguments:
        code: Its exit status.
        output: What it wrote to standard output.
        errors: What it wrote to standard error.
    """

    code: int
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """The last lines of what went wrong, on one line."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return " ".join(lines[-3:])[-600:].rstrip(".?") or f"exit code {self.code}"


def run_program(
    command: Sequence[str],
    text: str | None = None,
    limit_s: float = 120.0,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a program to its end.

    Arguments:
        command: The program and its arguments.
        text: Its standard input; nothing when left out.
        limit_s: Seconds after which it is ended.
        environment: Variables besides those of this process.

    Raises:
        ProgramMissing: It cannot be started.
        ClusterUnreachable: It took longer than it may.
    """
    try:
        done = subprocess.run(
            list(command), input="" if text is None else text, capture_output=True, text=True,
            timeout=limit_s, check=False, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except OSError as error:
        raise ProgramMissing(
            command[0], expected="a program on the PATH", found=error.strerror or str(error)
        ) from None
    except subprocess.TimeoutExpired:
        raise ClusterUnreachable(
            command[0],
            expected=f"an end within {limit_s:.0f} s",
            found=f"{' '.join(command[1:4])} still at work",
        ) from None
    return Outcome(done.returncode, done.stdout, done.stderr)


class Kubectl:
    """The program kubectl, for one cluster and namespace.

    Arguments:
        context: Name of the cluster in the kubeconfig; the current one when left out.

    Raises:
        ProgramMissing: It is not there, or too old.
    """

    def __init__(self, context: str | None = None) -> None:
        self._options = ("--context", context) if context else ()
        if shutil.which("kubectl") is None:
            raise ProgramMissing(
                "kubectl",
                expected="the program on the PATH",
                found="none",
                remedy="Install kubectl 1.27 or newer.",
            )
        version = self._client_version()
        if version < _OLDEST_KUBECTL:
            raise ProgramMissing(
                "kubectl",
                expected="1.27 or newer, which knows components of kustomize",
                found=".".join(map(str, version)),
                remedy="Install one that is at most a minor version off the cluster's.",
            )

    def run(
        self, *arguments: str, text: str | None = None, good: Sequence[int] = (0,),
        limit_s: float = 120.0,
    ) -> str:  # fmt: skip
        """What kubectl answers.

        Arguments:
            arguments: Of kubectl.
            text: Its standard input.
            good: Exit codes that are no failure.
            limit_s: Seconds it may take.

        Raises:
            ClusterUnreachable: The cluster does not answer.
            ManifestError: kubectl or the cluster refuses.
        """
        return self.ask(*arguments, text=text, good=good, limit_s=limit_s).output

    def ask(
        self, *arguments: str, text: str | None = None, good: Sequence[int] = (0,),
        limit_s: float = 120.0,
    ) -> Outcome:  # fmt: skip
        """As :meth:`run`, with the exit code."""
        outcome = run_program(["kubectl", *self._options, *arguments], text, limit_s)
        if outcome.code in good:
            return outcome
        if _NOBODY.search(outcome.errors):
            raise ClusterUnreachable(
                "cluster",
                expected="one that kubectl reaches",
                found=outcome.reason,
                remedy="Look at kubectl config get-contexts, or name one with --context.",
            )
        raise ManifestError(
            f"kubectl {arguments[0]}", expected="success", found=outcome.reason
        )

    @staticmethod
    def _client_version() -> tuple[int, int]:
        outcome = run_program(["kubectl", "version", "--client", "-o", "json"], limit_s=30)
        return version_of(outcome.output, "clientVersion")


def version_of(text: str, which: str) -> tuple[int, int]:
    """Major and minor version in what ``kubectl version -o json`` says; zeros when it does not."""
    try:
        found: dict[str, Any] = json.loads(text)[which]
        numbers = re.match(r"v?(\d+)\.(\d+)", found["gitVersion"])
        return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    except (ValueError, KeyError, TypeError):
        return (0, 0)


def find_compose() -> tuple[tuple[str, ...], tuple[int, int]]:
    """The command of docker compose and its version.

    Raises:
        ProgramMissing: There is none.
    """
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) is None:
            continue
        outcome = run_program([*command, "version", "--short"], limit_s=30)
        numbers = re.match(r"v?(\d+)\.(\d+)", outcome.output.strip())
        if outcome.code == 0 and numbers:
            return command, (int(numbers[1]), int(numbers[2]))
    raise ProgramMissing(
        "docker compose",
        expected="docker with its plugin compose, version 2.20 or newer",
        found="none",
        remedy="Install docker-compose-plugin.",
    )
