"""Small modules written by chance, in the embedded engine and in OPA: what rules mean, rather than what builtins give.

Each module has a rule `r` and is about one thing: template strings, functions with a default, `with` on functions and
builtins, negation with and without its operands, heads with a variable in the middle, iteration, members. A module that
admission would refuse counts as an error; what is accepted must be equal.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.random_calls import Author, Outcome, plain, written
from policies.bundle import make_bundle
from policies.embedded import build
from policies.rego.inspection import inspect
from policies.rego.names import Names
from policies.rego.rewriting import rewrite
from policies.rego.tree import parse

INPUT: Final = {"a": "x", "n": 2, "l": ["a", "b", "a"], "o": {"a": {"k": 1}, "b": {"k": 2}}, "t": True}
REFERENCES: Final = ("input.a", "input.n", "input.none", "input.l[0]", "input.o.a", "input.o.none.k", "input.t")


class _Refused:
    """What OPA compiles no more than admission should: a type error, for one."""


class _Writer(Author):
    def term(self) -> str:
        """A reference that may be undefined, or a value."""
        return str(self.pick(REFERENCES)) if self.rnd.random() < 0.5 else written(self.value(1))

    def template(self) -> str:
        parts = [
            self.pick(["text ", "é", "\\{", "", f"{{{self.term()}}}", '{upper("b")}', "{[y | some y in input.l]}"])
        ]
        parts += [self.pick(["-", f"{{{self.term()}}}", f'{{{{"k": {self.term()}}}.k}}']) for _ in range(2)]
        return f'r := $"{"".join(parts)}"'

    def default_function(self) -> str:
        name = self.pick(["f", "a.f", "a.b.f"])
        heads = [f"default {name}(_) := {written(self.value(1))}"]
        heads += [f"{name}(y) := {self.term()} if y == {self.term()}" for _ in range(self.rnd.randrange(3))]
        return "\n".join([*heads, f"r := [y | some z in [1, 2]; y := {name}({self.term()})]"])

    def replaced(self) -> str:
        kept = f"f(y) := [y, {self.term()}]\ng(y) := f(y)\nh(y) := [{written(self.value(1))}]\n"
        text = f'b(y) := concat(y, ["p", "q"])\nj(y, z) := {self.term()}\n'
        target, call = self.pick([("f", f"g({self.term()})"), ("f", f"f({self.term()})"), ("concat", 'b("-")')])
        replacement = self.pick(["h", written(self.value(1)), written(self.text())] if target == "f" else ["j", '"c"'])
        other = self.pick(["", " with input.n as 5", " with input as {}"])
        return f"{kept}{text}r := [v, {call}] if {{ v := {call} with {target} as {replacement}{other} }}"

    def negation(self) -> str:
        bodies = self.rnd.random() < 0.6
        head = "import future.keywords.not\n" if bodies else ""
        tests = [
            f"{self.term()} == {self.term()}",
            f"f({self.term()})",
            self.pick(REFERENCES),
            f"{self.term()} in input.l",
        ]
        test = self.pick(tests)
        if bodies and self.rnd.random() < 0.7:
            test = f"{{ some y in input.l; y == {self.term()}; {self.pick(tests)} }}"
        return f"{head}f(y) := y\nr if {{ not {test}; {self.pick(['true', 'input.n == 2', 'input.none'])} }}"

    def heads(self) -> str:
        rules = []
        for _ in range(self.rnd.randrange(1, 4)):
            head = self.pick(
                ["p[y].k := i", "p[y].s contains i", "p.a.k := 7", "p.e := 4", "p[y][i] := 5", "p.q[y].z := 6"]
            )
            rules.append(f"{head} if some i, y in input.l" if "y" in head else head)
        return "\n".join([*rules, f"r := {self.pick(['p', 'p.a', 'p.q', '[k | p[k].k]', 'p[input.a]'])}"])

    def iteration(self) -> str:
        where = self.pick(["input.l", "input.o", "s", "{y | some y in input.l}", written(self.value(2))])
        shown = self.pick(["some i, v in {0}", "v := {0}[i]", "some v in {0}; i := 1"]).replace(
            "{0}", f"as_is({where})"
        )
        made = self.pick(
            ["[[i, v] | %s]", "{[i, v] | %s}", "{i: v | %s}", "count([i | %s; v != 1])", "max([i | %s; v])"]
        )
        return (
            f"s contains y if some y in {written([self.value(1), self.value(1)])}\nas_is(y) := y\nr := {made % shown}"
        )

    def members(self) -> str:
        collection = self.pick(["input.l", "input.o", self.term()])
        return f"r if {self.pick(['', 'not '])}{self.term()}, {self.term()} in {collection}"


KINDS: Final[tuple[Callable[[_Writer], str], ...]] = (
    _Writer.template,
    _Writer.default_function,
    _Writer.replaced,
    _Writer.negation,
    _Writer.heads,
    _Writer.iteration,
    _Writer.members,
)


def modules(seed: int, count: int) -> list[str]:
    """That many modules of each kind, without their package."""
    writer = _Writer(seed)
    return [kind(writer) for kind in KINDS for _ in range(count)]


def compare_rules(opa: Path, texts: list[str]) -> Outcome:
    """Evaluate the rule `r` of all modules in both engines."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "input.js"
        document.write_text(json.dumps(INPUT), encoding="utf-8")
        for place, text in enumerate(texts):
            module = f"package t{place}\n\nimport rego.v1\n\n{text}\n"
            got, why = _here(module, f"data.t{place}.r")
            if why:
                outcome.errors[why] = outcome.errors.get(why, 0) + 1
                continue
            want = _there(opa, Path(folder), module, f"data.t{place}.r")
            if isinstance(want, _Refused):
                outcome.errors["OPA refuses"] = outcome.errors.get("OPA refuses", 0) + 1
            elif plain(got) == plain(want):
                outcome.equal += 1
            else:
                outcome.different.append((text, got, want))
    return outcome


def _here(text: str, rule: str) -> tuple[object, str]:
    """The value of a rule, or why there is none."""
    try:
        names = Names([parse("t.rego", text)])
        problems = [each for each in inspect(names, {}) if each.severity == "error"]
        texts, more = rewrite(names.modules, {}) if not problems else ({}, problems)
    except (AssertionError, RuntimeError):  # admission_worker.py makes the same of them
        return None, "refused: parse"
    if more:
        return None, f"refused: {more[0].code}"
    engine = build(make_bundle({file: each.encode() for file, each in texts.items()}))
    engine.set_input_json(json.dumps(INPUT))
    try:
        return json.loads(engine.eval_rule_as_json(rule)), ""
    except RuntimeError:
        return None, "error"


def _there(opa: Path, folder: Path, text: str, rule: str) -> object:
    file = folder / "t.rego"
    file.write_text(text, encoding="utf-8")
    command = [str(opa), "eval", "-f", "json", "-d", str(file), "-i", str(folder / "input.js"), rule]
    said = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    if "errors" in said:
        error = said["errors"][0]
        return _Refused() if error["code"].startswith("rego_") else {"error": error["message"]}
    return said["result"][0]["expressions"][0]["value"] if "result" in said else "<undefined>"
