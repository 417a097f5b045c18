"""A Ray to work on: a local one started for the occasion, or one that is there."""

__all__ = ["cluster_cpus", "ray_session"]

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from acie.errors import ClusterError, ConfigurationError

#: Of a local Ray, bytes: only names and short records travel, spectra stay in their files.
_OBJECT_STORE = 200 * 2**20
_CONNECT_S = 5.0
#: Read by Ray when it is imported or starts; what the user has set is left alone. Workers have 15
#: as their niceness by default, which lets anything else on the machine starve them.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_worker_niceness": "0",
    # Of Ray Tune, whose newer output is not quiet when asked to be.
    "RAY_AIR_NEW_OUTPUT": "0",
}
_INSTALL = "Install it: pip install 'acie[cluster]'."


def _ray() -> Any:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise ConfigurationError(
            "--ray", expected="Ray", found="that it is not installed", remedy=_INSTALL
        ) from None
    return ray


@contextlib.contextmanager
def ray_session(address: str | None = None, cpus: int | None = None) -> Iterator[Any]:
    """Ray, connected; what was started here is stopped in the end.

    A local Ray has no dashboard, reports no usage, and guards itself with a token of the user, as
    Ray does by itself unless ``RAY_AUTH_MODE`` says otherwise.

    Arguments:
        address: ``auto``, ``host:port`` or ``ray://host:port``; a local Ray when left out.
        cpus: Processors of a local Ray; those of the machine when left out.

    Raises:
        ClusterError: There is no cluster at the address, or it does not let us in.
        ConfigurationError: Ray is not installed.
    """
    ray = _ray()
    if ray.is_initialized():
        # Whoever connected this process goes on using it.
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
        }
    else:
        _reach(address)
        options["address"] = address
    try:
        ray.init(**options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ClusterError(
            "--address" if address else "Ray",
            expected="a Ray cluster that lets this user in" if address else "a Ray that starts",
            found=f"{address or 'a local one'}: {_first_line(error)}",
            remedy="Check `ray status` there, the version of Ray, and its token (RAY_AUTH_MODE)."
            if address
            else "See the logs of Ray in its temporary folder.",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def cluster_cpus(ray: Any) -> int:
    """Processors of the whole cluster."""
    return int(ray.cluster_resources().get("CPU", 0))


def _reach(address: str) -> None:
    """Refuse an address behind which nobody listens: Ray itself would try for minutes."""
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise ClusterError(
            "--address", expected="auto, host:port or ray://host:port", found=repr(address),
            remedy="`ray start --head` shows the address of a cluster.",
        )  # fmt: skip
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            "--address", expected="the address of a running Ray cluster",
            found=f"{address} ({_first_line(error)})",
            remedy="Start one with `ray start --head`, or leave the option out for a local Ray.",
        ) from None  # fmt: skip


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
