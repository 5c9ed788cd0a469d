"""Tokens that stand for values: issued where a request leaves, restored where its answer comes back. No I/O.

A token looks like `[EMAIL_HWKTQXNBDMRC]`: the kind of value, and 12 letters (52 bits) of an HMAC over the value under
a key of its scope. So the same value becomes the same token in every worker without asking anybody, and nobody who
lacks the key can make one. It is ASCII without a character that JSON, HTML or URLs of forms escape inside of text,
holds no digit, so that it never is part of a finding, and no vowel, so that it never is a word.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import re2

from gateway.content.errors import ContentError
from gateway.content.scanner import Match, Scanner, merge

RESTORE: Final = "restore"
"""The type of a match that is a token to be restored; no finding has this type."""

LABELS: Final = {
    "email": "EMAIL",
    "phone": "PHONE",
    "payment_card": "CARD",
    "iban": "IBAN",
    "us_ssn": "SSN",
    "ip_address": "IP",
    "api_key": "KEY",
}
"""What a token says of the kind of value. None of the words makes what follows it look like a secret."""

ALPHABET: Final = "BCDFGHJKLMNQRSTVWXYZ"
LETTERS: Final = 12
TOKEN: Final = re.compile(rf"\[(?:{'|'.join(LABELS.values())})_[{ALPHABET}]{{{LETTERS}}}\]")

LOOK_UPS: Final = 256
"""Most tokens of one answer that its own request did not issue and that are looked up; further ones stay."""

MOST_RESTORED: Final = 8 << 20
"""Most characters of values put back in one answer, counted each time they are looked at: a value of some hundred
characters takes the place of a token of twenty, and an answer that repeats it must not become as much larger."""

_MARK: Final = 16
_TURNS: Final = 8
_ROUNDS: Final = 8


class Value(NamedTuple):
    """What a token stands for. `loose`: standing alone it is no finding of its kind; only its context gave it away."""

    kind: str
    text: str
    mark: bytes
    loose: bool


def derive(key: bytes, kind: str, text: str, turn: int = 0) -> tuple[str, bytes]:
    """The token of a value and its mark. `turn` counts how many tokens were taken by other values already."""
    digest = hmac.digest(key, f"{kind}\0{turn}\0{text}".encode("utf-8", "surrogatepass"), "sha256")
    number = int.from_bytes(digest[:_MARK])
    letters = []
    for _ in range(LETTERS):
        number, letter = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[letter])
    return f"[{LABELS[kind]}_{''.join(letters)}]", digest[_MARK:]


class Issuer:
    """Gives out the tokens of one call. `key`: of its scope, 32 bytes. `most`: distinct values of one call."""

    def __init__(self, key: bytes, scanner: Scanner, *, most: int) -> None:
        self.issued: dict[str, Value] = {}
        self._key = key
        self._scanner = scanner
        self._most = most
        self._tokens: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def token(self, kind: str, text: str) -> str:
        """The token of a value; ContentError when there are too many values."""
        known = self._tokens.get((kind, text))
        if known is not None:
            return known
        if len(self._tokens) >= self._most:
            raise ContentError("too_large", f"the content has more than {self._most} values to be tokenised")
        for turn in range(_TURNS):
            token, mark = derive(self._key, kind, text, turn)
            if token not in self.issued and token not in self._taken:
                self.issued[token] = Value(kind, text, mark, self._is_loose(kind, text))
                self._tokens[kind, text] = token
                return token
        raise ContentError("not_enforced", "no token is free for a value")

    def shun(self, tokens: Sequence[str]) -> None:
        """These tokens stand for other values already: their values get other ones from here on."""
        self._taken.update(tokens)
        for token in tokens:
            value = self.issued.pop(token, None)
            if value is not None:
                del self._tokens[value.kind, value.text]

    def _is_loose(self, kind: str, text: str) -> bool:
        return not any(
            (match.type, match.start, match.end) == (kind, 0, len(text)) for match in self._scanner.scan(text)
        )


class Known:
    """A scanner that also finds the values a caller has loose tokens for, whatever stands around them."""

    def __init__(self, scanner: Scanner, values: Sequence[Value]) -> None:
        self.reach = scanner.reach
        self.settled = scanner.settled
        self._scanner = scanner
        self._kinds = {text: value.kind for value in values for text in _written(value.text)}
        # The longest first: where one value begins with another, the whole of it is meant.
        self._pattern = _any_of(tuple(sorted(self._kinds, key=lambda text: (-len(text), text))))

    def scan(self, text: str, start: int = 0) -> list[Match]:
        """See `Scanner.scan`."""
        found = self._scanner.scan(text, start)
        if not self._kinds:
            return found
        known = [
            Match(self._kinds[match.group()], match.start(), match.end(), 100)
            for match in self._pattern.finditer(text, start)
        ]
        return merge([*found, *known]) if known else found


@lru_cache(maxsize=16)
def _any_of(texts: tuple[str, ...]) -> re2._Regexp[str]:
    """One automaton for all of them: a thousand take no longer than one."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    return re2.compile("|".join(map(re2.escape, texts)), options)


class Restorer:
    """Puts values back in one answer: those that its request issued, and those `look_up` knows of the same scope.

    A token is restored where its value will be found again as the same value when the text comes back in the next
    turn. Where it stands so that it would not (a digit right before a card number, say), it stays a token: otherwise
    a model could have a value sent to it in the clear. `count`: how many were restored.
    """

    def __init__(self, issued: Mapping[str, Value], look_up: Callable[[str], Value | None], scanner: Scanner) -> None:
        self.count = 0
        self._known: dict[str, Value | None] = dict(issued)
        self._look_up = look_up
        self._scanner = scanner
        self._left = LOOK_UPS
        self._room = MOST_RESTORED

    def matches(self, text: str, start: int = 0, stop: int | None = None, *, is_json: bool = False) -> list[Match]:
        """The tokens in text[start:stop] that are to be restored, in order; what stands before is context.

        ContentError where the values of this answer become too much.
        """
        stop = len(text) if stop is None else stop
        found: list[tuple[Match, Value]] = []
        for match in TOKEN.finditer(text, start, stop):
            value = self._value(match.group())
            if value is not None:
                self._room -= len(value.text)
                if self._room < 0:
                    raise ContentError("too_large", f"its tokens stand for more than {MOST_RESTORED} characters")
                found.append((Match(RESTORE, match.start(), match.end(), 100), value))
        for _ in range(_ROUNDS):
            lost = self._lost(text[:stop], found, is_json)
            if not lost:
                return [match for match, _ in found]
            found = [item for index, item in enumerate(found) if index not in lost]
        return []

    def restored(self, token: str, *, is_json: bool) -> str:
        """What takes a token's place; escaped for the inside of a string where the text `is_json`."""
        value = self._known[token]
        assert value is not None
        self.count += 1
        return _shown(value, is_json)

    def preview(self, text: str, matches: Sequence[Match], start: int, stop: int, *, is_json: bool = False) -> str:
        """text[start:stop] with these tokens restored, as the client will see it."""
        parts: list[str] = []
        position = start
        for match in matches:
            value = self._known[text[match.start : match.end]]
            assert value is not None
            parts += [text[position : match.start], _shown(value, is_json)]
            position = match.end
        return "".join([*parts, text[position:stop]])

    def _value(self, token: str) -> Value | None:
        if token in self._known:
            return self._known[token]
        if self._left == 0:
            return None
        self._left -= 1
        value = self._known[token] = self._look_up(token)
        return value

    def _lost(self, text: str, found: Sequence[tuple[Match, Value]], is_json: bool) -> set[int]:
        """Which of the values would not be recognised in the restored text."""
        if not found:
            return set()
        parts: list[str] = []
        spans: list[tuple[str, int, int]] = []
        position = size = 0
        for match, value in found:
            shown = _shown(value, is_json)
            size += match.start - position
            spans.append((value.kind, size, size + len(shown)))
            parts += [text[position : match.start], shown]
            position, size = match.end, size + len(shown)
        # As the next request of the scope will be scanned (see `Known`).
        scanner = Known(self._scanner, [value for _, value in found if value.loose])
        restored = "".join([*parts, text[position:]])
        again = {(match.type, match.start, match.end) for match in scanner.scan(restored)}
        return {index for index, span in enumerate(spans) if span not in again}


def unescaped(text: str) -> str | None:
    """What a piece of a JSON string stands for; None where writing it again would not give JSON that means the same."""
    try:
        value = json.loads(f'"{text}"', strict=False)
        value.encode()
    except ValueError:
        return None
    return str(value)


def _written(text: str) -> set[str]:
    """A value as it may stand in text, and inside the strings of JSON text."""
    return {text, *(json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True))}


def _shown(value: Value, is_json: bool) -> str:
    return json.dumps(value.text, ensure_ascii=False)[1:-1] if is_json else value.text
