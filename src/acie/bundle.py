"""A model bundle: one folder with safetensors weights and a JSON manifest, and no pickle.

::

    galaxy-v1/
    ├── manifest.json            name, versions, units, variables, training, metrics, digests
    ├── templates.safetensors    compressed template grids
    ├── encoder.safetensors      principal components and population statistics
    └── estimator.safetensors    the amortised posterior
"""

__all__ = ["FORMAT_VERSION", "ModelBundle", "bundled_models"]

import hashlib
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from acie.errors import ChecksumMismatch, IncompatibleBundle, UnknownModel
from acie.inference import NeuralPosteriorEstimator
from acie.inference.encoder import SpectrumEncoder
from acie.physics import StellarPopulationModel, TemplateSet
from acie.simulation import build_galaxy_scm

#: Raised when the layout of the folder changes incompatibly.
FORMAT_VERSION = 1
_PARTS = ("templates", "encoder", "estimator")
_DEFAULT = "galaxy-v1"


def bundled_models() -> dict[str, Path]:
    """Names and folders of the models that ship inside the package."""
    root = Path(str(resources.files("acie"))) / "models"
    found = sorted(root.glob("*/manifest.json")) if root.is_dir() else []
    return {path.parent.name: path.parent for path in found}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class ModelBundle:
    """Everything that an answer needs.

    Arguments:
        name: Name of the model.
        templates: Compressed templates.
        encoder: Compression of spectra.
        estimator: Amortised posterior.
        training: Settings of the training run.
        metrics: What was measured of the model.
        version: Version of the model.
        digest: SHA-256 over the manifest's file digests; set by loading and saving.
    """

    name: str
    templates: TemplateSet
    encoder: SpectrumEncoder
    estimator: NeuralPosteriorEstimator
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    version: str = "1"
    digest: str = ""

    def save(self, folder: str | Path) -> Path:
        """Write the bundle; the manifest comes last, so a torn folder is not a bundle."""
        import acie

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for part in _PARTS:
            tensors = getattr(self, part).state_dict()
            save_file(
                {name: tensor.contiguous() for name, tensor in tensors.items()},
                folder / f"{part}.safetensors",
            )
        files = {f"{part}.safetensors": _sha256(folder / f"{part}.safetensors") for part in _PARTS}
        self.digest = _digest_of(files)
        scm = build_galaxy_scm(StellarPopulationModel(self.templates))
        manifest = {
            "format": FORMAT_VERSION,
            "name": self.name,
            "version": self.version,
            "acie_version": acie.__version__,
            "digest": self.digest,
            "files": files,
            "encoder": self.encoder.config,
            "estimator": self.estimator.config,
            "flux_unit": "1e-17 erg/s/cm2/AA",
            "wavelength": "vacuum angstrom, 3600 to 9599 in steps of 1",
            "variables": [
                {"name": v.name, "unit": v.unit, "support": v.support, "transform": v.transform,
                 "parents": v.parents, "source": v.source}
                for v in scm.variables.values()
            ],
            "training": self.training,
            "metrics": self.metrics,
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
        return folder

    @classmethod
    def load(cls, name_or_path: str | Path = _DEFAULT) -> "ModelBundle":
        """Load a bundle by the name of a shipped model or by its folder.

        Raises:
            UnknownModel: There is no such bundle.
            IncompatibleBundle: Its format is another one, or its manifest cannot be read.
            ChecksumMismatch: A file is missing, truncated or changed.
        """
        shipped = bundled_models()
        name = _DEFAULT if str(name_or_path) in ("latest", "galaxy") else str(name_or_path)
        folder = shipped.get(name, Path(name))
        if not (folder / "manifest.json").is_file():
            raise UnknownModel(
                "model",
                expected=f"one of {', '.join(shipped) or 'no shipped models'}, or a bundle folder",
                found=str(name_or_path),
                remedy="List the models with: acie models.",
            )
        manifest = _read_manifest(folder)
        for file, digest in manifest["files"].items():
            path = folder / file
            found = _sha256(path) if path.is_file() else "no such file"
            if found != digest:
                raise ChecksumMismatch(
                    f"{folder.name}/{file}",
                    expected=f"SHA-256 {digest[:12]}...",
                    found=found[:12],
                    remedy="The file is truncated or was changed; fetch the bundle again.",
                )
        tensors = {part: load_file(folder / f"{part}.safetensors") for part in _PARTS}
        return cls(
            name=manifest["name"],
            templates=TemplateSet(tensors["templates"]),
            encoder=SpectrumEncoder.from_state(manifest["encoder"], tensors["encoder"]),
            estimator=NeuralPosteriorEstimator.from_state(
                manifest["estimator"], tensors["estimator"]
            ),
            training=manifest["training"],
            metrics=manifest["metrics"],
            version=manifest["version"],
            digest=manifest["digest"],
        )


def _digest_of(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        known = {f"{part}.safetensors" for part in _PARTS}
        if manifest["format"] != FORMAT_VERSION or set(manifest["files"]) != known:
            raise ValueError(f"format {manifest['format']}")
        consistent = _digest_of(manifest["files"]) == manifest["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IncompatibleBundle(
            f"{folder.name}/manifest.json",
            expected=f"a manifest of format {FORMAT_VERSION}",
            found=str(error) or type(error).__name__,
            remedy="Use a bundle made by a compatible version of ACIE.",
        ) from None
    if not consistent:
        raise ChecksumMismatch(
            f"{folder.name}/manifest.json",
            expected="a digest that matches the list of files",
            found="another one",
            remedy="The manifest was changed; fetch the bundle again.",
        )
    return manifest
