"""Files that callers send: on disk for a moment, of bounded size, under a harmless name."""

__all__ = ["FILES", "binary_body", "check_file_type", "in_reader", "received"]

import asyncio
import contextlib
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from acie.errors import ACIEError
from acie.serving.batching import TooLate
from acie.serving.refusals import BodyTooLarge, UnsupportedContent

#: Types of bodies that are files; what a file is, is decided by its content.
FILES = ("application/octet-stream", "application/fits", "image/fits")
# One at a time: reading is quick, and several would take the cores from the engine.
_READER = ThreadPoolExecutor(1, thread_name_prefix="acie-reader")

Found = TypeVar("Found")


def binary_body() -> dict[str, Any]:
    """``openapi_extra`` of an endpoint whose body is a file."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FILES}
    return {"requestBody": {"required": True, "content": content}}


def check_file_type(header: str) -> None:
    """Refuse a body that is no file.

    Raises:
        UnsupportedContent: Its ``Content-Type`` is none of :data:`FILES`.
    """
    given = header.partition(";")[0].strip().lower()
    if given not in FILES:
        raise UnsupportedContent(
            "Content-Type", expected=FILES[0], found=repr(given[:60]) if given else "none"
        )


@contextlib.contextmanager
def received(body: bytes, name: str, limit: int) -> Iterator[Path]:
    """A file that was sent, as long as the block lasts.

    Arguments:
        body: Its bytes.
        name: What the sender calls it; only its last part counts.
        limit: Most bytes that it may have when unpacked.

    Raises:
        BodyTooLarge: It has more.
        ACIEError: As raised in the block, without the folder of this machine in its words.
    """
    with tempfile.TemporaryDirectory(prefix="acie-upload-") as folder:
        path = Path(folder) / _file_name(name)
        path.write_bytes(_unpacked(body, limit))
        try:
            yield path
        except ACIEError as error:
            # Where the file lay for a moment is nobody's business.
            words = {
                part: str(getattr(error, part) or "").replace(f"{folder}/", "")
                for part in ("argument", "expected", "found", "remedy")
            }
            raise type(error)(words.pop("argument"), **words) from error


async def in_reader(work: Callable[[], Found], timeout_s: float) -> Found:
    """The result of work in the thread that reads files.

    Raises:
        TooLate: It takes longer.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.get_running_loop().run_in_executor(_READER, work)
    except TimeoutError:
        raise TooLate(
            "file", expected=f"a file that is read in {timeout_s:g} s", found="none",
            remedy="Send fewer spectra in one file, or come back later.",
        ) from None  # fmt: skip


def _file_name(given: str) -> str:
    """The last part of a name, of letters that are safe everywhere."""
    name = re.sub(r"[^\w.+-]", "_", re.split(r"[/\\]", given)[-1])[:100]
    return name if name.strip("._") else "upload"


def _unpacked(body: bytes, limit: int) -> bytes:
    """A gzipped file unpacked, as far as the limit of bodies: a few bytes may hold gigabytes."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        unpacked = zlib.decompressobj(31).decompress(body, limit + 1)
    except zlib.error:
        return body  # The reader will say that it is damaged.
    if len(unpacked) > limit:
        raise BodyTooLarge(
            "body", expected=f"at most {limit} bytes, unpacked", found="more",
            remedy="Send fewer spectra in one file.",
        )  # fmt: skip
    return unpacked
