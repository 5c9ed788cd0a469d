"""The report of a whole run: the figures of policy stand in it as they were measured last."""

from __future__ import annotations

from bench.run import elsewhere
from bench.systems import ROOT


def test_the_results_have_the_figures_of_policy_as_they_were_measured_last() -> None:
    text = elsewhere()
    assert "decisions/s a core" in text and "remembered" in text
    assert text in (ROOT / "bench/RESULTS.md").read_text("utf-8"), "write it again where POLICY.md was measured anew"
