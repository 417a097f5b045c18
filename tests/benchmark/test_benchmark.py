"""The benchmark: its counts against known ones, its sets, its comparison and its command."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

import acie
from acie.benchmark import BenchmarkConfig, compare, run_benchmark
from acie.benchmark.config import STAGES
from acie.benchmark.dataset import BenchmarkSet, size_of
from acie.benchmark.machine import measure_machine
from acie.benchmark.timing import measure
from acie.benchmark.work import count_work
from acie.cli import main
from acie.errors import ConfigurationError
from acie.folders import cache_folder
from acie.threads import spread


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("acie.benchmark.dataset._SHARD", 8)


def test_a_product_of_matrices_is_counted_exactly():
    left, right = torch.rand(30, 40), torch.rand(40, 50)
    work = count_work(lambda: left @ right)
    assert work.operations == 2 * 30 * 40 * 50
    assert work.moved == 4 * (30 * 40 + 40 * 50 + 30 * 50)
    assert work.calls == 1


def test_views_cost_nothing_and_an_expanded_axis_is_read_once():
    row = torch.rand(100)
    assert count_work(lambda: row.view(10, 10).T[2]).calls == 0
    wide = row.expand(7, 100)
    work = count_work(lambda: wide + 1.0)
    assert (work.operations, work.moved) == (700, 4 * (100 + 700))


def test_a_transform_counts_as_n_log_n():
    values = torch.rand(3, 256)
    operations = count_work(lambda: torch.fft.rfft(values)).operations
    assert operations == pytest.approx(3 * 256 * 2.5 * math.log2(256), rel=0.01)


def test_work_of_other_threads_is_counted_and_the_threads_come_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rows = [torch.rand(10) for _ in range(4)]
        assert count_work(lambda: spread(lambda row: row + row, rows)).calls == 4
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_calls_are_counted_and_timed():
    calls = []
    found = measure(lambda: calls.append(1), 3, torch.device("cpu"), 0.0)
    assert len(calls) == len(found.seconds) + 1 == 6
    assert found.percentile(0.0) == min(found.seconds) <= found.percentile(0.99)
    assert found.per_second == pytest.approx(15 / sum(found.seconds))
    assert found.memory_mb > 50.0


def test_the_machine_is_faster_than_a_loop_and_slower_than_light():
    machine = measure_machine(torch.device("cpu"))
    assert 1e8 < machine.operations_per_s < 1e15
    assert 1e8 < machine.bytes_per_s < 1e14


def test_a_larger_set_has_the_shards_of_a_smaller_one(engine, tmp_path):
    small = BenchmarkSet(engine, 10, 1, tmp_path).prepare()
    first = [load_file(path) for path in sorted(tmp_path.rglob("*.safetensors"))]
    assert [len(table["flux"]) for table in first] == [8, 8]
    large = BenchmarkSet(engine, 17, 1, tmp_path).prepare()
    assert small.key == large.key
    assert [len(part) for part in small.batches(5)] == [5, 3, 2]
    assert sum(len(part) for part in large.batches(5)) == 17
    one, other = next(small.batches(5)), next(large.batches(5))
    assert torch.equal(one.flux, other.flux)
    assert torch.equal(one.flux, first[0]["flux"][:5])


def test_a_torn_shard_is_made_again_and_a_whole_one_is_kept(engine, tmp_path):
    data = BenchmarkSet(engine, 16, 1, tmp_path).prepare()
    first, second = sorted(tmp_path.rglob("*.safetensors"))
    whole, kept = first.read_bytes(), second.stat().st_mtime_ns
    first.write_bytes(whole[:1000])
    data.prepare()
    assert first.read_bytes() == whole
    assert second.stat().st_mtime_ns == kept


def test_a_set_that_vanished_is_said(engine, tmp_path):
    with pytest.raises(ConfigurationError, match="Prepare the set"):
        next(BenchmarkSet(engine, 8, 1, tmp_path).batches(8))


def test_names_and_numbers_of_sets():
    assert (size_of("10k"), size_of("20K"), size_of("7")) == (10_000, 20_000, 7)
    for wrong in ("0", "-3", "many"):
        with pytest.raises(ConfigurationError, match="--dataset"):
            size_of(wrong)


def test_where_sets_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("ACIE_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ACIE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "acie"


def test_every_stage_is_measured(tmp_path):
    # Those of the network need an export: tests/export.
    stages = tuple(name for name in STAGES if not name.startswith("network"))
    config = BenchmarkConfig(dataset="8", device="cpu", seconds=0.01, stages=stages)
    result = run_benchmark(config, folder=tmp_path)
    json.dumps(result)
    assert [row["stage"] for row in result["stages"]] == list(config.stages)
    for row in result["stages"]:
        assert row["per_second"] > 0.0
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]
        assert row["operations_per_item"] > 0.0
        assert 0.0 < row["share_of_operations"] < 1.0
    rows = {row["stage"]: row for row in result["stages"]}
    # A spectrum is at least the product of its coefficients with the templates in the window.
    engine = acie.load()
    least = 2 * len(engine.physics.light_basis) * engine.physics.window.size
    assert least < rows["forward_model"]["operations_per_item"] < 3 * least


def test_ratios_and_caveats():
    row = {"stage": "constraints", "device": "cpu", "per_second": 30.0}
    machine = {"device": "cpu", "name": "a", "threads": 2, "operations_per_s": 1e9,
               "bytes_per_s": 1e9}  # fmt: skip
    base = {"format": 1, "model": {"digest": "m"}, "dataset": {"key": "d"}}
    earlier = base | {"stages": [row], "machines": [machine]}
    faster = base | {
        "stages": [row | {"per_second": 45.0}, row | {"stage": "forward_model"}],
        "machines": [machine | {"bytes_per_s": 2e9}],
        "model": {"digest": "other"},
    }
    assert compare(earlier, earlier) == {"ratios": {"constraints/cpu": 1.0}, "caveats": []}
    found = compare(faster, earlier)
    assert found["ratios"] == {"constraints/cpu": 1.5}
    assert found["caveats"] == ["another model", "cpu: its own rate of memory changed by 2.00"]


def test_the_command_writes_compares_and_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ACIE_CACHE_DIR", str(tmp_path))
    out = tmp_path / "new" / "now.json"
    words = ["benchmark", "--dataset", "8", "--device", "cpu", "--seconds", "0.01",
             "--only", "constraints"]  # fmt: skip
    assert main([*words, "--out", str(out)]) == 0
    assert main([*words, "--compare", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "constraints" in shown
    assert "x " in shown
    assert json.loads(out.read_text())["dataset"]["galaxies"] == 8
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["unit"] == "states"
    for wrong in (["--only", "nothing"], ["--seconds", "0"], ["--compare", __file__],
                  ["--dataset", "none"], ["--device", "abacus"], ["--model", "none"]):  # fmt: skip
        assert main([*words, *wrong]) == 2
        assert wrong[0].strip("-") in capsys.readouterr().err
