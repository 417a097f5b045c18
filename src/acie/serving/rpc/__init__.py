"""gRPC: decode, call the service, encode.

``_generated`` is written from ``contracts/acie.proto`` by ``python contracts/generate.py``.
"""

__all__ = ["RpcServer", "serving_rpc", "start_rpc"]

from acie.serving.rpc.server import RpcServer, serving_rpc, start_rpc
