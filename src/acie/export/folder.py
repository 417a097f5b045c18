"""Export folders: ONNX files, a runner, and ``export.json`` with digests, parity and origin.

::

    exported/
    ├── export.json          source, opset, inputs and outputs, parity, digests; written last
    ├── spectral.onnx        features, noise -> draws, log_det
    ├── latent.onnx          x_s, redshift, noise -> x_l, log_q
    ├── answer.onnx          spectrum, noise, intervention -> counterfactual; may be missing
    ├── acie_onnx.py         runs them with NumPy and ONNX Runtime
    └── MODEL_CARD.md        parity, layers, and the card of the model
"""

__all__ = ["FORMAT", "export_folder", "read_export", "write_export"]

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from acie.errors import ConfigurationError, IncompatibleBundle
from acie.export.card import export_card
from acie.manifest import sha256, verify_files

#: Raised when the layout of the folder changes. Format 1 had no whole answers.
FORMAT = 2
_KNOWN = (1, 2)
_NAME = "export.json"
_RUNNER = "acie_onnx.py"


@contextmanager
def export_folder(folder: str | Path) -> Iterator[Path]:
    """A folder to write in, which becomes ``folder`` when nothing is raised, and nothing if so.

    Raises:
        ConfigurationError: The place cannot be written, or holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / _NAME).is_file() and any(folder.iterdir()):
        raise ConfigurationError(
            "--out",
            expected="an empty or new folder, or an earlier export",
            found=f"{folder}, which holds other files",
            remedy="Choose another folder.",
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ConfigurationError(
            "--out", expected="a folder that can be written", found=f"{folder} ({error.strerror})"
        ) from None
    try:
        yield draft
        draft.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_export(
    folder: Path,
    models: Mapping[str, onnx.ModelProto],
    facts: Mapping[str, Any],
    card: str | None = None,
) -> dict[str, Any]:
    """Write graphs, the runner, a model card once parity is known and, last, the manifest.

    Arguments:
        folder: Where to.
        models: Graphs by name.
        facts: What else the manifest says.
        card: The model's own card.

    Returns:
        The manifest.
    """
    files: dict[str, Any] = {}
    for name, model in models.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        files[path.name] = {
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
            "nodes": len(model.graph.node),
            "inputs": [_described(info) for info in model.graph.input],
            "outputs": [_described(info) for info in model.graph.output],
        }
    runner = folder / _RUNNER
    shutil.copyfile(Path(__file__).with_name("runner.py"), runner)
    files[_RUNNER] = {"sha256": sha256(runner), "bytes": runner.stat().st_size}
    if "parity" in facts:
        path = folder / "MODEL_CARD.md"
        path.write_text(export_card(facts, card), "utf-8")
        files[path.name] = {"sha256": sha256(path), "bytes": path.stat().st_size}
    manifest = {"format": FORMAT, **facts, "files": files}
    (folder / _NAME).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def read_export(folder: str | Path) -> dict[str, Any]:
    """The manifest of an export whose files are as they were written.

    Raises:
        IncompatibleBundle: The folder is no export, or one of another format.
        ChecksumMismatch: A file of it is missing, truncated or changed.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / _NAME).read_text("utf-8"))
        if manifest["format"] not in _KNOWN:
            raise ValueError(f"format {manifest['format']}")
        digests = {name: facts["sha256"] for name, facts in manifest["files"].items()}
        manifest["source"]["digest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IncompatibleBundle(
            f"{folder}/{_NAME}",
            expected=f"an export of format {FORMAT}",
            found=str(error) or type(error).__name__,
            remedy="Make one: acie export --model NAME --out DIR.",
        ) from None
    verify_files(folder, {"files": digests}, "export the model again")
    return manifest


def _described(info: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = info.type.tensor_type
    return {
        "name": info.name,
        "type": onnx.TensorProto.DataType.Name(tensor.elem_type).lower(),
        "shape": [axis.dim_param or axis.dim_value for axis in tensor.shape.dim],
    }
