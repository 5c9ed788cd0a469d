"""What the worker sends comes out as it was on the other side, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.combine import Decision
from policies.engine import Moment
from policies.shadow.wire import LARGEST_FRAME, Frames, decision_of, frame
from tests.unit.policies.test_combine import answers, requests


@given(st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=40)), max_size=5), st.integers(1, 60))
def test_frames_come_out_whole_for_any_cut(sent: list[tuple[str, bytes]], cut: int) -> None:
    data = b"".join(frame({"drop": name}, body) for name, body in sent)
    frames = Frames()
    found = [each for at in range(0, len(data), cut) for each in frames.feed(data[at : at + cut])]
    assert found == [({"drop": name}, body) for name, body in sent]


@given(requests | answers)
def test_a_decision_comes_out_as_it_was(decision: Decision) -> None:
    moment = Moment.ANSWER_HEAD if hasattr(decision, "plan") else Moment.REQUEST
    ((header, _),) = Frames().feed(frame({"common": decision, "own": None}))
    assert decision_of(header["common"], moment) == decision
    assert decision_of(header["own"], moment) is None


def test_a_frame_that_is_too_large_is_none() -> None:
    with pytest.raises(ValueError, match="too large"):
        list(Frames().feed(LARGEST_FRAME.to_bytes(4, "big") + b"\0\0\0\1"))
