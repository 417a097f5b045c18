"""The committed proto, the code that is made of it, and what the server says about itself."""

import importlib.util
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from acie.serving.rpc._generated import acie_pb2 as pb
from acie.serving.schemas import AnswerBody

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("generate", ROOT / "contracts" / "generate.py")
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("folder", generate.PACKAGES, ids=lambda f: f.parent.name)
def test_committed_code_is_what_the_proto_says(folder):
    made = generate.generate(generate.PACKAGES[folder])
    committed = {path.name: path.read_text("utf-8") for path in folder.glob("*.py*")}
    assert committed == made, "run: python contracts/generate.py, and commit"


def test_names_of_the_contract():
    service = pb.DESCRIPTOR.services_by_name["ACIEInference"]
    assert service.full_name == "acie.v2.ACIEInference"
    unary, stream = (
        service.methods_by_name[n] for n in ("CounterfactualInference", "BatchInference")
    )
    for method in (unary, stream):
        assert method.input_type.full_name == "acie.v2.InferenceRequest"
        assert method.output_type.full_name == "acie.v2.InferenceResponse"
    assert not unary.client_streaming
    assert not unary.server_streaming
    assert stream.client_streaming
    assert stream.server_streaming


def test_both_transports_answer_by_the_same_names():
    rest = set(AnswerBody.model_fields)
    rpc = set(pb.InferenceResponse.DESCRIPTOR.fields_by_name)
    # REST names its request in a header and its time by its unit; draws are for its pictures.
    assert rest - {"timing_ms", "draws"} <= rpc
    assert {"counterfactual", "latent_state", "confidence", "timing"} <= rpc


def test_reflection_describes_the_committed_proto(live):
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="acie.v2.ACIEInference"),
    ]
    with grpc.insecure_channel(live.rpc) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        listed, described = stub.ServerReflectionInfo(iter(requests), timeout=60)
    names = {service.name for service in listed.list_services_response.service}
    assert {"acie.v2.ACIEInference", "grpc.health.v1.Health"} <= names
    found = descriptor_pb2.FileDescriptorProto.FromString(
        described.file_descriptor_response.file_descriptor_proto[0]
    )
    expected = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(expected)
    assert found == expected
