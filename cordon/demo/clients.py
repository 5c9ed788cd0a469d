"""The callers: the vendors' official SDKs where they are installed, plain HTTP where they are not.

Nothing but base URL and key is set on them. What they raise, their own errors or those of the HTTP library below them,
is handed on as `Refused`, with the exception's own name.
"""

from __future__ import annotations

import http.client
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import orjson

GPT: Final = "gpt-4.1-mini"
CLAUDE: Final = "claude-sonnet-5-5"
SECONDS: Final = 30.0


class Refused(Exception):
    """The call did not succeed. `name` is what the client raised, `status` the HTTP status, 0 inside a stream."""

    def __init__(self, name: str, status: int, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.status = status


class Chat(Protocol):
    """A client of a chat model. `name` says which one."""

    name: str

    def ask(self, text: str) -> str:
        """The whole answer."""

    def stream(self, text: str) -> Iterator[str]:
        """The answer's text, in pieces as they come."""


def openai_chat(url: str, key: str) -> Chat:
    """OpenAI's client, below `url`."""
    return OpenAI(f"{url}/openai", key) if importlib.util.find_spec("openai") else Plain(f"{url}/openai", key, "openai")


def anthropic_chat(url: str, key: str) -> Chat:
    """Anthropic's client, below `url`."""
    base = f"{url}/anthropic"
    return Anthropic(base, key) if importlib.util.find_spec("anthropic") else Plain(base, key, "anthropic")


class OpenAI:
    """The official `openai` package."""

    def __init__(self, url: str, key: str) -> None:
        import openai

        self.name = f"openai {openai.__version__}"
        self._client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=SECONDS)

    def ask(self, text: str) -> str:
        """The whole answer."""
        try:
            answer = self._client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": text}])
        except Exception as error:
            raise _refused(error) from error
        return answer.choices[0].message.content or ""

    def stream(self, text: str) -> Iterator[str]:
        """The answer's text, in pieces as they come."""
        try:
            chunks = self._client.chat.completions.create(
                model=GPT, messages=[{"role": "user", "content": text}], stream=True
            )
            for chunk in chunks:
                for choice in chunk.choices:
                    yield choice.delta.content or ""
        except Exception as error:
            raise _refused(error) from error


class Anthropic:
    """The official `anthropic` package."""

    def __init__(self, url: str, key: str) -> None:
        import anthropic

        self.name = f"anthropic {anthropic.__version__}"
        self._client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=SECONDS)

    def ask(self, text: str) -> str:
        """The whole answer."""
        try:
            answer = self._client.messages.create(
                model=CLAUDE, max_tokens=500, messages=[{"role": "user", "content": text}]
            )
        except Exception as error:
            raise _refused(error) from error
        return "".join(block.text for block in answer.content if block.type == "text")

    def stream(self, text: str) -> Iterator[str]:
        """The answer's text, in pieces as they come."""
        try:
            with self._client.messages.stream(
                model=CLAUDE, max_tokens=500, messages=[{"role": "user", "content": text}]
            ) as events:
                yield from events.text_stream
        except Exception as error:
            raise _refused(error) from error


class Plain:
    """Either vendor's protocol by plain HTTP, as far as the demonstration needs it."""

    def __init__(self, url: str, key: str, dialect: str) -> None:
        self.name = f"plain HTTP ({dialect} protocol)"
        self._url = url
        self._dialect = dialect
        self._headers = {"authorization": f"Bearer {key}"} if dialect == "openai" else {"x-api-key": key}

    def ask(self, text: str) -> str:
        """The whole answer."""
        answer = orjson.loads(self._post(text, stream=False).read())
        if self._dialect == "openai":
            return str(answer["choices"][0]["message"]["content"])
        return str(answer["content"][0]["text"])

    def stream(self, text: str) -> Iterator[str]:
        """The answer's text, in pieces as they come."""
        try:
            for line in self._post(text, stream=True):
                if line.startswith((b"data: [DONE]", b"event: message_stop")):
                    return
                if line.startswith(b"data: "):
                    yield self._piece(orjson.loads(line[6:]))
        except (http.client.HTTPException, OSError) as error:
            raise Refused(type(error).__name__, 0, "the stream broke off") from error
        raise Refused("IncompleteRead", 0, "the stream broke off")

    def _post(self, text: str, *, stream: bool) -> http.client.HTTPResponse:
        model, path = (GPT, "/chat/completions") if self._dialect == "openai" else (CLAUDE, "/v1/messages")
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, "max_tokens": 500}
        answer = request("POST", f"{self._url}{path}", self._headers, body)
        if answer.status >= 400:
            raise Refused(f"HTTP {answer.status}", answer.status, _message(answer.read()))
        return answer

    def _piece(self, event: Mapping[str, Any]) -> str:
        if "error" in event:
            raise Refused("error event", 0, str(event["error"].get("message", "")))
        if self._dialect == "openai":
            return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
        delta = event.get("delta", {})
        return str(delta.get("text", "")) if delta.get("type") == "text_delta" else ""


def request(method: str, url: str, headers: Mapping[str, str], body: object = None) -> http.client.HTTPResponse:
    """One plain HTTP call with an optional JSON body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
    sent = dict(headers)
    if body is not None:
        sent["content-type"] = "application/json"
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(method, target, None if body is None else orjson.dumps(body), sent)
    return connection.getresponse()


def problem_of(answer: http.client.HTTPResponse) -> str:
    """What a refused plain call says, in one line."""
    return _message(answer.read())


def _message(body: bytes) -> str:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "an answer that is not JSON"
    if "error" in value:
        inner = value["error"]
        return str(inner["message"] if isinstance(inner, dict) else inner)
    reasons = [reason.get("detail", "") for reason in value.get("reasons", ())]
    return " ".join([str(value.get("detail", "")), *reasons]).strip()


def _refused(error: Exception) -> Refused:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else None
    return Refused(type(error).__name__, int(getattr(error, "status_code", 0) or 0), str(message or error))
