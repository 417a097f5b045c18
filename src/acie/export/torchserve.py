"""An archive for TorchServe: a bundle and the handler that answers with it."""

__all__ = ["export_torchserve"]

import importlib.util
import re
import tempfile
from pathlib import Path

from acie.errors import ConfigurationError
from acie.manifest import find_bundle

#: What TorchServe does with the archive if its own configuration says nothing else. One worker
#: uses all cores; questions that come within a few milliseconds are computed together.
_CONFIG = """\
minWorkers: 1
maxWorkers: 1
batchSize: 24
maxBatchDelay: 5
responseTimeout: 120
startupTimeout: 300
"""


def export_torchserve(model: str, out: Path, name: str | None = None) -> Path:
    """Write ``NAME.mar``; an earlier one of that name is replaced.

    The archive holds the bundle's own files, which the handler verifies by their digests when it
    loads them. TorchServe's Python needs ``acie[serve]`` of the same version.

    Arguments:
        model: Name or folder of a galaxy model.
        out: Folder of the archive.
        name: Name of the model in TorchServe; left out, the bundle's name.

    Raises:
        ConfigurationError: The archiver is not installed, the name is none, or the folder cannot
            be written.
        BundleError: There is no such bundle, or it is not one of galaxies.
    """
    if importlib.util.find_spec("model_archiver") is None:
        raise ConfigurationError(
            "--format torchserve", expected="torch-model-archiver, which is not installed",
            found="none", remedy="pip install 'acie[serve,torchserve]'",
        )  # fmt: skip
    from model_archiver.model_archiver_config import ModelArchiverConfig
    from model_archiver.model_packaging import package_model
    from model_archiver.model_packaging_utils import ModelExportUtils

    from acie.bundle import ModelBundle

    folder = find_bundle(model)
    bundle = ModelBundle.load(folder)
    name = bundle.name if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigurationError(
            "--name", expected="letters, digits, dots, dashes and underscores", found=repr(name)
        )
    handler = importlib.util.find_spec("acie.serving.torchserve").origin
    try:
        out.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that the name appears when everything is written.
        with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as work:
            settings = Path(work) / "model-config.yaml"
            settings.write_text(_CONFIG, "utf-8")
            config = ModelArchiverConfig(
                model_name=name,
                handler=handler,
                version=bundle.version,
                extra_files=str(folder),
                export_path=work,
                config_file=str(settings),
            )
            package_model(config, ModelExportUtils.generate_manifest_json(config))
            return (Path(work) / f"{name}.mar").replace(out / f"{name}.mar")
    except OSError as error:
        raise ConfigurationError(
            "--out", expected="a folder that can be written", found=f"{out} ({error.strerror})"
        ) from None
