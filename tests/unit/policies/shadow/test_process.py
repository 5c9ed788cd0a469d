"""What the shadow process answers, frame by frame."""

from __future__ import annotations

from typing import Any

import orjson

from policies.engine import Moment
from policies.result import RequestDecision
from policies.shadow.process import Candidates, answer
from policies.shadow.wire import LONGEST_ANSWER, Frames, frame
from tests.support.policies import bundle

TELLS = """package cordon.request
decision := {"allow": false, "reasons": [{"rule": rule, "detail": input.content.said} | some rule in names]}
names := [input.content.said, "known", concat("-", ["jane", "doe"]), ""]
"""
ROUTES = """package cordon.request
decision := {"allow": true, "endpoints": [input.content.said, "eu"], "redact": {"email": "drop"}}
"""
LABELS = """package cordon.request
decision := {"allow": true, "labels": {"team": input.content.said, input.content.said: "x"}}
"""


class Played:
    """The bundles of a process, spoken to in frames as they are sent."""

    def __init__(self, scope: str = "", **bundles: str) -> None:
        self.candidates = Candidates()
        for name, request in bundles.items():
            found = bundle(request=request)
            body = {"label": "", "digest": found.digest, "modules": dict(found.modules), "data": found.data}
            header = {"load": name, "scope": scope, "settings": {}, "uncached": {}}
            assert self.take(header, orjson.dumps(body)) is None

    def take(self, header: dict[str, Any], body: bytes = b"") -> Any:
        ((got, document),) = Frames().feed(frame(header, body))
        return orjson.loads(answer(self.candidates.take(got, document)))

    def tried(self, name: str, document: Any) -> Any:
        header = {"try": name, "moment": Moment.REQUEST, "call": "c", "common": RequestDecision(True), "own": None}
        return self.take(header, orjson.dumps(document))


def test_no_name_that_a_bundle_makes_up_gets_out() -> None:
    """Nobody need have approved a bundle in shadow, and it sees what callers send."""
    said = {"content": {"said": "jane@example.org", "findings": {}}, "candidates": [{"id": "eu"}]}
    played = Played(tells=TELLS, routes=ROUTES)
    assert played.tried("tells", said) == [
        ["refused", "(made up)"], ["refused", "known"], ["refused", "(no rule named)"],
    ]  # fmt: skip
    assert played.tried("routes", said) == [["endpoint", "eu → (no candidate), eu"]]


def test_of_labels_only_known_names_get_out_and_nothing_that_they_say() -> None:
    played = Played(labels=LABELS)
    assert played.tried("labels", {"content": {"said": "jane@example.org"}}) == [
        ["label", "(made up)"], ["label", "team"],
    ]  # fmt: skip


def test_an_own_one_is_a_half_of_the_decision() -> None:
    played = Played("acme", tells=TELLS)
    assert played.tried("tells", {"content": {"said": "x"}})[1] == ["refused", "tenant:known"]


def test_only_what_was_found_counts_as_redacted_otherwise() -> None:
    played = Played(routes=ROUTES)
    found = {"content": {"said": "eu2", "findings": {"email": {"count": 1}, "iban": {"count": 1}}}}
    assert ["redaction", "email: left → drop"] in played.tried("routes", found)
    assert len([kind for kind, _ in played.tried("routes", found) if kind == "redaction"]) == 1


def test_a_bundle_that_was_dropped_is_not_tried() -> None:
    played = Played(routes=ROUTES)
    assert played.take({"drop": "routes"}) is None
    assert "routes" not in played.candidates._engines


def test_an_answer_is_never_longer_than_what_is_read() -> None:
    long = [("refused", f"{number:0>200}") for number in range(1_000)]
    assert len(answer(long)) <= LONGEST_ANSWER
    assert len(orjson.loads(answer([("refused", "x" * 5_000)]))[0][1]) == 200
