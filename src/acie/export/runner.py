"""Runs an exported ACIE model with NumPy and ONNX Runtime alone.

``acie export`` puts a copy of this file beside the model as ``acie_onnx.py``. It imports nothing
of ACIE and needs no torch::

    from acie_onnx import ExportedModel
    model = ExportedModel("exported")
    x_s, x_l, log_q = model.draws(features, redshift, noise)
    answer = model.answer(flux, ivar, lsf, redshift, {"stellar_mass": ("scale", 1.5)})
"""

__all__ = ["ExportedModel", "open_session"]

import hashlib
import json
from collections.abc import Mapping
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

    def answer(
        self,
        flux: np.ndarray,
        ivar: np.ndarray,
        lsf: np.ndarray,
        redshift: np.ndarray,
        do: Mapping[str, tuple[str, float | np.ndarray]],
        *,
        draws: int = 256,
        seed: int = 0,
        noise: np.ndarray | None = None,
        uniform: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Counterfactual spectra of the amortised posterior, which nothing has refined.

        Arguments:
            flux: 1e-17 erg/s/cm2/A at 3600, 3601, ..., 9599 angstrom, vacuum, 0 where masked,
                ``(batch, 6000)``, or ``(6000,)`` for one galaxy, as the next two.
            ivar: Inverse variance, 0 where masked, ``(batch, 6000)``.
            lsf: Gaussian width of the instrument, km/s, ``(batch, 6000)``.
            redshift: Shape ``(batch,)``.
            do: By variable: ``set``, ``scale``, ``shift``, ``shift_dex`` and a value, for all
                galaxies or one for each; or ``hold`` and 0 for a variable that stays as it is.
            draws: Per galaxy.
            seed: Of the noise.
            noise: Standard normal, ``(sample, batch, variable)``, in place of seed and draws.
            uniform: Between 0 and 1, ``(sample, batch, 2)``; the same.

        Returns:
            ``counterfactual`` ``(sample, batch, 6000)``, ``factual_state`` and
            ``counterfactual_state`` ``(sample, batch, variable)`` in the order of the manifest's
            ``variables``, ``log_q`` ``(sample, batch)``. Not a number where the action is
            impossible for a draw.

        Raises:
            ValueError: An unknown variable or action, or a redshift that the model does not cover.
        """
        names, facts = self.manifest["variables"], self.manifest["answer"]
        flux, ivar, lsf = np.atleast_2d(flux, ivar, lsf)
        redshift = np.atleast_1d(np.asarray(redshift, np.float64))
        low, high = facts["redshift"]
        if not bool(((redshift >= low) & (redshift <= high)).all()):
            raise ValueError(f"redshift: expected {low:g} to {high:g}, found {redshift}")
        kind = np.zeros((len(redshift), len(names)), np.int64)
        value = np.zeros(kind.shape)
        for name, (action, amount) in do.items():
            if name not in facts["intervenable"] or action not in facts["actions"]:
                expected = f"one of {facts['actions']} of one of {facts['intervenable']}"
                raise ValueError(f"do: expected {expected}, found {name}: {action}")
            kind[:, names.index(name)] = facts["actions"].index(action)
            value[:, names.index(name)] = amount
        rng, shape = np.random.default_rng(seed), (draws, len(redshift))
        if noise is None:
            noise = rng.standard_normal((*shape, self.manifest["noise"]), dtype=np.float32)
        if uniform is None:
            uniform = rng.random((*noise.shape[:2], 2))
        outputs = self.run(
            "answer", flux=flux, ivar=ivar, lsf=lsf, redshift=redshift, noise=noise,
            uniform=uniform, kind=kind, value=value,
        )  # fmt: skip
        return dict(zip(facts["outputs"], outputs, strict=True))
