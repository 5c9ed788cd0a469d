"""Each warning about the engine is a refusal with file, line and a way out."""

from __future__ import annotations

import pytest

from policies.errors import Problem
from policies.rego.inspection import inspect
from policies.rego.lexer import check_brackets
from policies.rego.names import Names
from policies.rego.rewriting import rewrite
from policies.rego.tree import parse


def problems(text: str, data: dict[str, object] | None = None) -> list[Problem]:
    module = parse("p.rego", "package p\n\n" + text)
    found = inspect(Names([module]), data or {})
    errors = [problem for problem in found if problem.severity == "error"]
    return errors or rewrite([module], data or {})[1]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("builtin", 'x := http.send({"method": "get", "url": "http://a"})'),
        ("builtin", "x := http.send({})"),
        ("builtin", 'x := yaml.marshal(["10.0.0.0/8"])'),
        ("builtin", "x if print(input.secret)"),
        ("builtin", "x := [p | [p, v] := walk(input)]"),
        ("builtin", "x := nowhere(1)"),
        ("number", "x if input.a == 18446744073709551616"),
        ("fraction", "x := 0.1 + 0.2"),
        ("division", "x := time.now_ns() / 1000000000"),
        ("recursion", "x if x"),
        ("recursion", "f(a) := g(a)\n\ng(a) := f(a)"),
        ("recursion", "x if y\n\ny if not z\n\nz if x"),
        ("default", "default f := input.a"),
        ("head", "default x.b := 1\n\nx[input.a].b := 2"),
        ("head", "f(lower(a)) := 1 if a := 1"),
        ("package", "x := data[input.a]"),
        ("package", "x := data"),
        ("format", 'x := sprintf("%q", ["a"])'),
        ("glob", 'x if glob.match("{a,{b}}", [], input.a)'),
        ("regex", 'x if regex.match("(?=a)", input.a)'),
        ("regex", "x if regex.match(`\\C`, input.a)"),
        ("negation", "x if not input.list[_] == 1"),
        ("negation", "x if not true"),
        ("every", "x if every v in input.l { v = input.a }"),
        ("with", "x if lower(input.a) with lower as f\n\nf(a) := a"),
        ("order", "x if input.a > {1}"),
        ("call", "f(a) := a\n\nx := f(1, 2, 3)"),
    ],
)
def test_refused_with_its_line_and_a_remedy(code: str, text: str) -> None:
    found = [problem for problem in problems(text) if problem.code == code]
    assert found, problems(text)
    assert (found[0].file, found[0].line > 2, bool(found[0].remedy)) == ("p.rego", True, True)


def test_the_line_and_column_are_exact_behind_other_alphabets() -> None:
    text = '# é😀\nok if input.a == "é"\n\nx if {\n\ty := "😀"; print(y)\n}'
    assert [(each.line, each.column) for each in problems(text)] == [(7, 12)]


def test_what_changes_from_call_to_call_is_a_note() -> None:
    module = parse("p.rego", "package p\n\nx if time.now_ns() > 5\n")
    assert [(each.code, each.severity) for each in inspect(Names([module]), {})] == [("changing", "note")]


@pytest.mark.parametrize("data", [{"p": {"x": True}}, {"p": {"x": None}}, {"p": 1}])
def test_data_in_a_rule_s_place_is_refused(data: dict[str, object]) -> None:
    assert [each.code for each in problems("x := false", data)] == ["conflict"]


def test_a_rule_above_another_package_is_refused() -> None:
    modules = [parse("a.rego", "package a\n\nb := 1\n"), parse("b.rego", "package a.b\n\nc := 1\n")]
    assert [each.code for each in inspect(Names(modules), {})] == ["conflict"]


def test_a_second_default_is_refused_in_whatever_file_it_stands() -> None:
    modules = [
        parse("a.rego", "package a\n\ndefault allow := false"),
        parse("b.rego", "package a\n\ndefault allow := true"),
    ]
    (problem,) = inspect(Names(modules), {})
    assert (problem.file, problem.code) == ("b.rego", "conflict")
    assert "another default, at a.rego" in problem.message


@pytest.mark.parametrize("bracket", ["[", "{", '{"a": '])
def test_deep_nesting_is_found_without_parsing(bracket: str) -> None:
    found = check_brackets("p.rego", "package p\n\nx := " + bracket * 60)
    assert [(each.code, each.line) for each in found] == [("nesting", 3)]


def test_brackets_in_texts_and_comments_do_not_nest() -> None:
    opened = "[" * 60
    assert check_brackets("p.rego", f'package p\n# {opened}\nx := "{opened}"\ny := `{opened}`\n') == []


@pytest.mark.parametrize("text", ["x if {}", "x if { }", "x := 1 if { input.a } else := 2 if {\n}"])
def test_a_body_without_a_condition_is_refused(text: str) -> None:
    assert [each.code for each in problems(text)] == ["parse"]


def test_a_function_that_is_read_as_a_value_is_refused_at_any_depth() -> None:
    assert [each.code for each in problems("f(y) := y\n\nx if not f.a.b")] == ["call"]
    assert [each.code for each in problems("f(y) := y\n\nx if not f[input.a]")] == ["call"]
    assert [each.code for each in problems("f(y) := y\n\nx if f(1).a")] == []
