"""The OpenAPI document: committed as the code makes it, and kept by the server under fuzzing."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from acie.serving.contracts import openapi_text

COMMITTED = Path(__file__).parents[2] / "contracts" / "openapi.json"


def test_the_committed_document_is_what_the_code_makes():
    assert COMMITTED.read_text("utf-8") == openapi_text(), (
        "run: python -m acie.serving.contracts, and commit"
    )



document = schemathesis.pytest.from_fixture("document_of_server")


@pytest.fixture(scope="session")
def document_of_server(rest_url):
    return schemathesis.openapi.from_url(f"{rest_url}/openapi.json")


@document.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_its_contract(case):
    case.call_and_validate()
