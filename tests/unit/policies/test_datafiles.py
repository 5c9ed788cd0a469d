"""Data files are taken only where every reader of JSON and YAML would agree on what they mean."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policies.datafiles import MAX_DEPTH, read_json, read_yaml
from policies.errors import BundleError, Problem
from tests.support.servers import require_binary

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e9, 1e9).map(lambda value: round(value, 3))
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4)
    ),
    max_leaves=10,
)


def json_problem(text: str) -> Problem:
    with pytest.raises(BundleError) as caught:
        read_json("data.json", text)
    return caught.value.problems[0]


def yaml_problem(text: str) -> Problem:
    with pytest.raises(BundleError) as caught:
        read_yaml("data.yaml", text)
    return caught.value.problems[0]


@given(VALUES)
def test_json_is_read_as_it_is(value: object) -> None:
    for indent in (None, 2):
        assert read_json("data.json", json.dumps(value, indent=indent)) == value
        assert read_json("data.json", json.dumps(value, indent=indent, ensure_ascii=False)) == value


@given(VALUES)
def test_json_is_yaml(value: object) -> None:
    text = json.dumps(value)
    if "\\ud" not in text and "\\u007f" not in text:
        assert read_yaml("data.yaml", text) == value


@given(VALUES)
def test_what_is_read_of_yaml_is_what_its_author_wrote(value: object) -> None:
    try:
        found = read_yaml("data.yaml", yaml.safe_dump(value))
    except BundleError:
        return  # refused for its spelling: nothing is misread
    assert found == value


@given(st.text(max_size=80))
def test_junk_is_refused_and_never_breaks_a_reader(text: str) -> None:
    for read in (read_json, read_yaml):
        try:
            read("data", text)
        except BundleError as error:
            assert str(error).startswith("data")


def test_opa_reads_every_accepted_spelling_alike(tmp_path: Path) -> None:
    dice = random.Random("spellings")
    alphabet = "0011789xXoObBeEaAfF._+-:~=nyNYtTsrul<>|%@"
    spellings = {"".join(dice.choices(alphabet, k=dice.randrange(1, 7))) for _ in range(4_000)}
    accepted = {}
    for spelling in sorted(spellings):
        try:
            accepted[spelling] = read_yaml("data.yaml", spelling)
        except BundleError:
            continue
    assert len(accepted) > len(spellings) / 10
    lines = [f"{spelling}\n" for spelling in accepted]
    (tmp_path / "data.yaml").write_text("spelt:\n" + "".join(f"- {line}" for line in lines))
    run = subprocess.run(
        [str(require_binary("opa")), "eval", "--format=raw", f"--data={tmp_path}", "data.spelt"], capture_output=True
    )
    assert run.returncode == 0, run.stdout
    theirs = json.loads(run.stdout)
    differing = [
        (line, ours, theirs[place])
        for place, (line, ours) in enumerate(zip(lines, accepted.values(), strict=True))
        if ours != theirs[place] or isinstance(ours, bool) != isinstance(theirs[place], bool)
    ]
    assert differing == []
    assert len(theirs) == len(lines)


@pytest.mark.parametrize(
    "number", ["9007199254740993", "-9007199254740993", "1e400", "1e-400", "0.10000000000000000555", "1e16"]
)
def test_numbers_that_would_be_rounded_are_refused_with_their_line(number: str) -> None:
    for problem in (json_problem(f'{{\n"a": 1,\n"n": {number}\n}}'), yaml_problem(f"a: 1\n\nb: {number}\n")):
        assert (problem.line, problem.code) == (3, "data")
        assert "cannot be compared exactly" in problem.message
        assert "string" in problem.remedy


def test_numbers_in_texts_are_left_alone() -> None:
    assert read_json("data.json", '{"n": "9007199254740993", "1e400": "\\" 1e400"}') == {
        "n": "9007199254740993",
        "1e400": '" 1e400',
    }
    assert read_yaml("data.yaml", "a: '9007199254740993'\n") == {"a": "9007199254740993"}


def test_a_key_given_twice_is_refused() -> None:
    assert "'a' is there twice" in json_problem('{"b": {"a": 1, "a": 1}}').message
    assert json_problem('{"a": 1, "\\u0061": 2}').message
    problem = yaml_problem("a: 1\nb: 2\na: 1\n")
    assert problem.line == 3
    assert "'a' is there twice" in problem.message
    assert yaml_problem("{a: 1, 'a': 2}").message


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}'])
def test_constants_that_are_no_json_are_refused(text: str) -> None:
    assert "is not JSON" in json_problem(text).message


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a": 1,}', "// x\n{}", '{"a": 01}', '{"a": .5}', "{} {}"])
def test_what_is_no_json_is_refused(text: str) -> None:
    problem = json_problem(text)
    assert "not JSON" in problem.message
    assert problem.line == text.count("\n") + 1 or problem.line == 1


def test_half_a_surrogate_pair_is_refused() -> None:
    assert "surrogate" in json_problem('{"a": "\\ud800"}').message
    assert "surrogate" in json_problem('{"\\udfff": 1}').message
    assert read_json("data.json", '"\\ud83c\\udf89"') == "🎉"


def test_what_is_nested_too_deeply_is_refused() -> None:
    for depth in (MAX_DEPTH + 2, 5_000, 200_000):
        assert "nested too deeply" in json_problem("[" * depth + "]" * depth).message
    assert yaml_problem("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)).message
    assert yaml_problem("[" * 20_000).message
    assert read_json("data.json", "[" * MAX_DEPTH + "]" * MAX_DEPTH)


@pytest.mark.parametrize(
    "text",
    [
        "yes", "No", "on", "OFF", "y", "N", "TRUE", "True", "Null", "NULL", "0777", "0o17", "0x1F", "0b11", "1_000",
        "1:30", "12:30:45", "190:20:30", ".5", "5.", "+1", ".inf", "-.INF", ".nan", "2026-01-02", "2026-1-2",
        "2026-01-02T03:04:05Z", "=", "1e3_", "1.5.2:3", "+.5", "-0777", "1e", "1E+", "0o8", "09",
        "-.5", "0X1F2A", "+0b101", "-0o7_7",
    ],
)  # fmt: skip
def test_spellings_that_readers_of_yaml_take_differently_are_refused(text: str) -> None:
    problem = yaml_problem(f"a: 1\nb: {text}\n")
    assert problem.line == 2
    assert "quotes" in problem.remedy
    assert read_yaml("data.yaml", f"a: 1\nb: '{text}'\n") == {"a": 1, "b": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("false", False), ("1", 1), ("-1.5", -1.5),
        ("1e3", 1000.0), ("text", "text"), ("a b", "a b"), ("'x'", "x"), ('"x\\n"', "x\n"), ("eu-west-1", "eu-west-1"),
        ("v1.2.3", "v1.2.3"), ("gpt-5", "gpt-5"), ("|\n  x\n  y\n", "x\ny\n"), (">\n  x\n  y\n", "x y\n"),
        ("[a, 1]", ["a", 1]), ("{a: b}", {"a": "b"}),
    ],
)  # fmt: skip
def test_plain_yaml_is_read(text: str, value: object) -> None:
    assert read_yaml("data.yaml", f"k: {text}") == {"k": value}


@pytest.mark.parametrize(
    "text",
    [
        "a: !!str 1", "a: !!str true", "a: !!str", "a: ! 1", "a: !!str 1e3", "a: !!map {}",
        "a: !!int '1'", "a: !!python/object/apply:os.system ['true']", "a: !x y", "!!set {a, b}",
        "a: !!binary aGk=", "a: !!omap [a: 1]", "a: !!timestamp '2026-01-01'", "a: &x 1\nb: *x", "<<: {a: 1}",
        "a: &x [1]\nb: [*x, *x]", "1: a", "true: a", "~: a", "[a]: b", "? {a: b}\n: c", "a: 1\n---\nb: 2\n",
        "\ta: 1", "a: 'x", "%YAML 9.9\n---\na: @", "a: `x`",
    ],
)  # fmt: skip
def test_yaml_beyond_what_json_means_is_refused(text: str) -> None:
    assert yaml_problem(text).code == "data"


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    bomb = 'a0: &a0 ["x","x"]\n' + "".join(
        f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 30)
    )
    assert "aliases" in yaml_problem(bomb).message


@pytest.mark.parametrize(
    "text",
    [
        '"' + '\\"' * 400_000,
        "[" + "1,\n" * 100_000 + "1]",
        "{" + ",".join(f'"{i}":0' for i in range(40_000)) + ',"39999":0}',
    ],
    ids=["quotes", "numbers", "keys"],
)
def test_what_a_server_may_send_before_its_signature_is_read_takes_no_square_of_its_length(text: str) -> None:
    """Each took minutes to hours, the quotes without letting go of the interpreter: no call was decided meanwhile."""
    began = time.process_time()
    with contextlib.suppress(BundleError):
        read_json(".signatures.json", text)
    assert time.process_time() - began < 10


def test_the_line_of_a_number_is_told_after_others() -> None:
    assert json_problem('{"a": 1,\n"b": "\n2",\n"c": [3,\n9007199254740993]}').line == 5
