"""What an operator waits for at the desk for roll-outs, and for how long."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from policies.bundle import Bundle
from policies.errors import BundleError, Problem
from siem.console import rollouts as module
from siem.console.rollouts import RolloutDesk
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
    desk = RolloutDesk(journal, cast(Any, None), cast(Any, None), configured)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.compare, draft)
        try:
            asked.wait()
            assert "Look again" in desk.compare(draft).problem
        finally:
            answers.set()
        assert "could not be downloaded" in first.result().problem
    assert "could not be downloaded" in desk.compare(draft).problem
