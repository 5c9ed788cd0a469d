"""Texts made of values: verbs, schemas, templates, times and durations."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rego.regexes import template_match
from policies.rego.schemas import match_schema, verify_schema
from policies.rego.templates import render_template
from policies.rego.times import parse_duration_ns, parse_ns
from policies.rego.values import json_marshal, json_marshal_with_options, plain_format, sprintf


def test_doubles_are_printed_as_go_does() -> None:
    assert sprintf("%v %v %v", [123456789.5, 999999.5, 0.00001234]) == "1.234567895e+08 999999.5 1.234e-05"
    assert sprintf("%.2f|%08.2f|%.0f", [2.675, -2.5, 2.5]) == "2.67|-0002.50|2"


def test_whole_numbers_have_widths_and_bases() -> None:
    assert sprintf("%05d|%x|%X|%o|%b|%3d", [-42, 255, -255, 8, 5, 7]) == "-0042|ff|-FF|10|101|  7"
    assert plain_format("%05d %x %.2f %%")
    assert not any(map(plain_format, ["%5s", "%q", "%.2d", "%+d", "%", "%#x"]))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab<", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_pretty_json_means_the_same(value: Any) -> None:
    assert json.loads(json_marshal_with_options(value, {"indent": "  "})) == value
    assert json_marshal_with_options(value, {"pretty": False, "prefix": "x"}) == json_marshal(value)


def test_each_line_begins_with_the_prefix() -> None:
    assert (
        json_marshal_with_options({"b": [1], "a": []}, {"prefix": "> "})
        == '> {\n> \t"a": [],\n> \t"b": [\n> \t\t1\n> \t]\n> }'
    )


def test_templates_only_fill_names_in() -> None:
    assert render_template("{{.a}}-{{ .b }}-{{.c}}!", {"a": "x", "b": 7}) == "x-7-<undefined>!"
    for more in ("{{.a.b}}", "{{if .a}}", "{{- .a}}", "{{", "{{/**/}}", "<no value>"):
        with pytest.raises(ValueError, match="more of a template"):
            render_template(more, {"a": "x"})


def test_what_stands_between_delimiters_is_a_pattern() -> None:
    assert template_match("urn:foo:{.*}.", "urn:foo:bar:baz.", "{", "}")
    assert not template_match("urn:foo:{[a-z]+}.", "urn:foo:barx", "{", "}")
    assert not template_match("a{b}", "xab", "{", "}")
    for wrong in ("{a", "a}", "{(a)}"):
        with pytest.raises(ValueError, match=r"pairs|groups"):
            template_match(wrong, "a", "{", "}")


def test_schemas_say_what_is_wrong_in_opa_s_words() -> None:
    schema = {"properties": {"id": {"type": "integer"}}, "required": ["id"]}
    assert verify_schema(schema) == [True, None]
    assert match_schema({"id": 5}, schema) == match_schema('{"id": 5}', json.dumps(schema)) == [True, []]
    wrong: Any = match_schema({"id": "x"}, schema)[1]
    assert wrong[0]["error"] == "id: Invalid type. Expected: integer, given: string"
    missing: Any = match_schema({}, schema)[1]
    assert missing[0]["error"] == "(Root): id is required"
    assert verify_schema({"type": "x"})[0] is False
    for unknown in ({"minimum": 1}, {"properties": {"a": {"$ref": "#"}}}, {"items": [{}]}):
        with pytest.raises(ValueError, match="keywords"):
            verify_schema(unknown)
    with pytest.raises(ValueError, match="more than one"):
        match_schema({"a": 2, "b": 3}, {"properties": {name: {"type": "string"} for name in "ab"}})


def test_times_and_durations() -> None:
    assert parse_ns("2006-01-02", "1970-01-02") == 86_400 * 10**9
    assert parse_ns("RFC3339", "1970-01-01T01:00:00+01:00") == 0
    assert parse_duration_ns("-1h30m") == -5_400 * 10**9
    assert parse_duration_ns("1.5s") == 1_500_000_000
    for wrong in ("", "3", "1d", "1h-1m", "1.0000000001s", "2562048h"):
        with pytest.raises(ValueError, match="duration"):
            parse_duration_ns(wrong)
    for layout, time in (("Jan 2", "Jan 3"), ("2006-01-02", "2023-1-2"), ("2006-01-02", "2023-02-30")):
        with pytest.raises(ValueError, match=r"\w"):
            parse_ns(layout, time)


def test_an_array_is_matched_in_a_text_only() -> None:
    assert match_schema("[]", {"type": "array"}) == [True, []]
    with pytest.raises(TypeError, match="an object of bounded size"):
        match_schema([], {"properties": {"a": {"type": "string"}}})
