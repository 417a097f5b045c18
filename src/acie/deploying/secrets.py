"""The Secret that pods read: given, kept, or made for development; never a placeholder."""

__all__ = ["SECRET", "settle_secret", "stamp_secret"]

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from acie.deploying.manifests import manifests_folder
from acie.errors import ConfigurationError

if TYPE_CHECKING:
    from acie.deploying.cluster import Cluster

#: Its name in the manifests.
SECRET = "acie-secrets"
#: Passwords become parts of URLs.
_PASSWORD = re.compile(r"[A-Za-z0-9_-]{12,200}")
_PLACEHOLDER = "CHANGE-ME"
_REMEDY = (
    "Fill a copy of {template} and name it with --secrets, or make the Secret {name} in the "
    "namespace before."
)


def settle_secret(
    file: Path | None, overlay: str, cluster: "Cluster | None"
) -> tuple[dict[str, str] | None, dict[str, str] | None]:
    """What the Secret is to hold.

    Arguments:
        file: A filled copy of ``secret.template.yaml``.
        overlay: Only for ``dev`` are secrets made.
        cluster: Where one may be already; None when it is not reached.

    Returns:
        The values to apply, None when the cluster's are kept; and the values that will be there,
        None when nobody knows.

    Raises:
        ConfigurationError: There is none, it lacks a value, or a value is the placeholder.
    """
    names = tuple(_template())
    there = _in_cluster(cluster)
    if file is not None:
        given = _in_file(file)
        _check(given, names, str(file))
        if there is not None and there.get("database-password") not in (
            None, given["database-password"],
        ):  # fmt: skip
            raise ConfigurationError(
                "--secrets",
                expected="the database-password that the cluster has",
                found="another",
                remedy="PostgreSQL keeps the password of its first start: ALTER USER there, "
                "change the Secret with kubectl, then deploy.",
            )
        return given, given
    if there is not None:
        _check(there, names, f"the Secret {SECRET} of the cluster")
        return None, there
    if cluster is not None and overlay == "dev":
        made = {name: secrets.token_hex(32) for name in names}
        return made, made
    if cluster is None:
        return None, None
    raise ConfigurationError(
        "--secrets",
        expected=f"values for {', '.join(names)}",
        found=f"none, and no Secret {SECRET} in the cluster",
        remedy=_remedy(),
    )


def stamp_secret(objects: Iterable[dict[str, Any]], values: Mapping[str, str]) -> None:
    """Mark pods of Deployments with a digest, so that they start again when the Secret changes."""
    digest = hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()[:16]
    for one in objects:
        if one["kind"] == "Deployment":
            metadata = one["spec"]["template"].setdefault("metadata", {})
            metadata.setdefault("annotations", {})["acie/secrets"] = digest


def _template() -> dict[str, str]:
    path = manifests_folder() / "k8s" / "secret.template.yaml"
    return yaml.safe_load(path.read_text("utf-8"))["stringData"]


def _remedy() -> str:
    template = manifests_folder() / "k8s" / "secret.template.yaml"
    return _REMEDY.format(template=template, name=SECRET)


def _in_cluster(cluster: "Cluster | None") -> dict[str, str] | None:
    found = cluster.find("Secret", SECRET) if cluster is not None else None
    return None if found is None else _values(found)


def _values(secret: Mapping[str, Any]) -> dict[str, str]:
    coded = {
        name: base64.b64decode(value).decode(errors="replace")
        for name, value in (secret.get("data") or {}).items()
    }
    plain = {name: str(value) for name, value in (secret.get("stringData") or {}).items()}
    return coded | plain


def _in_file(file: Path) -> dict[str, str]:
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
        if content["kind"] != "Secret":
            raise ValueError
        return _values(content)
    except OSError as error:
        found = error.strerror or str(error)
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError):
        # The words of these would quote the file.
        found = "something else"
    raise ConfigurationError(
        "--secrets", expected="a file with one Secret of Kubernetes", found=f"{file} ({found})",
        remedy=_remedy(),
    )  # fmt: skip


def _check(values: Mapping[str, str], names: Iterable[str], where: str) -> None:
    """Values are never part of what is said."""
    wrong = []
    for name in names:
        value = values.get(name, "")
        if not value:
            wrong.append(f"{name} is missing")
        elif _PLACEHOLDER in value:
            wrong.append(f"{name} is the placeholder of the template")
        elif name == "auth-secret" and len(value.encode()) < 32:
            wrong.append(f"{name} has fewer than 32 bytes")
        elif name != "auth-secret" and not _PASSWORD.fullmatch(value):
            wrong.append(f"{name} is not of 12 letters, digits, - and _ or more")
    if wrong:
        raise ConfigurationError(
            "secrets", expected=f"a value of its own for each of {', '.join(names)}",
            found=f"in {where} {'; '.join(wrong)}", remedy=_remedy(),
        )  # fmt: skip
