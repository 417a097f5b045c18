"""Write the index template and the saved searches: ``python deploy/logging/make_objects.py``.

One list of fields makes both, so that a search has no column that the index does not know; a test
fails when the committed files are not what this writes, and when a line of a running service holds
a field that is not in the list, or of another type.

References:
    Elastic Common Schema 1.6, https://www.elastic.co/guide/en/ecs/1.6.
"""

__all__ = ["FIELDS", "files", "main"]

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

#: Types of fields by name: of the service, of Logstash, of Filebeat.
FIELDS = {
    "@timestamp": "date",
    "message": "match_only_text",
    "tags": "keyword",
    "ecs.version": "keyword",
    "log.level": "keyword",
    "log.logger": "keyword",
    "service.name": "keyword",
    "event.dataset": "keyword",
    "event.duration": "long",
    "event.outcome": "keyword",
    "http.request.id": "keyword",
    "http.request.method": "keyword",
    "http.response.status_code": "long",
    "url.path": "keyword",
    "user.name": "keyword",
    "client.address": "keyword",
    "client.ip": "ip",
    "client.port": "long",
    "trace.id": "keyword",
    "error.type": "keyword",
    "error.message": "match_only_text",
    "error.stack_trace": "wildcard",
    # Of ACIE: calls of gRPC, start and end of the process, models that were swapped.
    "acie.rpc": "keyword",
    "acie.code": "keyword",
    "acie.url": "keyword",
    "acie.grpc_port": "long",
    "acie.authentication": "boolean",
    "acie.notice_s": "float",
    "acie.connections": "long",
    "acie.alias": "keyword",
    "acie.registered_version": "keyword",
    **{
        f"acie.{model}.{name}": "keyword"
        for model in ("models", "model", "was", "is")
        for name in ("name", "version", "digest")
    },
    # Of Filebeat and Logstash.
    "data_stream.type": "constant_keyword",
    "data_stream.dataset": "constant_keyword",
    "data_stream.namespace": "constant_keyword",
    "agent.id": "keyword",
    "agent.name": "keyword",
    "agent.type": "keyword",
    "agent.version": "keyword",
    "host.name": "keyword",
    "input.type": "keyword",
    "stream": "keyword",
    "log.offset": "long",
    "log.file.path": "keyword",
    "container.id": "keyword",
    "container.name": "keyword",
    "container.image.name": "keyword",
    "kubernetes.namespace": "keyword",
    "kubernetes.pod.name": "keyword",
    "kubernetes.node.name": "keyword",
    "kubernetes.container.name": "keyword",
}

_VIEW = "acie-logs"
#: Title, query in KQL and columns of the saved searches, by id.
_SEARCHES = {
    "acie-failures": (
        "ACIE: what failed",
        'event.outcome: "failure" or log.level: ("error" or "critical")',
        ["log.level", "message", "http.response.status_code", "url.path", "acie.rpc",
         "http.request.id", "trace.id", "error.stack_trace"],
    ),
    "acie-refused": (
        "ACIE: what was refused",
        "http.response.status_code >= 400 and http.response.status_code < 500",
        ["http.response.status_code", "http.request.method", "url.path", "user.name",
         "client.address", "http.request.id"],
    ),
    "acie-slow": (
        "ACIE: calls of two seconds and more",
        "event.duration >= 2000000000",
        ["event.duration", "url.path", "acie.rpc", "user.name", "http.request.id", "trace.id"],
    ),
}  # fmt: skip


def main() -> None:
    """Write all files."""
    for name, text in files().items():
        (HERE / name).write_text(text, "utf-8")
        print(HERE / name)  # noqa: T201


def files() -> dict[str, str]:
    """Their texts by name."""
    return {
        "index-template.json": json.dumps(_template(), indent=2) + "\n",
        "saved-searches.ndjson": "".join(json.dumps(one) + "\n" for one in _saved()),
    }


def _template() -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, kind in FIELDS.items():
        *outer, last = name.split(".")
        place = properties
        for part in outer:
            place = place.setdefault(part, {"properties": {}})["properties"]
        place[last] = {"type": kind} | ({"ignore_above": 1024} if kind == "keyword" else {})
    return {
        "index_patterns": ["logs-acie.serving-*"],
        "data_stream": {},
        # Above the template of Elasticsearch itself for logs-*-*, which has 100.
        "priority": 200,
        "template": {
            "settings": {
                "index.lifecycle.name": "acie-logs",
                "index.codec": "best_compression",
                "index.mapping.total_fields.limit": 200,
            },
            # What is new is kept with its document and not indexed: no line is lost for a field.
            "mappings": {"dynamic": False, "properties": properties},
        },
        "_meta": {"description": "Lines of acie serve, Elastic Common Schema."},
    }


def _saved() -> list[dict[str, Any]]:
    view = {
        "id": _VIEW,
        "type": "index-pattern",
        "attributes": {
            "title": "logs-acie.serving-*", "name": "ACIE", "timeFieldName": "@timestamp",
        },  # fmt: skip
        "references": [],
    }
    return [view, *(_search(name, *facts) for name, facts in _SEARCHES.items())]


def _search(name: str, title: str, query: str, columns: list[str]) -> dict[str, Any]:
    reference = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {
        "query": {"query": query, "language": "kuery"},
        "filter": [],
        "indexRefName": reference,
    }
    return {
        "id": name,
        "type": "search",
        "attributes": {
            "title": title,
            "description": "",
            "columns": columns,
            "sort": [["@timestamp", "desc"]],
            "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
        },
        "references": [{"id": _VIEW, "name": reference, "type": "index-pattern"}],
    }


if __name__ == "__main__":
    main()
