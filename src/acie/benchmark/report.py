"""Two benchmarks side by side."""

__all__ = ["compare", "read_benchmark"]

import json
from pathlib import Path
from typing import Any

from acie.errors import ConfigurationError


def read_benchmark(path: Path) -> dict[str, Any]:
    """An earlier result.

    Raises:
        ConfigurationError: The file is not one.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if not {"format", "machines", "stages"} <= found.keys():
            raise ValueError("JSON of something else")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            "--compare",
            expected="a result that acie benchmark --out wrote",
            found=f"{path}: {str(error).splitlines()[0]}",
        ) from None
    return found


def compare(now: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Ratios of throughput, and what makes them doubtful.

    Arguments:
        now: From :func:`acie.benchmark.run_benchmark`.
        earlier: The same of another time.

    Returns:
        ``ratios``: throughput over the earlier one by ``stage/device``, for those in both;
        ``caveats``: what differs besides the code.
    """
    before = {_key(row): row for row in earlier["stages"]}
    ratios = {
        _key(row): row["per_second"] / before[_key(row)]["per_second"]
        for row in now["stages"]
        if _key(row) in before
    }
    return {"ratios": ratios, "caveats": list(_caveats(now, earlier))}


def _key(row: dict[str, Any]) -> str:
    return f"{row['stage']}/{row['device']}"


def _caveats(now: dict[str, Any], earlier: dict[str, Any]) -> list[str]:
    found = []
    for name in ("format", "model", "dataset"):
        if now[name] != earlier.get(name):
            found.append(f"another {name}")
    machines = {machine["device"]: machine for machine in earlier["machines"]}
    for machine in now["machines"]:
        other = machines.get(machine["device"])
        if other is None:
            continue
        device = machine["device"]
        if (other["name"], other["threads"]) != (machine["name"], machine["threads"]):
            found.append(f"{device}: another processor or number of threads")
        for name, what in (("operations_per_s", "operations"), ("bytes_per_s", "memory")):
            ratio = machine[name] / other[name]
            if not 0.9 < ratio < 1.1:
                found.append(f"{device}: its own rate of {what} changed by {ratio:.2f}")
    return found
