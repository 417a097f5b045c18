"""Registering, promoting, rolling back, pulling, against a real MLflow server."""

import http.server
import json
import shutil
import threading
import time

import pytest
from bundles import evaluation_of, variant

import acie
from acie.cli import main
from acie.errors import (
    ChecksumMismatch,
    ConfigurationError,
    IncompatibleBundle,
    PromotionRefused,
    RegistryUnreachable,
    TrackingError,
    UnknownModel,
)
from acie.manifest import bundled_models
from acie.tracking import ModelName, Registry, TrackingSettings, promote, pull, resolve, rollback
from acie.tracking.promotion import history
from acie.tracking.settings import shown
from acie.tracking.store import Store

SHIPPED = bundled_models()["galaxy-v1"]


def file(tmp_path, report, name="evaluation.json"):
    (tmp_path / name).write_text(json.dumps(report))
    return tmp_path / name


def test_a_bundle_is_registered_once_and_is_the_candidate(registry, name, tmp_path):
    first = registry.register(SHIPPED, name)
    assert (first.version, first.aliases) == (1, ("candidate",))
    assert registry.register(SHIPPED, name).version == 1
    second = registry.register(variant(tmp_path / "two", "2"), name)
    assert (second.version, second.aliases) == (2, ("candidate",))
    assert [(v.version, v.aliases) for v in registry.versions(name)] == [
        (2, ("candidate",)), (1, ()),
    ]  # fmt: skip
    assert first.digest == acie.load().bundle.digest


def test_what_is_no_bundle_is_not_registered(registry, name, tmp_path):
    broken = variant(tmp_path / "broken", "1")
    weights = broken / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ChecksumMismatch):
        registry.register(broken, name)
    with pytest.raises(IncompatibleBundle):
        registry.register(variant(tmp_path / "future", "1", format=99), name)
    with pytest.raises(UnknownModel):
        registry.register(tmp_path, name)
    with pytest.raises(UnknownModel):
        registry.register(SHIPPED, "a/b")
    assert registry.versions(name) == []


def test_production_asks_for_an_evaluation_of_this_model(registry, name, report, tmp_path):
    version = registry.register(SHIPPED, name)
    with pytest.raises(PromotionRefused, match="evaluation: none"):
        promote(registry, name, "1", "production")
    report["model"]["digest"] = "0" * 64
    with pytest.raises(ConfigurationError, match="an evaluation of the model cc3342f48c8a"):
        registry.attach(version, file(tmp_path, report))
    for text in ("{", "[]", '{"model": 3}'):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(ConfigurationError, match="evaluation.json of acie evaluate"):
            registry.register(SHIPPED, name, tmp_path / "wrong.json")
    with pytest.raises(ConfigurationError, match="staging or production"):
        promote(registry, name, "1", "champion")
    assert promote(registry, name, "candidate", "staging").aliases == ("candidate", "staging")
    with pytest.raises(UnknownModel):
        registry.find(ModelName(name, alias="production"))


def test_promotion_and_rollback_go_back_the_way_they_came(registry, name, report, tmp_path):
    def production():
        return registry.find(ModelName(name, alias="production")).version

    good = file(tmp_path, report)
    for version in ("1", "2", "3"):
        bundle = SHIPPED if version == "1" else variant(tmp_path / version, version)
        registry.register(bundle, name, good)
        promote(registry, name, version, "production")
        promote(registry, name, version, "production")  # once more changes nothing
    # A worse one is refused, and nothing has moved.
    worse = json.loads(good.read_text())
    worse["efficiency"]["median"] /= 2.0
    registry.register(variant(tmp_path / "4", "4"), name, file(tmp_path, worse, "worse.json"))
    half = f"{worse['efficiency']['median']:.4f}"
    with pytest.raises(PromotionRefused, match=f"importance efficiency, median: {half}"):
        promote(registry, name, "4", "production")
    assert production() == 3
    assert [v.version for v in rollback(registry, name)] == [3, 2]
    assert [v.version for v in rollback(registry, name)] == [2, 1]
    with pytest.raises(TrackingError, match="the first one"):
        rollback(registry, name)
    promote(registry, name, "3", "production")
    assert [v.version for v in rollback(registry, name)] == [3, 1]
    log = [(entry["action"], entry["version"]) for entry in history(registry, name)["log"]]
    assert log == [
        ("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 2), ("rollback", 1),
        ("promote", 3), ("rollback", 1),
    ]  # fmt: skip
    # Somebody moves the alias by hand, to what has no evaluation: it cannot be compared with.
    bare = registry.register(variant(tmp_path / "5", "5"), name)
    registry.point(bare, "production")
    with pytest.raises(PromotionRefused, match="in production: none"):
        promote(registry, name, "3", "production")
    promote(registry, name, "5", "production", good)
    assert promote(registry, name, "3", "production").aliases == ("production",)


def test_the_commands_say_what_they_do(server, name, report, tmp_path, capsys):
    good = file(tmp_path, report)
    named = ["--name", name]
    assert main(["models", "register", str(SHIPPED), *named]) == 0
    assert "candidate   digest cc3342f48c8a" in capsys.readouterr().out
    assert main(["models", "promote", "1", "--to", "production", *named]) == 2
    assert "PromotionRefused" in capsys.readouterr().err
    two = variant(tmp_path / "2", "2", scale=1.001)
    other = evaluation_of(two, report, tmp_path / "two.json")
    assert main(["models", "register", str(two), *named, "--evaluation", str(other)]) == 0
    promoting = ["models", "promote", "1", "--to", "production", "--evaluation", str(good)]
    assert main([*promoting, *named]) == 0
    assert main(["models", "promote", "candidate", "--to", "production", *named]) == 0
    capsys.readouterr()
    assert main(["models", "versions", *named, "--json"]) == 0
    two_facts, one_facts = json.loads(capsys.readouterr().out)
    assert (two_facts["aliases"], one_facts["aliases"]) == (["candidate", "production"], [])
    assert two_facts["digest"] != one_facts["digest"]
    assert main(["models", "compare", "1", "production", *named]) == 0
    assert "importance efficiency, median" in capsys.readouterr().out
    assert main(["models", "compare", "1", "2", *named, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["a"] == row["b"] for row in rows} == {True}
    assert main(["models", "rollback", *named]) == 0
    assert "production was version 2, is version 1" in capsys.readouterr().out
    out = tmp_path / "pulled"
    assert main(["models", "pull", f"models:/{name}@candidate", "--out", str(out)]) == 0
    assert acie.load(out).bundle.version == "2"
    assert main(["models"]) == main(["models", str(out)]) == 0
    assert "galaxy-v1" in capsys.readouterr().out


def test_a_registered_model_is_loaded_by_name(registry, name, tmp_path):
    registry.register(SHIPPED, name)
    engine = acie.load(f"models:/{name}@candidate")
    assert engine.bundle.digest == acie.load(f"models:/{name}/1").bundle.digest
    # An alias that moves is followed, and each bundle is kept once.
    registry.register(variant(tmp_path / "2", "2"), name)
    assert acie.load(f"models:/{name}@candidate").bundle.version == "2"
    kept = sorted((tmp_path / "cache" / "bundles").iterdir())
    assert len(kept) == 2
    # A damaged copy is not used: it is fetched again.
    for folder in kept:
        (folder / "encoder.safetensors").write_bytes(b"rubbish")
    assert acie.load(f"models:/{name}@candidate").bundle.version == "2"


@pytest.mark.parametrize(
    "text", ["models:/nix", "models:/nix@production", "models:/nix/1", "models:/../x/1",
             "models:/nix/0", "models://server/nix/1"],
)  # fmt: skip
def test_a_name_that_leads_nowhere(server, text):
    with pytest.raises(UnknownModel, match="nix|x/1"):
        acie.load(text)


def test_a_stale_alias(server, registry, name):
    registry.register(SHIPPED, name)
    registry.store.client.delete_model_version(name, "1")
    for text in (f"models:/{name}@candidate", f"models:/{name}/1"):
        with pytest.raises(UnknownModel, match="registered version"):
            resolve(text)
    # Or the version is there and its files are not.
    registry.register(SHIPPED, name)
    found = registry.find(ModelName(name, alias="candidate"))
    shutil.rmtree(server.stored(found.source, ""))
    with pytest.raises((TrackingError, ChecksumMismatch)):
        resolve(f"models:/{name}@candidate")
    # Registering again stores it again.
    assert registry.register(SHIPPED, name).version > found.version
    assert acie.load(f"models:/{name}@candidate").bundle.version == "1"


@pytest.mark.parametrize("target", ["estimator.safetensors", "manifest.json"])
def test_a_changed_bundle_is_not_pulled_and_leaves_nothing(
    server, registry, name, tmp_path, target
):
    version = registry.register(variant(tmp_path / "one", "1"), name)
    kept = server.stored(version.source, target)
    kept.write_bytes(kept.read_bytes().replace(b'"version": "1"', b'"version": "9"') + b" ")
    out = tmp_path / "out" / "model"
    with pytest.raises(ChecksumMismatch):
        pull(f"models:/{name}/1", out)
    with pytest.raises(ChecksumMismatch):
        acie.load(f"models:/{name}/1")
    assert list((tmp_path / "out").iterdir()) == []
    assert list((tmp_path / "cache" / "bundles").iterdir()) == []


def test_what_something_else_registered_is_refused(registry, name, tmp_path):
    version = registry.register(SHIPPED, name)
    registry.store.client.create_model_version(name, version.source, version.run)
    with pytest.raises(IncompatibleBundle, match="acie models register"):
        acie.load(f"models:/{name}/2")


def test_pulling_overwrites_nothing(registry, name, tmp_path):
    registry.register(SHIPPED, name)
    (tmp_path / "mine").write_text("mine")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(ConfigurationError, match="--out"):
            pull(f"models:/{name}/1", out)
    with pytest.raises(ConfigurationError, match="can be written"):
        pull(f"models:/{name}/1", tmp_path / "mine" / "below")
    (tmp_path / "empty").mkdir()
    pull(f"models:/{name}/1", tmp_path / "empty")
    assert acie.load(tmp_path / "empty").bundle.name == "galaxy-v1"


def test_a_registry_that_does_not_answer(server, registry, name, environment, request):
    registry.register(SHIPPED, name)
    text = f"models:/{name}@candidate"
    folder = resolve(text)
    request.getfixturevalue("impatient")
    with server.frozen():
        begun = time.monotonic()
        with pytest.raises(RegistryUnreachable, match="ACIE_MLFLOW__OFFLINE=true takes version 1"):
            acie.load(text)
        with pytest.raises(RegistryUnreachable, match="was not pulled before"):
            acie.load(f"models:/{name}@production")
        environment.setenv("ACIE_MLFLOW__OFFLINE", "true")
        assert resolve(text) == folder
        assert time.monotonic() - begun < 20.0
        with pytest.raises(RegistryUnreachable):
            registry.find(ModelName(name, 1))
    # What another registry calls by that name is not what this one meant.
    environment.setenv("ACIE_MLFLOW__URI", "http://127.0.0.1:9")
    with pytest.raises(RegistryUnreachable, match="was not pulled before"):
        acie.load(text)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("http://me:hunter22@127.0.0.1:9", RegistryUnreachable),
        ("postgresql://me:hunter22@127.0.0.1:9/mlflow", RegistryUnreachable),
        ("sqlite:////proc/nowhere/mlflow.db", RegistryUnreachable),
        ("./mlruns", ConfigurationError),
        ("file:///tmp/mlruns", ConfigurationError),
        ("ftp://me:hunter22@host/x", ConfigurationError),
    ],
)
def test_an_address_where_nobody_is(environment, impatient, uri, kind):
    environment.setenv("ACIE_MLFLOW__URI", uri)
    begun = time.monotonic()
    with pytest.raises(kind) as caught:
        Registry(Store(TrackingSettings.read()))
    assert "hunter22" not in str(caught.value)
    assert time.monotonic() - begun < 10.0


def test_a_server_that_is_no_mlflow(environment):
    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        environment.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{other.server_port}")
        with pytest.raises(TrackingError):
            Store(TrackingSettings.read())
        other.shutdown()


def test_settings_come_from_the_environment(environment):
    assert TrackingSettings.read({}).uri == "sqlite:///acie-runs/mlflow.db"
    both = {"MLFLOW_TRACKING_URI": "http://a", "ACIE_MLFLOW__URI": "http://b"}
    assert TrackingSettings.read(both).uri == "http://b"
    with pytest.raises(ConfigurationError, match="true or false"):
        TrackingSettings.read({"ACIE_MLFLOW__OFFLINE": "perhaps"})
    assert shown("https://me:pass@host/x") == "https://me:***@host/x"
