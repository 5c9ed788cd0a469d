"""Facts read from a record's bytes are those that parsing it yields, whatever a caller wrote into it."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from detectors import peek
from tests.support import records

HOSTILE = ['"kind":"call.outcome"', '","kind":"x', '\\"intent\\":7,', '{"at":9,', '"intent":5', "\\", '"boot":"z"']
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40).map(lambda t: t.encode("utf-8", "ignore").decode()))


def agrees(record: bytes) -> None:
    facts = orjson.loads(record)
    assert peek.kind(record).decode() == facts["kind"]
    assert peek.boot(record).decode() == facts["boot"]
    assert peek.at(record) == facts["at"]


@given(
    at=st.integers(0, 2**53 - 1), path=TEXTS, model=TEXTS, findings=st.dictionaries(st.just("email"), st.integers(0, 9))
)
def test_an_intent_is_read_as_it_would_be_parsed(at: int, path: str, model: str, findings: dict[str, int]) -> None:
    agrees(records.intent(at, path=path, model=model, endpoint="eu", findings=findings, labels={"kind": model}))


@given(at=st.integers(0, 2**53 - 1), intent=st.integers(0, 2**53 - 1), text=TEXTS)
def test_an_outcome_is_read_as_it_would_be_parsed(at: int, intent: int, text: str) -> None:
    record = records.outcome(at, intent, reasons=[{"code": text, "detail": text}], model=text, principal=text)
    agrees(record)
    assert peek.intent(record) == intent


def test_what_is_not_there_is_said_not_to_be_there() -> None:
    assert peek.kind(b'{"at":1}') == b""
    assert peek.boot(b'{"at":1}') == b""
    assert peek.at(b'{"account":"a","at":1}') == 0
    assert peek.intent(b'{"at":1,"kind":"call.outcome"}') == -1
