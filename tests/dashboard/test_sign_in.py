"""The page of a server that asks who calls."""

import secrets
import time

import jwt
import pytest
from dashboards import ARTIFACTS
from processes import Served


@pytest.fixture(scope="module")
def seen(page, script, tmp_path_factory):
    secret = secrets.token_urlsafe(48)
    claims = {"sub": "astronomer", "aud": "acie", "scope": "read infer", "exp": time.time() + 900}
    token = jwt.encode(claims, secret, "HS256")
    folder = tmp_path_factory.mktemp("sign-in")
    with Served(folder, ACIE_AUTH__SECRET=secret) as server:
        found = script("sign-in", server.url, str(ARTIFACTS / "sign-in"), token)
    return found | {"token": token}


def test_the_page_asks_for_a_token_and_takes_only_a_good_one(seen):
    assert "This server asks who you are" in seen["asked"]
    assert seen["errors"] == []


def test_the_token_is_kept_for_the_tab_only(seen):
    session, local = seen["kept"]
    assert seen["token"] in session
    assert seen["token"] not in local
    assert seen["dialogs"] == 0
    assert seen["forgotten"]
