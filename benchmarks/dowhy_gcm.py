"""Learned counterfactuals of ACIE against DoWhy-GCM, on models whose truth is known.

Both get the same graph, the same training rows and the same held-out rows, learn every mechanism,
and say what each held-out row would have been, had one variable had another value: the 25, 50 and
75 % percentile of the training rows, one variable at a time. The error of a row is the Euclidean
distance to the true counterfactual over all variables.

    python -m venv dowhy-venv && dowhy-venv/bin/pip install -r benchmarks/dowhy-requirements.txt
    python benchmarks/dowhy_gcm.py --dowhy-python dowhy-venv/bin/python

DoWhy lives in an environment of its own and gets its data by files, so that neither library's
dependencies touch the other's. Columns: mean error of ACIE, of DoWhy, of CausalNF as published;
seconds of one core for the fit; counterfactual rows per second.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from acie.io import Catalogue
from acie.tabular import FitConfig, GraphSpec, TabularEngine, VariableSpec, fit
from causal_models import ACTED, EQUATIONS, PARENTS, PUBLISHED, SEEDS, draw_noise, solve

WORKER = Path(__file__).with_name("dowhy_worker.py")
#: The models whose mechanisms are not linear.
DEFAULT = tuple(name for name in EQUATIONS if not name.endswith("-lin"))


def make_task(name: str, rows: int, seed: int) -> dict:
    """Training and held-out rows, interventions, and the true counterfactuals."""
    rng = np.random.default_rng(seed)
    held = rows // 10
    noise = draw_noise(name, rows, rng)
    values = solve(name, noise).T
    train, test = values[:-held], values[-held:]
    interventions, truth = [], []
    for node in ACTED[name]:
        for level in (25, 50, 75):
            value = round(float(np.percentile(train[:, node - 1], level)), 2)
            interventions.append((f"x{node}", value))
            truth.append(solve(name, noise[:, -held:], node, value).T)
    columns = [f"x{number}" for number in range(1, len(EQUATIONS[name]) + 1)]
    edges = [
        (f"x{parent}", column)
        for column, parents in zip(columns, PARENTS[name], strict=True)
        for parent in parents
    ]
    return {
        "columns": columns, "edges": edges, "interventions": interventions, "seed": seed,
        "train": train, "test": test, "truth": np.stack(truth),
    }  # fmt: skip


def run_acie(task: dict) -> tuple[np.ndarray, dict]:
    """Counterfactuals ``(intervention, row, column)`` and seconds."""
    columns = task["columns"]
    causes = {c: tuple(p for p, child in task["edges"] if child == c) for c in columns}
    spec = GraphSpec({name: VariableSpec(parents=causes[name]) for name in columns})
    train, test = (
        Catalogue(dict(zip(columns, task[part].T.copy(), strict=True)))
        for part in ("train", "test")
    )
    start = time.process_time()
    engine = TabularEngine(fit(spec, train, FitConfig(seed=task["seed"])))
    seconds = {"fit_s": time.process_time() - start}
    start = time.process_time()
    answers = []
    for name, value in task["interventions"]:
        values = engine.counterfactual(test, {name: value}).values
        answers.append(torch.stack([values[column][0] for column in columns], -1).numpy())
    seconds["answer_s"] = time.process_time() - start
    report = engine.bundle.report
    seconds["mechanisms"] = {column: report[column]["mechanism"] for column in columns}
    return np.stack(answers), seconds


def run_dowhy(task: dict, python: str, quality: str) -> tuple[np.ndarray, dict]:
    """The same from DoWhy's own interpreter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("train", "test"):
            np.save(folder / f"{part}.npy", task[part])
        keys = ("columns", "edges", "interventions", "seed")
        (folder / "task.json").write_text(json.dumps({key: task[key] for key in keys}))
        command = [python, str(WORKER), str(folder), quality]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return np.load(folder / "dowhy.npy"), json.loads((folder / "dowhy.json").read_text())


def figures(answers: np.ndarray, task: dict, seconds: dict) -> dict:
    """Error over rows and interventions, seconds and rate."""
    error = np.sqrt(((answers - task["truth"]) ** 2).sum(-1))
    return {
        "rmse_cf": float(error.mean()),
        "median_error": float(np.median(error)),
        "fit_s": seconds["fit_s"],
        "counterfactuals_per_s": error.size / seconds["answer_s"],
        "mechanisms": seconds["mechanisms"],
    }


def run_one(name: str, rows: int, seed: int, python: str, quality: str) -> dict:
    """Both codes on one draw of one model."""
    task = make_task(name, rows, seed)
    result = {"model": name, "rows": rows, "seed": seed, "interventions": len(task["truth"])}
    result["acie"] = figures(*_with(task, run_acie(task)))
    result["dowhy"] = figures(*_with(task, run_dowhy(task, python, quality)))
    return result


def _with(task: dict, pair: tuple[np.ndarray, dict]) -> tuple[np.ndarray, dict, dict]:
    return pair[0], task, pair[1]


def summarise(runs: list[dict]) -> dict:
    """Mean and standard deviation over seeds of one model."""
    result = {"model": runs[0]["model"], "seeds": [run["seed"] for run in runs]}
    for code in ("acie", "dowhy"):
        for key in ("rmse_cf", "median_error", "fit_s", "counterfactuals_per_s"):
            values = np.array([run[code][key] for run in runs])
            result[f"{code}_{key}"] = float(values.mean())
            result[f"{code}_{key}_std"] = float(values.std(ddof=1)) if len(runs) > 1 else None
        result[f"{code}_mechanisms"] = runs[0][code]["mechanisms"]
    result["causalnf_rmse_cf"] = PUBLISHED[runs[0]["model"]][0]
    return result


def table(results: list[dict]) -> str:
    """At 80 columns."""
    lines = [f"{'':16}{'error':>8}{'error':>8}{'error':>9}{'fit s':>8}{'fit s':>7}"
             f"{'rows/s':>11}{'rows/s':>9}",
             f"{'model':16}{'ACIE':>8}{'DoWhy':>8}{'CausalNF':>9}{'ACIE':>8}{'DoWhy':>7}"
             f"{'ACIE':>11}{'DoWhy':>9}"]  # fmt: skip
    lines += [
        f"{row['model']:16}{row['acie_rmse_cf']:8.4f}{row['dowhy_rmse_cf']:8.4f}"
        f"{row['causalnf_rmse_cf']:9.4f}{row['acie_fit_s']:8.1f}{row['dowhy_fit_s']:7.1f}"
        f"{row['acie_counterfactuals_per_s']:11,.0f}{row['dowhy_counterfactuals_per_s']:9,.0f}"
        for row in results
    ]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--dowhy-python", required=True, help="interpreter that has dowhy")
    parser.add_argument("--quality", choices=("GOOD", "BETTER"), default="GOOD",
                        help="which regressors DoWhy tries")  # fmt: skip
    parser.add_argument("--model", nargs="+", choices=sorted(EQUATIONS), default=DEFAULT)
    parser.add_argument("--rows", type=int, default=25_000, help="a tenth of them is held out")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    arguments = parser.parse_args()
    # Processor time of one core for both, so that a busy machine changes nothing.
    torch.set_num_threads(1)
    results = []
    for name in arguments.model:
        runs = [
            run_one(name, arguments.rows, seed, arguments.dowhy_python, arguments.quality)
            for seed in arguments.seeds
        ]
        results.append(summarise(runs))
    if arguments.json:
        shared = {"rows": arguments.rows, "quality": arguments.quality}
        print(json.dumps({**shared, "models": results}))
    else:
        print(table(results))


if __name__ == "__main__":
    main()
