"""What decisions and rules cost: the right ones are measured, on the right inputs, and what is dear comes first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.admission import admit_now
from policies.authoring.measuring import Costs, measure, percentile, read_inputs, steps
from policies.errors import PolicyError
from policies.samples import named
from tests.support.policies import MINIMAL, SETTINGS, bundle

TEXT = """package cordon.request

decision := {"allow": cheap} if dear > 1

cheap if input.tenant.id == "acme"

dear := count([x | some x in numbers.range(1, 3000); f(x)])

f(x) if x != 7

unused := 1
"""


def costs(request: str, inputs: dict[str, str]) -> Costs:
    written = bundle(MINIMAL | {"request.rego": request})
    admitted = admit_now(written, SETTINGS).bundle
    assert admitted is not None
    done: list[int] = []
    found = measure(admitted, written, inputs, SETTINGS, 20, done.append)
    assert 0 < sum(done) <= steps(written, list(inputs), SETTINGS)
    return found


def test_the_dearest_rule_comes_first_and_each_decision_is_asked_of_its_moment() -> None:
    found = costs(TEXT, named())
    assert [each.rule.rpartition(".")[2] for each in found.rules[:2]] in (["decision", "dear"], ["dear", "decision"])
    assert {each.rule for each in found.rules} == {
        "data.cordon.request.decision",
        "data.cordon.request.dear",
        "data.cordon.request.cheap",
        "data.cordon.response.decision",
    }
    cheap = next(each for each in found.rules if each.rule.endswith("cheap"))
    assert cheap.p50 * 10 < found.rules[0].p50
    asked = {(each.rule.split(".")[2], each.input) for each in found.decisions}
    assert asked == {
        ("request", "nothing"), ("request", "request"), ("request", "large request"),
        ("response", "nothing"), ("response", "answer"),
    }  # fmt: skip
    for each in (*found.decisions, *found.rules):
        assert each.rounds == 20
        assert 0 < each.p50 <= each.p90 <= each.p99 <= each.largest
    assert [each.p50 for each in found.decisions] == sorted((each.p50 for each in found.decisions), reverse=True)


def test_an_error_is_told_and_is_no_cost() -> None:
    text = 'package cordon.request\n\ndecision := {"allow": to_number(input.tenant.id) == 1}\n'
    found = costs(text, {"bad": json.dumps({"phase": "request", "tenant": {"id": "secret-value"}})})
    assert [(each.rounds, each.defined) for each in found.decisions] == [(0, False)]
    assert "request.rego:3" in found.decisions[0].error
    assert "secret-value" not in found.decisions[0].error
    assert found.rules[0].error


def test_a_number_that_no_decision_could_be_made_on_is_refused() -> None:
    with pytest.raises(PolicyError, match="big: "):
        costs(TEXT, {"big": '{"phase": "request", "n": 12345678901234567890123}'})


def test_inputs_are_read_from_files_lines_and_folders(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"a":\n 1}')
    (tmp_path / "many.jsonl").write_text('{"a": 2}\n\n{"a": 3}\n')
    (tmp_path / "other.txt").write_text("no")
    assert [json.loads(text) for text in read_inputs(tmp_path).values()] == [{"a": 2}, {"a": 3}, {"a": 1}]
    assert list(read_inputs(tmp_path)) == ["many.jsonl:1", "many.jsonl:2", "one.json"]
    assert list(read_inputs(tmp_path / "one.json")) == ["one.json"]


@pytest.mark.parametrize("content", [b"{", b"[1]", b"5", b"\xff", b"[" * 100_000])
def test_what_is_no_input_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(PolicyError, match=r"x\.json"):
        read_inputs(tmp_path)


def test_a_folder_without_inputs_or_with_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"no \.json"):
        read_inputs(tmp_path)
    (tmp_path / "x.jsonl").write_text("{}\n" * 1_001)
    with pytest.raises(PolicyError, match="more than 1000"):
        read_inputs(tmp_path)


def test_percentiles_are_of_the_nearest_rank() -> None:
    times = [float(number) for number in range(1, 101)]
    assert [percentile(times, share) for share in (50, 90, 99)] == [50, 90, 99]
    assert percentile([1.0, 9.0], 50) == 1.0
    assert percentile([4.0], 99) == 4.0
