"""Write the Python modules of ``acie.proto`` again: ``python contracts/generate.py``.

They are the same for the service and for the client, which must not depend on one another; a test
fails when the committed ones are not what this writes. Needs grpcio-tools.
"""

__all__ = ["PACKAGES", "generate"]

import re
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[1]
PROTO = ROOT / "contracts" / "acie.proto"
#: Where the modules go, and the name by which they are imported there.
PACKAGES = {
    ROOT / "src/acie/serving/rpc/_generated": "acie.serving.rpc._generated",
    ROOT / "clients/python/src/acie_sdk/_generated": "acie_sdk._generated",
}


def generate(package: str) -> dict[str, str]:
    """The modules by file name, as members of ``package``."""
    with tempfile.TemporaryDirectory() as folder:
        failed = protoc.main([
            "protoc", f"-I{PROTO.parent}", f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={folder}", f"--pyi_out={folder}", f"--grpc_python_out={folder}",
            PROTO.name,
        ])  # fmt: skip
        if failed:
            raise SystemExit(f"protoc refused {PROTO.name}")
        made = {path.name: path.read_text("utf-8") for path in sorted(Path(folder).iterdir())}
    # protoc imports its modules from the root; both descriptors keep the name acie.proto, so that
    # service and client can live in one process.
    absolute = {
        name: re.sub(
            r"^import acie_pb2 as", f"from {package} import acie_pb2 as", text, flags=re.M
        )
        for name, text in made.items()
    }
    return {
        "__init__.py": f'"""Written by contracts/generate.py from {PROTO.name}."""\n'
    } | absolute


if __name__ == "__main__":
    for target, name in PACKAGES.items():
        target.mkdir(parents=True, exist_ok=True)
        for file, text in generate(name).items():
            (target / file).write_text(text, "utf-8")
