"""A worker is killed between the keeping of its tokens and its answer: what the upstream saw can be restored."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.content.tokens import TOKEN
from tests.support.gateway import BUNDLE, Cordon, cordon, wait_for
from tests.support.postgres import postgres

GPT = "gpt-4.1-mini"
ROUNDS = 4


@pytest.fixture(params=["sqlite", "postgres"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cordon]:
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLE, bundle)
    data = json.loads((bundle / "data.json").read_text())
    data["findings"]["email"] = {"EU": "tokenise", "US": "tokenise"}
    (bundle / "data.json").write_text(json.dumps(data))
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres()).database() if request.param == "postgres" else ""

        def change(config: dict[str, Any]) -> None:
            config["policy"]["bundle"] = str(bundle)
            if database:
                config["database"] = database

        yield stack.enter_context(cordon(change))


def ask(client: httpx.Client, text: str) -> httpx.Response:
    body = {"model": GPT, "messages": [{"role": "user", "content": text}]}
    return client.post("/openai/chat/completions", json=body)


def test_what_the_upstream_saw_is_restored_by_the_worker_that_takes_over(gateway: Cordon) -> None:
    """With one worker nothing but the table can know the token after the kill."""
    key = gateway.key("bot")
    for number in range(ROUNDS):
        mail = f"jana{number}@example.com"
        seen = len(gateway.eu.received)
        answers: list[str] = []
        with gateway.client(key, timeout=20) as client:

            def call(client: httpx.Client = client, mail: str = mail, answers: list[str] = answers) -> None:
                text = f"standin:echo standin:slow=100 This is slow and long enough to be cut. Write to {mail}"
                body = {"model": GPT, "stream": True, "messages": [{"role": "user", "content": text}]}
                with (
                    contextlib.suppress(httpx.HTTPError),
                    client.stream("POST", "/openai/chat/completions", json=body) as answer,
                ):
                    answers.extend(answer.iter_lines())

            waiting = threading.Thread(target=call)
            waiting.start()
            wait_for(lambda seen=seen: len(gateway.eu.received) > seen)
            old = gateway.kill("gateway-0")
            waiting.join(20)
            assert "data: [DONE]" not in answers, "the call was cut before its answer's end"
        token, *_ = TOKEN.findall(gateway.eu.received[-1].body.decode())
        gateway.restarted("gateway-0", old)
        with gateway.client(key, timeout=20) as client:
            wait_for(lambda client=client: _up(client))
            answer = ask(client, f"standin:echo Who is {token}, asks eve@example.org").json()["choices"][0]["message"][
                "content"
            ]
            assert answer == f"You wrote: Who is {mail}, asks eve@example.org"
            assert re.search(re.escape(token), gateway.eu.received[-1].body.decode())


def _up(client: httpx.Client) -> bool:
    try:
        return client.get("/crm/customers/1001").status_code == 200
    except httpx.HTTPError:
        return False
