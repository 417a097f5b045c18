"""``acie fit`` and what follows it: exit codes, refusals, files."""

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest
import yaml

from acie.cli import main
from acie.io import write_catalogue

GRAPH = {"variables": {"x": [], "y": {"parents": ["x"], "mechanism": "additive"}}}


def run(capsys, *arguments):
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def good():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    return {"x": x, "y": 2.0 * x + rng.normal(size=400), "id": np.arange(400.0)}


@pytest.fixture
def files(tmp_path, good):
    def write(graph=GRAPH, columns=None, name="data.csv"):
        (tmp_path / "graph.yaml").write_text(
            graph if isinstance(graph, str) else yaml.safe_dump(graph), "utf-8"
        )
        write_catalogue(good if columns is None else columns, tmp_path / name)
        return ("fit", "--graph", tmp_path / "graph.yaml", "--data", tmp_path / name,
                "--out", tmp_path / "model")  # fmt: skip

    return write


def test_fit_infer_and_list(capsys, files, tmp_path):
    code, out, err = run(capsys, *files(), "--name", "mine")
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80 + len(str(tmp_path))
    assert "mine" in out
    assert "additive" in out

    arguments = ("infer", tmp_path / "data.csv", "--model", tmp_path / "model", "--do", "x+=1")
    code, out, err = run(capsys, *arguments, "--json", "--out", tmp_path / "out")
    assert code == 0, err
    answer = json.loads(out)
    contract = "input model interventions latent_state counterfactual_state confidence quality"
    assert set(answer) >= {*contract.split(), "timing_ms"}
    assert answer["interventions"] == ["x+=1"]
    assert answer["rows"] == len(answer["confidence"]) == 400
    effect = np.array(answer["effect"]["y"]["median"])
    # The slope is known to 1 / sqrt(320) = 0.056.
    assert abs(effect.mean() - 2.0) < 5 * 0.056
    table = pyarrow.parquet.read_table(tmp_path / "out" / "data.parquet").to_pydict()
    with (tmp_path / "out" / "data.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    written = json.loads((tmp_path / "out" / "data.json").read_text("utf-8"))
    for name, key in (("y", "latent_state"), ("y_cf", "counterfactual_state")):
        assert table[name] == [float(row[name]) for row in rows]
        assert table[name] == written[key]["y"]["median"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert max(map(len, out.splitlines()[1:])) <= 80

    code, out, _ = run(capsys, "models", tmp_path / "model")
    assert code == 0
    assert "tabular" in out
    assert "galaxy-v1" in out

    missing = tmp_path / "none.csv"
    code, out, _ = run(capsys, "infer", missing, tmp_path / "data.csv", "--model",
                       tmp_path / "model", "--json")  # fmt: skip
    first, second = (json.loads(line) for line in out.splitlines())
    assert code == 1
    assert first["error"]["type"] == "ReaderNotFound"
    assert "error" not in second

    code, _, err = run(capsys, "infer", missing, "--model", tmp_path / "model", "--do", "q=1")
    assert code == 2
    assert "UnknownVariable" in err


def change(good, **columns):
    return {**good, **columns}


BAD_GRAPHS = {
    "cycle": ({"variables": {"x": ["y"], "y": ["x"]}}, "CyclicGraph", "x -> y -> x"),
    "self": ({"variables": {"x": ["x"], "y": ["x"]}}, "CyclicGraph", "x -> x"),
    "unknown parent": ({"variables": {"x": [], "y": ["xx"]}}, "UnknownVariable", "'xx'"),
    "unknown column": ({"variables": {"x": [], "yy": ["x"]}}, "UnknownVariable", "'yy'"),
    "unknown mechanism": (
        {"variables": {"x": [], "y": {"parents": ["x"], "mechanism": "splin"}}},
        "ConfigurationError", "spline",
    ),
    "unknown key": (
        {"variables": {"x": [], "y": {"parent": ["x"]}}}, "ConfigurationError", "parents"
    ),
    "discrete mechanism": (
        {"variables": {"x": [], "y": {"parents": ["x"], "mechanism": "logistic"}}},
        "ConfigurationError", "additive, spline",
    ),
    "no variables": ({"x": []}, "ConfigurationError", "variables"),
    "no yaml": ("variables: [", "ConfigurationError", "YAML"),
    "twice": ({"variables": {"x": [], "y": ["x", "x"]}}, "ConfigurationError", "x, x"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_GRAPHS)
def test_bad_graphs_are_wrong_usage(capsys, files, case):
    graph, kind, word = BAD_GRAPHS[case]
    code, _, err = run(capsys, *files(graph))
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert kind in err
    assert word in err


def bad_columns(good):
    rng = np.random.default_rng(1)
    text = np.array(["1.5", "oops"] * 200, dtype=object)
    sparse = np.where(np.arange(400) < 50, good["y"], np.nan)
    return {
        "constant": (change(good, y=np.full(400, 3.0)), "every row"),
        "all missing": (change(good, y=np.full(400, np.nan)), "all are missing"),
        "copy": (change(good, y=good["x"]), "the same values"),
        "text": (change(good, y=text), "oops"),
        "few rows": ({n: v[:40] for n, v in good.items()}, "100 rows"),
        "few complete": (change(good, y=sparse), "50 of 400"),
        "few values": (change(good, y=rng.integers(0, 3, 400) + 0.5), "20 different"),
    }


@pytest.mark.parametrize(
    "case", ["constant", "all missing", "copy", "text", "few rows", "few complete", "few values"]
)
def test_bad_columns_fail(capsys, files, good, case):
    columns, word = bad_columns(good)[case]
    graph = {"variables": {"x": [], "y": {"parents": ["x"], "kind": "continuous"}}}
    code, _, err = run(capsys, *files(graph, columns))
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "MalformedCatalogue" in err
    assert word in err


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("data.csv", b"x,y\n1,2,3\n4\n", "readable"),
        ("data.csv", b"x,x,y\n1,2,3\n", "'x' 2 times"),
        ("data.csv", b"x,y\n", "0 rows"),
        ("data.csv", b"", "empty"),
        ("data.parquet", b"PAR1 nothing else", "readable parquet"),
        ("data.fits", b"SIMPLE  =                    T", "readable fits"),
        ("data.bin", b"\x00\x01\x02", "binary"),
    ],
)
def test_unreadable_files_fail(capsys, files, tmp_path, name, content, word):
    arguments = list(files())
    path = tmp_path / name
    path.write_bytes(content)
    arguments[4] = path
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert word in err


def test_no_such_files(capsys, files, tmp_path):
    arguments = list(files())
    assert run(capsys, *arguments[:2], tmp_path / "none.yaml", *arguments[3:])[0] == 2
    code, _, err = run(capsys, *arguments[:4], tmp_path / "none.csv", *arguments[5:])
    assert code == 1
    assert "ReaderNotFound" in err
