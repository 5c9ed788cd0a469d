"""The table of refusal codes and the gateway's own source hold the same codes, stages and statuses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from gateway import fields, flow, peer
from gateway.content.errors import Code
from gateway.errors import Refusal
from gateway.refusal_codes import CODES, STAGES
from gateway.refusals import render

GATEWAY = Path(__file__).parents[3] / "gateway"

# Calls that hand on a code that is raised elsewhere, and is found there.
HANDED_ON = {
    ("normalise.py", "_refused"),  # its callers name the code
    ("identity.py", "_unknown"),
    ("connection.py", "_malformed"),  # any FramingError
    ("flow.py", "_inspect"),  # any ContentError of the request
    ("refusal_pages.py", "_examples"),  # shows each code of the table
    ("tokens.py", "render"),  # `too_large` of the request, as in flow.py
    ("relay.py", "run"),  # any ContentError of the answer; `code` is one of the two texts beside it
}
# Answers that are malformed end as an UpstreamError.
OF_ANSWERS = {"answers.py"}
# What is computed from what the request holds.
COMPUTED = {
    ("fields.py", "check_bytes"): {(400, code) for code, _ in fields._FAULTS.values()} | {(400, "control_byte")},
    ("request_head.py", "_only"): {(400, "host"), (400, "content_length"), (400, "transfer_encoding")},
}
CERTIFICATES = ("peer.py", "confirmed")  # any fault of a client certificate
SHORT = {"_unknown": (401, "identity"), "_refused": (400, "framing")}


def raised() -> Iterator[tuple[str, str, int]]:
    """Stage, code and status of each refusal that the source can raise; content errors have their own test."""
    for path in sorted(GATEWAY.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call):
                        yield from _of_call(path.name, function.name, node)
    yield "upstream", "upstream_failed", 502
    yield "upstream", "upstream_broke_off", 502


def _of_call(file: str, function: str, call: ast.Call) -> Iterator[tuple[str, str, int]]:
    name = getattr(call.func, "id", "")
    place = (file, function)
    if name == "FramingError" and file not in OF_ANSWERS and place not in HANDED_ON:
        if place in COMPUTED and not _constants(call, 2):
            yield from (("framing", code, status) for status, code in COMPUTED[place])
        else:
            status, code = _constants(call, 2) or pytest.fail(f"{place}: a computed code, line {call.lineno}")
            yield "framing", code, status
    elif name == "Refusal" and len(call.args) > 2:
        known = _constants(call, 3)
        if known:
            yield known[1], known[2], known[0]
        elif place == CERTIFICATES:
            yield from (("identity", code, 401) for code in peer.FAULTS)
        else:
            assert place in HANDED_ON, f"{place}: a computed code, line {call.lineno}"
    elif (name, file) in {("_unknown", "identity.py"), ("_refused", "normalise.py")}:
        status, stage = SHORT[name]
        yield stage, ast.literal_eval(call.args[0]), status


def _constants(call: ast.Call, count: int) -> list[object] | None:
    values = [arg.value for arg in call.args[:count] if isinstance(arg, ast.Constant)]
    return values if len(values) == count else None


def test_every_code_that_is_raised_is_in_the_table_with_its_status() -> None:
    for stage, code, status in raised():
        assert (stage, code) in CODES, f"{stage}: {code} is raised and not in gateway/refusal_codes.py"
        assert status in CODES[stage, code].statuses, f"{stage}: {code} comes with {status}"


def test_every_code_in_the_table_is_raised_with_each_of_its_statuses() -> None:
    told = {(stage, code, status) for (stage, code), known in CODES.items() for status in known.statuses}
    assert {row for row in told if row[0] != "inspection"} == set(raised())


def test_every_content_code_is_in_the_table_with_the_statuses_of_requests_and_answers() -> None:
    table = {code: known.statuses for (stage, code), known in CODES.items() if stage == "inspection"}
    assert set(table) == set(get_args(Code))
    only_of_answers = {"misuse", "not_enforced"}
    for code, statuses in table.items():
        of_request = () if code in only_of_answers else (flow.STATUS_OF_CONTENT.get(code, 400),)
        assert statuses == (*of_request, 502), code


def test_every_stage_has_codes_and_every_code_a_stage_a_meaning_and_a_remedy() -> None:
    assert {stage for stage, _ in CODES} == set(STAGES)
    for key, known in CODES.items():
        assert known.meaning.endswith((".", ")")) and known.caller.endswith("."), key


def test_a_type_is_a_urn_of_the_code() -> None:
    for stage, code in CODES:
        _, body = render(Refusal(403, stage, code, "x"))
        assert f'"type":"urn:cordon:refusal:{code}"'.encode() in body
