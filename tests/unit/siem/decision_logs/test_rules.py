"""Where the bundle's rules on decision logs are found, and what happens where they cannot be evaluated."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from policies.settings import Policy, Verification
from policies.verdicts import Verdicts
from siem.decision_logs.rules import LogRules, RulesInForce
from tests.support.bundles import write_keys
from tests.support.decision_logs import World
from tests.support.policies import MINIMAL, examined, write

HEAD = "package system.log\n\nimport rego.v1\n\n"
FORMS = {
    "partial set": {"log.rego": HEAD + 'mask contains "/input/a" if input.input.a\n\ndrop if input.input.b\n'},
    "object in the package above": {
        "log.rego": 'package system\n\nlog := {"mask": ["/input/a"], "drop": input.input.b}\n'
    },
    "with a helper elsewhere": {
        "log.rego": HEAD + "mask contains data.hide.it\n\ndrop if data.hide.me\n",
        "hide.rego": 'package hide\n\nimport rego.v1\n\nit := "/input/a"\n\nme if input.input.b == true\n',
    },
    "data": {"system/log/data.json": '{"mask": ["/input/a"]}'},
}


def event(**input: object) -> dict[str, Any]:
    return {"decision_id": "1", "input": dict(input), "result": {"allow": True}}


@pytest.mark.parametrize("form", FORMS)
def test_the_rules_are_found_in_whatever_form(form: str) -> None:
    rules = LogRules(examined(MINIMAL | FORMS[form]), Policy())
    for _ in range(2):
        masked = event(a=1, b=False)
        assert not rules.drops(masked)
        assert rules.masks(masked)
        assert masked["input"] == {"b": False}
        assert masked["erased"] == ["/input/a"]
    assert rules.drops(event(a=1, b=True)) == (form != "data")


def test_a_value_of_the_data_is_not_changed_by_what_is_done_to_an_event() -> None:
    masks = [{"op": "upsert", "path": "/input/a", "value": {}}, {"op": "upsert", "path": "/input/a/b", "value": 1}]
    rules = LogRules(examined(MINIMAL | {"system/log/data.json": json.dumps({"mask": masks})}), Policy())
    for _ in range(2):
        found = event()
        assert rules.masks(found)
        assert found["input"] == {"a": {"b": 1}}
    assert masks[0]["value"] == {}


BROKEN = {
    "an error in a builtin": 'mask contains "/input/a" if 1 / input.input.zero == 1\n\ndrop if input.none / 0 > 1\n',
    "no list": 'mask := "/input/a"\n\ndrop := "yes"\n',
    "rules below": 'mask.a := "/input/a"\n\ndrop.a := true\n',
    "no mask in it": 'mask := ["/input/a", "/nowhere"]\n\ndrop := 1\n',
    "not even json": "mask := [x | some x in input.input.deep]\n",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_mask_that_cannot_be_known_erases_and_a_drop_drops_nothing(what: str) -> None:
    rules = LogRules(examined(MINIMAL | {"log.rego": HEAD + BROKEN[what]}), Policy())
    deep: list[object] = []
    for _ in range(400):
        deep = [deep]
    found = event(a="secret", zero=0, **({"deep": deep} if "json" in what else {}))
    assert not rules.drops(found)
    assert rules.masks(found)
    assert found == {"decision_id": "1", "erased": ["/input", "/result"]}


def test_an_integer_that_would_be_compared_wrongly_erases() -> None:
    rules = LogRules(
        examined(MINIMAL | {"log.rego": HEAD + 'mask contains "/input/a" if input.input.n == 1\n'}), Policy()
    )
    found = event(a="secret", n=(1 << 53) + 1)
    assert rules.masks(found)
    assert "input" not in found


def test_a_bundle_without_such_rules_leaves_events_alone() -> None:
    rules = LogRules(examined(MINIMAL), Policy())
    found = event(a=1)
    assert not rules.drops(found) and not rules.masks(found)
    assert found == event(a=1)


def test_a_bundle_that_was_never_admitted_lets_nothing_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle", MINIMAL | {"request.rego": "package cordon.request\n\ndecision := {"})
    rules = RulesInForce(Policy(bundle=folder), tmp_path)
    rules.refresh()
    found = event(a=1)
    assert rules.apply(found) == (False, True)
    assert found == {"decision_id": "1", "erased": ["/input", "/result"]}


def test_a_change_is_taken_up_and_a_refused_one_leaves_the_rules_before(tmp_path: Path) -> None:
    world = World(tmp_path)
    rules = RulesInForce(world.policy, world.data_dir / "run")
    rules.refresh()
    assert rules.apply(event(a=1)) == (False, False)
    changed = MINIMAL | FORMS["partial set"]
    write(world.policy.bundle, changed)
    world.admit(changed)
    _until(rules, lambda: rules.apply(event(a=1)) == (False, True))
    write(world.policy.bundle, {"log.rego": HEAD + "mask := {"})
    before = rules._seen
    _until(rules, lambda: rules._seen != before)
    assert rules.apply(event(a=1)) == (False, True)
    assert rules.apply(event(b=1)) == (True, False)
    rules.close()
    world.close()


def _until(rules: RulesInForce, what: Any) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        rules.refresh()
        time.sleep(0.005)


def test_of_a_bundle_on_a_server_the_one_counts_that_the_workers_took_up(tmp_path: Path) -> None:
    settings = Policy(bundle="https://bundles.example/bundle.tar.gz", reload_seconds=0.001)
    rules = RulesInForce(settings, tmp_path)
    rules.refresh()
    assert rules.apply(event(a=1)) == (False, True)
    Verdicts(tmp_path / "admitted").write_last(settings, examined(MINIMAL | FORMS["partial set"]))
    _until(rules, lambda: rules.apply(event(b=1)) == (True, False))
    found = event(a=1, c=1)
    assert rules.apply(found) == (False, True)
    assert found["input"] == {"c": 1}
    unknown = RulesInForce(settings.model_copy(update={"bundle": "https://other.example/bundle.tar.gz"}), tmp_path)
    unknown.refresh()
    hidden = event(a=1)
    assert unknown.apply(hidden) == (False, True)
    assert "input" not in hidden
    rules.close()


def test_a_bundle_that_is_not_signed_as_it_must_be_lets_nothing_out(tmp_path: Path) -> None:
    _, public = write_keys(tmp_path)
    settings = Policy(bundle=write(tmp_path / "bundle"), verification=Verification(key=public))
    rules = RulesInForce(settings, tmp_path)
    rules.refresh()
    found = event(a=1)
    assert rules.apply(found) == (False, True)
    assert "input" not in found
