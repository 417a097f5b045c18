"""What needs no Ray: which shards there are, the manifest, the answer to a shard."""

import json
import subprocess
import sys

import pytest
import torch

from acie.cluster import Question, answer_shard, find_shards
from acie.cluster.catalogue import Shard
from acie.cluster.ledger import NAME, Ledger
from acie.errors import ConfigurationError
from acie.io import read_shard, write_shard
from acie.manifest import sha256
from acie.quantiles import quantiles
from acie.seeds import SeedStream

QUESTION = {"question": {"samples": 8, "do": []}, "model_digest": "abc"}


def test_folders_patterns_and_names(tmp_path):
    for name in ("a/1.parquet", "a/b/2.fits", "a/.3.partial.h5", "a/notes.txt", "c/1.h5"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def keys(*entries):
        return [shard.key for shard in find_shards([str(tmp_path / e) for e in entries])]

    assert keys("a") == ["1.parquet", "b/2.fits"]
    assert keys("*/*.*") == ["a/1.parquet", "a/notes.txt", "c/1.h5"]
    assert keys("**/*.fits") == ["a/b/2.fits"]
    # One that is not there is reported when it is read.
    assert keys("c/1.h5", "absent.fits") == ["1.h5", "absent.fits"]
    with pytest.raises(ConfigurationError, match="no file in"):
        keys("nothing*")
    with pytest.raises(ConfigurationError, match=r"'1.parquet' as .*1.parquet and"):
        keys("a", "a/1.parquet")


def finished(ledger, shard):
    output = ledger.output(shard)
    output.write_text("answers")
    return {
        "shard": shard.key, "status": "finished", "input_sha256": sha256(shard.path),
        "output_bytes": output.stat().st_size,
    }  # fmt: skip


def test_the_manifest_knows_what_is_finished(tmp_path):
    shard = Shard("a.h5", tmp_path / "a.h5")
    shard.path.write_text("spectra")
    out = tmp_path / "out"
    with Ledger(out, QUESTION) as ledger:
        assert not ledger.is_finished(shard)
        ledger.add({"shard": "a.h5", "status": "failed"})
        assert not ledger.is_finished(shard)
        ledger.add(finished(ledger, shard))
    # A killed run has left half a line.
    with (out / NAME).open("a") as file:
        file.write('{"shard": "b.h5", "sta')
    with Ledger(out, QUESTION) as ledger:
        assert ledger.is_finished(shard)
        ledger.add({"shard": "b.h5", "status": "failed"})
    lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    assert [line.get("shard") for line in lines] == [None, "a.h5", "b.h5"]
    with Ledger(out, QUESTION) as ledger:
        shard.path.write_text("other spectra")
        assert not ledger.is_finished(shard)
        shard.path.write_text("spectra")
        ledger.output(shard).write_text("cut")
        assert not ledger.is_finished(shard)


def test_a_folder_of_another_question_or_run_is_refused(tmp_path):
    with (
        Ledger(tmp_path, QUESTION),
        pytest.raises(ConfigurationError, match="no other run is at work"),
    ):
        Ledger(tmp_path, QUESTION)
    other = {**QUESTION, "question": {"samples": 16, "do": []}}
    with pytest.raises(ConfigurationError, match=r"samples = 16.*samples = 8"):
        Ledger(tmp_path, other)
    with pytest.raises(ConfigurationError, match=r'model_digest = "abc"'):
        Ledger(tmp_path, {**QUESTION, "model_digest": "def"})
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="can be written"):
        Ledger(tmp_path / "file", QUESTION)


def test_the_answer_of_a_shard_is_the_engines(engine, galaxies, tmp_path):
    shard = read_shard(write_shard(galaxies[:3], tmp_path / "s.parquet"))
    question = Question(do=("stellar_mass*=1.5",), samples=32, seed=4, spectra=True)
    table = answer_shard(engine, shard, "s.parquet", question)
    rows = galaxies[:3]
    stored = type(rows).stack([shard.row(i) for i in range(3)])
    generator = SeedStream(4).generator("s.parquet:0")
    result = engine.counterfactual(stored, "stellar_mass*=1.5", (), 32, generator)
    before, after = result.abduction.posterior.values, result.values
    for name in ("stellar_mass", "dust_av", "age"):
        expected = quantiles(after[name], (0.16, 0.5, 0.84), result.effective_draws)
        for level, statistic in zip(expected, ("p16", "median", "p84"), strict=True):
            column = table[f"counterfactual_{name}_{statistic}"]
            assert torch.equal(torch.from_numpy(column), level.double())
        assert torch.equal(torch.from_numpy(table[f"{name}_sd"]), before[name].double().std(0))
    assert table["id"] == list(galaxies.names[:3])
    assert torch.equal(torch.from_numpy(table["confidence"]), result.confidence.double())
    good = stored.ivar > 0
    mean = (stored.flux + result.change.double().mean(0)).float()
    kept = torch.from_numpy(table["counterfactual_flux"])
    assert torch.equal(kept.isnan(), ~good)
    assert torch.allclose(kept[good], mean[good], rtol=1e-6, atol=1e-6)
    low, high = (torch.from_numpy(table[f"counterfactual_flux_p{p}"]) for p in (16, 84))
    assert bool((low[good] <= high[good]).all())


def test_a_row_outside_of_the_model_is_refused_alone(engine, galaxies, tmp_path):
    rows = galaxies[:3]
    redshift = rows.redshift.clone()
    redshift[1] = 2.0
    path = write_shard(rows._with(redshift=redshift), tmp_path / "s.parquet")
    table = answer_shard(engine, read_shard(path), "s", Question(samples=16))
    assert [flags == "REFUSED" for flags in table["flags"]] == [False, True, False]
    assert table["reason"][1].startswith("OutsideSupport: redshift")
    assert table["id"] == list(rows.names)
    missing = torch.from_numpy(table["stellar_mass_median"]).isnan()
    assert missing.tolist() == [False, True, False]


def test_what_one_galaxy_cannot_do_is_refused_to_it_alone(engine, galaxies, tmp_path):
    """A block with such a galaxy is answered one by one, each with a stream of its own."""
    shard = read_shard(write_shard(galaxies[:3], tmp_path / "s.parquet"))
    age = answer_shard(engine, shard, "s", Question(samples=16))
    youngest, oldest = age["age_median"].argmin(), age["age_median"].argmax()
    younger = float(age["age_p84"][youngest])
    assert younger < 0.9 * age["age_p16"][oldest]
    question = Question(do=(f"age-={younger}",), samples=16)
    table = answer_shard(engine, shard, "s", question)
    assert table["flags"][youngest] == "REFUSED"
    assert "age" in table["reason"][youngest]
    generator = SeedStream(0).generator(f"s:{oldest}")
    alone = engine.counterfactual(shard.row(oldest), f"age-={younger}", (), 16, generator)
    spread = float(table["age_sd"][oldest])
    assert spread == float(alone.abduction.posterior.values["age"].double().std(0))


def test_without_ray_it_says_what_to_install():
    code = """
import sys
sys.modules["ray"] = None
from acie.cluster import ray_session
from acie.errors import ConfigurationError
try:
    with ray_session():
        pass
except ConfigurationError as error:
    sys.stdout.write(str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'acie[cluster]'" in done.stdout
