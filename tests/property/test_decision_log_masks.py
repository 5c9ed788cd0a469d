"""What a mask does to an event here is what it does in a real OPA, for random inputs and masks.

Each input brings its masks along, so one policy is enough. OPA's own events, as a collector gets them, are the judge.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import httpx

from policies.settings import Policy
from siem.decision_logs.rules import LogRules
from tests.support.collector import collecting
from tests.support.opa import opa_server
from tests.support.policies import MINIMAL, examined, write

CASES = 300
POLICY = """package system.log

import rego.v1

mask := input.input.masks if input.input.ordered

mask := {each | some each in input.input.masks} if not input.input.ordered

drop if input.input.drop
"""
APP = "package app\n\nimport rego.v1\n\nresult := input.gives\n"
KEYS = ("a", "b", "0", "1", "c-d", "$&+=:@~_", "x.y", "", "-1")
ASIDE = ("masks", "ordered", "drop", "gives")


def value(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(4 if depth < 4 else 2)
    if kind == 2:
        return [value(dice, depth + 1) for _ in range(dice.randrange(4))]
    if kind == 3:
        return {key: value(dice, depth + 1) for key in dice.sample(KEYS[:8], dice.randrange(5))}
    return dice.choice((None, True, False, 0, 7, "text", "", "ü"))


def path(dice: random.Random, document: Any) -> str:
    """A path that begins as something in the event does, and may go astray."""
    part = dice.choice(("input", "input", "input", "result", "nd_builtin_cache"))
    steps, node = [part], document["gives"] if part == "result" else document
    while dice.random() < 0.8 and len(steps) < 6:
        inner = (
            list(node)
            if isinstance(node, dict)
            else [str(n) for n in range(len(node))]
            if isinstance(node, list)
            else []
        )
        inner = [key for key in inner if key not in ASIDE or part == "result"]
        step = dice.choice(inner) if inner and dice.random() < 0.85 else dice.choice((*KEYS[:4], "-1", "+0", "9", "00"))
        steps.append(step)
        if isinstance(node, dict):
            node = node.get(step)
        elif isinstance(node, list) and step.lstrip("+").isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            node = None
    return "/" + "/".join(steps)


def mask(dice: random.Random, document: Any) -> Any:
    if dice.random() < 0.03:
        return dice.choice(
            ("", "input/a", "/labels/app", 7, None, [], {"op": "remove"}, {"path": "/input"}, "/input/%zz",
             {"op": "move", "path": "/input/a"}, {"op": 3, "path": "/input/a"}, {"op": "remove", "path": 3}),
        )  # fmt: skip
    where = path(dice, document)
    if dice.random() < 0.5:
        return where
    if dice.random() < 0.4:
        return {"op": "remove", "path": where}
    return {"op": "upsert", "path": where, "value": value(dice, 2)}


def case(dice: random.Random) -> dict[str, Any]:
    document = {key: value(dice, 1) for key in dice.sample(KEYS[:8], 4)}
    document["gives"] = value(dice, 1)
    masks = [mask(dice, document) for _ in range(dice.choice((0, 1, 2, 2, 3, 5)))]
    return document | {
        "masks": masks,
        "ordered": dice.random() < 0.5,
        "drop": dice.choice((False,) * 8 + (True, 1)),
    }


def facts(event: dict[str, Any]) -> dict[str, Any]:
    return {name: event[name] for name in ("input", "result", "erased", "masked") if name in event}


def test_masks_do_what_they_do_in_opa(tmp_path: Path) -> None:
    dice = random.Random(8)
    cases = [case(dice) for _ in range(CASES)]
    folder = write(tmp_path / "opa", {"log.rego": POLICY, "app.rego": APP})
    with collecting() as collector:
        theirs = _by_opa(folder, collector, cases)
    admission = examined(MINIMAL | {"log.rego": POLICY, "app.rego": APP})
    assert admission.bundle is not None, admission.problems
    rules = LogRules(admission, Policy())
    masked = erased = dropped = unlogged = 0
    for number, document in enumerate(cases):
        event: dict[str, Any] = {"decision_id": str(number), "input": json.loads(json.dumps(document))}
        event["result"] = json.loads(json.dumps(document["gives"]))
        if rules.drops(event):
            dropped += 1
            assert number not in theirs, document
            continue
        rules.masks(event)
        if number not in theirs:
            # A list with what is no mask in it: OPA leaves the event out, and here it goes without input and result.
            unlogged += 1
            assert not {"input", "result"} & event.keys(), document
            continue
        assert facts(event) == facts(theirs[number]), document
        erased += "erased" in event
        masked += "masked" in event
    assert min(masked, erased, dropped) > 40
    assert unlogged > 5


def _by_opa(folder: Path, collector: Any, cases: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    settings = (
        f"services.log.url={collector.url}", "decision_logs.service=log", "labels.from=opa",
        "decision_logs.reporting.min_delay_seconds=1", "decision_logs.reporting.max_delay_seconds=1",
    )  # fmt: skip
    given: dict[str, int] = {}
    with opa_server(*(f"--set={each}" for each in settings), str(folder)) as server:
        with httpx.Client(base_url=server.url) as client:
            for number, document in enumerate([*cases, {"gives": "last", "masks": [], "ordered": True}]):
                answer = client.post("/v1/data/app/result", json={"input": document}).json()
                given[answer["decision_id"]] = number
        collector.until(lambda: len(cases) in {given[each] for each in collector.ids})
    return {given[event["decision_id"]]: event for event in collector.events}


def test_a_key_that_a_url_would_encode_is_met_here_and_not_in_opa() -> None:
    policy = 'package system.log\n\nimport rego.v1\n\nmask := ["/input/full name", "/input/100%25", "/input/a~b"]\n'
    admission = examined(MINIMAL | {"log.rego": policy})
    event: dict[str, Any] = {"decision_id": "1", "input": {"full name": "x", "100%": "x", "a~b": "x", "c": 1}}
    assert LogRules(admission, Policy()).masks(event)
    assert event["input"] == {"c": 1}
    assert event["erased"] == ["/input/full%20name", "/input/100%2525", "/input/a~b"]
