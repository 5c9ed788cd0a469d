"""Each refusal code has its page, with everything that a page has to say and an example that is a real answer."""

from __future__ import annotations

import json

import pytest

from gateway.refusal_codes import CODES, STAGES
from gateway.refusal_pages import CALL, PLACE, markdown, refusal_pages


def test_each_code_has_a_page_with_a_section_for_each_stage_and_each_page_has_its_code() -> None:
    told = {(section.stage, code) for code, sections in refusal_pages().items() for section in sections}
    assert told == set(CODES)


@pytest.mark.parametrize("code", sorted(refusal_pages()))
def test_a_page_says_what_happened_whose_fault_it_is_and_what_both_sides_can_do(code: str) -> None:
    text = markdown(code)
    for section in refusal_pages()[code]:
        assert section.about == STAGES[section.stage].meaning
        for said in (section.meaning, section.about, section.fault, section.caller, section.operator):
            assert said.endswith((".", ")"))
            assert said in text
        assert all(example in text for _, example in section.examples)


def test_an_example_is_an_answer_with_the_codes_status_and_the_address_of_its_page() -> None:
    for code, sections in refusal_pages().items():
        for section in sections:
            for number, (_, example) in enumerate(section.examples):
                head, _, body = example.partition("\n\n")
                assert head.startswith(f"HTTP/1.1 {section.statuses[0]} ")
                value = json.loads(body)
                if number == 0:
                    assert (value["type"], value["help"]) == (f"urn:cordon:refusal:{code}", PLACE + code)
                else:
                    assert value["error"]["code"] == code
                    assert PLACE + code in value["error"]["message"]


def test_only_what_nobody_is_told_has_no_example_and_a_call_is_named_once_there_is_one() -> None:
    for sections in refusal_pages().values():
        for section in sections:
            assert bool(section.examples) == (section.stage != "client")
            named = any(CALL in example for _, example in section.examples)
            assert named == (section.stage not in {"framing", "gateway", "client"})


def test_there_is_no_page_of_a_code_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        markdown("no_such_code")
