"""``acie effect`` and ``acie explain``: exit codes, refusals, tables and JSON."""

import csv
import json

import pytest
import torch

import acie
import acie.io
from acie.cli import main
from acie.seeds import SeedStream
from acie.simulation import Simulator, SurveyConfig

SAMPLES = ("--samples", "64")


def run(capsys, *arguments):
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def objects(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two simulated galaxies as FITS files."""
    engine = acie.load()
    survey = SurveyConfig(redshift=(0.05, 0.2), snr=(20.0, 20.1))
    drawn = Simulator(engine.scm, engine.physics, survey=survey).draw(
        3, SeedStream(1).generator("ladder")
    )
    folder = tmp_path_factory.mktemp("ladder")
    return [
        acie.io.write_observation(drawn.observation[i], folder / f"{name}.fits")
        for i, name in ((0, "first"), (2, "second"))
    ]


def check_estimate(estimate):
    assert set(estimate) == {"value", "low", "high", "level", "covers", "count"}
    assert estimate["low"] <= estimate["high"]
    assert estimate["covers"]


def test_the_population_in_json(capsys):
    code, out, _ = run(
        capsys, "effect", "--do", "stellar_mass*=1.5", "--on", "dn4000", "--on", "halo_mass",
        "--by", "quenched", "--samples", "400", "--json",
    )  # fmt: skip
    assert code == 0
    first, second = objects(out)
    assert first["interventions"] == ["stellar_mass*=1.5"]
    for key in ("association", "average_effect", "individual_effects"):
        check_estimate(first[key])
    assert [group["from"] for group in first["conditional_effects"]] == [0.0, 1.0]
    # The halo causes the mass, not the other way round: seen, and not done.
    assert second["average_effect"]["value"] == 0.0
    assert second["association"]["low"] > 0.0
    assert second["unit"] == "Msun"


def test_the_population_for_people(capsys):
    code, out, _ = run(
        capsys, "effect", "--do", "dust_av=0", "--on", "g_r", "--samples", "200",
        "--alternative", "dust_slope_calzetti",
    )  # fmt: skip
    assert code == 0
    for word in ("seen (association)", "nothing like it is seen", "done (average effect)",
                 "dust_slope_calzetti", "statistical", "sensitivity"):  # fmt: skip
        assert word in out


def test_one_galaxy_and_one_file_that_does_not_exist(capsys, files):
    arguments = ("effect", files[0], "no-such.fits", "--do", "dust_av=0", "--on", "g_r", *SAMPLES)
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 1
    good, bad = objects(out)
    assert good["input"] == str(files[0])
    assert set(good["model"]) == {"name", "version", "digest"}
    for key in ("factual", "counterfactual", "individual_effect"):
        check_estimate(good[key])
    assert good["individual_effect"]["high"] <= 0.0
    assert bad["error"]["type"] == "ReaderNotFound"
    code, out, err = run(capsys, *arguments)
    assert code == 1
    assert "as it is" in out
    assert "ReaderNotFound" in err


def test_the_same_seed_gives_the_same_answer(capsys, files):
    arguments = (
        "effect",
        files[0],
        "--do",
        "age-=1",
        "--on",
        "dn4000",
        "--samples",
        "32",
        "--json",
    )
    assert run(capsys, *arguments)[1] == run(capsys, *arguments)[1]


def test_what_carries_an_effect(capsys, files):
    code, out, _ = run(
        capsys, "explain", files[0], "--do", "stellar_mass*=1.5", "--on", "dn4000", "--through",
        "sfr", "--alternative", "metallicity_kirby2013", *SAMPLES, "--json",
    )  # fmt: skip
    assert code == 0
    (answer,) = objects(out)
    for key in ("first_steps", "causes"):
        parts = sum(share["value"] for share in answer[key]["shares"].values())
        assert parts == pytest.approx(answer[key]["total"]["value"], abs=1e-6)
        assert answer[key]["exact"]
    assert all(path.startswith("stellar_mass>") for path in answer["paths"])
    assert set(answer["mediation"]) == {"total", "direct", "indirect", "interaction"}
    (row,) = answer["sensitivity"]["alternatives"]
    assert row["name"] == "metallicity_kirby2013"
    low, high = answer["sensitivity"]["sensitivity_interval"]
    assert low <= answer["sensitivity"]["statistical"]["value"] <= high


def test_why_two_galaxies_differ(capsys, files):
    code, out, _ = run(
        capsys, "explain", *files, "--on", "balmer_decrement", "--samples", "32", "--json"
    )
    assert code == 0
    (answer,) = objects(out)
    shares = answer["difference"]["shares"]
    total = sum(share["value"] for share in shares.values())
    assert total == pytest.approx(answer["difference"]["total"]["value"], abs=1e-9)
    # Only what leads to dust takes part.
    assert {"age", "metallicity", "size"}.isdisjoint(shares)
    code, out, _ = run(capsys, "explain", *files, "--on", "balmer_decrement", "--samples", "32")
    assert code == 0
    assert "(second)" in out
    assert "dust_av" in out


def test_a_target_and_a_galaxy_to_be_like(capsys, files):
    code, out, _ = run(
        capsys, "explain", files[0], "--target", "g_r=0.5", "--by", "age", "--by", "av", *SAMPLES,
        "--json",
    )  # fmt: skip
    assert code == 0
    (answer,) = objects(out)
    assert set(answer["by"]) == {"age", "dust_av"}
    for found in answer["by"].values():
        assert 0.0 <= found["share_reached"] <= 1.0
        assert (found["change"] is None) == (found["share_reached"] == 0.0)
    code, out, _ = run(capsys, "explain", *files, "--target", "g_r", "--by", "age", *SAMPLES)
    assert code == 0
    assert "The smallest change" in out


def test_identification(capsys):
    code, out, _ = run(
        capsys, "explain", "--identify", "stellar_mass>metallicity", "--confounded",
        "stellar_mass~metallicity",
    )  # fmt: skip
    assert code == 0
    assert "cannot be learned from observing alone" in out
    code, out, _ = run(capsys, "explain", "--identify", "mass>sfr", "--json")
    (answer,) = objects(out)
    assert code == 0
    assert answer["identified"]
    assert ["redshift", "quenched"] in answer["back_door"]


def test_falsification(capsys, tmp_path):
    engine = acie.load()
    redshift = 0.02 + 0.3 * torch.rand(800, generator=torch.Generator().manual_seed(1)).double()
    values, _ = engine.scm.sample(
        (800,), given={"redshift": redshift}, generator=torch.Generator().manual_seed(2)
    )
    # A catalogue that knows no halos, and in which size acts on metallicity.
    values["metallicity"] = values["metallicity"] * values["size"] ** 0.5
    names = [name for name in values if name != "halo_mass"]
    path = tmp_path / "catalogue.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *names])
        rows = zip(*(values[name].tolist() for name in names), strict=True)
        writer.writerows((f"g{i}", *row) for i, row in enumerate(rows))
    code, out, _ = run(capsys, "explain", "--falsify", path, "--json")
    assert code == 0
    (answer,) = objects(out)
    assert answer["rejected"]
    refuted = {(t["variable"], t["other"]) for t in answer["tests"] if t["refuted"]}
    assert refuted & {("metallicity", "size"), ("size", "metallicity")}
    code, out, _ = run(capsys, "explain", "--falsify", path, "--permutations", "2")
    assert code == 0
    assert "The data refute the graph" in out


WRONG = [
    (("effect",), "--do"),
    (("effect", "--do", "mass=2", "--on", "sfr"), "OutsideSupport"),
    (("effect", "--do", "dust_av=0", "--on", "nothing"), "UnknownVariable"),
    (("effect", "--do", "dust_av=0", "--on", "g_r", "--alternative", "x"), "mass_behroozi2013"),
    (("effect", "--do", "dust_av=0", "--on", "g_r", "--by", "nothing"), "UnknownVariable"),
    (("effect", "a.fits", "--do", "dust_av=0", "--on", "g_r", "--by", "sfr"), "population"),
    (("effect", "--do", "dust_av=0", "--on", "g_r", "--redshift", "3"), "OutsideSupport"),
    (("effect", "--do", "dust_av=0", "--on", "g_r", "--level", "2"), "probability"),
    (("explain",), "FILE"),
    (("explain", "a.fits"), "two files"),
    (("explain", "a.fits", "--do", "dust_av=0"), "--on"),
    (("explain", "a.fits", "--do", "dust_av=0", "--on", "metallicity"), "follows from"),
    (("explain", "a.fits", "--do", "age-=1", "--on", "dn4000", "--path", "age>sfr"), "no such"),
    (("explain", "a.fits", "--do", "age-=1", "--on", "dn4000", "--through", "sfr"), "mediator"),
    (("explain", "a.fits", "--target", "dn4000=1.4"), "--by"),
    (("explain", "a.fits", "--target", "dn4000=x", "--by", "age"), "NAME=NUMBER"),
    (("explain", "a.fits", "--target", "dn4000", "--by", "age"), "second file"),
    (("explain", "a.fits", "b.fits", "--on", "dn4000", "--path", "a>b"), "--do"),
    (("explain", "--identify", "stellar_mass"), "cause>outcome"),
    (("explain", "a.fits", "--identify", "a>b"), "no spectrum"),
    (("explain", "--identify", "mass>sfr", "--hidden", "sfr"), "hidden"),
    (("explain", "--falsify", "no-such.csv"), "DataError"),
]


@pytest.mark.parametrize(("arguments", "word"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_wrong_usage_exits_with_2_and_says_what(capsys, arguments, word):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert word in err


def test_a_file_that_cannot_be_compared_is_a_failed_input(capsys, files):
    code, out, _ = run(
        capsys, "explain", files[0], "no.fits", "--on", "dn4000", *SAMPLES, "--json"
    )
    assert code == 1
    assert objects(out)[0]["error"]["type"] == "ReaderNotFound"
