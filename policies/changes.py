"""The smallest changes of a document, or of a bundle's data, after which a refused call is allowed.

Found by trying: each place that the rules read is given the values that the rules and the data know of; what a list
lacks is added, what was found is taken away, a switch is turned. One change is tried before two. What changes who calls
comes last: it is seldom what is meant.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Literal

from regorus import Engine

MOST_TRIES: Final = 20_000
MOST_POOL: Final = 400
MOST_PLACES: Final = 400
MOST_STEPS: Final = 60
"""Single changes of which pairs are tried: those that leave fewer reasons first."""
MOST_FOUND: Final = 5
_IDENTITY: Final = {("principal", "id"), ("principal", "tenant"), ("tenant", "id"), ("route", "id"), ("phase",)}

Place = tuple[str | int, ...]
Action = Literal["set", "add", "remove"]


@dataclass(frozen=True, slots=True)
class Change:
    """One step: `value` is set at `path` of the input or the data, added to the list there, or taken away there."""

    document: Literal["input", "data"]
    path: Place
    action: Action
    value: object = None

    def __str__(self) -> str:
        place = self.document + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        if self.action == "remove":
            return f"remove {place}"
        return f"{self.action} {json.dumps(self.value)} {'to' if self.action == 'add' else 'at'} {place}"

    def apply(self, root: Any) -> Any:
        """A copy of a document with the change made; the same where it cannot be made."""
        root = copy.deepcopy(root)
        at = root
        for step in self.path[:-1]:
            if isinstance(at, dict) and step not in at:
                at[step] = {}
            at = at[step]
        last = self.path[-1]
        if self.action == "remove":
            del at[last]
        elif self.action == "add":
            at[last].append(self.value)
        else:
            at[last] = self.value
        return root


class Search:
    """Looks for changes that allow. `paths` is what the rules read of the input, `literals` what they compare with."""

    def __init__(
        self,
        engine: Engine,
        rule: str,
        document: Mapping[str, Any],
        data: Mapping[str, Any],
        paths: Iterable[Sequence[str]],
        literals: Sequence[object],
    ) -> None:
        self._pristine = engine
        self._engine = engine.clone()
        self._rule = rule
        self._document = document
        self._data = data
        self._paths = sorted({tuple(path) for path in paths})
        self._pool = _pool([*literals, *_scalars(data), *_keys(data)])
        self._words = [value for value in _scalars(document) if isinstance(value, str) and value]
        self._tries = 0

    def run(self) -> list[tuple[Change, ...]]:
        """The smallest changes found, at most `MOST_FOUND`, the likeliest first."""
        _, before = self._decide(())
        nearer: list[Change] = []
        found: list[tuple[Change, ...]] = []
        singles = sorted(self._singles(), key=_unlikely)
        for change in singles:
            if self._tries >= MOST_TRIES or len(found) >= MOST_FOUND:
                break
            allow, reasons = self._decide((change,))
            if allow:
                found.append((change,))
            elif reasons < before:
                nearer.append(change)
        if found:
            return found
        likeliest = [*nearer, *(change for change in singles if change not in nearer)][:MOST_STEPS]
        for pair in combinations(likeliest, 2):
            if self._tries >= MOST_TRIES or len(found) >= MOST_FOUND:
                break
            if self._decide(pair)[0]:
                found.append(pair)
        return found

    def _decide(self, changes: Sequence[Change]) -> tuple[bool, int]:
        """Whether the call is allowed after the changes, and how many reasons stand against it."""
        self._tries += 1
        document: Any = self._document
        data: Any = self._data
        engine = self._engine
        try:
            for change in changes:
                if change.document == "input":
                    document = change.apply(document)
                else:
                    data = change.apply(data)
            if data is not self._data:
                engine = self._pristine.clone()
                engine.clear_data()
                engine.add_data_json(json.dumps(data))
            engine.set_input_json(json.dumps(document))
            result = json.loads(engine.eval_rule_as_json(self._rule))
        except Exception:
            self._engine = self._pristine.clone()  # What it has of a failed evaluation must not reach the next.
            return False, MOST_TRIES
        if result is True:
            return True, 0
        if not isinstance(result, dict):
            return False, MOST_TRIES
        reasons = result.get("reasons")
        allow = result.get("allow", result.get("allowed")) is True and not result.get("require_approval")
        return allow, len(reasons) if isinstance(reasons, list) else 1

    def _singles(self) -> Iterator[Change]:
        yield from self._of_input()
        yield from self._of_data()

    def _of_input(self) -> Iterator[Change]:
        for place, value in self._places():
            if isinstance(value, bool):
                yield Change("input", place, "set", not value)
            elif isinstance(value, str | int | float):
                for other in self._pool:
                    if type(other) is type(value) and other != value:
                        yield Change("input", place, "set", other)
            elif isinstance(value, list):
                for other in self._pool:
                    if isinstance(other, str) and other not in value:
                        yield Change("input", place, "add", other)
            elif value is None:
                yield from (Change("input", place, "set", other) for other in [True, *self._pool])
            if len(place) > 2 and isinstance(place[-1], str):
                yield Change("input", place, "remove")

    def _places(self) -> Iterator[tuple[Place, object]]:
        """Each place at or below what the rules read, with what is there; None for what is read and not there."""
        seen: set[Place] = set()
        for path in self._paths:
            if not path:
                continue
            at: object = self._document
            for step in path:
                at = at.get(step) if isinstance(at, Mapping) else None
            for place, value in _below(path, at):
                if place not in seen:
                    if len(seen) >= MOST_PLACES:
                        return
                    seen.add(place)
                    yield place, value

    def _of_data(self) -> Iterator[Change]:
        """What the data lacks of the call's own words: an entry beside others of its kind, a member of a list."""
        for place, value in _below((), self._data):
            if isinstance(value, list):
                yield from (Change("data", place, "add", word) for word in self._words if word not in value)
            elif isinstance(value, dict) and place:
                others = list(value.values())
                like = copy.deepcopy(others[0]) if others else {}
                yield from (Change("data", (*place, word), "set", like) for word in self._words if word not in value)


def _unlikely(change: Change) -> int:
    """How seldom a change is what somebody wants: another identity is no way out."""
    if change.document == "data":
        return 2
    return 3 if change.path[:2] in _IDENTITY else 1 if change.action == "set" else 0


def _below(path: Sequence[str | int], value: object) -> Iterator[tuple[Place, object]]:
    place = tuple(path)
    yield place, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _below((*place, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value[:8]):
            if isinstance(item, dict | list):
                yield from _below((*place, index), item)


def _scalars(value: object) -> Iterator[object]:
    for _, item in _below((), value):
        if isinstance(item, list):
            yield from (one for one in item if isinstance(one, str | int | float))
        elif isinstance(item, str | int | float):
            yield item


def _keys(value: object) -> Iterator[str]:
    for place, _ in _below((), value):
        if place and isinstance(place[-1], str):
            yield place[-1]


def _pool(values: Iterable[object]) -> list[object]:
    """Each value once, numbers with their neighbours, at most `MOST_POOL`."""
    found: dict[str, object] = {}
    for value in values:
        near = [value]
        if isinstance(value, int) and not isinstance(value, bool):
            near += [value - 1, value + 1]
        for one in near:
            if isinstance(one, str | int | float):
                found.setdefault(json.dumps(one), one)
        if len(found) >= MOST_POOL:
            break
    return list(found.values())
