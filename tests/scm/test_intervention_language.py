import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from acie.errors import (
    CausalError,
    ConfigurationError,
    ConflictingInterventions,
    OutsideSupport,
    UnknownVariable,
)
from acie.scm import (
    AdditiveNoiseMechanism,
    Do,
    Policy,
    Replace,
    Scale,
    Shift,
    describe,
    parse_interventions,
)
from acie.variables import Variable

VARIABLES = {
    variable.name: variable
    for variable in (
        Variable("redshift", support=(0.0, 1.0), intervenable=False),
        Variable("stellar_mass", unit="Msun", support=(1e7, 1e12), transform="log10"),
        Variable("metallicity", support=(1e-4, 0.05), transform="log10"),
        Variable("dust_av", unit="mag", support=(0.0, 6.0)),
        Variable("age", unit="Gyr", support=(0.05, 14.0)),
        Variable("quenched", support=(0.0, 1.0), kind="binary"),
    )
}
ALIASES = {"mass": "stellar_mass", "z": "redshift"}


def parse(do):
    return parse_interventions(do, VARIABLES, ALIASES)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("stellar_mass*=1.5", "stellar_mass", Scale(1.5)),
        ("stellar_mass=x1.5", "stellar_mass", Scale(1.5)),
        ("mass = x 1.5", "stellar_mass", Scale(1.5)),
        ("mass/=2", "stellar_mass", Scale(0.5)),
        ("dust_av=0", "dust_av", Do(0.0)),
        (" dust_av = .5 ", "dust_av", Do(0.5)),
        ("stellar_mass=3e10", "stellar_mass", Do(3e10)),
        ("metallicity+=0.1dex", "metallicity", Shift(0.1, dex=True)),
        ("metallicity -= 0.1 dex", "metallicity", Shift(-0.1, dex=True)),
        ("age-=1", "age", Shift(-1.0)),
        ("age+=-1.5e-1", "age", Shift(-0.15)),
        ("quenched=1", "quenched", Do(1.0)),
    ],
)
def test_expressions(text, name, expected):
    assert parse(text) == {name: expected}


@pytest.mark.parametrize(
    ("action", "name", "expected"),
    [
        (0.0, "dust_av", Do(0.0)),
        (True, "quenched", Do(1.0)),
        ({"set": 1}, "dust_av", Do(1.0)),
        ({"scale": 1.5}, "stellar_mass", Scale(1.5)),
        ({"shift_dex": 0.1}, "metallicity", Shift(0.1, dex=True)),
        ({"shift": -1.0}, "age", Shift(-1.0)),
        ("x1.5", "stellar_mass", Scale(1.5)),
        ("+=0.1dex", "metallicity", Shift(0.1, dex=True)),
        (Scale(2.0), "mass", Scale(2.0)),
    ],
)
def test_objects_and_json(action, name, expected):
    true_name = ALIASES.get(name, name)
    assert parse({name: action}) == {true_name: expected}
    if not isinstance(action, Scale):
        assert parse(json.dumps({name: action})) == {true_name: expected}


def test_several_actions_keep_their_order():
    expected = {"dust_av": Do(0.0), "age": Shift(-1.0)}
    for do in ("dust_av=0, age-=1", "dust_av=0;age-=1", ["dust_av=0", "age-=1"]):
        assert list(parse(do).items()) == list(expected.items())
    assert parse({}) == parse("") == parse([]) == {}


def test_tensors_set_values_per_sample():
    value = torch.tensor([0.0, 1.0])
    assert parse({"dust_av": value})["dust_av"].value is value
    with pytest.raises(OutsideSupport, match="7"):
        parse({"dust_av": torch.tensor([0.0, 7.0])})


numbers = st.floats(1e-3, 1e3).filter(math.isfinite)


@given(
    st.one_of(
        st.builds(Scale, numbers),
        st.builds(Shift, st.floats(-10.0, 10.0)),
        st.builds(Shift, st.floats(-10.0, 10.0), dex=st.just(True)),
        st.builds(Do, st.floats(0.05, 6.0)),
    )
)
def test_description_is_read_back(action):
    assert parse(describe(action, "age")) == {"age": action}


def test_descriptions():
    assert describe(Scale(1.5), "stellar_mass") == "stellar_mass*=1.5"
    assert describe(Do(0.0), "dust_av") == "dust_av=0"
    assert describe(Shift(0.1, dex=True), "metallicity") == "metallicity+=0.1dex"
    assert describe(Shift(-1.0), "age") == "age-=1"
    assert describe(Do(torch.zeros(3)), "age") == "age=tensor(3,)"
    assert describe(Do(torch.tensor(2.0)), "age") == "age=2"
    assert describe(Policy(lambda state: state["age"], "older"), "age") == "age=older(state)"
    assert describe(Replace(AdditiveNoiseMechanism(0.0)), "age") == "age~AdditiveNoiseMechanism"


@pytest.mark.parametrize(
    ("do", "error", "message"),
    [
        ("mas=x2", UnknownVariable, "Did you mean mass"),
        ("metalicity+=0.1dex", UnknownVariable, "Did you mean metallicity"),
        (["age-=1", "age=2"], ConflictingInterventions, "age-=1 and age=2"),
        ({"mass": 1e10, "stellar_mass": 1e10}, ConflictingInterventions, "stellar_mass"),
        ('{"age": 1, "age": 2}', ConflictingInterventions, "twice"),
        ("mass=1.5", OutsideSupport, r"1e\+07 to 1e\+12 Msun.*stellar_mass\*=1.5"),
        ("mass=10.5", OutsideSupport, r"10\^10.5 \(stellar_mass=3.162e\+10\)"),
        ("metallicity=-1", OutsideSupport, "0.0001 to 0.05"),
        ("dust_av=-1", OutsideSupport, "0 to 6 mag, found -1"),
        ("quenched=0.5", OutsideSupport, "0 or 1"),
        ("redshift=0.1", CausalError, "Act on"),
        ("z+=0.1", CausalError, "Act on"),
        ("age", ConfigurationError, "Examples"),
        ("age=old", ConfigurationError, "Examples"),
        ("age=1Gyr", ConfigurationError, "Examples"),
        ("age=0.1dex", ConfigurationError, "Examples"),
        ("age/=0", ConfigurationError, "Examples"),
        ("{age: 1}", ConfigurationError, "Examples"),
        ({"age": {"multiply": 2.0}}, ConfigurationError, "Examples"),
        ({"age": {"scale": 2.0, "shift": 1.0}}, ConfigurationError, "Examples"),
        ({"age": None}, ConfigurationError, "Examples"),
        ({"age": {"scale": math.nan}}, ConfigurationError, "finite"),
        (3.0, ConfigurationError, "Examples"),
    ],
)
def test_errors_say_what_to_do(do, error, message):
    with pytest.raises(error, match=message):
        parse(do)
