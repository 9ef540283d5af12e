"""Basic authentication against bcrypt hashes, without holding up other answers or telling who has an account."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from typing import Final

import bcrypt

# Bcrypt itself reads no more of a password.
_PASSWORD_BYTES: Final = 72
# A guesser gets one core at the most, and what waits for it is bounded too.
_CHECKS_AT_ONCE: Final = 1
_CHECKS_WAITING: Final = 16
_REMEMBERED: Final = 256
_DEFAULT_COST: Final = 10


class Verdict(Enum):
    """What came of a request's credentials."""

    GRANTED = "granted"
    DENIED = "denied"
    BUSY = "busy"
    """Nobody looked at them: too many wait for their check."""


class BasicAuth:
    """Checks passwords one after the other on a thread of its own, and remembers the right ones by a keyed digest."""

    def __init__(self) -> None:
        self._checker = ThreadPoolExecutor(_CHECKS_AT_ONCE, thread_name_prefix="passwords")
        self._unfinished: set[Future[bool]] = set()
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, None] = OrderedDict()

    async def check(self, authorization: str | None, users: Mapping[str, str]) -> Verdict:
        """Check an Authorization header.

        Args:
            authorization: the header, None if there was none.
            users: the bcrypt hash of each user's password.
        """
        credentials = _credentials(authorization)
        if credentials is None:
            return Verdict.DENIED
        name, password = credentials
        wanted = {user.encode(): hashed for user, hashed in users.items()}.get(name)
        # Another hash is another digest: what was remembered for it is worth nothing any more.
        hashed = (wanted or self._decoy(name, users)).encode()
        digest = self._digest(name, hashed, password)
        if wanted is not None and digest in self._remembered:
            self._remembered.move_to_end(digest)
            return Verdict.GRANTED
        if len(self._unfinished) >= _CHECKS_WAITING:
            return Verdict.BUSY
        check = self._checker.submit(bcrypt.checkpw, password, hashed)
        # Counted until it is really over, however long its client waits.
        self._unfinished.add(check)
        check.add_done_callback(self._unfinished.discard)
        is_right = await asyncio.wrap_future(check)
        if wanted is None or not is_right:
            return Verdict.DENIED
        self._remembered[digest] = None
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return Verdict.GRANTED

    def stop(self) -> None:
        """Begin no check any more."""
        self._checker.shutdown(wait=False, cancel_futures=True)

    def _digest(self, *parts: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._key)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()

    def _decoy(self, name: bytes, users: Mapping[str, str]) -> str:
        """Return a hash that no password has, at the cost of one of the users', always the same for a name."""
        costs = sorted({int(hashed.split("$")[2]) for hashed in users.values()}) or [_DEFAULT_COST]
        chosen = hmac.digest(self._key, name, "sha256")[0] % len(costs)
        return bcrypt.gensalt(costs[chosen]).decode() + "." * 31


def _credentials(authorization: str | None) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password[:_PASSWORD_BYTES]) if colon else None
