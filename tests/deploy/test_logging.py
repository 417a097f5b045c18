"""The way of a log line: written by ``acie serve``, changed by Logstash, known to Elasticsearch.

Filebeat, Logstash, Elasticsearch and Kibana are not run. Their files are parsed, the grok patterns
of Logstash are translated into regular expressions and tried on real lines, and every field of
every line of a real service must be in the index template, with a value of its type.
"""

import contextlib
import importlib.util
import ipaddress
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import grpc
import httpx
import jwt
import pytest
import yaml
from observers import until
from processes import Served, question

from acie.cli import main
from acie.serving.rpc._generated import acie_pb2, acie_pb2_grpc

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "logging"
SECRET = "a-secret-of-at-least-32-characters-0123"
TEMPLATE = json.loads((FOLDER / "index-template.json").read_text("utf-8"))
#: Fields of a Filebeat that reads containers; the service's own lines do not have them.
SHIPPED = ("data_stream", "agent", "host", "input", "stream", "container", "kubernetes", "tags",
           "log.offset", "log.file")  # fmt: skip


def known() -> dict[str, str]:
    """Types of fields by their full names, as the template declares them."""

    def walk(properties: dict, before: str) -> Iterator[tuple[str, str]]:
        for name, own in properties.items():
            if "properties" in own:
                yield from walk(own["properties"], f"{before}{name}.")
            else:
                yield f"{before}{name}", own["type"]

    return dict(walk(TEMPLATE["template"]["mappings"]["properties"], ""))


def fields(document: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Full names and values: dotted and nested names are the same, lists are their parts."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from fields(value, f"{name}.{key}" if name else key)
    elif isinstance(document, list):
        for one in document:
            yield from fields(one, name)
    elif document is not None:
        yield name, document


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_ip(value: object) -> bool:
    try:
        return bool(ipaddress.ip_address(value))
    except ValueError:
        return False


#: What Elasticsearch takes without coercing it, by type.
FITS = {
    "keyword": lambda v: is_text(v) and len(v) <= 1024,
    "constant_keyword": is_text,
    "wildcard": is_text,
    "match_only_text": is_text,
    "long": lambda v: is_whole(v) and -(2**63) <= v < 2**63,
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "ip": is_ip,
    "date": lambda v: bool(datetime.fromisoformat(v.replace("Z", "+00:00"))),
}


def misfits(line: dict) -> list[str]:
    """What the template does not know, or knows otherwise."""
    types = known()
    return [
        f"{name} = {value!r} ({types.get(name, 'unknown')})"
        for name, value in fields(line)
        if name not in types or not FITS[types[name]](value)
    ]


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """All that a service wrote while it answered, refused, failed and left."""
    folder = tmp_path_factory.mktemp("logged")
    claims = {"sub": "somebody", "aud": "acie", "scope": "infer read", "exp": time.time() + 3600}
    token = jwt.encode(claims, SECRET, "HS256")
    head = {"Authorization": f"Bearer {token}"}
    path = "/api/v2/inference/counterfactual"
    service = Served(folder, ACIE_AUTH__SECRET=SECRET, ACIE_SERVER__NOTICE_S="0.1")
    with service as one, httpx.Client(base_url=one.url, timeout=120.0) as client:
        trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        found = [
            client.post(path, json=question(samples=2), headers=head | trace),
            client.post(path, json=question() | {"intervention": "age=99"}, headers=head),
            client.post(path, json=question(samples=2)),
            client.get("/nowhere", headers=head),
        ]
        with grpc.insecure_channel(f"127.0.0.1:{one.grpc_port}") as channel:
            stub = acie_pb2_grpc.ACIEInferenceStub(channel)
            pairs = (("authorization", f"Bearer {token}"),)
            stub.ListModels(acie_pb2.ListModelsRequest(), timeout=60.0, metadata=pairs)
            with pytest.raises(grpc.RpcError):
                stub.ListModels(acie_pb2.ListModelsRequest(), timeout=60.0)
        # A row of the log that is damaged: nobody's fault but ours.
        # Each try is a transaction of its own: one that is left open would keep the service from
        # writing what is waited for.
        with contextlib.closing(
            sqlite3.connect(folder / "acie.db", timeout=30.0, isolation_level=None)
        ) as database:
            damaged = "UPDATE inferences SET summary = '{' WHERE summary IS NOT NULL"
            until(lambda: database.execute(damaged).rowcount, "the inference is logged")
        found.append(client.get("/api/v2/inferences", headers=head))
        assert [answer.status_code for answer in found] == [200, 422, 401, 404, 500]
        assert one.stop() == 0
        yield one.lines


def test_every_field_of_every_line_is_known(lines):
    assert {line["message"] for line in lines} >= {
        "serving", "request", "unexpected error", "draining", "left",
    }  # fmt: skip
    assert {line.get("log.level") for line in lines} == {"info", "error"} | (
        {"warning"} & {line.get("log.level") for line in lines}
    )
    wrong = {one: line["message"] for line in lines for one in misfits(line)}
    assert wrong == {}
    seen = {name for line in lines for name, _ in fields(line)}
    assert seen >= {
        "http.request.id", "http.response.status_code", "event.duration", "trace.id", "user.name",
        "url.path", "client.address", "acie.rpc", "acie.code", "error.stack_trace",
    }  # fmt: skip
    assert SECRET not in json.dumps(lines)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"acie": {"surprise": 1}}, "acie.surprise"),
        ({"event": {"duration": "12"}}, "event.duration"),
        ({"event.duration": 1.5}, "event.duration"),
        ({"client": {"ip": "ipv4:127.0.0.1"}}, "client.ip"),
        ({"acie": {"authentication": "no"}}, "acie.authentication"),
    ],
)
def test_what_does_not_fit_is_seen(change, says):
    assert [one for one in misfits({"message": "x"} | change) if one.startswith(says)]


def test_files_are_those_of_the_code():
    script = FOLDER / "make_objects.py"
    spec = importlib.util.spec_from_file_location("make_objects", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in module.files().items():
        assert (FOLDER / name).read_text("utf-8") == text, f"run: python {script.name}, and commit"


def test_the_template_is_one_of_a_data_stream():
    assert set(TEMPLATE) <= {"index_patterns", "data_stream", "priority", "template", "_meta"}
    assert TEMPLATE["index_patterns"] == ["logs-acie.serving-*"]
    policy = json.loads((FOLDER / "ilm-policy.json").read_text("utf-8"))["policy"]
    assert {"hot", "delete"} <= set(policy["phases"])
    settings = TEMPLATE["template"]["settings"]
    assert settings["index.lifecycle.name"] == "acie-logs"
    assert set(known().values()) <= set(FITS)
    # Elasticsearch's own names of ECS fields: nothing of ours is outside of acie.
    ours = {name.split(".")[0] for name in known() if not name.startswith(SHIPPED)}
    assert ours == {
        "@timestamp", "message", "ecs", "log", "service", "event", "http", "url", "user", "client",
        "trace", "error", "acie",
    }  # fmt: skip


def test_saved_searches_name_fields_that_there_are():
    objects = [
        json.loads(line)
        for line in (FOLDER / "saved-searches.ndjson").read_text("utf-8").splitlines()
    ]
    views = {one["id"] for one in objects if one["type"] == "index-pattern"}
    searches = [one for one in objects if one["type"] == "search"]
    assert len(searches) == 3
    for one in searches:
        attributes = one["attributes"]
        source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
        (reference,) = one["references"]
        assert reference["id"] in views
        assert reference["name"] == source["indexRefName"]
        used = re.findall(r"([a-z_.]+)(?=\s*(?::|>=|<))", source["query"]["query"])
        assert used
        assert {*used, *attributes["columns"], *(name for name, _ in attributes["sort"])} <= set(
            known()
        )


@pytest.mark.parametrize("name", ["filebeat.yml", "filebeat-kubernetes.yml"])
def test_filebeat_reads_json_of_acie_only(name):
    config = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    (provider,) = config["filebeat.autodiscover"]["providers"]
    (template,) = provider["templates"]
    assert list(template["condition"]["equals"].values()) == ["acie"]
    (source,) = template["config"]
    assert source["type"] == "filestream"
    container, ndjson = source["parsers"]
    assert container["container"]["stream"] == "all"
    # The keys of the lines are partly dotted: "log.level" beside "log".
    assert ndjson["ndjson"]["expand_keys"] is True
    assert ndjson["ndjson"]["target"] == ""
    dropped = config["processors"][0]["drop_fields"]["fields"]
    shipped = {field for field in known() if field.startswith(SHIPPED)}
    gone = {f for f in shipped for d in dropped if f == d or f.startswith(f"{d}.")}
    assert gone == set(), "a field of the template is dropped on the way"
    (host,) = config["output.logstash"]["hosts"]
    port = re.search(r"port => (\d+)", pipeline_text())[1]
    assert host.endswith(f":{port}")


def pipeline_text() -> str:
    return (FOLDER / "logstash.conf").read_text("utf-8")


#: Tokens of the language of Logstash, in which a word is a name, a number or a plugin.
_TOKENS = re.compile(
    r'\s+|#[^\n]*|"(?:\\.|[^"\\])*"|=>|==|>=|\[[\w@\]\[]+\]|[{}\[\],]|\w+(?:\.\w+)*|(?P<bad>.)'
)


def test_the_pipeline_parses():
    """Its tokens are known and its brackets close; there are the three parts, in order."""
    text, opened = pipeline_text(), []
    for token in _TOKENS.finditer(text):
        assert token["bad"] is None, f"{token[0]!r} at {token.start()}"
        if token[0] in ("{", "["):
            opened.append(token[0])
        elif token[0] in ("}", "]"):
            assert opened, f"{token[0]} at {token.start()} closes nothing"
            assert opened.pop() + token[0] in ("{}", "[]")
    assert opened == []
    assert re.findall(r"(?m)^(\w+) \{", text) == ["input", "filter", "output"]
    written = {
        name.replace("][", ".").strip("[]")
        for name in re.findall(r'"(\[[\w\]\[]+\])" =>', text)
    } | set(re.findall(r":\[([\w\]\[]+?)\](?::int)?\}", text))
    written = {name.replace("][", ".") for name in written}
    assert {"event.outcome", "client.ip", "client.port", "error.type"} <= written <= set(known())
    dataset = re.search(r'data_stream_dataset => "([\w.]+)"', text)[1]
    kind = re.search(r'data_stream_type => "(\w+)"', text)[1]
    assert TEMPLATE["index_patterns"] == [f"{kind}-{dataset}-*"]


#: The patterns of grok that the pipeline uses, as regular expressions.
_GROK = {
    "WORD": r"\b\w+\b",
    "GREEDYDATA": r".*",
    "POSINT": r"\b[1-9][0-9]*\b",
    "IPV4": r"(?:\d{1,3}\.){3}\d{1,3}",
    "IPV6": r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*",
    "IP": r"(?:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|(?:\d{1,3}\.){3}\d{1,3})",
}


def grok(block: int, text: str) -> dict[str, str] | None:
    """What one of the pipeline's two grok filters finds in a text; the first pattern wins."""
    blocks = re.findall(r"grok \{(.*?)tag_on_failure", pipeline_text(), re.S)
    for pattern in re.findall(r'"(\^.*\$)"', blocks[block]):
        names = []

        def named(found: re.Match, names: list[str] = names) -> str:
            names.append(found[2].replace("][", "."))
            return f"({_GROK[found[1]]})"

        expression = re.sub(r"%\{(\w+):\[([\w\]\[]+)\](?::int)?\}", named, pattern)
        found = re.match(expression, text)
        if found:
            return dict(zip(names, found.groups(), strict=True))
    return None


def test_addresses_of_callers_are_understood(lines):
    found = [pair for line in lines for pair in fields(line)]
    addresses = {value for name, value in found if name == "client.address"}
    assert len(addresses) >= 2  # of REST and of gRPC
    for address in addresses:
        found = grok(1, address)
        assert found["client.ip"] == "127.0.0.1", address
        assert is_ip(found["client.ip"])
    assert grok(1, "ipv6:%5B::1%5D:40312") == {"client.ip": "::1", "client.port": "40312"}
    assert grok(1, "2001:db8::7") == {"client.ip": "2001:db8::7"}
    assert grok(1, "unix:/run/acie.sock") is None


def test_why_a_process_did_not_start_is_understood(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--port", "70000"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    found = grok(0, line)
    assert found["error.type"] == "ConfigurationError"
    assert "server.port" in found["error.message"]
    assert grok(0, "MemoryError: cannot allocate")["error.type"] == "MemoryError"
    assert grok(0, '  File "x.py", line 3, in main') is None
