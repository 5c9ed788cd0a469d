"""What a bundle costs: each decision on each input, and each rule evaluated alone, slowest first.

A decision is measured as a worker makes it, the reading of the document from JSON included; what that takes alone is
told beside. A rule alone is measured without it, on the inputs of its moment. Functions are not measured alone, for
they have no arguments then; they show in the rules that call them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from policies.admission import asked_rules
from policies.authoring.rules import Reach
from policies.bundle import Bundle
from policies.embedded import EmbeddedEngine, build
from policies.errors import PolicyError
from policies.numbers import inexact_number
from policies.rego.names import Names
from policies.rego.parsing import parsed
from policies.settings import Policy

MOST_INPUTS: Final = 1_000
LARGEST_FILE: Final = 16_777_216
MOST_ROUNDS: Final = 100_000
_WARM: Final = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What one rule costs on one input, in microseconds: percentiles over `rounds` evaluations, and the largest.

    `defined` says whether the rule has a value there; `error` what went wrong instead of an evaluation, "" for nothing.
    """

    rule: str
    input: str
    rounds: int
    p50: float
    p90: float
    p99: float
    largest: float
    defined: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of decisions, and of rules alone, each slowest first; `reading` is the cost of reading each input."""

    decisions: tuple[Cost, ...]
    rules: tuple[Cost, ...]
    reading: tuple[Cost, ...]


def measure(
    bundle: Bundle,
    written: Bundle,
    inputs: Mapping[str, str],
    settings: Policy,
    rounds: int,
    told: Callable[[int], object] = lambda _: None,
) -> Costs:
    """Measure an admitted `bundle` (`written` as it was read) on `inputs`, JSON texts by name.

    `told` is called with 1 for each rule and input that is done. PolicyError for an input that cannot be read.
    """
    for name, text in inputs.items():
        number = inexact_number(text.encode())
        if number:
            raise PolicyError(f"{name}: {number}")
    names = Names(parsed(written.modules))
    asked = asked_rules(settings)
    bench = _Bench(bundle, settings, rounds, told)
    decisions = [
        bench.decision(rule, name, text) for name, text in inputs.items() for rule in _asked_of(text, asked, settings)
    ]
    reading = [bench.reading(name, text) for name, text in inputs.items()]
    alone = [
        max((bench.rule(rule, name, inputs[name]) for name in sorted(given)), key=_order)
        for rule, given in sorted(_rules(names, asked, inputs, settings).items())
    ]
    return Costs(*(tuple(sorted(each, key=_order, reverse=True)) for each in (decisions, alone, reading)))


def steps(written: Bundle, inputs: Sequence[str], settings: Policy) -> int:
    """How many times `told` will be called, at most."""
    rules = len(Names(parsed(written.modules)).rules)
    return len(inputs) * (rules + 1 + len(asked_rules(settings)))


def read_inputs(place: Path) -> dict[str, str]:
    """The inputs in a file (one JSON value, or one a line in .jsonl) or in the .json and .jsonl files of a folder."""
    files = sorted(each for each in place.rglob("*.json*") if each.is_file()) if place.is_dir() else [place]
    found: dict[str, str] = {}
    for file in files:
        try:
            with file.open("rb") as stream:
                content = stream.read(LARGEST_FILE + 1)
            if len(content) > LARGEST_FILE:
                raise PolicyError(f"{file} is larger than {LARGEST_FILE} bytes; split it")
            found.update(_documents(file, content.decode()))
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"{file} cannot be read ({error})") from None
        if len(found) > MOST_INPUTS:
            raise PolicyError(f"{place} holds more than {MOST_INPUTS} inputs; give fewer")
    if not found:
        raise PolicyError(f"{place} holds no .json or .jsonl file with an input")
    return found


def _documents(file: Path, text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip()] if file.suffix == ".jsonl" else [text]
    for number, line in enumerate(lines, 1):
        name = f"{file.name}:{number}" if file.suffix == ".jsonl" else file.name
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError):
            raise PolicyError(f"{name} is not JSON") from None
        if not isinstance(value, dict):
            raise PolicyError(f"{name} is not an object, as the input of a decision is")
        yield name, line


def _asked_of(text: str, asked: Sequence[str], settings: Policy) -> list[str]:
    """The rules that are asked of a document, by its `phase`; all of them where it has none."""
    phase = json.loads(text).get("phase")
    if phase is None:
        return list(asked)
    return [rule for rule in asked if (rule == settings.request_rule) == (phase == "request")]


def _rules(names: Names, asked: Sequence[str], inputs: Mapping[str, str], settings: Policy) -> dict[str, set[str]]:
    """The rules that decisions evaluate, each with the names of the inputs that they are evaluated on."""
    reach = Reach(names)
    found: dict[str, set[str]] = {}
    for entry in asked:
        given = {name for name, text in inputs.items() if entry in _asked_of(text, asked, settings)}
        for path in reach.all([tuple(entry.split("."))]) if given else ():
            if not any(rule.function for _, rule in names.rules[path]):
                found.setdefault(".".join(path), set()).update(given)
    return found


def _order(cost: Cost) -> tuple[float, str, str]:
    return cost.p50, cost.rule, cost.input


class _Bench:
    def __init__(self, bundle: Bundle, settings: Policy, rounds: int, told: Callable[[int], object]) -> None:
        self._worker = EmbeddedEngine(bundle, settings)
        self._pristine = build(bundle)
        self._rounds, self._told = rounds, told

    def decision(self, rule: str, name: str, text: str) -> Cost:
        """The cost of a decision, with all that a worker does for it."""
        document = text.encode()
        return self._timed(rule, name, lambda: self._worker.evaluate(rule, document))

    def rule(self, rule: str, name: str, text: str) -> Cost:
        """The cost of one rule and what it depends on."""
        engine = self._pristine.clone()
        return self._timed(
            rule, name, lambda: str(engine.eval_rule_as_json(rule)), before=lambda: engine.set_input_json(text)
        )

    def reading(self, name: str, text: str) -> Cost:
        """The cost of handing the document to the engine."""
        engine = self._pristine.clone()

        def once() -> str:
            engine.set_input_json(text)
            return "true"

        return self._timed("(reading the input)", name, once)

    def _timed(
        self, rule: str, name: str, once: Callable[[], str], before: Callable[[], object] = lambda: None
    ) -> Cost:
        times = []
        result, error = "", ""
        for number in range(self._rounds + _WARM):
            before()  # a new document, so that nothing is remembered of the last round
            began = time.perf_counter()
            try:
                result = once()
            except PolicyError as failed:
                error = str(failed)
            except Exception:
                error = "it cannot be evaluated on this input"
            if number >= _WARM:
                times.append((time.perf_counter() - began) * 1e6)
            if error:
                break
        self._told(1)
        times = sorted(times) or [0.0]
        defined = not error and result != '"<undefined>"'
        at = [percentile(times, share) for share in (50, 90, 99)]
        return Cost(rule, name, 0 if error else len(times), at[0], at[1], at[2], times[-1], defined, error)


def percentile(times: Sequence[float], share: float) -> float:
    """The smallest of these sorted values that so many percent do not exceed (nearest rank)."""
    return times[max(0, math.ceil(len(times) * share / 100) - 1)]
