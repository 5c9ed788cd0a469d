"""The worker's side of the shadow: decisions are handed to the shadow process where there is room, and counted.

Handing over costs the call one short piece of JSON and a place in a bounded queue. Where the queue is full, the process
is away or the document long, the decision is left out and counted as skipped. No error here reaches a call.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, Final, NamedTuple, cast

import orjson
import structlog

from lineage.metrics import Meter
from policies.combine import Decision
from policies.engine import Moment
from policies.processes import ENVIRONMENT, command
from policies.settings import Policy
from policies.shadow.compare import KINDS
from policies.shadow.trial import Kind, Trial
from policies.shadow.wire import LONGEST_ANSWER, frame

log = structlog.get_logger("gateway")

LONGEST_DOCUMENT: Final = 65_536
"""Longest document in bytes that is handed over."""
MOST_WAITING: Final = 1_024
MOST_WAITING_BYTES: Final = 8 << 20
RESTART_SECONDS: Final = 1.0
STALLED_SECONDS: Final = 60.0
"""How long the process may answer nothing while something waits; its own alarms come long before."""


class _Sent(NamedTuple):
    """A frame without an answer: of which trial, what its decision was on ("" where it has none), its bytes."""

    rollout: str
    call: str
    size: int


class Shadow:
    """All bundles that are in shadow in one worker, and the one process that evaluates them while there are any."""

    def __init__(self, settings: Policy, meter: Meter, on_broken: Callable[[Trial], None]) -> None:
        self._settings = {
            name: getattr(settings, name)
            for name in ("request_rule", "response_rule", "result_style", "unsafe_pass_answers")
        }
        self._on_broken = on_broken
        self._counted = {
            kind: meter.counter("cordon_policy_shadow_total", kind) for kind in ("same", "skipped", *KINDS)
        }
        self._waiting = meter.gauge("cordon_policy_shadow_waiting")
        self._trials: dict[str, Trial] = {}
        self._over: list[Trial] = []
        self._sent: deque[_Sent] = deque()
        self._bytes = 0
        self._outgoing: list[bytes] = []
        self._answers = b""
        self._progress: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the shadow
        self._answered = 0
        self._heard = 0.0
        self._process: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closed = False

    def set(self, trials: Mapping[str, Trial]) -> None:
        """Try these from now on, by the id of their roll-out; those that stay keep what was counted."""
        gone = self._trials.keys() - trials.keys()
        new = trials.keys() - self._trials.keys()
        self._over += (self._trials[name] for name in gone)
        self._trials = {name: self._trials.get(name) or trial for name, trial in trials.items()}
        if not self._trials:
            self._end()
        elif self._input is None:
            self._start(0.0)
        else:
            for name in gone:
                self._put("", "", {"drop": name})
            for name in sorted(new):
                self._load(self._trials[name])

    def offer(
        self, rollout: str, call: str, moment: Moment, document: bytes | None, common: Decision, own: Decision | None
    ) -> None:
        """Have a decision compared, if there is room and a document. `common` and `own` are the halves of it."""
        trial = self._trials.get(rollout)
        if trial is None:
            return
        try:
            if document is None or trial.is_over or not self.has_room(len(document)):
                trial.skipped += 1
                self._counted["skipped"].value += 1
                return
            header = {"try": rollout, "moment": moment, "call": call, "common": common, "own": own}
            self._put(rollout, call, header, document)
        except Exception as error:  # nothing of this is the call's affair
            trial.skipped += 1
            self._counted["skipped"].value += 1
            log.error("a decision could not be handed to the shadow process", error=type(error).__name__)

    def drain(self) -> list[dict[str, object]]:
        """What was counted of each trial since the last time, as facts of a `policy.shadow` record."""
        self._waiting.set(len(self._sent))
        self._look_after()
        trials, self._over = [*self._over, *self._trials.values()], []
        return [facts for trial in trials if (facts := trial.drain()) is not None]

    def close(self) -> None:
        """End the process; what waits is not compared any more."""
        self._closed = True
        self._end()
        self._progress.close()

    def _look_after(self) -> None:
        """End a process that neither answers nor ends, as one that is stopped: else nothing would be tried any more."""
        process = self._process
        if process is not None and self._sent and time.monotonic() - self._heard > STALLED_SECONDS:
            log.error("the shadow process does not answer any more and is started again", waiting=len(self._sent))
            process.kill()

    # The process -----------------------------------------------------------------------------------------------------

    def _start(self, delay: float) -> None:
        if self._starting is None and not self._closed:
            self._starting = asyncio.get_running_loop().create_task(self._begin(delay))

    async def _begin(self, delay: float) -> None:
        await asyncio.sleep(delay)
        file = self._progress.fileno()
        os.pwrite(file, bytes(8), 0)
        try:
            process, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Output(self),
                *command("policies.shadow.process", str(file)),
                stderr=asyncio.subprocess.DEVNULL,
                env=ENVIRONMENT,
                pass_fds=(file,),
            )
        except OSError as error:
            log.error("the shadow process could not be started; this is tried again", problem=error.strerror)
            self._starting = None
            self._start(RESTART_SECONDS)
            return
        self._starting = None
        if process.get_returncode() is not None:
            self._start(RESTART_SECONDS)
            return
        self._process, self._answers, self._answered = process, b"", 0
        self._input = cast(asyncio.WriteTransport, process.get_pipe_transport(0))
        for trial in self._trials.values():
            if not trial.is_over:
                self._load(trial)
        if self._closed or not self._trials:
            self._end()

    def _end(self) -> None:
        if self._starting is not None and self._process is None and self._closed:
            self._starting.cancel()
        process, self._process, self._input = self._process, None, None
        self._forget()
        if process is not None:
            process.close()

    def _load(self, trial: Trial) -> None:
        bundle = trial.verdict.bundle
        assert bundle is not None
        header = {"load": trial.rollout, "scope": trial.scope, "settings": self._settings}
        uncached = {rule: problem.code for rule, problem in trial.verdict.uncached.items()}
        body = {"label": bundle.label, "digest": bundle.digest, "modules": dict(bundle.modules), "data": bundle.data}
        self._put(trial.rollout, "", header | {"uncached": uncached}, orjson.dumps(body))

    def has_room(self, size: int) -> bool:
        """Whether a document of so many bytes could be handed over now."""
        room = len(self._sent) < MOST_WAITING and self._bytes + size <= MOST_WAITING_BYTES
        return room and size <= LONGEST_DOCUMENT and self._input is not None

    def _put(self, rollout: str, call: str, header: Mapping[str, object], body: bytes = b"") -> None:
        data = frame(header, body)
        # A bundle that is loaded takes no room from decisions: there are few, each within the bounds of a bundle.
        sent = _Sent(rollout, call, len(data) if call else 0)
        if not self._sent:
            self._heard = time.monotonic()
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(data)
        self._sent.append(sent)
        self._bytes += sent.size

    def _flush(self) -> None:
        if self._input is not None and self._outgoing:
            self._input.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _forget(self) -> None:
        """What had no answer never gets one."""
        for sent in self._sent:
            if sent.call and sent.rollout in self._trials:
                self._trials[sent.rollout].skipped += 1
                self._counted["skipped"].value += 1
        self._sent.clear()
        self._outgoing.clear()
        self._bytes = 0

    # Called by the process's output ----------------------------------------------------------------------------------

    def hear(self, process: object, data: bytes) -> None:
        """Answers have come, or parts of them."""
        if self._process is None or process is not self._process:
            return
        lines = (self._answers + data).split(b"\n")
        self._answers = lines.pop()
        try:
            for line in lines:
                self._count(self._sent.popleft(), line)
            if len(self._answers) > LONGEST_ANSWER:
                raise ValueError("an answer is too long")
        except (ValueError, IndexError, TypeError) as error:
            log.error("the shadow process does not answer as it should", error=type(error).__name__)
            self._process.kill()

    def _count(self, sent: _Sent, line: bytes) -> None:
        self._bytes -= sent.size
        self._answered += 1
        self._heard = time.monotonic()
        trial = self._trials.get(sent.rollout)
        if trial is None or not sent.call:
            return
        found: dict[str, set[str]] = {}
        for kind, rule in orjson.loads(line):
            if kind not in KINDS:
                raise ValueError(kind)
            found.setdefault(kind, set()).add(str(rule))
        trial.compared += 1
        for kind, rules in found.items():
            trial.kinds.setdefault(kind, Kind()).add(rules, sent.call)
            self._counted[kind].value += 1
        if not found:
            self._counted["same"].value += 1

    def ended(self, process: object) -> None:
        """The process is gone. What it was at is what it broke down on; it is started again without what is over."""
        if process is not self._process:
            return
        self._process = self._input = None
        begun = int.from_bytes(os.pread(self._progress.fileno(), 8, 0), "big")
        at = begun - self._answered - 1
        sent = self._sent[at] if 0 <= at < len(self._sent) else _Sent("", "", 0)
        trial = self._trials.get(sent.rollout)
        if trial is not None:
            del self._sent[at]
            trial.breakdowns += 1
            if sent.call:
                trial.compared += 1
                trial.kinds.setdefault("error", Kind()).add({"broke_down"}, sent.call)
                self._counted["error"].value += 1
            log.error("the shadow process broke down on a bundle in shadow", rollout=trial.rollout)
            if trial.is_over:
                self._on_broken(trial)
        self._forget()
        if any(not each.is_over for each in self._trials.values()):
            self._start(RESTART_SECONDS)


class _Output(asyncio.SubprocessProtocol):
    """Hands on what the process says, with the transport that it came from."""

    def __init__(self, shadow: Shadow) -> None:
        self._shadow = shadow
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._shadow.hear(self._transport, data)

    def process_exited(self) -> None:
        self._shadow.ended(self._transport)
