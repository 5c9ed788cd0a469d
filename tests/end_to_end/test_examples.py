"""The ready configurations in examples/: each is in order, and all of them together serve official clients.

Their vendors are played by one server that answers as each of them does and keeps what it was sent.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import orjson
import pytest
import yaml

from cordon.standin import anthropic as anthropic_answers
from cordon.standin import openai as openai_answers
from cordon.standin.script import plan_of
from cordon.standin.server import Answer, Received, Server
from tests.support.cli import Installation
from tests.support.gateway import ROOT, Cordon, cordon

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
CARD = "4111 1111 1111 1111"
ASK: Any = [{"role": "user", "content": f"standin:echo Charge {CARD}."}]


def named_variables(text: str) -> set[str]:
    return set(re.findall(r"env:([A-Z_]+)", text))


def secret_of(variable: str) -> str:
    return f"{variable.lower()}-of-the-test"


class Vendors:
    """All vendors at one address, told apart by the path that the example's url has."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = Server(self._answer)

    def __enter__(self) -> Vendors:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._server.start("127.0.0.1", 0), self._loop).result(10)
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def last(self) -> Received:
        return self._server.received[-1]

    @staticmethod
    async def _answer(request: Received, answer: Answer) -> None:
        body: object = {"ok": True, "id": "cus_1", "path": request.path}
        if request.path.endswith(("/chat/completions", "/v1/messages")):
            asked = orjson.loads(request.body)
            vendor = openai_answers if request.path.endswith("/chat/completions") else anthropic_answers
            body = vendor.whole(asked, plan_of(asked), 1)
        await answer.whole(200, "application/json", orjson.dumps(body))


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with Vendors() as playing:
        yield playing


@pytest.fixture(scope="module")
def running(vendors: Vendors) -> Iterator[Cordon]:
    """The routes of every example in one file, as examples/README.md says that they can be."""

    def change(config: dict[str, Any]) -> None:
        files = [yaml.safe_load(re.sub(r'"https?://[^/"]+', f'"{vendors.url}', path.read_text())) for path in EXAMPLES]
        config["routes"] = [route for file in files for route in file["routes"]]
        config["tenants"] = [{"id": "acme", "residency": ["EU", "US"]}]
        config["policy"] = {"bundle": str(ROOT / "examples/policy")}

    with pytest.MonkeyPatch.context() as environment:
        for path in EXAMPLES:
            for variable in named_variables(path.read_text()):
                environment.setenv(variable, secret_of(variable))
        with cordon(change) as started:
            yield started


@pytest.fixture(scope="module")
def key(running: Cordon) -> str:
    return running.key("my-app")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_is_in_order_once_its_secret_is_set(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Installation(tmp_path)
    variables = named_variables(path.read_text())
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    before = check("config", "check", str(path), "--json").json
    assert before["valid"]
    assert {row["key"].rpartition(".")[2] for row in before["warnings"]} <= {"credential"}
    assert all(any(v in row["problem"] for v in variables) for row in before["warnings"])
    for variable in variables:
        monkeypatch.setenv(variable, secret_of(variable))
    assert check("config", "check", str(path), "--strict").code == 0


def test_each_is_in_the_list_with_its_secrets() -> None:
    page = (ROOT / "examples/README.md").read_text()
    for path in EXAMPLES:
        row = next(line for line in page.splitlines() if f"| [{path.name}]({path.name}) |" in line)
        assert set(re.findall(r"`([A-Z_]+)`", row)) == named_variables(path.read_text())


def test_their_bundle_is_admitted_and_its_tests_pass(tmp_path: Path) -> None:
    check = Installation(tmp_path)
    assert check("policy", "check", str(ROOT / "examples/policy"), "--json").json["problems"] == []
    assert check("policy", "test", str(ROOT / "examples/policy")).code == 0


def arrived(vendors: Vendors, key: str, path: str, header: str, value: str) -> Received:
    """What the vendor was sent last: at its own path, with its own secret, without the caller's key or the card."""
    request = vendors.last
    assert request.target == path
    assert [text for name, text in request.headers if name == header] == [value]
    assert key not in str(request.headers) + request.body.decode()
    assert CARD not in request.body.decode()
    return request


@pytest.mark.parametrize(
    ("route", "path", "header", "value", "model"),
    [
        ("openai", "/v1/chat/completions", "authorization", f"Bearer {secret_of('OPENAI_API_KEY')}", "gpt-4.1"),
        ("azure", "/openai/v1/chat/completions", "api-key", secret_of("AZURE_OPENAI_API_KEY"), "gpt-4.1"),
        (
            "bedrock", "/v1/chat/completions", "authorization", f"Bearer {secret_of('AWS_BEARER_TOKEN_BEDROCK')}",
            "gpt-4.1",
        ),
        ("vllm", "/v1/chat/completions", "authorization", f"Bearer {secret_of('VLLM_API_KEY')}", "Qwen/Qwen3-8B"),
    ],
)  # fmt: skip
def test_openais_client_reaches_what_speaks_like_openai(
    running: Cordon, vendors: Vendors, key: str, route: str, path: str, header: str, value: str, model: str
) -> None:
    client = openai.OpenAI(base_url=f"{running.url}/{route}", api_key=key, max_retries=0)
    answer = client.chat.completions.create(model="gpt-4.1", messages=ASK)
    assert "Charge" in str(answer.choices[0].message.content)
    request = arrived(vendors, key, path, header, value)
    assert orjson.loads(request.body)["model"] == model


def test_ollama_is_sent_no_secret_at_all(running: Cordon, vendors: Vendors, key: str) -> None:
    client = openai.OpenAI(base_url=f"{running.url}/ollama", api_key=key, max_retries=0)
    client.chat.completions.create(model="llama3.2", messages=ASK)
    assert vendors.last.target == "/v1/chat/completions"
    assert not {"authorization", "api-key", "x-api-key"} & {name for name, _ in vendors.last.headers}
    assert CARD not in vendors.last.body.decode()


def test_azures_client_reaches_its_deployment_and_no_other(running: Cordon, vendors: Vendors, key: str) -> None:
    client = openai.AzureOpenAI(azure_endpoint=running.url, api_key=key, api_version="2024-10-21", max_retries=0)
    answer = client.chat.completions.create(model="YOUR-DEPLOYMENT", messages=ASK)
    assert "Charge" in str(answer.choices[0].message.content)
    path = "/openai/deployments/YOUR-DEPLOYMENT/chat/completions?api-version=2024-10-21"
    arrived(vendors, key, path, "api-key", secret_of("AZURE_OPENAI_API_KEY"))
    # Here, where the prefix /openai is another vendor's, that vendor is asked; Azure's secret goes nowhere else.
    client.chat.completions.create(model="another", messages=ASK)
    assert not [name for name, _ in vendors.last.headers if name == "api-key"]
    assert secret_of("AZURE_OPENAI_API_KEY") not in str(vendors.last.headers)


def test_anthropics_client_reaches_anthropic(running: Cordon, vendors: Vendors, key: str) -> None:
    client = anthropic.Anthropic(base_url=f"{running.url}/anthropic", api_key=key, max_retries=0)
    answer = client.messages.create(model="claude-sonnet-4-6", max_tokens=100, messages=ASK)
    assert "Charge" in answer.content[0].text  # type: ignore[union-attr]
    arrived(vendors, key, "/v1/messages", "x-api-key", secret_of("ANTHROPIC_API_KEY"))


@pytest.mark.parametrize(
    ("method", "path", "at", "variable", "options"),
    [
        ("GET", "/github/repos/o/r/issues?state=open", "/repos/o/r/issues?state=open", "GITHUB_TOKEN", {}),
        ("POST", "/slack/api/chat.postMessage", "/api/chat.postMessage", "SLACK_BOT_TOKEN",
         {"json": {"channel": "C1", "text": f"Charge {CARD}"}}),
        ("POST", "/stripe/v1/customers", "/v1/customers", "STRIPE_API_KEY",
         {"data": {"description": f"Charge {CARD}", "metadata[order]": "7"}, "headers": {"idempotency-key": "k-1"}}),
    ],
)  # fmt: skip
def test_saas_apis_are_reached_with_their_own_secret(
    running: Cordon, vendors: Vendors, key: str, method: str, path: str, at: str, variable: str, options: dict[str, Any]
) -> None:
    with running.client(key) as client:
        answer = client.request(method, path, **options)
    assert answer.status_code == 200, answer.text
    request = arrived(vendors, key, at, "authorization", f"Bearer {secret_of(variable)}")
    assert request.header("idempotency-key") == options.get("headers", {}).get("idempotency-key", "")
    if variable == "STRIPE_API_KEY":
        assert b"metadata%5Border%5D=7" in request.body


def test_a_client_cannot_choose_the_secret_that_is_sent(running: Cordon, vendors: Vendors, key: str) -> None:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}]}
    for name in ("api-key", "x-api-key"):
        answer = httpx.post(
            f"{running.url}/azure/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {key}", name: "of-the-client"},
        )
        assert answer.status_code == 401
    answer = httpx.post(
        f"{running.url}/azure/chat/completions",
        json=body,
        headers={"api-key": key, "connection": "keep-alive, api-key"},
    )
    assert answer.status_code == 401
    assert "of-the-client" not in str(vendors.last.headers)
    assert key not in str(vendors.last.headers)
