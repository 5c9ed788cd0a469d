"""Variables without a value: refused wherever OPA calls them unsafe, and nowhere else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from policies.rego.names import Names
from policies.rego.safety import check_safety
from policies.rego.tree import parse
from tests.support.servers import require_binary

UNSAFE = (
    "deny contains mesage if { message := `no`; input.a }",
    "a := unknown",
    "a := unknown.b",
    "a := x if true",
    "a := 1 if false else := x",
    "f(x) := y if x > 1",
    "a[k] := v if k := 1",
    "a[k] := 1 if true",
    "a contains x if y := [x | some x in [1]]",
    "a contains x if { some x; true }",
    "a := [x | true]",
    "a := {x: y | x := 1}",
    "a := [y | y := x]",
    "a := [_ | true]",
    "a := {`b`: _}",
    "a if { x := y; x == 1 }",
    "a if { x := {`b`: y}; x == 1 }",
    "a if { x := [y | y := z]; x == 1 }",
    "a if every x in [1] { y := [z | z := w]; y == x }",
    "a := x if { [x, y] = [1, z]; y == 1 }",
    "a := $`{x}`",
    "a := b if { c := [d | d := $`{e}`]; b := c }",
    "a := count({x | not x})",
    "a if { x := x; x == 1 }",
    "a if { [x, y] := [1, x]; y == 1 }",
    "a if { x := f(x); x == 1 }\n\nf(x) := x",
    "a if { some x in f(x); x == 1 }\n\nf(x) := [x]",
    "a if { some x in [y | y := x]; x == 1 }",
    "a := x if { x := 1 } else := x",
)
SAFE = (
    "a := b\n\nb := 1",
    "a := input.roles[i]",
    "a := input.roles[_]",
    "a contains input.roles[i].names[j]",
    "a := x if { some i; x := input.roles[i] }",
    "a[k] := v if some k, v in input.map",
    "a contains x if x = input.a",
    "a contains x if input.a = x",
    "a contains x if { y = x; y = input.a }",
    "a contains x if { [x, y] = [1, 2]; y > 1 }",
    "a contains [x, y] if { [x, 2] = [1, y] }",
    "a contains x if { {`k`: x} = input.a }",
    "a contains x if walk(input, [x, _])",
    "a := n if count(input.a, n)",
    "f(x, [y, {`z`: z}]) := [x, y, z]",
    "f(x) := y if y := x else := x",
    "a if every i, x in [1] { x > i; y := [z | z := x]; count(y) > 0 }",
    "a := {x | some x in [1]} | {y | some y in [2]}",
    "a := [x | y := input.b; x := y[_]]",
    "a := x if x := [y | some y in input.b; z := [w | w := y]; count(z) > 0]",
    "a if count(input.b) == 1 with input.b as [1]",
    "a := $`{input.a} and {b}`\n\nb := 2",
    "a := x if { some x in input.b; not x == 3 }",
    "a := time.weekday(x) if x := 0",
    "a if { x := 1; y := [z | x := x; z := x]; y == [1] }",
    "a if { x := 1; y := [x | x := 2]; y == [2] }",
)


def found(text: str) -> list[str]:
    names = Names([parse("a.rego", f"package a\n\n{text}\n")])
    return [problem.message for module in names.modules for problem in check_safety(names, module)]


@pytest.mark.parametrize("text", UNSAFE)
def test_a_variable_without_a_value_is_refused_as_opa_does(text: str, tmp_path: Path) -> None:
    assert found(text)
    assert re.search("unsafe|referenced above|assigned before", opa_check(text, tmp_path))


@pytest.mark.parametrize("text", SAFE)
def test_what_opa_takes_as_safe_is_safe(text: str, tmp_path: Path) -> None:
    assert found(text) == []
    assert opa_check(text, tmp_path) == ""


def test_the_variable_is_named_once_where_it_stands() -> None:
    names = Names([parse("a.rego", "package a\n\ndeny contains mesage if {\n\tmessage := `no`\n}\n")])
    (problem,) = check_safety(names, names.modules[0])
    assert (problem.line, problem.column, problem.code) == (3, 15, "unsafe")
    assert problem.message == "nothing gives the variable mesage a value"


def opa_check(text: str, folder: Path) -> str:
    (folder / "a.rego").write_text(f"package a\n\n{text}\n")
    return subprocess.run(
        [str(require_binary("opa")), "check", str(folder)], capture_output=True, text=True, timeout=30
    ).stderr
