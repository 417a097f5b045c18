"""Bundles that differ from the shipped one, and evaluations of them."""

import hashlib
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from acie.manifest import bundled_models, sha256


def variant(folder: Path, version: str, scale: float = 1.0, **facts: object) -> Path:
    """The shipped model under another version; its weights times ``scale``."""
    shutil.copytree(bundled_models()["galaxy-v1"], folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | {"version": version, **facts}
    if scale != 1.0:
        weights = folder / "estimator.safetensors"
        tensors = load_file(weights)
        first = sorted(n for n, t in tensors.items() if t.is_floating_point())[0]
        tensors[first] = tensors[first] * scale
        save_file(tensors, weights)
        manifest["files"]["estimator.safetensors"] = sha256(weights)
        text = json.dumps(manifest["files"], sort_keys=True).encode()
        manifest["digest"] = hashlib.sha256(text).hexdigest()
    path.write_text(json.dumps(manifest))
    return folder


def evaluation_of(bundle: Path, report: dict, path: Path) -> Path:
    """A report as if it had been measured of this bundle."""
    digest = json.loads((bundle / "manifest.json").read_text())["digest"]
    path.write_text(json.dumps(report | {"model": report["model"] | {"digest": digest}}))
    return path
