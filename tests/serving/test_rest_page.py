"""``/dashboard``: what is sent where the page was built, and where it was not."""

import gzip

import pytest

from acie.serving.rest import page


@pytest.fixture
def built(tmp_path, monkeypatch):
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<script nonce="__CSP_NONCE__"></script>')
    (tmp_path / "assets" / "a-1f.js").write_text("let a = 1;")
    (tmp_path / "assets" / "a-1f.js.gz").write_bytes(gzip.compress(b"let a = 1;"))
    (tmp_path / "assets" / "b.css").write_text("a{}")
    (tmp_path / "secret.js").write_text("no")
    monkeypatch.setattr(page, "PAGE", tmp_path)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/batch", "/dashboard/models/a/b"])
def test_every_view_is_the_page_with_a_number_of_its_own(rest, path):
    first, second = rest.get(path), rest.get(path)
    assert first.text != second.text
    nonce = first.text.split('"')[1]
    policy = first.headers["content-security-policy"]
    assert f"script-src 'self' 'nonce-{nonce}'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert first.headers["cache-control"] == "no-store"
    assert first.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.usefixtures("built")
def test_assets_are_kept_for_ever_and_packed_for_who_unpacks(rest):
    for takes, packed in [("gzip", True), ("br;q=1, gzip;q=0", False), ("", False)]:
        response = rest.get("/dashboard/assets/a-1f.js", headers={"Accept-Encoding": takes})
        assert response.text == "let a = 1;"
        assert response.headers.get("content-encoding") == ("gzip" if packed else None)
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "Accept-Encoding" in response.headers["vary"]
    assert rest.get("/dashboard/assets/b.css").headers["content-type"].startswith("text/css")


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "path",
    ["assets/none.js", "assets/..%2fsecret.js", "assets/%2e%2e/secret.js", "secret.js",
     "assets/a-1f.js.gz", "favicon.ico", "assets/"],
)  # fmt: skip
def test_nothing_else_is_sent(rest, path):
    response = rest.get(f"/dashboard/{path}")
    # A folder without a file name is a view of the page, and no file.
    assert response.status_code == 404 or "nonce" in response.text
    assert response.text != "no"
    assert path == "assets/" or response.json()["status"] == 404


def test_without_a_build_the_page_says_how_to_make_one(rest, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PAGE", tmp_path / "none")
    response = rest.get("/dashboard", follow_redirects=True)
    assert response.status_code == 404
    assert "make dashboard" in response.text
