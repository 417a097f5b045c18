"""The OpenAPI document: committed as the code makes it, and kept by the server under fuzzing."""

import json
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from acie.serving.contracts import openapi_text

COMMITTED = Path(__file__).parents[2] / "contracts" / "openapi.json"

document = schemathesis.openapi.from_dict(json.loads(openapi_text()))


def test_the_committed_document_is_what_the_code_makes():
    assert COMMITTED.read_text("utf-8") == openapi_text(), (
        "run: python -m acie.serving.contracts, and commit"
    )


@document.parametrize()
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_its_contract(case, rest_url):
    # What fits the schema may still be no galaxy: it is refused, and that is right.
    excluded = [positive_data_acceptance]
    if case.operation.path.endswith("/batch"):
        # A malformed item has its problem document in an answer that is otherwise good.
        excluded.append(negative_data_rejection)
    case.call_and_validate(base_url=rest_url, timeout=60, excluded_checks=excluded)
