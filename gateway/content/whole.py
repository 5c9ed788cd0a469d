"""Bodies that are not events: a JSON value, inspected whole, and text, which streams."""

from __future__ import annotations

import codecs

from gateway.content import logprobs
from gateway.content.bodies import Tools
from gateway.content.channel import Channel
from gateway.content.dialects import Dialect
from gateway.content.errors import ContentError
from gateway.content.json_text import Json, dump, parse_answer
from gateway.content.redact import shown_model
from gateway.content.walk import Finding, Texts, names_found, replace, shown


class Whole:
    """A JSON body: read whole, inspected whole, and written from what was read."""

    def __init__(self, tools: Tools, dialect: Dialect, *, keep: bool) -> None:
        self.model: str | None = None
        self._keep = keep
        self._length: int | None = None
        self._tools = tools
        self._dialect = dialect
        self._raw = bytearray()
        self._value: Json = None
        self._texts: list[str] = []
        self._findings: list[Finding] = []
        self._tokens: list[logprobs.Tokens] = []
        self._over = self._read = self._taken = False

    @property
    def text_length(self) -> int:
        """See `Body`."""
        if self._length is None and self._read:
            self._length = sum(len(text) for _, text in self._dialect.whole(self._value))
        return self._length or 0

    def feed(self, data: bytes) -> None:
        """See `Body.feed`."""
        self._raw += data
        if len(self._raw) > self._tools.limit:
            raise ContentError("too_large", "the answer is too large to be inspected whole")

    def end(self) -> None:
        """See `Body.end`."""
        self._over = True

    def step(self) -> bool:
        """See `Body.step`."""
        if not self._over or self._read or not self._raw:
            return False
        self._read = True
        raw = bytes(self._raw)
        self._raw.clear()
        value = self._value = parse_answer(raw)
        model = value.get("model") if isinstance(value, dict) else None
        if isinstance(model, str):
            self.model = shown_model(model, self._tools.scanner)
        texts = Texts(value)
        if logprobs.thin(texts.logprobs):
            texts = Texts(value)
        self._findings = texts.scan(self._tools.scanner)
        if self._tools.guard is not None:
            self._findings += texts.blocked(self._tools.guard, self._tools.redactor.restorer)
        restorer = self._tools.redactor.restorer
        tokens = texts.tokens(restorer) if restorer is not None else []
        self._tokens = logprobs.find(texts.logprobs, self._tools.scanner)
        names = names_found(self._findings)
        for path, _, match in self._findings:
            self._tools.findings.add(match.type, match.confidence, shown(path, names))
        for match in logprobs.matches_of(self._tokens):
            self._tools.findings.add(match.type, match.confidence, "/logprobs")
        for path in texts.unreadable:
            self._tools.findings.add("unreadable", 100, shown(path, names))
        self._findings += tokens
        return True

    def take(self) -> bytes:
        """See `Body.take`."""
        if not self._read or self._taken or self._tools.findings.pending:
            return b""
        self._taken = True
        value = replace(self._value, self._findings, self._tools.redactor)
        # Only now: findings are found again by the place that they had in their list.
        for tokens in self._tokens:
            tokens.remove(set(self._tools.redactor.redact))
        if self._keep:
            self._texts = [text for answer, text in self._dialect.whole(value) if answer]
        return dump(value)

    last = True

    open_ended = True

    @property
    def complete(self) -> bool:
        """See `Body.complete`."""
        return self._over

    def answer_texts(self) -> list[str]:
        """See `Body.answer_texts`."""
        return self._texts


class Text:
    """Text of any other kind, in one channel."""

    model: str | None = None

    def __init__(self, tools: Tools, *, keep: bool) -> None:
        self._tools = tools
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._channel = Channel("", tools.scanner, tools.guard, restorer=tools.redactor.restorer)
        self._waiting = ""
        self._offset = 0
        self._keep = keep
        self._texts: list[str] = []
        self._news = self._over = False

    @property
    def text_length(self) -> int:
        """See `Body`."""
        return self._channel.total

    def feed(self, data: bytes) -> None:
        """See `Body.feed`."""
        self._push(data, False)

    def end(self) -> None:
        """See `Body.end`."""
        self._push(b"", True)
        self._over = True

    def _push(self, data: bytes, final: bool) -> None:
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise ContentError("encoding", "the answer is not UTF-8") from error
        self._channel.push(text)
        self._waiting += text
        self._news = True

    def step(self) -> bool:
        """See `Body.step`."""
        if not self._news:
            return False
        self._news = False
        for match in self._channel.advance(final=self._over):
            self._tools.findings.add(match.type, match.confidence, "")
        return True

    def take(self) -> bytes:
        """See `Body.take`."""
        size = self._channel.ready - self._offset
        if size <= 0 or self._tools.findings.pending:
            return b""
        text = self._channel.piece(self._offset, self._waiting[:size], self._tools.redactor)
        self._offset += size
        self._waiting = self._waiting[size:]
        if self._keep:
            self._texts.append(text)
        return text.encode()

    @property
    def last(self) -> bool:
        """See `Body.last`."""
        return self._over

    open_ended = True

    @property
    def complete(self) -> bool:
        """See `Body.complete`."""
        return self._over

    def answer_texts(self) -> list[str]:
        """See `Body.answer_texts`."""
        return ["".join(self._texts)]
