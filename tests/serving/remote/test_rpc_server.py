"""The server itself: health, TLS, stopping, refusing to start."""

import dataclasses
import datetime
import ipaddress
import threading

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from acie.errors import ConfigurationError
from acie.serving.rpc import serving_rpc, start_rpc
from acie.serving.rpc._generated import acie_pb2 as pb
from acie.serving.rpc._generated import acie_pb2_grpc

TIMEOUT = 120.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Authority:
    """Signs certificates."""

    def __init__(self, folder, name):
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._subject = subject
        certificate = self._sign(subject, self._key.public_key(), ca=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name):
        """Paths of a certificate and its key, for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), ca=False)
        paths = (
            self._folder / f"{self._name}-{name}.pem",
            self._folder / f"{self._name}-{name}.key",
        )
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

    def _sign(self, subject, public_key, ca):
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"), "stranger")


@pytest.fixture
def second(live, settings_of):
    """Starts further servers with other settings over the resources of the application."""
    running = []

    def start(**server):
        settings = settings_of(server=server)
        resources = dataclasses.replace(live.resources, settings=settings)
        running.append(live.call(start_rpc, resources))
        return running[-1]

    yield start
    for server in running:
        live.call(server.stop, 0.0)


def ask(channel):
    """Loaded models, by the name of the first."""
    stub = acie_pb2_grpc.ACIEInferenceStub(channel)
    return stub.ListModels(pb.ListModelsRequest(), timeout=10.0).models[0].name


def test_health_follows_readiness(live):
    with grpc.insecure_channel(live.rpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        def check(name):
            return stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT).status

        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        assert next(watch).status == SERVING
        try:
            live.resources.ready = False
            assert check("") == check("acie.v2.ACIEInference") == NOT_SERVING
            assert next(watch).status == NOT_SERVING
        finally:
            live.resources.ready = True
        assert next(watch).status == SERVING
        assert check("") == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            check("another.Service")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch.cancel()


def test_tls_convinces_those_who_trust_the_authority(second, authority, stranger):
    certificate, key = authority.issue("server")
    server = second(tls_certificate=certificate, tls_key=key)
    address = f"127.0.0.1:{server.port}"
    trusting = grpc.ssl_channel_credentials(authority.path.read_bytes())
    with grpc.secure_channel(address, trusting) as channel:
        assert ask(channel) == "galaxy-v1"
    for credentials in (grpc.ssl_channel_credentials(stranger.path.read_bytes()), None):
        opened = (
            grpc.insecure_channel(address)
            if credentials is None
            else grpc.secure_channel(address, credentials)
        )
        with opened as channel, pytest.raises(grpc.RpcError) as caught:
            ask(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_turns_strangers_away(second, authority, stranger):
    certificate, key = authority.issue("server")
    server = second(tls_certificate=certificate, tls_key=key, tls_client_ca=authority.path)
    address, root = f"127.0.0.1:{server.port}", authority.path.read_bytes()

    def credentials(issuer):
        if issuer is None:
            return grpc.ssl_channel_credentials(root)
        own, secret = issuer.issue("client")
        return grpc.ssl_channel_credentials(root, secret.read_bytes(), own.read_bytes())

    with grpc.secure_channel(address, credentials(authority)) as channel:
        assert ask(channel) == "galaxy-v1"
    for issuer in (None, stranger):
        with (
            grpc.secure_channel(address, credentials(issuer)) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            ask(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_certificates_that_do_not_work_are_refused_at_the_start(second, authority, tmp_path):
    certificate, key = authority.issue("server")
    _, other = authority.issue("other")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    for settings, argument in [
        ({"tls_certificate": certificate}, "server.tls_key"),
        ({"tls_key": key}, "server.tls_certificate"),
        ({"tls_client_ca": authority.path}, "server.tls_certificate"),
        ({"tls_certificate": tmp_path / "none", "tls_key": key}, "server.tls_certificate"),
        ({"tls_certificate": certificate, "tls_key": other}, "server.tls_certificate"),
        ({"tls_certificate": nonsense, "tls_key": key}, "server.tls_certificate"),
        ({"tls_certificate": certificate, "tls_key": key, "tls_client_ca": nonsense},
         "server.tls_client_ca"),
    ]:  # fmt: skip
        with pytest.raises(ConfigurationError) as caught:
            second(**settings)
        assert caught.value.argument == argument


def test_a_port_that_is_taken_is_refused(live, second):
    with pytest.raises(ConfigurationError, match=r"server\.grpc_port"):
        second(grpc_port=live.app.state.rpc.port)


def test_no_port_means_no_server(live, settings_of):
    settings = settings_of(server={"grpc_port": None})
    resources = dataclasses.replace(live.resources, settings=settings)

    async def enter():
        async with serving_rpc(resources) as server:
            return server

    assert live.call(enter) is None


def test_stopping_lets_open_calls_end(live, second, arrays, eventually):
    server = second()
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    stub = acie_pb2_grpc.ACIEInferenceStub(channel)
    observation = pb.Observation(flux=arrays["flux"].tolist(), redshift=arrays["redshift"])
    with live.busy():
        call = stub.CounterfactualInference.future(
            pb.InferenceRequest(observation=observation), timeout=TIMEOUT
        )
        assert eventually(lambda: live.resources.service._batcher._in_work == 1)
        stopping = threading.Thread(target=live.call, args=(server.stop, 60.0))
        stopping.start()

        def refused():
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as late:
                try:
                    ask(late)
                except grpc.RpcError as error:
                    return error.code() is grpc.StatusCode.UNAVAILABLE
            return False

        assert eventually(refused)
        assert not call.done()
    assert call.result().confidence > 0.0
    stopping.join(60)
    assert not stopping.is_alive()
    channel.close()


def test_stopping_does_not_wait_for_ever(live, second, arrays, eventually):
    server = second()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, live.busy():
        stub = acie_pb2_grpc.ACIEInferenceStub(channel)
        observation = pb.Observation(flux=arrays["flux"].tolist(), redshift=arrays["redshift"])
        call = stub.CounterfactualInference.future(
            # A question of its own: an equal one would be answered from the cache.
            pb.InferenceRequest(
                observation=observation, intervention=pb.Intervention(text=["dust_av=0.777"])
            ),
            timeout=TIMEOUT,
        )
        assert eventually(lambda: live.resources.service._batcher._in_work == 1)
        live.call(server.stop, 0.2)
        assert call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
