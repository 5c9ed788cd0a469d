"""What an operator waits for at the desk for roll-outs, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from policies.bundle import Bundle
from policies.errors import BundleError, Problem
from policies.settings import Policy
from siem.console import rollouts as module
from siem.console.rollouts import InForce, RolloutDesk
from tests.support.policies import bundle
from tests.support.rollouts import rollout, state


def test_a_bundle_server_that_takes_its_time_does_not_take_all_of_the_console_s_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COMPARE_SECONDS", 0.01)
    asked, answers = threading.Event(), threading.Event()

    def configured() -> Bundle:
        asked.set()
        answers.wait()
        raise BundleError([Problem(".", 0, 0, "download", "could not be downloaded")])

    draft = rollout(stage="draft")
    journal: Any = SimpleNamespace(control=state(draft))
    desk = RolloutDesk(journal, cast(Any, None), cast(Any, None), configured, Policy())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.compare, draft)
        try:
            asked.wait()
            assert "Look again" in desk.compare(draft).problem
        finally:
            answers.set()
        assert "could not be downloaded" in first.result().problem
    assert "could not be downloaded" in desk.compare(draft).problem


def desk_of(now: Any, configured: Callable[[], Bundle], settings: Policy | None = None) -> RolloutDesk:
    journal: Any = SimpleNamespace(control=state(now))
    return RolloutDesk(journal, cast(Any, None), cast(Any, None), configured, settings or Policy())


def test_what_is_in_force_is_the_live_one_until_the_configured_bundle_was_changed_after_it() -> None:
    found = bundle()
    now = rollout(base=found.revision, revision="ab" * 8)
    assert desk_of(now, lambda: found).in_force() == InForce(now, found.revision)
    older = rollout(base="another", revision="ab" * 8)
    told = desk_of(older, lambda: found).in_force()
    assert (told.rollout, told.given_way, told.revision) == (None, older, found.revision)
    kept = desk_of(older, lambda: found, Policy(changes="rollout")).in_force()
    assert (kept.rollout, kept.given_way, kept.revision) == (older, None, "ab" * 8)


def test_what_is_in_force_is_said_while_the_configured_bundle_cannot_be_read() -> None:
    def configured() -> Bundle:
        raise BundleError([Problem(".", 0, 0, "download", "could not be downloaded")])

    now = rollout(base="another")
    told = desk_of(now, configured).in_force()
    assert (told.rollout, told.configured) == (now, "") and "could not be downloaded" in told.problem
    told = desk_of(rollout(stage="draft"), configured).in_force()
    assert (told.rollout, told.revision) == (None, "")


def test_the_configured_bundle_is_read_once_for_looks_that_come_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    found = bundle()

    def configured() -> Bundle:
        reads.append(1)
        return found

    desk = desk_of(rollout(stage="draft"), configured)
    assert desk.configured() is desk.configured() is found and len(reads) == 1
    monkeypatch.setattr(module, "REMEMBER_SECONDS", -1.0)
    assert desk.configured() is found and len(reads) == 2
