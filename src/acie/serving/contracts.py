"""The OpenAPI document as a file: ``python -m acie.serving.contracts [FILE]``.

It is committed, so that clients can be generated from it and changes are seen in review.
"""

__all__ = ["main", "openapi_text"]

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from acie.serving.app import create_app

#: Where it lies in a checkout.
TARGET = Path("contracts") / "openapi.json"


def openapi_text() -> str:
    """The document as it is committed."""
    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write the document to a file, ``contracts/openapi.json`` when none is named."""
    target = Path(arguments[0]) if arguments else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(openapi_text(), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
