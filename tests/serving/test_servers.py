"""The fixtures themselves: nginx starts with a given text, and CI does not pass by skipping."""

import httpx
import pytest
import servers

CONFIG = """
events {}
http {
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server { listen 127.0.0.1:{port}; return 200 "{word}"; }
}
"""


def test_nginx_serves_what_it_is_told(nginx_server):
    assert httpx.get(nginx_server(CONFIG, word="hello").url).text == "hello"


def test_a_missing_server_is_a_skip_and_in_ci_a_failure(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        servers.program("no-such-server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed"):
        servers.program("no-such-server")
