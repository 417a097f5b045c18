"""Ray Tune over the training configuration: many short fits, of which the good ones go on.

Templates, encoder and simulations are made once and shared; a trial fits the spectral factor only,
whose loss on the validation rows decides. ASHA stops trials that are behind others of their age.
"""

__all__ = ["Tuned", "tune"]

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from acie.cluster.session import ray_session
from acie.cluster.space import with_values
from acie.errors import ClusterError, ConfigurationError
from acie.training import TrainConfig

#: Epochs that every trial has, as a share of all; of the survivors of each round one in so many
#: goes on.
_GRACE, _REDUCTION = 0.1, 3


@dataclass(frozen=True)
class Tuned:
    """What a search has found.

    Arguments:
        config: The best configuration, as in ``path``.
        path: ``best.yaml``.
        trials: Values, last ``validation_loss`` and ``epoch`` of every trial, best first.
    """

    config: TrainConfig
    path: Path
    trials: list[dict[str, Any]]


def tune(
    config: TrainConfig,
    out: Path,
    space: dict[str, Any],
    trials: int,
    *,
    address: str | None = None,
    workers: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Tuned:
    """Search for the configuration with the smallest validation loss.

    A stopped search goes on in the same folder with the same options: finished trials are kept,
    others go on from their last epoch.

    Arguments:
        config: The settings from which the trials differ.
        out: Working folder; on a cluster, one that all machines see.
        space: See :func:`acie.cluster.space.read_space`.
        trials: How many configurations are tried.
        address: Of a Ray cluster; a local Ray is started when left out.
        workers: Trials at a time; as many as the cluster has room for when left out.
        progress: Called with a line of text.

    Raises:
        ConfigurationError: Nothing to tune, or the folder holds another search.
        ClusterError: The cluster cannot be reached, or no trial came to an end.
    """
    if config.start is not None:
        raise ConfigurationError(
            "start", expected="a configuration that trains from nothing", found=config.start,
            remedy="A model that goes on from another one has the networks of that one.",
        )  # fmt: skip
    out = out.absolute()
    _claim(out, {"config": config.to_json(), "space": space, "trials": trials})
    _prepare(config, out, progress)
    with ray_session(address, workers) as ray:
        found = _search(ray, config, out, space, trials, workers, progress)
    return _written(config, out, space, found, progress)


def _claim(out: Path, search: dict[str, Any]) -> None:
    """Write down which search a folder belongs to, or refuse another one's folder."""
    path, text = out / "search.json", json.dumps(search, indent=1, default=list)
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    elif json.loads(path.read_text("utf-8")) != json.loads(text):
        raise ConfigurationError(
            "--out", expected="a new folder, or that of the same search",
            found=f"{path} of another configuration, space or number of trials",
            remedy="Choose another folder, or repeat the options of that search.",
        )  # fmt: skip


def _prepare(config: TrainConfig, out: Path, progress: Callable[[str], None]) -> None:
    """Templates, encoder and all simulations, before trials that would make them at once."""
    from acie.training.processes import Processes
    from acie.training.run import prepare

    pool = prepare(config, out / "shared", Processes(), progress).pool
    for done in pool.grow(config.shards(config.epochs)):
        progress(f"shard {done + 1} of {config.shards(config.epochs)}")


def _search(
    ray: Any,
    config: TrainConfig,
    out: Path,
    space: dict[str, Any],
    trials: int,
    workers: int | None,
    progress: Callable[[str], None],
) -> Any:
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler

    # Trials that fail are reported with the result.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    gpus = ray.cluster_resources().get("GPU", 0) and config.device.startswith(("auto", "cuda"))
    trial = ray_tune.with_resources(
        partial(_trial, config=config, out=str(out)), {"cpu": 1, "gpu": 1 if gpus else 0}
    )
    folder = out / "ray" / "tune"
    if ray_tune.Tuner.can_restore(str(folder)):
        progress("going on with the search of this folder")
        tuner = ray_tune.Tuner.restore(
            str(folder), trainable=trial, resume_unfinished=True, resume_errored=True
        )
        return tuner.fit()
    scheduler = ASHAScheduler(
        time_attr="epoch",
        max_t=config.epochs,
        grace_period=max(1, round(_GRACE * config.epochs)),
        reduction_factor=_REDUCTION,
    )
    tuner = ray_tune.Tuner(
        trial,
        param_space=_sampled(space),
        tune_config=ray_tune.TuneConfig(
            metric="validation_loss",
            mode="min",
            num_samples=trials,
            scheduler=scheduler,
            search_alg=ray_tune.search.basic_variant.BasicVariantGenerator(
                random_state=config.seed, max_concurrent=workers or 0
            ),
        ),
        run_config=ray_tune.RunConfig(
            name="tune",
            storage_path=str(out / "ray"),
            failure_config=ray_tune.FailureConfig(max_failures=3),
            verbose=0,
        ),
    )
    return tuner.fit()


def _sampled(space: dict[str, Any]) -> dict[str, Any]:
    from ray import tune as ray_tune

    return {
        name: ray_tune.choice(values)
        if isinstance(values, list)
        else ray_tune.loguniform(values["low"], values["high"])
        for name, values in space.items()
    }


def _trial(values: dict[str, Any], config: TrainConfig, out: str) -> None:
    """One fit of the spectral factor, from its own last epoch if it had any."""
    import torch
    from ray import tune as ray_tune

    from acie.cluster.reporting import EpochReport
    from acie.training.devices import DevicePlan
    from acie.training.fit import Fitting, fit
    from acie.training.module import SimulationModule
    from acie.training.processes import Processes
    from acie.training.run import new_estimator, prepare

    torch.set_num_threads(1)
    own = with_values(config, values)
    plan = DevicePlan.of(own)
    processes = Processes(device=plan.device)
    made = prepare(own, Path(out) / "shared", processes, lambda text: None)
    estimator = new_estimator(own, made.encoder, made.pool)
    folder = Path(out) / "trials" / ray_tune.get_context().get_trial_id()
    options = {"callbacks": [EpochReport(ray_tune.report)]}
    fitting = Fitting(own, folder, plan, processes, lambda text: None, options)
    data = SimulationModule(made.pool, made.encoder, own, lambda text: None, "spectral", processes)
    loss = fit(fitting, data, estimator, "spectral")
    # Once more: a trial that ended before Ray took note of it has no epoch left to report.
    ray_tune.report({"epoch": own.epochs, "validation_loss": loss})


def _written(
    config: TrainConfig,
    out: Path,
    space: dict[str, Any],
    found: Any,
    progress: Callable[[str], None],
) -> Tuned:
    """``best.yaml`` and ``trials.json``."""
    table = []
    for result in found:
        metrics = result.metrics or {}
        if "validation_loss" in metrics:
            row = {name: metrics[name] for name in ("validation_loss", "epoch", "trial_id")}
            table.append(row | {"values": {name: result.config[name] for name in space}})
    failed = [str(error).strip().splitlines()[-1] for error in found.errors]
    if failed:
        progress(f"{len(failed)} trials failed, the first with: {failed[0][:300]}")
    if not table:
        first = failed[0] if failed else "no trial"
        raise ClusterError(
            "Ray Tune", expected="a trial that comes to an end", found=first[:300],
            remedy=f"See {out / 'ray' / 'tune'}.",
        )  # fmt: skip
    table.sort(key=lambda row: (row["validation_loss"], row["trial_id"]))
    (out / "trials.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    best = with_values(config, table[0]["values"])
    plain = json.loads(json.dumps(best.to_json(), default=list))
    path = out / "best.yaml"
    path.write_text(yaml.safe_dump(plain, sort_keys=False), "utf-8")
    return Tuned(best, path, table)
