"""The demonstration's parts: what it shows, and that its plain client sees what the vendors' SDKs see."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cordon.demo.clients import Anthropic, Chat, OpenAI, Plain, Refused, problem_of, request
from cordon.demo.screen import Screen, plain
from cordon.demo.stage import _made_anew, stage
from cordon.errors import SupervisorError
from tests.support.upstream import Upstream, upstream

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def standin() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module", params=["openai", "anthropic", "plain openai", "plain anthropic"])
def chat(request: pytest.FixtureRequest, standin: Upstream) -> Chat:
    made: dict[str, Chat] = {
        "openai": OpenAI(f"{standin.url}/v1", "k"),
        "anthropic": Anthropic(standin.url, "k"),
        "plain openai": Plain(f"{standin.url}/v1", "k", "openai"),
        "plain anthropic": Plain(standin.url, "k", "anthropic"),
    }
    return made[request.param]


def test_every_client_gets_the_same_answer_whole_and_streamed(chat: Chat) -> None:
    whole = chat.ask(QUESTION)
    pieces = list(chat.stream(QUESTION))
    assert "Paris" in whole and "".join(pieces) == whole and len(pieces) > 5


def test_every_client_tells_a_failure_with_its_status_and_words(chat: Chat) -> None:
    with pytest.raises(Refused) as raised:
        chat.ask("standin:status=429")
    assert raised.value.status == 429 and "rate limit" in str(raised.value).lower() and raised.value.name


def test_every_client_notices_a_stream_that_breaks_off(chat: Chat) -> None:
    got = []
    with pytest.raises(Refused):
        for piece in chat.stream(f"{QUESTION} standin:cut=8"):
            got.append(piece)  # noqa: PERF402
    assert got


def test_a_plain_call_and_its_problem(standin: Upstream) -> None:
    assert request("GET", f"{standin.url}/crm/customers/1001", {}).status == 200
    assert problem_of(request("GET", f"{standin.url}/v1/nothing", {})) == "there is nothing at this address"


def test_a_check_that_fails_is_remembered_and_one_that_passes_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.check(True, "this holds")
    screen.check(None, "this does not " * 20)
    assert screen.failures == ["this does not " * 20]
    output = capsys.readouterr().out
    assert "✓" in output and "✗" in output


def test_no_line_is_wider_than_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.title("Title", "words " * 60)
    screen.scene("A scene")
    screen.fact("label", "some words and 4111 1111 1111 1111 " * 12, marked=["1111"])
    screen.check(True, "words " * 60)
    screen.table(("a", "b"), [("1", "x" * 300), ("22", "y")])
    screen.opens("answer")
    text = "seven wizards box with judges " * 12 + "end"
    for start in range(0, len(text), 5):
        screen.piece(text[start : start + 5])
    screen.closes()
    lines = plain(capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= screen.width
    shown = " ".join(" ".join(lines).split())
    assert "1 A scene" in shown and f"answer {text}" in shown


def test_nothing_from_outside_can_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.fact("answer", "\x1b[2Jgone\r\x07")
    screen.opens("answer")
    screen.piece("\x1b[2J")
    screen.closes()
    output = capsys.readouterr().out
    assert "\x1b[2J" not in output and "\x07" not in output


def test_what_an_earlier_demo_left_is_removed(tmp_path: Path) -> None:
    made = _made_anew(tmp_path / "demo")
    (made / "var").mkdir()
    assert not any(path.name == "var" for path in _made_anew(tmp_path / "demo").iterdir())


def test_a_path_too_long_for_a_socket_is_replaced_by_a_short_one(tmp_path: Path) -> None:
    made = _made_anew(tmp_path / ("long" * 30))
    assert len(str(made)) < 60 and made != tmp_path
    shutil.rmtree(made)


def test_a_directory_that_is_not_of_a_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SupervisorError, match="not empty"), stage(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").exists()
