"""``acie train`` with Ray Train: Ray starts the processes, the training is that of every run.

A worker that dies takes its group with it; Ray starts the group again, and the run goes on from
its last epoch, as any killed run does.
"""

__all__ = ["train_on_ray"]

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from acie.cluster.session import cluster_cpus, ray_session
from acie.errors import ACIEError, ClusterError, ConfigurationError
from acie.training import TrainConfig
from acie.training.devices import DevicePlan

#: How often a group of workers is started again after one of them died.
_FAILURES = 3


def train_on_ray(
    config: TrainConfig,
    out: Path,
    *,
    address: str | None = None,
    workers: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train on the workers of a Ray cluster.

    Arguments:
        config: The settings; the batch is that of all workers together.
        out: Working folder; on a cluster, one that all machines see.
        address: Of a Ray cluster; a local Ray is started when left out.
        workers: Processes, each on one GPU where there are any, else on one processor; the
            devices of the settings when left out.
        progress: Called with a line of text.

    Returns:
        The folder of the bundle.

    Raises:
        ACIEError: Settings that cannot be used, a cluster that cannot be reached or is too small.
    """
    count = config.devices * config.nodes if workers is None else workers
    with ray_session(address, None) as ray:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError

        gpus = int(ray.cluster_resources().get("GPU", 0))
        use_gpu = gpus > 0 and config.device.startswith(("auto", "cuda"))
        _check_count(count, gpus if use_gpu else cluster_cpus(ray), "GPUs" if use_gpu else "CPUs")
        if not use_gpu:
            # What the workers would refuse, they would refuse again and again.
            DevicePlan.of(replace(config, devices=count, nodes=1))
        progress(f"{count} workers of Ray on {'GPUs' if use_gpu else 'processors'}")
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"config": config, "out": str(out.absolute())},
            scaling_config=ScalingConfig(num_workers=count, use_gpu=use_gpu),
            run_config=RunConfig(
                name="train",
                storage_path=str(out.absolute() / "ray"),
                failure_config=FailureConfig(max_failures=_FAILURES),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise _reason(error) from error
    return out / "bundle"


def _check_count(workers: int, present: int, kind: str) -> None:
    if workers > present:
        raise ConfigurationError(
            "--workers", expected=f"at most {present}, the {kind} of the cluster",
            found=str(workers), remedy="Ray would wait for more for ever; ask for fewer.",
        )  # fmt: skip


def _reason(error: Any) -> ACIEError:
    """ACIE's own error where a worker raised one."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause = failure
        while cause is not None:
            if isinstance(cause, ACIEError):
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return ClusterError(
        "Ray Train", expected="workers that end their work", found=lines[-1].strip()[:300],
        remedy="Started again, the run goes on from its last epoch.",
    )  # fmt: skip


def _worker(arguments: dict[str, Any]) -> None:
    """What every worker does: the training of any run, in the process group that Ray has made."""
    import ray.train
    from lightning.pytorch.strategies import StrategyRegistry
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from acie.cluster.reporting import EpochReport
    from acie.training.run import train

    context = ray.train.get_context()
    world, local = context.get_world_size(), context.get_local_world_size()
    even = world % local == 0
    config = replace(
        arguments["config"],
        devices=local if even else world,
        nodes=world // local if even else 1,
    )
    options: dict[str, Any] = {"callbacks": [EpochReport(ray.train.report)]}
    if world > 1:
        # By name: each factor has a trainer, and each trainer wants a strategy of its own.
        StrategyRegistry.register(
            "ray_ddp", RayDDPStrategy, override=True, gradient_as_bucket_view=True
        )
        options |= {
            "strategy": "ray_ddp",
            # Ranks and devices are those that Ray has given.
            "plugins": [RayLightningEnvironment()],
            "devices": "auto",
            "num_nodes": 1,
        }
    train(config, Path(arguments["out"]), options=options)
