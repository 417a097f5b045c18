"""API keys: random enough that a plain hash is a safe way to store them."""

__all__ = ["KeyRecord", "KeyStore", "KeyVerifier", "hash_of", "make_key"]

import asyncio
import collections
import datetime
import hashlib
import logging
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Protocol

from acie.serving.request import ALL_SCOPES, Principal
from acie.serving.security.refusals import IdentityUnavailable, unauthenticated

log = logging.getLogger("acie.security")

_SHAPE = re.compile(r"acie_[A-Za-z0-9_-]{43}")
#: Seconds after which a revoked key is refused at the latest.
_FRESH_S = 5.0
#: Seconds for which a known key works on while the database does not answer.
_STALE_S = 600.0
#: Seconds between two notes of when a key was used.
_NOTE_S = 60.0
_CACHED = 4096


class KeyRecord(Protocol):
    """What is stored of a key."""

    id: uuid.UUID
    name: str
    scopes: tuple[str, ...]
    created: datetime.datetime
    revoked: datetime.datetime | None
    last_used: datetime.datetime | None


class KeyStore(Protocol):
    """Where keys are stored."""

    async def create_key(self, hash: str, name: str, scopes: Iterable[str]) -> KeyRecord:
        """Store a new key."""

    async def find_key(self, hash: str) -> KeyRecord | None:
        """The key of a hash, revoked or not."""

    async def revoke_key(self, id: uuid.UUID) -> bool:
        """Whether there was one to revoke."""

    async def list_keys(self) -> list[KeyRecord]:
        """All keys."""

    async def touch_keys(self, moments: Mapping[uuid.UUID, datetime.datetime]) -> None:
        """Note when keys were used."""


def make_key() -> str:
    """A new key with 256 random bits."""
    return f"acie_{secrets.token_urlsafe(32)}"


def hash_of(key: str) -> str:
    """SHA-256 of a key: nobody can search 256 bits, so it needs no salt and no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyVerifier:
    """Looks keys up, and remembers them for seconds.

    Arguments:
        store: Where keys are stored.
    """

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._known: collections.OrderedDict[str, tuple[float, KeyRecord | None]] = (
            collections.OrderedDict()
        )
        self._used: dict[uuid.UUID, datetime.datetime] = {}
        self._noted = time.monotonic()
        self._note: asyncio.Task | None = None

    async def verify(self, key: str) -> Principal:
        """Whose key it is.

        Raises:
            Unauthenticated: Unknown or revoked.
            IdentityUnavailable: The database does not answer, and the key was not seen lately.
        """
        if not _SHAPE.fullmatch(key):
            raise unauthenticated("something that is no API key")
        record = await self._find(hash_of(key))
        if record is None or record.revoked is not None:
            raise unauthenticated("an unknown or revoked API key")
        self._use(record)
        scopes = frozenset(name for name in ALL_SCOPES if name in record.scopes)
        return Principal(record.name, scopes, "key")

    async def close(self) -> None:
        """Write what is not yet written."""
        if self._note is not None:
            await self._note
        await self._write()

    async def _find(self, digest: str) -> KeyRecord | None:
        now = time.monotonic()
        moment, record = self._known.get(digest, (float("-inf"), None))
        if now - moment < _FRESH_S:
            return record
        try:
            found = await self._store.find_key(digest)
        except Exception as error:
            if record is not None and now - moment < _STALE_S:
                return record
            log.error("the key store does not answer: %s", type(error).__name__)
            raise IdentityUnavailable(
                "database", expected="an answer", found="none", remedy="Try again later."
            ) from None
        self._known[digest] = now, found
        self._known.move_to_end(digest)
        while len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return found

    def _use(self, record: KeyRecord) -> None:
        self._used[record.id] = datetime.datetime.now(datetime.UTC)
        idle = self._note is None or self._note.done()
        if idle and time.monotonic() - self._noted > _NOTE_S:
            self._note = asyncio.create_task(self._write())

    async def _write(self) -> None:
        used, self._used, self._noted = self._used, {}, time.monotonic()
        if not used:
            return
        try:
            await self._store.touch_keys(used)
        except Exception as error:
            log.warning("use of keys not noted: %s", type(error).__name__)
