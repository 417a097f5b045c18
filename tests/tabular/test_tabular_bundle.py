"""The folder of a learned model: what is written is what is read, and nothing else is."""

import hashlib
import json
import shutil

import pytest
import torch

import acie
from acie.errors import ChecksumMismatch, IncompatibleBundle, UnknownModel
from acie.manifest import bundle_kind, write_manifest
from acie.tabular import TabularBundle, TabularEngine

FILES = ("model.json", "mechanisms.safetensors")


@pytest.fixture(scope="module")
def folder(bundle, tmp_path_factory):
    return bundle.save(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_the_loaded_model_gives_the_same_answers(folder, engine, columns):
    loaded = acie.load(folder)
    assert isinstance(loaded, TabularEngine)
    rows = {name: values[:100] for name, values in columns.items()}
    answers = [
        one.counterfactual(rows, "mass+=0.3", num_samples=16).values for one in (engine, loaded)
    ]
    for name, value in answers[0].items():
        assert torch.equal(value, answers[1][name]), name
    assert loaded.bundle.report == engine.bundle.report
    assert loaded.bundle.digest == engine.bundle.digest != ""
    assert loaded.scm.variables == engine.scm.variables
    assert loaded.scm.aliases == {"mass": "lg_mass"}


def test_there_is_no_pickle(folder):
    assert {path.name for path in folder.iterdir()} == {*FILES, "manifest.json"}
    json.loads((folder / "model.json").read_text("utf-8"))
    assert bundle_kind(folder) == "tabular"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["changed", "truncated", "gone"])
def test_damaged_files_are_refused(copy, file, damage):
    content = (copy / file).read_bytes()
    if damage == "gone":
        (copy / file).unlink()
    else:
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        (copy / file).write_bytes(changed if damage == "changed" else content[:-10])
    with pytest.raises(ChecksumMismatch, match=file):
        TabularBundle.load(copy)


def test_a_changed_digest_is_refused(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["files"]["model.json"] = hashlib.sha256(b"").hexdigest()
    path.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ChecksumMismatch, match="manifest"):
        TabularBundle.load(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99, "files": {}}', "\ufffd"])
def test_a_broken_manifest_is_refused(copy, text):
    (copy / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(IncompatibleBundle):
        TabularBundle.load(copy)


def test_a_model_that_does_not_fit_its_weights_is_refused(copy):
    path = copy / "model.json"
    model = json.loads(path.read_text("utf-8"))
    model["mechanisms"]["z"]["bins"] += 1
    path.write_text(json.dumps(model), "utf-8")
    # With digests that are right, so that nothing but the contradiction is wrong.
    write_manifest(copy, FILES, {"kind": "tabular", "name": "x", "version": "1"})
    with pytest.raises(IncompatibleBundle, match="weights"):
        TabularBundle.load(copy)


def test_a_model_of_spectra_is_no_model_of_a_table():
    with pytest.raises(IncompatibleBundle):
        TabularBundle.load("galaxy-v1")
    with pytest.raises(UnknownModel):
        TabularBundle.load("no-such-folder")
