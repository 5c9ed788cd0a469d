from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordon.errors import ConfigError
from cordon.yaml_file import LARGEST_FILE, named, read


def values(tmp_path: Path, text: str, **environment: str) -> Any:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    return read(file, environment).values


def refusal(tmp_path: Path, text: str | bytes, **environment: str) -> str:
    file = tmp_path / "file.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        read(file, environment)
    return str(caught.value).removeprefix(str(file))


def test_only_true_and_false_are_booleans_so_that_the_country_no_stays_a_text(tmp_path: Path) -> None:
    text = "{residency: [NO, no, on, yes, y, off], really: true, not: false}"
    assert values(tmp_path, text) == {
        "residency": ["NO", "no", "on", "yes", "y", "off"],
        "really": True,
        "not": False,
    }


def test_numbers_are_decimal_and_anything_else_is_a_text(tmp_path: Path) -> None:
    text = "[1, -2, 1.5, 1e3, 010, 0x10, 1_000, 12:30:45, 2024-01-01, ~, null, '1']"
    assert values(tmp_path, text) == [
        1, -2, 1.5, 1000.0, "010", "0x10", "1_000", "12:30:45", "2024-01-01", None, None, "1",
    ]  # fmt: skip


def test_lines_are_remembered_for_keys_and_items(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("a:\n  - b: 1\n\n    c: 2\n")
    document = read(file, {})
    assert document.line(("a",)) == 1
    assert document.line(("a", 0, "b")) == 2
    assert document.line(("a", 0, "c")) == 4
    assert document.line(("a", 0, "missing", "deeper")) == 2


def test_merge_keys_fill_in_what_is_not_given(tmp_path: Path) -> None:
    text = "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: {<<: [{x: 5}, *b]}"
    assert values(tmp_path, text) == {
        "base": {"x": 1, "y": 2},
        "more": {"x": 1, "y": 3},
        "list": {"x": 5, "y": 2},
    }


def test_a_key_given_twice_is_refused_at_its_second_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a:\n  b: 1\n  c: 2\n  b: 3\n") == ":4: a.b: is given twice; keep one of the two"


@pytest.mark.parametrize("text", ["? [a, b]\n: 1", "1: a", "true: a", "? {a: 1}\n: 2", "<<: 3"])
def test_a_key_that_is_not_a_text_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith(":1: ")


def test_aliases_cannot_unfold_a_small_file_into_a_large_one(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "use fewer aliases" in refusal(tmp_path, "\n".join(lines))


def test_an_alias_of_itself_ends_in_an_error(tmp_path: Path) -> None:
    assert "nested deeper" in refusal(tmp_path, "a: &a\n  b: *a\n")
    assert refusal(tmp_path, "a: &a\n  <<: *a\n")


def test_a_merge_bomb_ends_in_an_error(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    assert "use fewer aliases" in refusal(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system",
        "a: !custom 1",
        "a: !!set {a, b}",
        "a: !!binary YWJj",
        "a: !!int abc",
    ],
)
def test_no_tag_makes_objects(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith(":1: a: ")


def test_the_environment_is_put_in_where_a_text_asks_for_it(tmp_path: Path) -> None:
    text = "url: https://${HOST}:${PORT}/v1\nplain: $HOME $${HOST} ${HOST}"
    assert values(tmp_path, text, HOST="eu.example", PORT="8443") == {
        "url": "https://eu.example:8443/v1",
        "plain": "$HOME ${HOST} eu.example",
    }


def test_what_the_environment_holds_is_not_read_as_yaml_or_as_further_references(tmp_path: Path) -> None:
    assert values(tmp_path, "a: ${X}", X="[1, ${Y}]") == {"a": "[1, ${Y}]"}


def test_a_missing_variable_is_an_error_at_its_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a: 1\nb:\n  - ${NOPE}\n") == ":3: b[0]: the environment variable NOPE is not set"


@pytest.mark.parametrize("reference", ["${}", "${a b}", "${1}", "${HOST:-x}"])
def test_a_reference_that_is_no_name_is_an_error(tmp_path: Path, reference: str) -> None:
    assert "name of an environment variable" in refusal(tmp_path, f"a: {reference!r}", HOST="h")


def test_masking_takes_out_values_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("a: ${SECRET}\nb: ${SHORT}")
    document = read(file, {"SECRET": "hunter22", "SHORT": "no"})
    assert document.masked("bad value 'hunter22' is not known") == "bad value '${SECRET}' is not known"


@pytest.mark.parametrize(
    ("text", "place"),
    [("a: [1\nb: 2\n", ":2: is not YAML"), ("a: 'x\n", "is not YAML"), ("a: 1\n\tb: 2", ":2: "), ("a: @x", ":1: ")],
)
def test_broken_yaml_names_the_line(tmp_path: Path, text: str, place: str) -> None:
    assert place in refusal(tmp_path, text)


def test_bytes_that_are_not_utf8_name_the_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"a: 1\nb: \xff\n") == ":2: is not UTF-8 text"


def test_control_characters_several_documents_and_giants_are_refused(tmp_path: Path) -> None:
    assert "not YAML" in refusal(tmp_path, "a: \x00")
    assert "not YAML" in refusal(tmp_path, "a: 1\n---\nb: 2\n")
    assert "larger than" in refusal(tmp_path, "#" * (LARGEST_FILE + 1))
    assert "nested deeper" in refusal(tmp_path, "[" * 200 + "]" * 200)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path, {})


def test_places_read_as_people_write_them() -> None:
    assert named(("routes", 0, "endpoints", 1, "url")) == "routes[0].endpoints[1].url"
    assert named(()) == ""


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(raw)
    try:
        read(file, {})
    except ConfigError as error:
        assert "\n" not in str(error)


@given(st.text(alphabet="ab:- {}[]&*<?!'\"|>\n#,1~%@`$", max_size=60))
def test_any_yaml_like_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz2.yaml"
    file.write_text(text)
    try:
        read(file, {})
    except ConfigError as error:
        assert str(error).startswith(str(file))
