"""A catalogue on a real local Ray: answers, workers that are killed, bad rows, bad files."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pyarrow.parquet
import pytest

from acie.cli import main
from acie.cluster import Question, answer_shard, find_shards, infer_catalogue
from acie.cluster.inference import _TRIES, _Answerer
from acie.cluster.ledger import NAME
from acie.errors import ClusterError, ConfigurationError, UnknownVariable
from acie.io import read_shard, write_arrays, write_shard

QUESTION = Question(do=("stellar_mass*=1.5",), samples=16, seed=2)


@pytest.fixture
def catalogue(galaxies, tmp_path):
    """Four shards of three galaxies, in all three formats."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    for number, suffix in enumerate((".parquet", ".fits", ".h5", ".parquet")):
        write_shard(galaxies[3 * number : 3 * number + 3], folder / f"{number}{suffix}")
    return folder


def answers(folder):
    """Tables by name of the shard."""
    return {
        path.name.removesuffix(".parquet"): pyarrow.parquet.read_table(path).to_pylist()
        for path in folder.glob("[!.]*.parquet")
    }


def finished(folder):
    lines = [json.loads(line) for line in (folder / NAME).read_text().splitlines()[1:]]
    return [line["shard"] for line in lines if line["status"] == "finished"]


@pytest.mark.slow
def test_answers_do_not_depend_on_the_workers(local_ray, engine, catalogue, tmp_path):
    shards = find_shards([str(catalogue)])
    for workers in (1, 2):
        out = tmp_path / f"out-{workers}"
        outcome = infer_catalogue(shards, out, QUESTION, workers=workers)
        assert (outcome.total("rows"), outcome.total("refused"), outcome.kept) == (12, 0, 0)
        assert sorted(finished(out)) == [shard.key for shard in shards]
        assert not list(out.glob(".*.partial"))
        assert not list(out.glob(".*.tries"))
    assert answers(tmp_path / "out-1") == answers(tmp_path / "out-2")
    # And they are those of the engine in this process.
    for shard in shards:
        table = answer_shard(engine, read_shard(shard.path), shard.key, QUESTION)
        write_arrays(table, tmp_path / "plain.parquet")
        plain = pyarrow.parquet.read_table(tmp_path / "plain.parquet").to_pylist()
        assert answers(tmp_path / "out-2")[shard.key] == plain
    # The facts of a file travel with it.
    facts = pyarrow.parquet.read_schema(tmp_path / "out-1" / "0.parquet.parquet").metadata
    assert json.loads(facts[b"acie"])["shard"] == "0.parquet"


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_doubles_nothing(local_ray, galaxies, tmp_path):
    folder = tmp_path / "catalogue"
    folder.mkdir()
    for number in range(6):
        write_shard(galaxies[2 * number : 2 * number + 2], folder / f"{number}.parquet")
    shards = find_shards([str(folder)])
    question = Question(do=QUESTION.do, samples=256, seed=2)
    killed = []

    def kill(record):
        """After its first shard, a worker is at its second one: this one does not end it."""
        if len(killed) < 2 and (pid := int(record["worker"].split(":")[1])) not in killed:
            killed.append(pid)
            threading.Timer(0.05, os.kill, (pid, signal.SIGKILL)).start()

    outcome = infer_catalogue(shards, tmp_path / "out", question, workers=2, progress=kill)
    assert len(killed) == 2
    assert outcome.failed == []
    assert sorted(finished(tmp_path / "out")) == [shard.key for shard in shards]
    workers = {int(record["worker"].split(":")[1]) for record in outcome.records}
    # Others have taken over from both.
    assert len(workers - set(killed)) >= 1
    for pid in killed:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not list((tmp_path / "out").glob(".*.partial"))
    # The answers are those of a run that nobody disturbed.
    quiet = infer_catalogue(shards, tmp_path / "quiet", question, workers=2)
    assert quiet.failed == []
    assert answers(tmp_path / "out") == answers(tmp_path / "quiet")


@pytest.mark.slow
def test_bad_rows_bad_files_and_starting_again(local_ray, galaxies, catalogue, tmp_path, capsys):
    names = ("flux", "ivar", "redshift")
    columns = {name: getattr(galaxies[:3], name).numpy().copy() for name in names}
    columns["flux"][0] = float("nan")
    columns["redshift"][2] = 3.0
    write_arrays(columns, catalogue / "0.parquet")
    whole = (catalogue / "1.fits").read_bytes()
    (catalogue / "1.fits").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    command = ["infer", "--ray", str(catalogue), "--samples", "16", "--out", str(out), "--json"]

    assert main(command) == 1
    records = {r["shard"]: r for r in map(json.loads, capsys.readouterr().out.splitlines())}
    assert records["1.fits"]["status"] == "failed"
    assert records["1.fits"]["error"]["type"] == "MalformedSpectrum"
    assert not (out / "1.fits.parquet").exists()
    assert records["0.parquet"]["refused"] == 2
    rows = answers(out)["0.parquet"]
    assert [row["flags"] == "REFUSED" for row in rows] == [True, False, True]
    assert "NaN or infinite in every pixel" in rows[0]["reason"]
    assert "OutsideSupport" in rows[2]["reason"]
    assert rows[1]["reason"] is None
    assert rows[1]["stellar_mass_p16"] < rows[1]["stellar_mass_p84"]
    made = {path: path.stat().st_mtime_ns for path in out.glob("*.parquet")}

    # Repaired and started again: that shard alone is answered.
    (catalogue / "1.fits").write_bytes(whole)
    assert main(command) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["shard"], r["status"]) for r in records] == [("1.fits", "finished")]
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert len(answers(out)) == 4

    # Nothing is left to do; another question does not mix with this one.
    assert main(command) == 0
    assert capsys.readouterr().out == ""
    assert main([*command, "--seed", "1"]) == 2
    assert "seed = 0" in capsys.readouterr().err


def test_a_shard_that_ends_every_worker_is_given_up(engine, catalogue, tmp_path):
    """What an actor does when Ray hands it a shard that others have died of."""
    actor = _Answerer(str(tmp_path), QUESTION, engine.bundle.digest)
    (tmp_path / ".0.parquet.parquet.tries").write_bytes(b"." * _TRIES)
    batch = {"key": ["0.parquet"], "path": [str(catalogue / "0.parquet")]}
    record = json.loads(actor(batch)["record"][0])
    assert (record["status"], record["error"]["type"]) == ("failed", "ClusterError")
    assert "4 workers" in record["error"]["message"]
    assert json.loads(actor(batch)["record"][0])["status"] == "finished"


def test_what_cannot_be_asked_is_refused_before_ray_starts(catalogue, tmp_path):
    shards = find_shards([str(catalogue)])
    with pytest.raises(UnknownVariable, match="mess"):
        infer_catalogue(shards, tmp_path / "out", Question(do=("mess*=2",)))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_more_workers_than_processors(local_ray, catalogue, tmp_path):
    shards = find_shards([str(catalogue)])
    with pytest.raises(ConfigurationError, match="at most 2"):
        infer_catalogue(shards, tmp_path / "out", QUESTION, workers=3)


def test_addresses_where_nobody_is(monkeypatch):
    import ray

    from acie.cluster import ray_session

    # The shared Ray of the other tests is not what is asked for here.
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "nonsense"):
            with pytest.raises(ClusterError, match="--address"), ray_session(address):
                pass


@pytest.mark.slow
def test_a_cluster_that_is_there(local_ray, catalogue, tmp_path):
    """Another process works on the Ray of this one, by its address."""
    address = local_ray.get_runtime_context().gcs_address
    command = ["infer", "--ray", str(catalogue), "--samples", "16", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "acie", *command, "--address", address],
        env={**os.environ, "RAY_AUTH_MODE": "token"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "12 galaxies in 4 shards" in done.stdout
    # The cluster goes on.
    assert local_ray.cluster_resources()["CPU"] == 2


def test_options_of_the_command_that_need_others(tmp_path, capsys):
    assert main(["infer", str(tmp_path), "--workers", "2"]) == 2
    assert "go with --ray" in capsys.readouterr().err
    assert main(["infer", "--ray", str(tmp_path)]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["infer", "--ray", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "no file in" in capsys.readouterr().err


def test_a_path_that_is_not_there_is_refused_before_ray_starts(tmp_path, capsys):
    missing = str(tmp_path / "typo")
    assert main(["infer", "--ray", missing, "--out", str(tmp_path / "o")]) == 2
    assert f"nothing at {missing}" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
