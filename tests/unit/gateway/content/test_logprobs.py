"""Log probabilities lose the tokens of what is redacted."""

from __future__ import annotations

from typing import Any

from gateway.content import logprobs
from gateway.content.patterns import PatternScanner
from gateway.content.walk import Texts

SCANNER = PatternScanner()


def entry(token: str, raw: Any = ...) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()) if raw is ... else raw, "top_logprobs": []}


def test_bytes_that_say_the_same_are_kept_and_others_taken_out() -> None:
    same, part, lie = entry("é"), entry("\\xf0\\x9f", [0xF0, 0x9F]), entry("x", list(b"a@b.org"))
    assert [logprobs.token_of(item) for item in (same, part, lie)] == ["é", "\\xf0\\x9f", "x"]
    assert same["bytes"] == [0xC3, 0xA9] and part["bytes"] == [0xF0, 0x9F] and lie["bytes"] is None
    for strange in ("abc", [1000], [-1], ["x"], {"a": 1}):
        item = entry("x", strange)
        logprobs.token_of(item)
        assert item["bytes"] is None
    assert logprobs.token_of({"token": 5}) == ""


def test_entries_that_a_finding_overlaps_are_removed_and_no_others() -> None:
    entries: list[Any] = [entry(token) for token in ("to ", "a", "@b", ".org", " now")]
    tokens = logprobs.Tokens(entries, SCANNER)
    assert [match.type for match in tokens.matches] == ["email"]
    tokens.remove({"phone"})
    assert len(entries) == 5
    tokens.remove({"email"})
    assert [item["token"] for item in entries] == ["to ", " now"]


def test_lists_are_found_in_each_shape_a_vendor_gives_them() -> None:
    new = {"content": [entry("a")], "refusal": None}
    assert [name for name, _ in logprobs.lists_of(new)] == ["content"]
    assert [name for name, _ in logprobs.lists_of([entry("a")])] == ["content"]
    assert list(logprobs.lists_of(None)) == []
    old = {"tokens": ["a@b", ".org"], "token_logprobs": [-1, -2], "top_logprobs": [{"a@b": -1}], "text_offset": [0, 3]}
    assert list(logprobs.lists_of(old)) == []
    assert old["tokens"] is None and old["top_logprobs"] is None


def test_all_lists_of_a_value_are_found() -> None:
    value = {
        "choices": [
            {"logprobs": {"content": [entry("a@b"), entry(".org")], "refusal": [entry("c@d.org")]}},
            {"logprobs": None},
        ],
        "output": [{"content": [{"logprobs": [entry("4111 1111 1111 1111")]}]}],
    }
    found = logprobs.find(Texts(value).logprobs, SCANNER)
    assert sorted(match.type for match in logprobs.matches_of(found)) == ["email", "email", "payment_card"]
    for tokens in found:
        tokens.remove({"email", "payment_card"})
    assert "@" not in str(value) and "4111" not in str(value)


def test_entries_that_are_no_objects_are_left() -> None:
    entries: list[Any] = [entry("a@b.org"), "strange", 5]
    tokens = logprobs.Tokens(entries, SCANNER)
    tokens.remove({"email"})
    assert entries == ["strange", 5]
