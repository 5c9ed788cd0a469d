"""How the embedded engine fares beside OPA: on OPA's own conformance cases, admission included, and by chance.

    python bench/conformance.py [FOLDER]        # or CORDON_EVAL_DATA; the cases lie in FOLDER/opa/cases_v1.jsonl
    python bench/conformance.py FOLDER --write  # bench/CONFORMANCE.md
    python bench/conformance.py --calls 200 --seed 1   # so many random calls of each builtin and operator as well
    python bench/conformance.py --modules 100          # and so many random modules of each kind

Each case becomes a bundle. It is either refused at admission (with a reason), or evaluated and compared with what OPA
gives. An error where OPA has none denies and is counted apart; "different", "crash" and "hang" must not happen.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies.admission_worker import examine
from policies.bundle import make_bundle
from policies.embedded import build
from policies.errors import BundleError, Problem
from policies.rego.digits import WRITTEN, written_otherwise
from policies.rego.failure import evaluation_failure

ENTRY = "data.cordon_case.result"
SECONDS = 10
NO_INPUT = "input that is no JSON"
RESULTS = Path(__file__).resolve().parent / "CONFORMANCE.md"
HEAD = """# What the embedded policy engine accepts, beside OPA

Written by `python bench/conformance.py FOLDER --calls 20 --modules 20 --write`. "Refused"
is a bundle that admission turns away with the place and the way out; an error denies. A case whose input is no JSON
(sets) cannot be put here.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=os.environ.get("CORDON_EVAL_DATA", ""))
    parser.add_argument("--show", default="different,crash,hang", help="outcomes whose cases are listed")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--calls", type=int, default=0, help="random calls of each builtin and operator")
    parser.add_argument("--modules", type=int, default=0, help="random modules of each kind (random_rules.py)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    file = Path(options.folder or ".") / "opa" / "cases_v1.jsonl"
    report: list[str] = []
    if options.folder and file.is_file():
        report += _cases(file, options.show.split(","))
    else:
        print("no conformance cases: give the folder, or set CORDON_EVAL_DATA", file=sys.stderr)
    if options.calls:
        report += _calls(options.calls, options.seed)
    if options.modules:
        report += _modules(options.modules, options.seed)
    print("\n".join(report))
    if options.write and report:
        RESULTS.write_text("\n".join([HEAD, *report]) + "\n", encoding="utf-8")


def _cases(file: Path, shown: list[str]) -> list[str]:
    cases = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    outcomes: Counter[str] = Counter(dict.fromkeys(("equal", "refused", "different", "crash", "hang"), 0))
    reasons: Counter[str] = Counter()
    listed: list[str] = []
    for case, (outcome, detail) in zip(cases, _run(cases), strict=True):
        outcomes[outcome] += 1
        if outcome == "refused":
            reasons[_reason(detail)] += 1
        if outcome in shown:
            listed.append(f"- {outcome}: {case['category']}: {case['note']}: {detail[:300]}")
    accepted = len(cases) - outcomes["refused"] - outcomes[NO_INPUT]
    lines = [f"## OPA's conformance cases ({len(cases)})", "", "| outcome | cases | share |", "|---|---:|---:|"]
    lines += [f"| **accepted** | {accepted} | {100 * accepted / len(cases):.1f} % |"]
    lines += [f"| {name} | {count} | {100 * count / len(cases):.1f} % |" for name, count in outcomes.most_common()]
    lines += ["", "Refused, by reason:", "", "| cases | reason |", "|---:|---|"]
    lines += [f"| {count} | {reason} |" for reason, count in reasons.most_common(40)]
    return [*lines, *(["", *listed] if listed else [])]


def _reason(detail: str) -> str:
    """What stood in the way, without the place and the remedy."""
    message = re.sub(r"^\S+: ", "", detail).partition("; ")[0]
    message = re.sub(r"\bdata(\.\w+)+(, )?", "… ", message)
    return re.sub(r"the number \S+ ", "the number … ", message).replace("|", "\\|")[:110]


def _calls(calls: int, seed: int) -> list[str]:
    from bench.random_calls import compare, sources
    from tests.support.servers import require_binary

    outcome = compare(Path(require_binary("opa")), sources(seed, calls))
    return _told(outcome, f"## Random calls ({calls} of each builtin and operator, seed {seed})")


def _modules(count: int, seed: int) -> list[str]:
    from bench.random_rules import compare_rules, modules
    from tests.support.servers import require_binary

    outcome = compare_rules(Path(require_binary("opa")), modules(seed, count))
    title = (
        f"## Random modules ({count} each of templates, default functions, `with`, negation, heads, iteration, members)"
    )
    return _told(outcome, f"{title[:-1]}; seed {seed})")


def _told(outcome: Any, title: str) -> list[str]:
    errors = sum(outcome.errors.values())
    said = f"{outcome.equal} equal, {errors} refused or an error, {len(outcome.different)} different."
    differences = (f"- `{source}`: {got} where OPA has {want}" for source, got, want in outcome.different)
    return ["", title, "", said, *differences]


def _run(cases: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """One process for each case, because a case may end or hang it."""
    for case in cases:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_one, args=(case, sender))
        process.start()
        sender.close()
        if receiver.poll(SECONDS):
            try:
                yield receiver.recv()
            except EOFError:
                yield "crash", f"exit code {process.exitcode}"
        else:
            process.kill()
            yield "hang", ""
        process.join()


def _one(case: dict[str, Any], sender: Any) -> None:
    os.close(2)
    try:
        sender.send(_judge(case))
    except BaseException as error:
        sender.send(("panic", repr(error)[:200]))


def _judge(case: dict[str, Any]) -> tuple[str, str]:
    files = {f"m{place}.rego": text.encode() for place, text in enumerate(case.get("modules", []))}
    files["entry.rego"] = _entry(case["query"]).encode()
    if "data" in case:
        files["data.json"] = json.dumps(case["data"]).encode()
    try:
        bundle = make_bundle(files)
    except BundleError as error:
        return "refused", str(error)
    document = _input(case)
    if document is None:
        return NO_INPUT, ""
    done = examine(
        {
            "modules": dict(bundle.modules),
            "data": bundle.data,
            "rules": [ENTRY],
            "samples": [],
            "decision_ms": 1e9,
            "seconds": SECONDS,
        },
        lambda step, file: None,
    )
    errors = [Problem(**each) for each in done["problems"] if each["severity"] == "error"]
    if errors:
        return "refused", str(errors[0])
    engine = build(replace(bundle, modules=done["modules"]))
    WRITTEN.otherwise = written_otherwise(bundle.data_json.encode()) or written_otherwise((document or "").encode())
    wanted_error = "want_error" in case or "want_error_code" in case
    try:
        if document:
            engine.set_input_json(document)
        got = json.loads(engine.eval_rule_as_json(ENTRY))
    except RuntimeError as error:
        if wanted_error:
            return "equal", ""
        if not case["want_result"]:
            return "error where OPA is undefined", evaluation_failure(str(error))
        return "error where OPA has a result", evaluation_failure(str(error))
    if wanted_error:
        return "different", f"no error, but {got}; wanted {case.get('want_error', case.get('want_error_code'))}"
    return _compare(case, got)


def _compare(case: dict[str, Any], got: Any) -> tuple[str, str]:
    want = case["want_result"]
    if _plain(case["query"]):
        if not want:
            return ("equal", "") if got == [] else ("different", f"{got} where OPA is undefined")
        if got == []:
            return "different", f"undefined where OPA has {want}"
        got, value = got[0], next(iter(want[0].values()))
        same = _same(got, value) or (case.get("sort_bindings") and _same(_sorted(got), _sorted(value)))
    else:
        same = _same(_sorted(got), _sorted(want))
    return ("equal", "") if same else ("different", f"{got} where OPA has {want}")


def _plain(query: str) -> str:
    found = re.fullmatch(r"(data(?:\.\w+)+) = (?!input\b)[a-z]+", query)
    return found[1] if found else ""


def _entry(query: str) -> str:
    path = _plain(query)
    if path:
        return f"package cordon_case\n\nresult := [value | value := {path}]\n"
    names = sorted(set(re.findall(r"(?<![.\w])([a-z_]+) ?=(?!=)|= ([a-z_]+)\b|, ([a-z])\)|\[([a-z])\]", query)))
    variables = sorted({name for group in names for name in group if name} - {"data", "input", "true", "false"})
    pairs = ", ".join(f'"{name}": {name}' for name in variables)
    return f"package cordon_case\n\nresult := [b | {query}; b := {{{pairs}}}]\n"


def _input(case: dict[str, Any]) -> str | None:
    if "input" in case:
        return json.dumps(case["input"])
    if "input_term" not in case:
        return ""
    from regorus import Engine

    try:
        found = json.loads(Engine().eval_query_as_json(case["input_term"]))
    except Exception:
        return None
    text = json.dumps(found["result"][0]["expressions"][0]["value"])
    written = re.sub(r'"(\\.|[^"])*"', '"":', case["input_term"])
    return None if re.search(r"\{[^:\"{}]*[^:\"{}\s][^:\"{}]*\}|set\(", written) else text


def _sorted(value: Any) -> Any:
    return sorted(value, key=json.dumps) if isinstance(value, list) else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


if __name__ == "__main__":
    main()
