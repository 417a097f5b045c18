"""A model bundle: one folder with safetensors weights and a JSON manifest, and no pickle.

::

    galaxy-v1/
    ├── manifest.json            name, versions, units, variables, training, metrics, digests
    ├── templates.safetensors    compressed template grids
    ├── encoder.safetensors      principal components and population statistics
    └── estimator.safetensors    the amortised posterior
"""

__all__ = ["FORMAT_VERSION", "ModelBundle", "bundled_models"]

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from acie.inference import NeuralPosteriorEstimator
from acie.inference.encoder import SpectrumEncoder
from acie.manifest import (
    FORMAT_VERSION,
    bundled_models,
    find_bundle,
    read_manifest,
    verify_files,
    write_manifest,
)
from acie.physics import StellarPopulationModel, TemplateSet
from acie.simulation import build_galaxy_scm

_PARTS = ("templates", "encoder", "estimator")
_FILES = tuple(f"{part}.safetensors" for part in _PARTS)
_DEFAULT = "galaxy-v1"


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
        scm = build_galaxy_scm(StellarPopulationModel(self.templates))
        facts = {
            "name": self.name,
            "version": self.version,
            "acie_version": acie.__version__,
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
        self.digest = write_manifest(folder, _FILES, facts)
        return folder

    @classmethod
    def load(cls, name_or_path: str | Path = _DEFAULT) -> "ModelBundle":
        """Load a bundle by the name of a shipped model or by its folder.

        Raises:
            UnknownModel: There is no such bundle.
            IncompatibleBundle: Its format is another one, or its manifest cannot be read.
            ChecksumMismatch: A file is missing, truncated or changed.
        """
        folder = find_bundle(name_or_path)
        manifest = read_manifest(folder, _FILES)
        verify_files(folder, manifest)
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
