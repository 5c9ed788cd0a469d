"""Every text of a JSON value, joined for one pass of the scanner, and the way back to its place.

Nothing is left out but what cannot be text: names of objects, strings and numbers are all looked at, in fields that
a dialect knows and in fields that nobody has heard of. Only encoded media and sealed reasoning are not; they are
reported as `unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway.content.errors import ContentError
from gateway.content.guard import Guard
from gateway.content.json_text import DEPTH, Json
from gateway.content.names import ARGUMENTS, ENCODED, KNOWN, OF_ANSWERS, PICTURE, PLAIN, SEALED, VECTOR
from gateway.content.redact import Redactor
from gateway.content.scanner import NAME, WALL, Match, Scanner, locate, readable
from gateway.content.tokens import TOKEN, Restorer
from gateway.content.vectors import is_vector

MASKED: Final = "[MASKED]"
LONGEST_POINTER: Final = 256
"""Characters of a place that policy and records are shown."""

Path = tuple["Path", str | int] | None
"""A place in a JSON value: (place of the container, key or index), None for the root."""

_LONG_BASE64 = re.compile(r"[A-Za-z0-9+/]{512,}={0,2}\Z")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-][A-Za-z0-9+/_\s-]{63,}={0,2}\s*\Z")
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,")
SMALLEST_NUMBER = 1_000_000
"""Smaller numbers are not looked at."""

_TIMES = frozenset({"created", "created_at"})
_EARLIEST, _LATEST = 1_500_000_000, 2_000_000_000
"""Seconds since the epoch, 2017 to 2033: no phone number in North America begins with 1, and no card is so short."""


class Finding(NamedTuple):
    """One finding in a JSON value. `in_key`: it lies in the name of the field, not in its value."""

    path: Path
    in_key: bool
    match: Match


class Texts:
    """The texts of one JSON value.

    `unreadable` are the places of what has no text to read, `logprobs` the values of fields of that name: they repeat
    a text in pieces (`gateway.content.logprobs`). The value must stay as it is until it was scanned: where its texts
    stand is only looked up, by walking it once more, when something is found in them.
    """

    __slots__ = ("_names", "_places", "_texts", "_value", "logprobs", "unreadable")

    def __init__(self, value: Json, *, placed: bool = False) -> None:
        self._value = value
        self._texts: list[str] = []
        self._names = 0  # texts that are a name alone
        self._places: list[tuple[Path, int, bool]] | None = [] if placed else None
        self.unreadable: list[Path] = []
        self.logprobs: list[Json] = []
        if isinstance(value, dict | list):
            self._walk(value)
        else:
            self._leaf(value, None, "", False)

    def _walk(self, value: Json) -> None:
        stack: list[tuple[Json, Path, str, int]] = [(value, None, "", 0)]
        texts, places = self._texts, self._places
        while stack:
            item, path, name, depth = stack.pop()
            if depth > DEPTH:
                raise ContentError("too_deep", f"the content is nested deeper than {DEPTH} levels")
            if isinstance(item, dict):
                for key, child in item.items():
                    kind = child.__class__
                    if kind is str and child and key not in ENCODED and child[0] != "d":  # type: ignore[index]
                        # The common case, without a call: `_leaf` looks closer at what may be encoded.
                        texts.append(f"{key}{NAME}{child}")
                        if places is not None:
                            places.append(((path, key), len(key) + 1, True))
                        continue
                    if kind is dict or kind is list:
                        stack.append((child, (path, key), key, depth + 1))
                        if key == "logprobs":
                            self.logprobs.append(child)
                    elif kind is bool or (kind is int and -SMALLEST_NUMBER < child < SMALLEST_NUMBER):  # type: ignore[operator]
                        pass
                    elif child and self._leaf(child, (path, key), key, True):
                        continue
                    if key not in KNOWN:
                        texts.append(key)
                        self._names += 1
                        if places is not None:
                            places.append(((path, key), len(key) + 1, True))
            elif isinstance(item, list):
                for index, child in enumerate(item):
                    kind = child.__class__
                    if kind is dict or kind is list:
                        stack.append((child, (path, index), name, depth + 1))
                    else:
                        self._leaf(child, (path, index), name, False)

    def _leaf(self, value: Json, path: Path, name: str, own: bool) -> bool:
        """Take a string or number, with its name before it as context; False when there is nothing to look at."""
        if isinstance(value, str):
            if not value:
                return False
            if (name in ENCODED or value.startswith("data:")) and self._encoded(value, path, name):
                return False
            self._texts.append(f"{name}{NAME}{value}")
        elif (value.__class__ is int or value.__class__ is float) and abs(value) >= SMALLEST_NUMBER:
            if name in _TIMES and _EARLIEST <= value < _LATEST:
                return False
            self._texts.append(f"{name}{NAME}{number_text(value)}")
        else:
            return False
        if self._places is not None:
            self._places.append((path, len(name) + 1, own))
        return True

    def _encoded(self, value: str, path: Path, name: str) -> bool:
        if name == VECTOR and is_vector(value):
            return True
        if is_encoded(name, value):
            self.unreadable.append(path)
            return True
        if name in SEALED:
            self.unreadable.append(path)
        return False

    def scan(self, scanner: Scanner) -> list[Finding]:
        """Findings in all texts, in one pass."""
        texts = self._texts
        if not texts:
            return []
        joined = WALL.join(texts)
        if joined.count(WALL) != len(texts) - 1 or joined.count(NAME) != len(texts) - self._names:
            texts = [_disarmed(text, place[1]) for text, place in zip(texts, self._placed(), strict=True)]
            joined = WALL.join(texts)
        matches = scanner.scan(joined)
        if not matches:
            return []
        found: list[Finding] = []
        places = self._placed()
        for index, match in locate(texts, matches):
            path, shift, own = places[index]
            if match.start >= shift:
                shifted = Match(match.type, match.start - shift, match.end - shift, match.confidence)
                found.append(Finding(path, False, shifted))
            elif own:
                found.append(Finding(path, True, match))
        return found

    def tokens(self, restorer: Restorer) -> list[Finding]:
        """The tokens that are to be restored, in values and in names."""
        found: list[Finding] = []
        if not TOKEN.search(WALL.join(self._texts)):
            return found
        for text, (path, shift, own) in zip(self._texts, self._placed(), strict=True):
            # A field's own name comes before its value, or alone.
            for in_key, part in ((True, text[: shift - 1] if own else ""), (False, text[shift:])):
                matches = restorer.matches(part, is_json=not in_key and _is_arguments(path))
                found += [Finding(path, in_key, match) for match in matches]
        return found

    def blocked(self, guard: Guard, restorer: Restorer | None = None) -> list[Finding]:
        """Findings of blocked patterns, each text by itself, with its tokens restored."""
        found: list[Finding] = []
        texts = self._texts
        joined = WALL.join(texts)
        if restorer is not None and TOKEN.search(joined):
            shown = [_restored(text, place, restorer) for text, place in zip(texts, self._placed(), strict=True)]
            if not guard.occurs(WALL.join(text for text, _ in shown)):
                return found
        elif guard.occurs(joined):
            shown = [(text, place[1]) for text, place in zip(texts, self._placed(), strict=True)]
        else:
            return found
        for (text, shift), (path, _, own) in zip(shown, self._placed(), strict=True):
            parts = [(False, text[shift:])] if shift <= len(text) else []
            name = text[: shift - 1]
            if own and name not in KNOWN and name not in OF_ANSWERS:
                parts.append((True, name))
            for in_key, part in parts:
                found += [Finding(path, in_key, match) for match in guard.search(part, 0, final=True)]
        return found

    def _placed(self) -> list[tuple[Path, int, bool]]:
        """For each text: where it stands, where its value begins behind its name, and whether the name is its own."""
        if self._places is None:
            self._places = Texts(self._value, placed=True)._placed()
        return self._places


def _disarmed(text: str, shift: int) -> str:
    """A text without the characters that separate texts and names, but for its own."""
    if shift > len(text):
        return readable(text)
    return readable(text[: shift - 1]) + NAME + readable(text[shift:])


def _restored(text: str, place: tuple[Path, int, bool], restorer: Restorer) -> tuple[str, int]:
    """A text as the client will get it, and where in it the value begins."""
    path, shift, own = place
    name, value, is_json = text[: shift - 1], text[shift:], _is_arguments(path)
    if own:
        name = restorer.preview(name, restorer.matches(name), 0, len(name))
    value = restorer.preview(value, restorer.matches(value, is_json=is_json), 0, len(value), is_json=is_json)
    return name + NAME + value, len(name) + 1


def _is_arguments(path: Path) -> bool:
    return path is not None and path[1] in ARGUMENTS


def is_encoded(name: str, value: str) -> bool:
    """Whether a string in a field of this name is media or sealed reasoning in base64, and no text."""
    if _DATA_URL.match(value):
        return True
    if name not in ENCODED or name in PLAIN:
        return False
    return bool((_LONG_BASE64 if name == PICTURE else _BASE64).match(value))


def pointer(path: Path) -> str:
    """JSON Pointer (RFC 6901) of a place."""
    parts: list[str] = []
    while path is not None:
        path, step = path
        parts.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in reversed(parts))


def names_found(findings: Iterable[Finding]) -> set[Path]:
    """The places whose own names are findings."""
    return {path for path, in_key, _ in findings if in_key}


def shown(path: Path, names: set[Path]) -> str:
    """The pointer of a place as policy and records have it, cut, the names that are findings themselves masked."""
    return pointer(_masked(path, names) if names else path)[:LONGEST_POINTER]


def _masked(path: Path, names: set[Path]) -> Path:
    if path is None:
        return None
    above, step = path
    return _masked(above, names), MASKED if path in names else step


def number_text(value: float) -> str:
    """A number as its digits, without an exponent."""
    return str(int(value))


def replace(value: Json, findings: list[Finding], redactor: Redactor) -> Json:
    """Replace in `value` (changed in place) what `redactor` redacts; a number becomes a string. Returns the value."""
    values: dict[Path, list[Match]] = {}
    names: dict[Path, list[Match]] = {}
    for path, in_key, match in findings:
        if redactor.changes(match):
            (names if in_key else values).setdefault(path, []).append(match)
    root: list[Json] = [value]
    for path, matches in values.items():
        matches.sort(key=_start)
        container, step = _reach(root, path)
        old = container[step]  # type: ignore[index]
        if not isinstance(old, str):
            new = redactor.text(number_text(old), matches)  # type: ignore[arg-type]
        elif step in ARGUMENTS:
            new = redactor.json_text(old, matches)
        else:
            new = redactor.text(old, matches)
        container[step] = new  # type: ignore[index]
    renamed: dict[Path, dict[str, str]] = {}
    for path, matches in names.items():
        assert path is not None and isinstance(path[1], str)
        renamed.setdefault(path[0], {})[path[1]] = redactor.text(path[1], sorted(matches, key=_start))
    for above in sorted(renamed, key=_length, reverse=True):
        container, _ = _reach(root, (above, 0))
        assert isinstance(container, dict)
        _rename(container, renamed[above])
    return root[0]


def put(value: Json, path: Path, new: str) -> None:
    """Let `new` stand at a place within `value` instead of what stands there."""
    container, step = _reach([value], path)
    container[step] = new  # type: ignore[index]


def _rename(container: dict[str, Json], names: dict[str, str]) -> None:
    """Give fields other names where they stand, in one pass; a name that is taken gets a number."""
    taken = container.keys() - names.keys()
    numbers: dict[str, int] = {}
    items = list(container.items())
    container.clear()
    for old, child in items:
        new = name = names.get(old, old)
        if old in names:
            number = numbers.get(new, 1)
            while name in taken:
                number += 1
                name = f"{new}_{number}"
            numbers[new] = number
            taken.add(name)
        container[name] = child


def _reach(root: list[Json], path: Path) -> tuple[dict[str, Json] | list[Json], str | int]:
    if path is None:
        return root, 0
    steps: list[str | int] = []
    above, last = path
    while above is not None:
        above, step = above
        steps.append(step)
    container: Json = root[0]
    for step in reversed(steps):
        container = container[step]  # type: ignore[index]
    assert isinstance(container, dict | list)
    return container, last


def _start(match: Match) -> int:
    return match.start


def _length(path: Path) -> int:
    size = 0
    while path is not None:
        path, size = path[0], size + 1
    return size
