"""Two processes against one, and runs that are killed and go on with another number of them."""

import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_runs import command, curve, start

import acie

pytestmark = pytest.mark.slow

#: The gradients of two halves of a batch are summed in another order than those of the batch: a
#: relative error of one float32 rounding (6e-8) a step, which the optimiser amplifies.
TOLERANCE = 1e-5
DEADLINE = 120.0


def finish(arguments, log):
    process = start(arguments, log)
    assert process.wait(DEADLINE) == 0, Path(log).read_text()[-3000:]


def kill_when(arguments, log, reached):
    """Start, and kill without warning when ``reached()``; wait until its children are gone."""
    process = start(arguments, log)
    end = time.monotonic() + DEADLINE
    while not reached():
        assert process.poll() is None, Path(log).read_text()[-3000:]
        assert time.monotonic() < end
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(_runs(int(child)) for child in children):
        assert time.monotonic() < end, "a process outlives the one that started it"
        time.sleep(0.05)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def same_result(out, finished):
    """The same curves, from all pieces of the run, and the same weights."""
    for factor in ("spectral", "latent"):
        for name in ("loss", "epoch_loss", "validation_loss"):
            want, found = curve(finished, name, factor), curve(out, name, factor)
            assert max(found) == max(want)
            assert found == pytest.approx({step: want[step] for step in found}, rel=TOLERANCE)
    want, found = (load_file(o / "bundle" / "estimator.safetensors") for o in (finished, out))
    assert all(torch.allclose(found[n], want[n], rtol=1e-4, atol=1e-5) for n in want)
    metrics = [acie.load(o / "bundle").bundle.metrics for o in (finished, out)]
    assert metrics[1] == pytest.approx(metrics[0], rel=TOLERANCE)


def same_shards(out, finished):
    """Byte for byte, with nothing half-written beside them."""
    names = sorted(path.name for path in (finished / "shards").iterdir())
    assert names == [f"{shard:05d}.safetensors" for shard in range(6)]
    assert sorted(path.name for path in (out / "shards").iterdir()) == names
    for name in names:
        assert (out / "shards" / name).read_bytes() == (finished / "shards" / name).read_bytes()


@pytest.fixture
def fresh(templates, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(templates, out)
    return out


def test_two_processes_give_the_curve_of_one(tiny, fresh, finished, tmp_path):
    finish(command(tiny, fresh, "--processes", 2), tmp_path / "log")
    same_shards(fresh, finished)
    same_result(fresh, finished)
    # The first process speaks for both.
    text = (tmp_path / "log").read_text()
    assert text.count("fitting the spectral factor") == 1
    assert text.count("bundle: ") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="looks for children in /proc")
def test_killed_runs_go_on_with_another_number_of_processes(tiny, fresh, finished, tmp_path):
    log, one = tmp_path / "log", command(tiny, fresh)
    two = [*one, "--processes", "2"]
    shards, last = fresh / "shards", fresh / "checkpoints" / "spectral" / "last.ckpt"
    # Two, killed while simulating: a shard is there, and others are not.
    kill_when(two, log, lambda: any(shards.glob("*.safetensors")))
    made = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.safetensors")}
    assert 0 < len(made) < 6
    # Two, killed after the first epoch; then one, killed after its first.
    kill_when(two, log, last.exists)
    seen = last.stat().st_mtime_ns
    kill_when(one, log, lambda: last.stat().st_mtime_ns != seen)
    assert not (fresh / "bundle").exists()
    # The rest by two that torchrun starts.
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finish([*launcher, *one, "--distributed"], log)
    kept = {name: (shards / name).stat().st_mtime_ns for name in made}
    assert kept == made
    same_shards(fresh, finished)
    same_result(fresh, finished)
