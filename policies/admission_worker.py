"""The disposable process that examines a bundle: `python -m policies.admission_worker`.

It reads one JSON object on standard input (`modules`, `data`, `rules`, `samples`, `decision_ms`, `seconds`) and writes
JSON lines on standard output: `{"at": …}` before each step that could crash or hang, and last `{"done": …}` with
problems, the rewritten modules, the costs and what each rule reads (`rego/inputs.py`). It limits its own
memory and time first, so that a bundle which breaks the engine breaks only this process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from policies.processes import limit

MEMORY: Final = 2 << 30
PARSE_SECONDS: Final = 2.0
ROUNDS: Final = 5


def main() -> None:
    """Examine the bundle on standard input."""
    request = json.load(sys.stdin)
    limit(MEMORY, int(request["seconds"]) + 1)
    print(json.dumps({"done": examine(request, _at)}), flush=True)


def _at(step: str, file: str) -> None:
    print(json.dumps({"at": step, "file": file}), flush=True)


def examine(request: dict[str, Any], at: Callable[[str, str], None]) -> dict[str, Any]:
    """The verdict on a bundle, as a JSON value; each stage runs only if the one before found no errors.

    `at` is told each step (name, file or rule) before it begins.
    """
    from policies.errors import Problem
    from policies.rego.inputs import reading
    from policies.rego.inspection import inspect
    from policies.rego.lexer import check_brackets
    from policies.rego.names import Names

    problems: list[Problem] = []
    for file, text in request["modules"].items():
        problems += check_brackets(file, text)
    if problems:
        return {"problems": _plain(problems)}
    modules, problems = _parse(request["modules"], at)
    if problems:
        return {"problems": _plain(problems)}
    at("inspect", "")
    names = Names(modules)
    problems = inspect(names, request["data"]) + _missing(names, request["rules"])
    if any(problem.severity == "error" for problem in problems):
        return {"problems": _plain(problems)}
    at("rewrite", "")
    exact, unguarded = _rewritten(modules, request["data"])
    problems += unguarded
    if unguarded:
        return {"problems": _plain(problems)}
    costs, found = _run(exact, request, at)
    readings = {rule: reading(names, rule) for rule in request["rules"]}
    return {
        "problems": _plain(problems + found),
        "modules": exact,
        "costs": costs,
        "reads": {rule: each.keys for rule, each in readings.items()},
        "uncached": {rule: asdict(each.uncached) for rule, each in readings.items() if each.uncached},
    }


def _parse(texts: dict[str, str], at: Callable[[str, str], None]) -> tuple[list[Any], list[Any]]:
    from policies.errors import Problem
    from policies.rego.failure import parse_problem
    from policies.rego.tree import parse

    modules, problems = [], []
    for file, text in texts.items():
        at("parse", file)
        began = time.process_time()
        try:
            modules.append(parse(file, text))
        except Exception as error:
            problems.append(parse_problem(file, str(error)))
        if time.process_time() - began > PARSE_SECONDS:
            message = f"takes more than {PARSE_SECONDS:g} s to parse"
            problems.append(Problem(file, 0, 0, "cost", message, "nest less, or split the file"))
    return modules, problems


def _rewritten(modules: list[Any], data: dict[str, Any]) -> tuple[dict[str, str], list[Any]]:
    from policies.errors import Problem
    from policies.rego.builtins import OPA_SERVER
    from policies.rego.failure import parse_problem
    from policies.rego.rewriting import rewrite

    try:
        return rewrite(modules, data)
    except RecursionError as error:
        return {}, [Problem(".", 0, 0, "rewrite", str(error), OPA_SERVER)]
    except Exception as error:
        found = parse_problem("", str(error), "rewrite")
        message = "an expression near here cannot be made to mean what it means to OPA"
        return {}, [Problem(found.file, found.line, 0, "rewrite", message, "write it more simply, or " + OPA_SERVER)]


def _missing(names: Any, rules: Sequence[str]) -> list[Any]:
    from policies.errors import Problem

    found = []
    for rule in rules:
        if tuple(rule.split(".")) not in names.rules:
            message = f"there is no rule {rule}, which is asked for decisions"
            found.append(
                Problem(".", 0, 0, "entry", message, "add it, or set policy.request_rule and policy.response_rule")
            )
    return found


def _run(
    modules: dict[str, str], request: dict[str, Any], at: Callable[[str, str], None]
) -> tuple[dict[str, float], list[Any]]:
    """Build the engine as a worker would and measure each rule on each sample: milliseconds by rule."""
    from policies.errors import Problem
    from policies.rego.exact import install
    from policies.rego.failure import parse_problem
    from policies.rego.tree import new_engine

    at("compile", "")
    engine = new_engine()
    install(engine)
    engine.add_data_json(json.dumps(request["data"]))
    try:
        for file, text in modules.items():
            engine.add_policy(file, text)
        engine.eval_query_as_json("true")
    except Exception as error:
        return {}, [parse_problem("", str(error), "compile")]
    costs: dict[str, float] = {}
    problems = []
    for rule in request["rules"]:
        at("evaluate", rule)
        costs[rule] = max((_cost(engine, rule, sample) for sample in request["samples"]), default=0.0)
        if costs[rule] > request["decision_ms"]:
            message = f"{rule} takes {costs[rule]:.1f} ms, more than policy.decision_ms allows"
            problems.append(Problem(".", 0, 0, "cost", message, "look values up by key instead of searching for them"))
    return costs, problems


def _cost(engine: Any, rule: str, sample: str) -> float:
    """The best of some rounds, so that other work on the machine does not count."""
    best = float("inf")
    for _ in range(ROUNDS):
        fresh = engine.clone()
        began = time.perf_counter()
        try:
            fresh.set_input_json(sample)
            fresh.eval_rule_as_json(rule)
        except Exception:  # noqa: S110 - an error on a sample is no fault of the bundle: it denies
            pass
        best = min(best, (time.perf_counter() - began) * 1e3)
    return best


def _plain(problems: Sequence[Any]) -> list[dict[str, Any]]:
    return [{name: getattr(problem, name) for name in problem.__slots__} for problem in sorted(set(problems))]


if __name__ == "__main__":
    main()
