"""The records of a call are facts that the log takes as they are."""

from __future__ import annotations

from gateway.identity import Principal
from gateway.peer import Certificate
from gateway.records import Facts, intent, outcome, refused
from lineage.record import decode, encode


def facts() -> Facts:
    return Facts(
        boot="gateway-0-01J",
        call="01JCALL",
        route="openai",
        method="POST",
        path="/openai/v1/chat/completions",
        principal=Principal("acme/bot", "acme", ("agent",), "key_1"),
        findings={"email": 2, "api_key": 1},
        redacted={"email": "mask"},
        policy="0123456789abcdef",
        trace="0af7651916cd43dd8448eb211c80319c",
    )


def test_an_intent_tells_what_goes_where_under_which_policy() -> None:
    record = decode(encode(intent(facts(), 2, "openai-eu", "gpt-5", {"bytes": 10, "digest": "ab"}, "cd")))
    assert record["kind"] == "call.intent"
    assert (record["attempt"], record["endpoint"], record["model"], record["side"]) == (2, "openai-eu", "gpt-5", "cd")
    assert (record["tenant"], record["principal"], record["key"]) == ("acme", "acme/bot", "key_1")
    assert (record["findings"], record["redacted"]) == ({"api_key": 1, "email": 2}, {"email": "mask"})
    assert record["policy"] == "0123456789abcdef"


def test_what_is_not_known_is_left_out() -> None:
    record = intent(facts(), 1, "openai-eu", "", {"bytes": 0, "digest": ""}, "")
    assert not {"model", "side", "labels"} & record.keys()


def test_an_outcome_points_to_its_intent() -> None:
    record = decode(
        encode(
            outcome(
                facts(),
                1,
                "openai-eu",
                41,
                status=200,
                verdict="blocked",
                received={"bytes": 7, "digest": "ef"},
                findings={"api_key": 1},
                redacted={},
                reasons=[{"rule": "outputs", "detail": "a blocked pattern"}],
                model="gpt-5-2026-01-01",
                milliseconds=12,
                final=True,
            )
        )
    )
    assert (record["kind"], record["intent"], record["verdict"], record["final"]) == (
        "call.outcome",
        41,
        "blocked",
        True,
    )
    assert record["reasons"] == [{"rule": "outputs", "detail": "a blocked pattern"}]


def test_a_refusal_without_an_identity_names_nobody() -> None:
    record = refused(Facts("gateway-0-01J", "01JCALL", method="GET"), "identity", 401, [])
    assert not {"tenant", "principal", "key"} & record.keys()
    assert encode(record)


def test_however_much_policy_and_content_say_the_record_stays_small() -> None:
    loud = facts()
    loud.path = "/x" * 5_000
    loud.findings = {f"blocked_pattern:{number}": 1 for number in range(500)}
    reasons = [{"rule": "r" * 5_000, "detail": "d" * 5_000} for _ in range(100)]
    assert len(encode(refused(loud, "decision", 403, reasons))) < 16_384


def test_a_certificates_digest_is_told_and_nothing_else_of_it() -> None:
    known = facts()
    certificate = Certificate("ab" * 32, "CN=bot", ("URI:spiffe://acme/bot",), 1)
    known.principal = Principal("acme/bot", "acme", ("agent",), "cert:" + "ab" * 8, certificate=certificate)
    sent = {"bytes": 0, "digest": ""}
    for record in (intent(known, 1, "e", "", sent, ""), refused(known, "decision", 403, [])):
        assert decode(encode(record))["certificate"] == "ab" * 32
        assert b"spiffe" not in encode(record)
    for record in (intent(facts(), 1, "e", "", sent, ""), refused(facts(), "decision", 403, [])):
        assert "certificate" not in record
