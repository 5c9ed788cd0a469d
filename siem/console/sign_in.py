"""Signing in: brakes first, then the password, then the record, and only then a session.

Failures are recorded too, but added up by source and account over an interval, so that guessing cannot fill the log; a
name that no account has is left out, since what a person typed there may be a password.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final

from lineage import actions
from siem.console.accounts import Accounts
from siem.console.errors import NotSignedIn, Throttled
from siem.console.journal import Journal
from siem.console.sessions import Sessions
from siem.console.throttle import Throttle, network

PER_PAIR: Final = (5, 5 * 60_000)
PER_SOURCE: Final = (20, 5 * 60_000)
PER_ACCOUNT: Final = (100, 60 * 60_000)
MOST_FAILURE_KINDS: Final = 256
MOST_TRUSTED: Final = 1_000
ELSEWHERE: Final = "elsewhere"


class Failures:
    """Failed attempts since the last report, by source and known account; the rest is counted as `elsewhere`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = {}
        self._since = time.monotonic_ns()

    def count(self, source: str, account: str) -> None:
        """One more."""
        with self._lock:
            full = len(self._counts) >= MOST_FAILURE_KINDS and (source, account) not in self._counts
            key = (ELSEWHERE, "") if full else (source, account)
            self._counts[key] = self._counts.get(key, 0) + 1

    def report(self, journal: Journal) -> None:
        """Write the counts into the log and begin anew; what the log does not take is kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, {}
            now = time.monotonic_ns()
            interval, self._since = (now - self._since) // 1_000_000, now
        waiting = list(counts.items())
        try:
            while waiting:
                (source, account), count = waiting[-1]
                journal.append(
                    actions.sign_in_failed(
                        journal.stamp(), account=account, source=source, count=count, interval_ms=interval
                    )
                )
                waiting.pop()
        finally:
            with self._lock:
                for key, count in waiting:
                    self._counts[key] = self._counts.get(key, 0) + count


class SignIn:
    """The only way to a session."""

    def __init__(self, accounts: Accounts, sessions: Sessions, journal: Journal) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._journal = journal
        self.failures = Failures()
        self._pairs = Throttle(*PER_PAIR)
        self._sources = Throttle(*PER_SOURCE)
        self._names = Throttle(*PER_ACCOUNT)
        self._trusted: OrderedDict[str, None] = OrderedDict()

    def sign_in(self, name: str, password: str, address: str) -> str:
        """A new session's token. `NotSignedIn` tells nothing of what was wrong; `Throttled` says how long to wait."""
        source = network(address)
        brakes = self._brakes(name, source)
        _brake(brakes)
        stored = self._accounts.check(name, password)
        token = None
        if stored is not None:
            for brake, subject in brakes:
                brake.forgive(subject)
            token = self._start(name, stored, source)
        if token is None:
            self.failures.count(_address(source), name if self._accounts.known(name) else "")
            raise NotSignedIn("The account or the password is not right.")
        self._trust(f"{name}\0{source}")
        return token

    def change_password(self, name: str, old: str, new: str) -> None:
        """The owner's own change. Guessing the present password from a stolen session is braked like a sign-in."""
        pair = [(self._pairs, f"{name}\0present password")]
        _brake(pair)
        self._accounts.change_password(name, old, new)
        self._pairs.forgive(pair[0][1])

    def _start(self, name: str, stored: str, source: str) -> str | None:
        record = actions.sign_in(self._journal.stamp(), account=name, source=_address(source))
        return self._sessions.start(name, source, password=stored, record=lambda: self._journal.append(record))

    def _brakes(self, name: str, source: str) -> list[tuple[Throttle, str]]:
        """What counts this attempt. Guessing from many places cannot lock an account's owner out of his usual place."""
        pair = f"{name}\0{source}"
        if pair in self._trusted:
            return [(self._pairs, pair)]
        return [(self._pairs, pair), (self._sources, source), (self._names, name)]

    def _trust(self, pair: str) -> None:
        self._trusted[pair] = None
        self._trusted.move_to_end(pair)
        if len(self._trusted) > MOST_TRUSTED:
            self._trusted.popitem(last=False)


def _brake(brakes: list[tuple[Throttle, str]]) -> None:
    """Count the attempt before it is tried, so that attempts at the same moment cannot pass together."""
    now = time.monotonic_ns() // 1_000_000
    wait = max(brake.wait_ms(subject, now) for brake, subject in brakes)
    wait = wait or max(brake.attempt(subject, now) for brake, subject in brakes)
    if wait:
        raise Throttled(
            f"Too many attempts to sign in; try again in {-(-wait // 60_000)} min.",
            headers={"retry-after": str(-(-wait // 1000))},
        )


def _address(source: str) -> str:
    return source.partition("/")[0]
