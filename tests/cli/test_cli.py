"""The command line: exit codes, refusals, and one JSON object per input."""

import json
import math
from pathlib import Path

import pytest
import torch

import acie
import acie.errors
import acie.io
from acie.cli import main
from acie.seeds import SeedStream
from acie.simulation import Simulator

SDSS = Path(__file__).parents[3] / "shared" / "data" / "sdss"
COMMANDS = (
    "infer", "effect", "explain", "active", "fit", "simulate", "train", "evaluate", "models",
    "doctor",
)  # fmt: skip
#: The contract of ``acie infer --json``.
KEYS = {
    "input", "model", "redshift", "interventions", "latent_state", "counterfactual_state",
    "wavelength", "observed", "counterfactual", "counterfactual_p16", "counterfactual_p84",
    "confidence", "quality", "timing_ms",
}  # fmt: skip


def run(capsys, *arguments):
    """Exit code, standard output, standard error of one command."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(code, err, *words):
    """Wrong usage: exit code 2, one line that says what is wrong, and no traceback."""
    assert code == 2
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    for word in words:
        assert word in err


def objects(out):
    """The JSON objects on standard output, one a line."""
    return [json.loads(line) for line in out.splitlines()]


def check_answer(answer, source):
    """What every answer must satisfy, whatever the galaxy."""
    assert set(answer) >= KEYS
    assert answer["input"] == str(source)
    assert set(answer["model"]) == {"name", "version", "digest"}
    assert 0.0 <= answer["confidence"] <= 1.0
    assert set(answer["quality"]) <= {flag.name for flag in acie.QualityFlag}
    assert answer["timing_ms"] > 0
    for name in ("wavelength", "observed", "counterfactual", "counterfactual_p16",
                 "counterfactual_p84"):  # fmt: skip
        assert len(answer[name]) == acie.WAVELENGTH.size
    assert set(answer["latent_state"]) == set(answer["counterfactual_state"])
    for state in (*answer["latent_state"].values(), *answer["counterfactual_state"].values()):
        assert set(state) == {"unit", "median", "p16", "p84"}
        assert state["p16"] <= state["median"] <= state["p84"]
    # Masked pixels are null in all three spectra, and only they.
    holes = [value is None for value in answer["observed"]]
    assert holes == [value is None for value in answer["counterfactual"]]


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def simulated(engine, tmp_path_factory):
    """A simulated galaxy, written as a FITS file by the library."""
    generator = SeedStream(3).generator("cli")
    drawn = Simulator(engine.scm, engine.physics).draw(4, generator)
    best = int(drawn.observation.signal_to_noise.argmax())
    path = tmp_path_factory.mktemp("cli") / "simulated.fits"
    return acie.io.write_observation(drawn.observation[best], path)


# -- usage: no model is needed --------------------------------------------------------------------


def test_help_lists_every_command(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "--help" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("infer",),
        ("infer", "a.fits", "--no-such-option"),
        ("infer", "a.fits", "--samples", "many"),
        ("infer", "a.fits", "--samples", "1"),
        ("infer", "a.fits", "--redshift", "far"),
        ("simulate",),
        ("simulate", "--out", "x", "--n", "0"),
        ("train",),
        ("evaluate", "--n", "1"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err


def test_no_command_shows_the_help_and_exits_with_2(capsys):
    code, out, err = run(capsys)
    assert code == 2
    assert "infer" in out + err


@pytest.mark.parametrize("command", ["infer", "evaluate"])
def test_an_unknown_model_is_refused_in_one_line(capsys, command):
    files = ["a.fits"] if command == "infer" else []
    code, out, err = run(capsys, command, *files, "--model", "no-such-model")
    refused(code, err, "UnknownModel", "no-such-model", "acie models")
    assert out == ""


# -- with the shipped model -----------------------------------------------------------------------


def test_models_lists_the_shipped_model(capsys, engine):
    code, out, _ = run(capsys, "models")
    assert code == 0
    assert engine.bundle.name in out
    assert engine.bundle.digest[:12] in out


def test_doctor_finds_this_installation_fit(capsys, engine):
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert "digest verified" in out


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("stelar_mass*=1.5", ("UnknownVariable", "stelar_mass", "stellar_mass")),
        ("stellar_mass**1.5", ("ConfigurationError", "Examples")),
        ("stellar_mass=x", ("ConfigurationError",)),
        ("mass=1.5", ("OutsideSupport", "stellar_mass*=1.5")),
        ("dust_av=-1", ("OutsideSupport", "0 to 4 mag")),
        ("redshift=0.1", ("CausalError", "redshift")),
        ("tau*=2", ("CausalError", "tau")),
        ("dust_av=0,dust_av=1", ("ConflictingInterventions", "dust_av")),
        ("quenched=0.5", ("OutsideSupport", "0 or 1")),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(capsys, engine, do, words):
    # The file does not exist: the question is refused before any file is looked at.
    code, out, err = run(capsys, "infer", "absent.fits", "--do", do, "--json")
    refused(code, err, *words)
    assert out == ""


def test_every_bad_input_has_an_error_object_of_its_own(capsys, engine, tmp_path):
    fake = tmp_path / "fake.fits"
    fake.write_text("this is not FITS\n", "utf-8")
    missing = tmp_path / "missing.fits"
    code, out, err = run(capsys, "infer", missing, fake, "--json")
    assert code == 1
    assert "Traceback" not in out + err
    found = objects(out)
    assert [entry["input"] for entry in found] == [str(missing), str(fake)]
    for entry in found:
        assert set(entry) == {"input", "error"}
        assert set(entry["error"]) == {"type", "message"}
        assert entry["error"]["message"]
    assert found[0]["error"]["type"] == "ReaderNotFound"
    assert "no such file" in found[0]["error"]["message"]
    assert found[1]["error"]["type"] in ("ReaderNotFound", "MalformedSpectrum")


@pytest.mark.slow
def test_a_good_file_is_answered_although_another_one_fails(capsys, simulated, tmp_path):
    out_folder = tmp_path / "out"
    code, out, _ = run(
        capsys, "infer", tmp_path / "missing.fits", simulated, "--do", "stellar_mass*=1.5",
        "--samples", 64, "--json", "--out", out_folder,
    )  # fmt: skip
    assert code == 1
    failed, answer = objects(out)
    assert "error" in failed
    check_answer(answer, simulated)
    assert answer["interventions"] == ["stellar_mass*=1.5"]
    before = answer["latent_state"]["stellar_mass"]["median"]
    after = answer["counterfactual_state"]["stellar_mass"]["median"]
    assert math.isclose(after, 1.5 * before, rel_tol=1e-6)
    # The halo is a cause of the mass and not an effect: it stays.
    assert answer["counterfactual_state"]["halo_mass"] == answer["latent_state"]["halo_mass"]
    written = {path.suffix for path in out_folder.iterdir()}
    assert written == {".json", ".fits", ".png"}
    assert json.loads((out_folder / "simulated.json").read_text("utf-8")) == answer


@pytest.mark.slow
def test_no_question_returns_the_observation(capsys, simulated):
    code, out, _ = run(capsys, "infer", simulated, "--samples", 32, "--json")
    assert code == 0
    (answer,) = objects(out)
    assert answer["counterfactual"] == answer["observed"]
    assert answer["counterfactual_state"] == answer["latent_state"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answer(capsys, simulated):
    answers = []
    for _ in range(2):
        torch.manual_seed(torch.seed())  # the global state must not matter
        code, out, _ = run(
            capsys, "infer", simulated, "--do", "dust_av=0", "--samples", 32, "--json", "--seed", 7
        )
        assert code == 0
        (answer,) = objects(out)
        del answer["timing_ms"]
        answers.append(answer)
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_a_table_for_people(capsys, simulated):
    code, out, _ = run(
        capsys, "infer", simulated, "--do", "dust_av=0", "--hold", "dust_slope", "--samples", 32
    )
    assert code == 0
    assert "confidence" in out
    for name in ("stellar_mass", "dust_av", "velocity_dispersion"):
        assert name in out


# -- real spectra ---------------------------------------------------------------------------------


def survey_file(name):
    path = SDSS / name
    if not path.is_file():
        pytest.skip(f"needs the SDSS spectrum {name}, which is not part of the repository")
    return path


@pytest.mark.slow
def test_a_real_spectrum_is_answered_with_every_key_of_the_contract(capsys, engine):
    path = survey_file("spec-0266-51602-0166.fits")
    code, out, err = run(
        capsys, "infer", path, "--do", "stellar_mass*=1.5", "--samples", 64, "--json"
    )
    assert code == 0, out[:500] + err
    (answer,) = objects(out)
    check_answer(answer, path)


@pytest.mark.parametrize("name", ["spec-0269-51581-0003.fits", "spec-1931-53358-0251.fits"])
def test_a_spectrum_that_cannot_be_used_has_a_typed_error(capsys, engine, name):
    path = survey_file(name)
    code, out, err = run(capsys, "infer", path, "--json")
    assert code == 1
    assert "Traceback" not in out + err
    (entry,) = objects(out)
    assert set(entry) == {"input", "error"}
    assert entry["error"]["type"] in acie.errors.__all__


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"acie {acie.__version__}\n"
