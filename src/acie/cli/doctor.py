"""``acie doctor``: is this installation fit for work?"""

__all__ = ["run"]

import importlib.metadata
import platform

from acie.cli.output import table
from acie.errors import ACIEError


def run() -> int:
    """Print what was found; returns 0 when inference works here."""
    from acie.bundle import ModelBundle
    from acie.device import describe_devices
    from acie.physics.ssp import grid_folder

    rows = [("python", platform.python_version(), "ok")]
    for package in ("acie", "torch", "zuko", "astropy", "specutils", "lightning", "bagpipes"):
        try:
            rows.append((package, importlib.metadata.version(package), "ok"))
        except importlib.metadata.PackageNotFoundError:
            rows.append((package, "not installed", "needed for training only"))
    for index, (device, what) in enumerate(describe_devices()):
        rows.append(("other device" if index else "device", device, what))
    code = 0
    try:
        bundle = ModelBundle.load()
        rows.append(("model", f"{bundle.name} {bundle.digest[:12]}", "ok, digest verified"))
    except ACIEError as error:
        rows.append(("model", "unusable", str(error)))
        code = 1
    try:
        rows.append(("template grids", grid_folder().name, "ok"))
    except ACIEError:
        rows.append(("template grids", "not installed", "needed for training only"))
    table("ACIE", ("name", "found", "state"), rows)
    return code
