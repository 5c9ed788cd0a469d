"""Passwords: their rules, their hash (Argon2id, RFC 9106) and a comparison that tells nothing of unknown accounts.

A hash needs 64 MiB and some 100 ms, so at most two are computed at once and a short queue waits; over it the answer is
"busy", and a flood of sign-ins cannot eat the memory.
"""

from __future__ import annotations

import os
import threading
import unicodedata
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from siem.console.errors import Invalid, Throttled

SHORTEST: Final = 12
LONGEST: Final = 256
FEWEST_DISTINCT: Final = 5
MEMORY_KIB: Final = 64 * 1024
ITERATIONS: Final = 3
LANES: Final = 1
AT_ONCE: Final = 2
WAITING: Final = 16
LONGEST_WAIT_SECONDS: Final = 5.0

_slots = threading.BoundedSemaphore(AT_ONCE)
_queue = threading.BoundedSemaphore(AT_ONCE + WAITING)


def check_password(password: str, account: str) -> str:
    """The password in the form that is hashed, or `Invalid` with the rule that it breaks."""
    if len(password) > LONGEST:
        raise Invalid(f"The password must have at most {LONGEST} characters.", field="password")
    normal = _normal(password)
    if any("\ud800" <= char <= "\udfff" for char in normal):
        raise Invalid("The password holds characters that are not text.", field="password")
    if len(normal) < SHORTEST:
        raise Invalid(f"The password must have at least {SHORTEST} characters.", field="password")
    if len(set(normal)) < FEWEST_DISTINCT or (len(account) >= 4 and account in normal.lower()):
        raise Invalid(
            "The password is too easy to guess: it repeats itself or holds the account's name.", field="password"
        )
    return normal


def hash_password(password: str) -> str:
    """The PHC string (`$argon2id$v=19$m=65536,t=3,p=1$…`) of a checked password, with a salt of its own."""
    with _Slot():
        return _kdf(os.urandom(16)).derive_phc_encoded(password.encode())


def verify_password(password: str, stored: str | None) -> bool:
    """Whether the password belongs to the stored hash. `None` (no such account) costs the same and is never true."""
    normal = _normal(password[:LONGEST]).encode("utf-8", "surrogatepass")
    with _Slot():
        try:
            Argon2id.verify_phc_encoded(normal, stored or _NOBODY)
        except InvalidKey:
            return False
    return stored is not None and len(password) <= LONGEST


class _Slot:
    """One of the few places in which a hash is computed."""

    def __enter__(self) -> None:
        if not _queue.acquire(blocking=False):
            raise _busy()
        if not _slots.acquire(timeout=LONGEST_WAIT_SECONDS):
            _queue.release()
            raise _busy()

    def __exit__(self, *_: object) -> None:
        _slots.release()
        _queue.release()


def _busy() -> Throttled:
    return Throttled("Too many people are signing in at this moment; try again.", headers={"retry-after": "5"})


def _normal(password: str) -> str:
    """One form for what looks the same, however the keyboard composed it (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _kdf(salt: bytes) -> Argon2id:
    return Argon2id(salt=salt, length=32, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)


_NOBODY: Final = _kdf(os.urandom(16)).derive_phc_encoded(os.urandom(32))
