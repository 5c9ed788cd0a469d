"""A few connections to the PostgreSQL database, shared by the threads of a process that read and write beside the log.

Every statement given to it may run twice: where a connection turns out to be cut, as after a restart of the server, it
is run once more on a new one. A server that does not answer costs a thread its patience once; for a moment after that,
whoever asks is told at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from lineage.errors import LogUnavailable
from lineage.postgres_session import Session, describe

PATIENCE: Final = 3.0
"""Longest time in s that a statement may take, and that one waits for a free connection."""
REST_SECONDS: Final = 1.0
"""How long a server that was seen not to answer is not asked again."""
_AT_ONCE: Final = 0.5
"""A connection that breaks within this time in s was cut, and another may do; later, the server hangs."""
_T = TypeVar("_T")


class Pool:
    """At most `most` sessions with `extra` settings, opened when needed; `prepare` is run once on the first of them."""

    def __init__(
        self,
        database: str,
        name: str,
        *,
        most: int,
        extra: Mapping[str, str],
        prepare: Callable[[Session], None],
    ) -> None:
        self.where = describe(database)
        self._database = database
        self._name = name
        self._extra = extra
        self._prepare = prepare
        self._prepared = False
        self._places = threading.Semaphore(most)
        self._turn = threading.Lock()
        self._idle: list[Session] = []
        self._rests_until = 0.0
        self._why = ""
        self._closed = False

    def rows(self, query: str, values: Mapping[str, object]) -> list[Any]:
        """Run one statement, which may be run twice, and return its rows; LogUnavailable when that fails."""
        return self._with(lambda session: session.rows(query, values))

    def together(self, statements: Sequence[tuple[str, Mapping[str, object]]]) -> list[list[Any]]:
        """Run statements in one transaction (see `Session.together`), which may be run twice."""
        return self._with(lambda session: session.together(statements))

    def close(self) -> None:
        """Close what is not in use; the rest closes when it is given back."""
        with self._turn:
            self._closed = True
        self._drop()

    def _with(self, work: Callable[[Session], _T]) -> _T:
        if not self._places.acquire(timeout=PATIENCE):
            raise LogUnavailable(f"{self.where}: all connections are busy for {PATIENCE:g} s; the server is slow")
        try:
            began = time.monotonic()
            try:
                return self._once(work)
            except LogUnavailable:
                with self._turn:
                    resting = time.monotonic() < self._rests_until
                if resting or time.monotonic() - began > _AT_ONCE:
                    raise
            return self._once(work)
        finally:
            self._places.release()

    def _once(self, work: Callable[[Session], _T]) -> _T:
        session = self._session()
        began = time.monotonic()
        try:
            return work(session)
        except LogUnavailable as error:
            if session.lost:
                self._drop()
                if session.silent and time.monotonic() - began > _AT_ONCE:
                    self._rest(error)
            raise
        finally:
            self._back(session)

    def _session(self) -> Session:
        with self._turn:
            if self._closed:
                raise LogUnavailable(f"{self.where}: this process is ending")
            if time.monotonic() < self._rests_until:
                raise LogUnavailable(self._why)
            if self._idle:
                return self._idle.pop()
        try:
            session = Session(self._database, self._name, self._extra, PATIENCE)
        except LogUnavailable as error:
            self._rest(error)
            raise
        try:
            if not self._prepared:
                self._prepare(session)
                self._prepared = True
        except BaseException:
            session.close()
            raise
        return session

    def _back(self, session: Session) -> None:
        with self._turn:
            if not (session.lost or self._closed):
                self._idle.append(session)
                return
        session.close()

    def _drop(self) -> None:
        """The others were most likely cut together with one that was."""
        with self._turn:
            dropped, self._idle = self._idle, []
        for session in dropped:
            session.close()

    def _rest(self, error: LogUnavailable) -> None:
        with self._turn:
            self._rests_until = time.monotonic() + REST_SECONDS
            self._why = str(error)
