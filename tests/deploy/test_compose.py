"""The compose files: valid, as the code has it, and their parts run by the real programs."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from servers import PostgreSQL, free_port, missing, program, running

from acie.cli import main
from acie.serving.settings import ServerSettings, Settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
FILES = [COMPOSE / "docker-compose.production.yml", COMPOSE / "docker-compose.gpu.yml"]


def tool(name: str) -> str:
    """A program of the environment of the tests."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else program(name)


def compose_command() -> list[str]:
    """docker compose, or docker-compose where Debian has that."""
    if shutil.which("docker"):
        probe = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if probe.returncode == 0:
            return ["docker", "compose"]
    return [program("docker-compose")]


def rendered(*files: Path, **environment: str) -> dict:
    """What compose makes of files."""
    flags = [part for file in files for part in ("-f", str(file))]
    done = subprocess.run(
        [*compose_command(), *flags, "config"], capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("ACIE_")} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.fixture(scope="module")
def production():
    return rendered(FILES[0])


@pytest.fixture(scope="module")
def written():
    """The file as it is written, with its aliases resolved."""
    return yaml.safe_load(FILES[0].read_text())


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """What the script makes."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    subprocess.run([COMPOSE / "make_secrets.sh", folder], check=True)
    return folder


def test_the_files_are_valid():
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *map(str, FILES)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_gpus_are_reserved_by_the_override_only(production):
    both = rendered(*FILES)
    assert "reservations" not in production["services"]["acie"]["deploy"]["resources"]
    reserved = both["services"]["acie"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(one["driver"], int(one["count"]), one["capabilities"]) for one in reserved] == [
        ("nvidia", 1, ["gpu"])
    ]
    # The rights and secrets of the service stay as they are, and so does what migrates.
    for name in ("read_only", "cap_drop", "security_opt", "user", "environment", "command"):
        assert both["services"]["acie"][name] == production["services"]["acie"][name], name
    assert both["services"]["migrate"]["image"] == production["services"]["migrate"]["image"]


def test_the_environment_decides_on_image_replicas_and_addresses():
    found = rendered(
        FILES[0], ACIE_IMAGE="registry.example/acie:9", ACIE_REPLICAS="5", ACIE_ADDRESS="0.0.0.0"
    )["services"]
    assert {found[name]["image"] for name in ("acie", "migrate", "mlflow")} == {
        "registry.example/acie:9"
    }
    assert int(found["acie"]["deploy"]["replicas"]) == 5
    assert "0.0.0.0" in str(found["nginx"]["ports"])
    assert "0.0.0.0" not in str(found["grafana"]["ports"])


def test_the_image_has_the_version_of_the_project(written):
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert written["services"]["acie"]["image"] == f"${{ACIE_IMAGE:-acie:{version}}}"
    gpu = yaml.safe_load(FILES[1].read_text())["services"]["acie"]["image"]
    assert gpu == f"${{ACIE_IMAGE:-acie:{version}-cuda}}"


def test_nothing_has_more_rights_than_it_needs(production):
    for name, service in production["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        assert not service.get("privileged"), name
        assert not service.get("cap_add"), name
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"], name
        assert float(limits["cpus"]) > 0, name
        assert service["logging"]["options"]["max-size"], name
        tag = service["image"].rpartition(":")[2]
        assert re.match(r"^v?\d+\.\d+", tag), f"{name} is not pinned: {service['image']}"


def test_only_the_front_has_a_way_out_and_loopback_a_way_in(production):
    networks, services = production["networks"], production["services"]
    open_ones = {name for name, network in networks.items() if not (network or {}).get("internal")}
    assert open_ones == {"front"}
    for name, service in services.items():
        if service.get("ports"):
            assert "front" in service["networks"], name
            assert "0.0.0.0" not in str(service["ports"]), name
    assert {name for name, one in services.items() if "front" not in one["networks"]} == {
        "acie", "migrate", "redis", "postgres"
    }  # fmt: skip


def test_whoever_must_talk_shares_a_network(production):
    services = production["services"]
    for one, other in [
        ("nginx", "acie"), ("acie", "redis"), ("acie", "postgres"), ("acie", "mlflow"),
        ("migrate", "postgres"), ("mlflow", "postgres"), ("prometheus", "acie"),
        ("prometheus", "alertmanager"), ("grafana", "prometheus"),
    ]:  # fmt: skip
        assert set(services[one]["networks"]) & set(services[other]["networks"]), (one, other)
    assert not set(services["nginx"]["networks"]) & set(services["postgres"]["networks"])
    assert not set(services["grafana"]["networks"]) & set(services["redis"]["networks"])


def test_what_is_waited_for_says_when_it_is_well(production):
    services = production["services"]
    for name, service in services.items():
        for other, condition in (service.get("depends_on") or {}).items():
            if condition["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"], (name, other)
    waited = services["acie"]["depends_on"]["migrate"]["condition"]
    assert waited == "service_completed_successfully"
    assert "postgres" in services["migrate"]["depends_on"]
    assert services["migrate"]["restart"] == "on-failure"


def test_settings_and_commands_are_those_of_the_code(production):
    settings = {
        f"ACIE_{section}__{name}".upper(): field
        for section, model in Settings.model_fields.items()
        for name, field in model.annotation.model_fields.items()
    }
    used = set()
    for name in ("acie", "migrate"):
        for variable in production["services"][name]["environment"]:
            if variable.startswith("ACIE_"):
                used.add(variable.removesuffix("_FILE"))
                assert variable.removesuffix("_FILE") in settings, variable
                if variable.endswith("_FILE"):
                    field = settings[variable.removesuffix("_FILE")]
                    assert "SecretStr" in str(field.annotation), variable
    assert {"ACIE_DATABASE__URL", "ACIE_CACHE__URL", "ACIE_AUTH__SECRET"} <= used
    for name in ("acie", "migrate"):
        assert main([production["services"][name]["command"][0], "--help"]) == 0


def test_the_service_takes_these_settings(production, secrets, monkeypatch, capsys):
    """Everything that the file sets, as the service reads it."""
    for name in [name for name in os.environ if name.startswith("ACIE_")]:
        monkeypatch.delenv(name)
    for name, value in production["services"]["acie"]["environment"].items():
        monkeypatch.setenv(name, value.replace("/run/secrets", str(secrets)))
    assert main([*production["services"]["acie"]["command"], "--print-settings"]) == 0
    text = capsys.readouterr().out
    assert "from ACIE_DATABASE__URL_FILE" in text
    assert 'host: "0.0.0.0"' in text
    assert 'models: ["galaxy-v1"]' in text
    for secret in ("postgres_password", "auth_secret"):
        assert (secrets / secret).read_text() not in text


def test_ports_and_patience_are_those_of_the_server(production):
    services, server = production["services"], ServerSettings()
    assert services["acie"]["expose"] == [str(server.port), str(server.grpc_port)]
    conf = (COMPOSE / "nginx" / "replicas.conf").read_text()
    assert f"server acie:{server.port} " in conf
    assert f"server acie:{server.grpc_port} " in conf
    assert f":{server.port}/health/ready" in str(services["acie"]["healthcheck"]["test"])
    grace = _seconds(services["acie"]["stop_grace_period"])
    assert grace >= server.notice_s + server.drain_s + 10.0
    assert _seconds(services["nginx"]["stop_grace_period"]) >= grace


def _seconds(text: str) -> float:
    """Of 35s or 1m0s."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    return sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+)([hms])", str(text)))


def test_what_is_mounted_is_there(written):
    monitored = (COMPOSE.parent / "monitoring").is_dir()
    for name, service in written["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert volume.endswith(":ro"), volume
                if not monitored and "/monitoring/" in source:
                    continue
                path = (COMPOSE / source).resolve()
                assert path.exists(), f"{name} mounts {path}"
            else:
                assert source in written["volumes"], volume


def test_secrets_are_made_once_and_fit_together(written, secrets):
    names = set(written["secrets"])
    assert {path.name for path in secrets.iterdir()} == names
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run([COMPOSE / "make_secrets.sh", secrets], check=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o077 == 0
    assert before["postgres_password"] in before["database_url"]
    assert before["redis_conf"].split()[1] in before["cache_url"]
    assert len(before["auth_secret"]) >= 32
    assert len({before[name] for name in names}) == len(names)
    for service in written["services"].values():
        for secret in service.get("secrets", []):
            assert secret in names
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", "deploy/compose/secrets/auth_secret"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0 or not (ROOT / ".git").exists()


def test_redis_takes_its_password_from_the_secret(production, secrets):
    command = production["services"]["redis"]["command"]
    port = free_port()
    process = subprocess.Popen(
        [program("redis-server"), str(secrets / "redis_conf"), *command[2:],
         "--port", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL, cwd=secrets.parent,
    )  # fmt: skip
    try:
        import redis

        url = (secrets / "cache_url").read_text().replace("redis:6379", f"127.0.0.1:{port}")
        client = _answered(lambda: redis.Redis.from_url(url).ping() and redis.Redis.from_url(url))
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lru"
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        # The check of its health, as the container runs it.
        check = production["services"]["redis"]["healthcheck"]["test"][1]
        check = check.replace("redis-cli", f"{program('redis-cli')} -p {port}")
        assert subprocess.run(["sh", "-c", check], check=False).returncode == 0
        process.terminate()
        process.wait(10)
        assert subprocess.run(["sh", "-c", check], check=False).returncode != 0
    finally:
        process.kill()
        process.wait()


def _answered(work, seconds: float = 60.0):
    """What ``work`` returns once it does not fail."""
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def registry(secrets):
    """Address of MLflow's database, made by the script that PostgreSQL's image runs."""
    with running(PostgreSQL()) as postgres:
        postgres.run("CREATE ROLE acie SUPERUSER LOGIN")
        postgres.run("CREATE DATABASE acie OWNER acie")
        folders = [os.environ["PATH"], str(Path(program("psql")).parent)]
        subprocess.run(
            [COMPOSE / "postgres" / "mlflow.sh"], check=True,
            env=os.environ | {
                "PATH": os.pathsep.join(folders), "PGHOST": "127.0.0.1",
                "PGPORT": str(postgres.port), "POSTGRES_USER": "acie", "POSTGRES_DB": "acie",
                "MLFLOW_PASSWORD_FILE": str(secrets / "mlflow_password"),
            },
        )  # fmt: skip
        written = (secrets / "mlflow_database_url").read_text()
        yield written.replace("postgres:5432", f"127.0.0.1:{postgres.port}")


def test_mlflow_has_a_database_of_its_own(registry):
    with psycopg.connect(registry.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("mlflow",)
        connection.execute("CREATE TABLE mine (id int)")
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'mlflow'"
        assert connection.execute(owner).fetchone() == ("mlflow",)
        connection.rollback()


@pytest.mark.image
@pytest.mark.slow
def test_mlflow_keeps_its_runs_there(production, registry, tmp_path):
    """The command of the container; its start takes most of a minute, so make images runs it."""
    port = free_port()
    (tmp_path / "mlflow_database_url").write_text(registry)
    service = production["services"]["mlflow"]
    # Compose doubles the dollars of what it prints, so that it can be read again.
    script = service["command"][0].replace("$$", "$").replace("/run/secrets", str(tmp_path))
    script = script.replace("/var/lib/acie", str(tmp_path))
    script = script.replace("--host 0.0.0.0 --port 5000", f"--host 127.0.0.1 --port {port}")
    folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", script], stdout=log, stderr=log, cwd=tmp_path,
            env=os.environ | service["environment"] | {"PATH": os.pathsep.join(folders)},
        )  # fmt: skip
    base = f"http://127.0.0.1:{port}"

    def create(name: str, host: str) -> int:
        """Status of a request under the name of a host."""
        return httpx.post(
            f"{base}/api/2.0/mlflow/experiments/create", json={"name": name},
            headers={"Host": host}, timeout=60.0,
        ).status_code  # fmt: skip

    try:
        _answered(lambda: httpx.get(f"{base}/health", timeout=30.0).raise_for_status(), 400.0)
        # The name that other containers use, and one that nobody should.
        assert create("here", "mlflow:5000") == 200
        assert create("there", "elsewhere.example") == 403
        with psycopg.connect(registry.replace("+psycopg", "")) as connection:
            names = connection.execute("SELECT name FROM experiments").fetchall()
        assert ("here",) in names
    finally:
        process.terminate()
        process.wait(30)


def test_nginx_takes_the_configuration(tmp_path):
    """The files as they are mounted; only what this nginx or this machine lacks is taken out."""
    nginx = program("nginx")
    version = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    numbers = tuple(int(n) for n in re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", version).groups())
    replicas = (COMPOSE / "nginx" / "replicas.conf").read_text()
    assert replicas.count(" resolve ") == 2
    # There is no engine here whose name server knows the name.
    replicas = replicas.replace("server acie:", "server 127.0.0.1:")
    if numbers < (1, 27, 3):
        replicas = replicas.replace(" resolve ", " ")
    (tmp_path / "replicas.conf").write_text(replicas)
    for source in (COMPOSE / "nginx" / "nginx.conf", ROOT / "deploy" / "nginx" / "acie.conf"):
        shutil.copy(source, tmp_path)
    check = [nginx, "-t", "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Both halves define the same upstreams as the ones for one machine.
    ours = re.findall(r"^upstream (\w+)", replicas, re.M)
    on_one = (ROOT / "deploy" / "nginx" / "replicas.conf").read_text()
    theirs = re.findall(r"^upstream (\w+)", on_one, re.M)
    assert ours == theirs


def test_lines_of_nginx_are_json(nginx_lines):
    line = json.loads(nginx_lines[-1])
    assert line["http"]["request"]["id"] == "by-me"
    assert line["url"]["path"] == "/health/ready"
    assert line["http"]["response"]["status_code"] == "503"


@pytest.fixture
def nginx_lines(tmp_path):
    """What nginx of the compose file logs about a request that no replica answers."""
    if shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") is None:
        missing("nginx is not installed")
    rest, rpc, nowhere = free_port(), free_port(), free_port()
    replicas = (ROOT / "deploy" / "nginx" / "replicas.conf").read_text()
    replicas = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{nowhere}", replicas)
    (tmp_path / "replicas.conf").write_text(replicas)
    conf = (ROOT / "deploy" / "nginx" / "acie.conf").read_text()
    conf = conf.replace("listen 8080;", f"listen 127.0.0.1:{rest};")
    conf = conf.replace("listen 50051 http2;", f"listen 127.0.0.1:{rpc} http2;")
    (tmp_path / "acie.conf").write_text(conf)
    text = (COMPOSE / "nginx" / "nginx.conf").read_text()
    text = text.replace("/tmp/", f"{tmp_path}/").replace("/dev/stdout", f"{tmp_path}/access.log")
    text = text.replace("/dev/stderr", f"{tmp_path}/error.log")
    (tmp_path / "nginx.conf").write_text(text)
    process = subprocess.Popen(
        [program("nginx"), "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "nginx.conf"),
         "-g", "daemon off;"]
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{rest}/health/ready"
        _answered(lambda: httpx.get(url, headers={"X-Request-ID": "by-me"}), 20.0)
        end = time.monotonic() + 10.0
        while not (tmp_path / "access.log").read_text() and time.monotonic() < end:
            time.sleep(0.05)
        return (tmp_path / "access.log").read_text().splitlines()
    finally:
        process.terminate()
        process.wait(20)
