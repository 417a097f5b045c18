"""What has been done of a catalogue: a JSON line per shard, below a line with the question.

::

    {"format": 1, "question": {...}, "model_digest": "..."}
    {"shard": "a.parquet", "status": "finished", "input_sha256": "...", "rows": 1000, ...}
    {"shard": "b.parquet", "status": "failed", "error": {"type": ..., "message": ...}, ...}

Of several lines on one shard the last one holds.
"""

__all__ = ["NAME", "Ledger"]

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from acie.cluster.catalogue import Shard
from acie.errors import ConfigurationError
from acie.manifest import sha256

NAME = "manifest.jsonl"
FORMAT_VERSION = 1


class Ledger:
    """The manifest of a folder of answers, open for one run at a time.

    Arguments:
        folder: Of the answers; made where there is none.
        question: Everything that decides what the answers are.

    Raises:
        ConfigurationError: The folder holds the answers to another question, or cannot be
            written, or another run is at work in it.
    """

    def __init__(self, folder: Path, question: dict[str, Any]) -> None:
        self.folder, self._path = folder, folder / NAME
        heading = {"format": FORMAT_VERSION, **question}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Held open and locked; the manifest itself is replaced by its tidied self below.
            self._lock = (folder / f".{NAME}.lock").open("a")
        except OSError as error:
            raise ConfigurationError(
                "--out", expected="a folder that can be written",
                found=f"{folder} ({error.strerror})", remedy="Choose another folder.",
            ) from None  # fmt: skip
        try:
            _lock_or_refuse(self._lock, folder)
            self.records = self._read(heading)
            self._rewrite(heading)
            self._file = self._path.open("a", encoding="utf-8")
        except BaseException:
            self._lock.close()
            raise

    def _read(self, heading: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Records by shard; a line that a killed run has not finished is left out."""
        lines = self._path.read_text("utf-8").splitlines() if self._path.exists() else []
        tables = [table for table in map(_parsed, lines) if table is not None]
        if not tables:
            return {}
        found = tables[0]
        for key in sorted({*heading, *found}):
            if found.get(key) != heading.get(key):
                raise ConfigurationError(
                    "--out",
                    expected=f"a new folder, or answers with {_difference(heading, found, key)}",
                    found=f"{self._path} with {_difference(found, heading, key)}",
                    remedy="Choose another folder, or repeat the options of that run.",
                )
        return {table["shard"]: table for table in tables[1:] if "shard" in table}

    def _rewrite(self, heading: dict[str, Any]) -> None:
        tables = [heading, *self.records.values()]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(f"{json.dumps(table)}\n" for table in tables), "utf-8")
        partial.replace(self._path)

    def output(self, shard: Shard) -> Path:
        """Where the answers to a shard are."""
        return self.folder / f"{shard.key}.parquet"

    def is_finished(self, shard: Shard) -> bool:
        """Whether the answers are there and the shard is still what they were given to."""
        record = self.records.get(shard.key)
        if record is None or record["status"] != "finished":
            return False
        output = self.output(shard)
        if not output.is_file() or output.stat().st_size != record["output_bytes"]:
            return False
        return shard.path.is_file() and sha256(shard.path) == record["input_sha256"]

    def add(self, record: dict[str, Any]) -> None:
        """Append what became of a shard; on the disk when this returns."""
        self.records[record["shard"]] = record
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._lock.close()


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        table = json.loads(line)
    except ValueError:
        return None
    return table if isinstance(table, dict) else None


def _difference(one: dict[str, Any], other: dict[str, Any], key: str) -> str:
    """What one heading says where another one differs, in few words."""
    mine, theirs = one.get(key), other.get(key)
    if isinstance(mine, dict) and isinstance(theirs, dict):
        inner = next(k for k in sorted({*mine, *theirs}) if mine.get(k) != theirs.get(k))
        return f"{inner} = {json.dumps(mine.get(inner))}"
    return f"{key} = {json.dumps(mine)}"


def _lock_or_refuse(file: Any, folder: Path) -> None:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(
            "--out", expected="a folder in which no other run is at work", found=str(folder),
            remedy="Wait for that run, or choose another folder.",
        ) from None  # fmt: skip
