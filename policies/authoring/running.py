"""Runs the tests of a bundle in processes beside each other, each of which may be killed.

A process gets one test at a time. If it has not answered in time, or has gone, the test is an error and another process
takes its place, so one bad test costs itself alone.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from policies.authoring.cases import Prepared, Test, prepare
from policies.authoring.coverage import Coverage, Lines, measure, merge
from policies.bundle import Bundle
from policies.errors import BundleError, PolicyError, Problem
from policies.processes import ENVIRONMENT, command

Outcome = Literal["passed", "failed", "error", "skipped"]

MOST_JOBS: Final = 64
WORTH_A_JOB: Final = 50
"""So many tests are worth the start of a process, where the number of processes is not given."""

_START_SECONDS: Final = 30.0
_ANSWER: Final = 16_777_216


@dataclass(frozen=True, slots=True)
class Case:
    """One case of `test_x[case]`. `at` is the line that failed, 0 where that cannot be said."""

    name: str
    passed: bool
    detail: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one test went. `line` is where it begins, `at` the line that failed or 0, `detail` why it did not pass."""

    __test__ = False

    name: str
    file: str
    line: int
    outcome: Outcome
    milliseconds: float
    detail: str = ""
    at: int = 0
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """All results in the order of the files, and what they cover where that was asked for."""

    results: tuple[TestResult, ...]
    coverage: Coverage | None = None

    def count(self, *outcomes: Outcome) -> int:
        """How many tests went so."""
        return sum(result.outcome in outcomes for result in self.results)


def run_tests(
    bundle: Bundle,
    pattern: str = "",
    *,
    jobs: int | None = None,
    seconds: float = 5.0,
    coverage: bool = False,
    apart: bool = True,
) -> Run:
    """Run the tests whose name has `pattern` in it, for at most `seconds` each.

    `apart`: in sessions of their own, so that Ctrl-C leaves them to this process; else they end with its group.
    BundleError where the bundle cannot be evaluated, PolicyError where no process can be started.
    """
    prepared = prepare(bundle)
    chosen = [test for test in prepared.tests if pattern in test.name.rpartition(".")[2]]
    wanted = [test for test in chosen if not test.skipped and test.rule and not test.unsound]
    if jobs is None:
        jobs = min(os.cpu_count() or 1, -(-len(wanted) // WORTH_A_JOB))
    work = _Work(prepared, wanted, seconds, coverage, apart)
    work.run(max(1, min(jobs, MOST_JOBS, len(wanted))))
    results = [work.results.get(test) or _not_run(test) for test in chosen]
    return Run(tuple(results), measure(bundle.modules, work.lines) if coverage else None)


def _not_run(test: Test) -> TestResult:
    if test.skipped:
        return TestResult(test.name, test.file, test.line, "skipped", 0.0)
    if test.unsound:
        return TestResult(test.name, test.file, test.line, "error", 0.0, test.unsound)
    detail = "it is an object, not true: for cases, write test_…[case] with a variable"
    return TestResult(test.name, test.file, test.line, "failed", 0.0, detail)


@dataclass(slots=True)
class _Work:
    """What the threads share: the tests still to be run and their results."""

    prepared: Prepared
    tests: list[Test]
    seconds: float
    coverage: bool
    apart: bool
    results: dict[Test, TestResult] = field(default_factory=dict)
    lines: dict[str, Lines] = field(default_factory=dict)
    failure: Exception | None = None
    _ahead: deque[Test] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self, jobs: int) -> None:
        """Have so many processes run all tests; an interruption ends them."""
        self._ahead.extend(self.tests)
        threads = [threading.Thread(target=self._drain, daemon=True) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self.failure:
            raise self.failure

    def _drain(self) -> None:
        process: _Process | None = None
        try:
            process = self._start() if self.coverage else None  # even without tests: lines are to be counted
            while not self._stop.is_set() and self.failure is None:
                try:
                    test = self._ahead.popleft()
                except IndexError:
                    return
                process = process or self._start()
                answer = process.ask(asdict(test), self.seconds)
                if answer.pop("gone", False):
                    process.close()
                    process = None
                with self._lock:
                    merge(self.lines, answer.pop("lines", {}))
                    cases = tuple(Case(**case) for case in answer.pop("cases", ()))
                    self.results[test] = TestResult(test.name, test.file, test.line, cases=cases, **answer)
        except Exception as error:
            self.failure = self.failure or error
        finally:
            if process:
                process.close()

    def _start(self) -> _Process:
        process = _Process(self.prepared.setup() | {"coverage": self.coverage}, self._stop, self.apart)
        with self._lock:
            merge(self.lines, process.lines)
        return process


class _Process:
    """One worker process and its pipes."""

    def __init__(self, setup: Mapping[str, Any], stop: threading.Event, apart: bool) -> None:
        self._stop = stop
        self._rest = b""
        self.lines: dict[str, list[list[int]]] = {}
        self._process = subprocess.Popen(
            command("policies.authoring.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            start_new_session=apart,
        )
        answer = self._exchange(setup, _START_SECONDS)
        if answer is None or answer["problems"]:
            self.close()
            if answer is None:
                raise PolicyError("the process that runs tests could not take the bundle up; run `cordon policy check`")
            raise BundleError(Problem(**each) for each in answer["problems"])
        self.lines = answer["lines"]

    def ask(self, test: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """How a test went; with `gone` where the process is of no use any more."""
        began = time.monotonic()
        answer = self._exchange(test, seconds)
        if answer is not None:
            return answer
        late = time.monotonic() - began >= seconds
        detail = f"it took longer than {seconds:g} s" if late else "the policy engine broke down"
        return {"outcome": "error", "detail": detail, "milliseconds": (time.monotonic() - began) * 1e3, "gone": True}

    def _exchange(self, value: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
        """Send a line and wait for one; None if the time is over, the process has gone or has said too much."""
        assert self._process.stdin and self._process.stdout
        until = time.monotonic() + seconds
        try:
            self._process.stdin.write(json.dumps(value).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return None
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or self._stop.is_set() or len(self._rest) > _ANSWER:
                return None
            if not select.select([self._process.stdout], [], [], min(left, 0.2))[0]:
                continue
            part = os.read(self._process.stdout.fileno(), 65_536)
            if not part:
                return None
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    continue
