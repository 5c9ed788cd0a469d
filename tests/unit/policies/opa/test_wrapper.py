"""What a bundle's text tells of its rules on decision logs."""

from __future__ import annotations

from policies.opa.wrapper import says_nothing
from tests.support.policies import bundle


def test_what_says_nothing_of_decision_logs() -> None:
    assert says_nothing(bundle())
    assert not says_nothing(bundle(more='package system["log"]\n\nmask := []\n'))
    assert not says_nothing(bundle(more="package # a comment\n  system.log\n\nmask := []\n"))
