"""DoWhy-GCM's half of ``dowhy_gcm.py``: runs in DoWhy's own Python and knows nothing of ACIE.

    python dowhy_worker.py FOLDER QUALITY

FOLDER holds ``task.json`` (columns, edges, interventions, seed), ``train.npy`` and ``test.npy``;
it gets ``dowhy.npy``, counterfactuals ``(intervention, row, column)``, and ``dowhy.json``, times.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd


def main(folder: Path, quality: str) -> None:
    """Fit, answer, write."""
    warnings.filterwarnings("ignore")
    import dowhy
    from dowhy import gcm

    gcm.config.disable_progress_bars()
    gcm.config.set_default_n_jobs(1)
    task = json.loads((folder / "task.json").read_text())
    gcm.util.general.set_random_seed(task["seed"])
    names = task["columns"]
    train, test = (
        pd.DataFrame(np.load(folder / f"{part}.npy"), columns=names) for part in ("train", "test")
    )
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(task["edges"])
    start = time.process_time()
    model = gcm.InvertibleStructuralCausalModel(graph)
    gcm.auto.assign_causal_mechanisms(model, train, quality=gcm.auto.AssignmentQuality[quality])
    gcm.fit(model, train)
    seconds = {"fit_s": time.process_time() - start, "version": dowhy.__version__}
    start = time.process_time()
    answers = [
        gcm.counterfactual_samples(model, {name: _constant(value)}, observed_data=test)[names]
        for name, value in task["interventions"]
    ]
    seconds["answer_s"] = time.process_time() - start
    seconds["mechanisms"] = {name: _describe(model.causal_mechanism(name)) for name in names}
    np.save(folder / "dowhy.npy", np.stack([answer.to_numpy() for answer in answers]))
    (folder / "dowhy.json").write_text(json.dumps(seconds))


def _constant(value: float):
    return lambda _: value


def _describe(mechanism: object) -> str:
    prediction = getattr(mechanism, "prediction_model", None)
    if prediction is None:
        return type(mechanism).__name__
    inner = getattr(prediction, "sklearn_model", prediction)
    steps = getattr(inner, "steps", None)
    return type(steps[-1][1] if steps else inner).__name__ + ("+features" if steps else "")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
