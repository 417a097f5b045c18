"""Ask a running service over gRPC: python examples/ask_by_grpc.py [HOST:PORT].

First with the client, then with the stub that protoc makes of contracts/acie.proto, as in any
other language: a stream of questions, whose answers come as they are done.
"""

import sys
from importlib.resources import files

import grpc

import acie
from acie_sdk import ACIEClient
from acie_sdk._generated import acie_pb2, acie_pb2_grpc


def main(address: str) -> None:
    """One question, then a stream of them."""
    galaxy = acie.io.read(files("acie") / "examples" / "example.fits")
    with ACIEClient(address, transport="grpc") as client:
        print(client.infer(galaxy, "stellar_mass*=1.5", seed=1))

    observation = acie_pb2.Observation(
        flux=galaxy.flux.tolist(), ivar=galaxy.ivar.tolist(), redshift=float(galaxy.redshift)
    )
    questions = (
        acie_pb2.InferenceRequest(
            observation=observation,
            intervention=acie_pb2.Intervention(text=[text]),
            request_id=text,
        )
        for text in ("dust_av=0", "age-=1", "no_such_variable=1")
    )
    with grpc.insecure_channel(address) as channel:
        stub = acie_pb2_grpc.ACIEInferenceStub(channel)
        for answer in stub.BatchInference(questions, timeout=120.0):
            if answer.HasField("problem"):
                print(f"{answer.request_id}: refused, {answer.problem.expected}")
            else:
                print(f"{answer.request_id}: confidence {answer.confidence:.2f}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:50051"]))
