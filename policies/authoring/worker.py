"""The process that runs tests: `python -m policies.authoring.worker`.

It reads JSON lines on standard input, first the prepared bundle (`texts`, `sources`, `data`, `coverage`), then one test
each, and answers each with a JSON line. A test that breaks the engine, or never ends, costs this process alone.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from regorus import Engine

from policies.authoring.cases import Test
from policies.authoring.failing import Failures
from policies.bundle import Bundle
from policies.embedded import build
from policies.errors import BundleError
from policies.processes import limit
from policies.rego.digits import WRITTEN, written_otherwise
from policies.rego.failure import evaluation_failure
from policies.rego.tree import Module, parse

MEMORY: Final = 2 << 30
_UNDEFINED: Final = "<undefined>"


def main() -> None:
    """Run what comes in until the input ends."""
    limit(MEMORY)
    setup = json.loads(sys.stdin.readline())
    try:
        work = Work(setup)
    except BundleError as error:
        _say({"problems": [{name: getattr(each, name) for name in each.__slots__} for each in error.problems]})
        return
    _say({"problems": [], "lines": work.lines()})
    for line in sys.stdin:
        _say(work.run(Test(**json.loads(line))))


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


class Work:
    """Runs tests of one prepared bundle."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._texts, self._sources = setup["texts"], setup["sources"]
        self._engine = build(Bundle("tests", "", setup["texts"], {}, {}, setup["data"]))
        self._otherwise = written_otherwise(setup["data"].encode())
        self._coverage = bool(setup["coverage"])
        self._failures = Failures(self._engine.clone(), setup["texts"], setup["sources"])
        self._engine.set_enable_coverage(self._coverage)

    def lines(self) -> dict[str, list[list[int]]]:
        """By file, the lines that can be evaluated, none of them as covered; {} where coverage is not asked for.

        The engine tells the lines of a file only once something in it was evaluated, so something is.
        """
        found: dict[str, list[list[int]]] = {}
        for file in self._sources if self._coverage else ():
            for query in _queries(parse(file, self._texts[file])):
                engine = self._engine.clone()
                with contextlib.suppress(Exception):  # without an input, it may well be an error
                    engine.eval_query_as_json(query)
                told = {path: sorted({*covered, *missed}) for path, (covered, missed) in _reported(engine).items()}
                if file in told:
                    found[file] = [[], told[file]]
                    break
        return found

    def run(self, test: Test) -> dict[str, Any]:
        """How a test went, as a JSON value: outcome, detail, line, milliseconds, cases and lines."""
        engine = self._engine.clone()
        WRITTEN.otherwise = self._otherwise
        began = time.perf_counter()
        try:
            found = self._cases(engine, test) if test.cases else self._whole(engine, test)
        except Exception as error:
            found = {"outcome": "error", "detail": evaluation_failure(str(error))}
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            return {"outcome": "error", "detail": "the policy engine broke down", "milliseconds": 0.0}
        found.setdefault("milliseconds", (time.perf_counter() - began) * 1e3)
        if self._coverage:
            found["lines"] = _reported(engine)
        return found

    def _whole(self, engine: Engine, test: Test) -> dict[str, Any]:
        value, milliseconds = _evaluated(engine, test.rule)
        if value is True:
            return {"outcome": "passed", "milliseconds": milliseconds}
        failure = self._failures.explain(test, None if value == _UNDEFINED else value)
        return {"outcome": "failed", "detail": failure.detail, "at": failure.line, "milliseconds": milliseconds}

    def _cases(self, engine: Engine, test: Test) -> dict[str, Any]:
        keys, _ = _evaluated(engine, test.cases)
        values, milliseconds = _evaluated(engine, test.rule)
        held = values if isinstance(values, dict) else {}
        cases = []
        for key in keys if isinstance(keys, list) else []:
            name = key if isinstance(key, str) else json.dumps(key, separators=(",", ":"), ensure_ascii=False)
            value = held.get(name)
            if value is True:
                cases.append({"name": name, "passed": True})
                continue
            failure = self._failures.explain(test, value, key)
            cases.append({"name": name, "passed": False, "detail": failure.detail, "at": failure.line})
        wrong = [case for case in cases if not case["passed"]]
        detail = f"{len(wrong)} of {len(cases)} cases fail" if wrong else ""
        outcome = "failed" if wrong else "passed"
        return {"outcome": outcome, "detail": detail, "cases": cases, "milliseconds": milliseconds}


def _reported(engine: Engine) -> dict[str, list[list[int]]]:
    files = json.loads(engine.get_coverage_report_as_json())["files"]
    return {each["path"]: [each["covered"], each["not_covered"]] for each in files}


def _queries(module: Module) -> Iterator[str]:
    """A query for each rule of a module that evaluates something of it."""
    for rule in module.rules:
        steps = "".join(f"[{json.dumps(step)}]" for step in rule.path[1:])
        head = {} if rule.default else rule.node["head"][rule.kind]
        arguments = ", ".join("null" for _ in head.get("args") or ())
        yield f"data{steps}({arguments})" if arguments else f"data{steps}"


def _evaluated(engine: Engine, rule: str) -> tuple[Any, float]:
    began = time.perf_counter()
    text = engine.eval_rule_as_json(rule)
    return json.loads(text), (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    main()
