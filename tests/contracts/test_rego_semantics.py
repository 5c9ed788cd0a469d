"""Random modules mean to the embedded engine, once admitted, what they mean to OPA."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

from policies.admission_worker import examine
from policies.bundle import make_bundle
from policies.embedded import build
from tests.support.servers import require_binary

INPUT = {"a": 1, "b": "x", "t": True, "f": False, "n": None, "l": [1, 2, "x"], "o": {"k": 1, "x": "y"}, "e": []}
TERMS = ["input.a", "input.b", "input.t", "input.f", "input.n", "input.zz", "input.o.k", "input.o.zz", "input.l[0]"]
TERMS += ["input.l[9]", "input.o[input.b]", "input.o[input.zz]", "input.zz.yy", "lib.first", "lib.second"]
COLLECTIONS = ["input.l", "input.o", "input.e", "input.zz", "lib.many"]
LIBRARY = """package lib

first := input.a if input.t

default second := "s"

many contains input.l[_]

twice(p) := [p, p] if p
"""
RULES = 150


class Author:
    """Writes rules by chance."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)

    def term(self) -> str:
        choice = self.rnd.random()
        term = self.rnd.choice(TERMS)
        if choice < 0.7:
            return term
        forms = ["[{}]", '{{"k": {}}}', "type_name({})", "is_string({})", "lib.twice({})", 'object.get({}, "k", 5)']
        return self.rnd.choice(forms).format(term)

    def collection(self) -> str:
        return self.rnd.choice(COLLECTIONS)

    def condition(self, variables: tuple[str, ...] = ()) -> str:
        left = self.rnd.choice([*variables, self.rnd.choice(TERMS)])
        choice = self.rnd.random()
        if choice < 0.25:
            return left
        if choice < 0.7:
            return f"{left} {self.rnd.choice(['==', '!=', '<', '>='])} {self.term()}"
        return f"{left} in {self.collection()}"

    def statement(self) -> str:
        choice = self.rnd.random()
        if choice < 0.3:
            return self.condition()
        if choice < 0.7:
            return f"not {self.condition()}" + self.rnd.choice(["", "", " with input.a as 2"])
        if choice < 0.85:
            negated = self.rnd.choice(["", "not "])
            return f"every v in {self.collection()} {{ {negated}{self.condition(('v', 'v'))}; v != 77 }}"
        return f"count([v | some v in {self.collection()}; not {self.condition(('v',))}; v != 77]) > 0"

    def rule(self, name: str) -> str:
        body = "; ".join(self.statement() for _ in range(self.rnd.randrange(1, 4)))
        if self.rnd.random() < 0.5:
            return f"{name} := {self.term()} if {{ {body} }} else := 7 if {{ {self.statement()} }}"
        return f"{name} contains {self.term()} if {{ {body} }}"


def test_random_rules_are_equal_to_opa_s_or_an_error(tmp_path: Path) -> None:
    opa = str(require_binary("opa"))
    author = Author(11)
    (tmp_path / "lib.rego").write_text(LIBRARY, encoding="utf-8")
    (tmp_path / "input").write_text(json.dumps(INPUT), encoding="utf-8")
    texts = {f"p{place}": author.rule("x") for place in range(RULES)}
    for name, text in texts.items():
        used = "import data.lib\n\n" if "lib." in text else ""
        texts[name] = f"package {name}\n\n{used}{text}\n"
        (tmp_path / f"{name}.rego").write_text(texts[name], encoding="utf-8")
    for name in _refused_by_opa(opa, tmp_path):
        del texts[name]
        (tmp_path / f"{name}.rego").unlink()
    query = "; ".join(f"{name} := [v | v := data.{name}.x]" for name in texts)
    command = [opa, "eval", "-f", "json", "-i", str(tmp_path / "input"), "-d", str(tmp_path), query]
    run = subprocess.run(command, capture_output=True, check=True)
    wanted = json.loads(run.stdout)["result"][0]["bindings"]
    got, compared = {}, []
    for name, text in texts.items():
        value = _ours(name, text)
        if value is not None:
            got[name] = value
            compared.append(name)
    different = [
        (texts[name], got[name], wanted[name]) for name in compared if _plain(got[name]) != _plain(wanted[name])
    ]
    assert different == []
    assert len(compared) > RULES / 2


def _refused_by_opa(opa: str, folder: Path) -> set[str]:
    run = subprocess.run([opa, "check", "-m", "10000", "-f", "json", str(folder)], capture_output=True)
    if run.returncode == 0:
        return set()
    errors = json.loads(run.stderr or run.stdout)["errors"]
    return {Path(error["location"]["file"]).stem for error in errors}


def _ours(name: str, text: str) -> list[Any] | None:
    """The rule's value in a list, [] where it is undefined; None where admission or evaluation refuses."""
    rule = f"data.{name}.x"
    bundle = make_bundle({"lib.rego": LIBRARY.encode(), "x.rego": text.encode()})
    request = {"modules": dict(bundle.modules), "data": {}, "rules": [rule], "samples": [], "decision_ms": 1e9}
    done = examine(request, lambda step, file: None)
    if "modules" not in done:
        return None
    engine = build(make_bundle({file: each.encode() for file, each in done["modules"].items()}))
    engine.set_input_json(json.dumps(INPUT))
    try:
        value = json.loads(engine.eval_rule_as_json(rule))
    except RuntimeError:
        return None
    return [] if value == "<undefined>" else [value]


def _plain(value: Any) -> str:
    """A value without the order of its lists, which for sets of unlike things is the engine's own."""
    if isinstance(value, list):
        return "[" + ",".join(sorted(map(_plain, value))) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_plain(each)}" for key, each in sorted(value.items())) + "}"
    return json.dumps(value)
