"""Runs an exported ACIE model with NumPy and ONNX Runtime alone.

``acie export`` puts a copy of this file beside the model as ``acie_onnx.py``. It imports nothing
of ACIE and needs no torch::

    from acie_onnx import ExportedModel
    model = ExportedModel("exported")
    x_s, x_l, log_q = model.draws(features, redshift, noise)
"""

__all__ = ["ExportedModel", "open_session"]

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


def open_session(path: str | Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session on the processor.

    Arguments:
        path: The .onnx file.
        threads: Of one call. Many small operations gain nothing from more than one.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait busily take the processor from whoever calls from several threads.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class ExportedModel:
    """A folder that ``acie export`` made.

    Arguments:
        folder: Holds ``export.json`` and the files that it names.
        threads: See :func:`open_session`.

    Raises:
        ValueError: The folder is no export, or a file of it was changed.
    """

    def __init__(self, folder: str | Path, threads: int = 1) -> None:
        self.folder, self._threads = Path(folder), threads
        try:
            self.manifest = json.loads((self.folder / "export.json").read_text("utf-8"))
            files = self.manifest["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder}: expected an export of ACIE, found {error}") from None
        for name, facts in files.items():
            path = self.folder / name
            found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
            if found != facts["sha256"]:
                expected = facts["sha256"][:12]
                raise ValueError(f"{path}: expected SHA-256 {expected}, found {found[:12]}")
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(self, name: str, **inputs: np.ndarray) -> list[np.ndarray]:
        """Outputs of a graph, ``name`` without its ending; inputs are cast to its types."""
        session = self._sessions.get(name)
        if session is None:
            path = self.folder / f"{name}.onnx"
            session = self._sessions[name] = open_session(path, self._threads)
        feed = {
            known.name: np.ascontiguousarray(inputs[known.name], _TYPES[known.type])
            for known in session.get_inputs()
        }
        return session.run(None, feed)

    def draws(
        self, features: np.ndarray, redshift: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws of the amortised posterior, in unconstrained variables, and log q.

        Arguments:
            features: Standardised features, ``(batch, feature)``.
            redshift: Shape ``(batch,)``.
            noise: Standard normal, the spectral variables first, ``(sample, batch, variable)``.

        Returns:
            Spectral and latent variables ``(sample, batch, n)``, and log q ``(sample, batch)``.
        """
        first = self.manifest["spectral"]
        n = len(first)
        x_s, log_det = self.run("spectral", features=features, noise=noise[..., :n])
        x_l, log_l = self.run("latent", x_s=x_s, redshift=redshift, noise=noise[..., n:])
        base = -0.5 * (noise[..., :n] ** 2).sum(-1) - 0.5 * n * np.log(2.0 * np.pi)
        return x_s, x_l, base - log_det + log_l
