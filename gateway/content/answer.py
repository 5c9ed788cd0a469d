"""The machine that inspects an answer: a whole body, a stream of events, or plain text, cut in any way.

    inspector = AnswerInspector(...)
    inspector.feed(data) ... inspector.end()        after each: go through inspector.steps()

`steps` yields what may be sent (`Emit`), questions for policy (`Ask`, to be answered with `answer` before going on)
and, once, the last part (`Final`), which the caller holds until the outcome is recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal, NamedTuple, Protocol

from gateway.content import bodies, whole
from gateway.content.decoding import decoder
from gateway.content.dialects import Dialect, Generic, dialect_of
from gateway.content.errors import ContentError
from gateway.content.findings import Ask, Findings
from gateway.content.guard import guard
from gateway.content.json_text import Json
from gateway.content.media import read_media_type
from gateway.content.redact import Redactor
from gateway.content.request import TypeSummary
from gateway.content.scanner import Scanner
from gateway.content.schema import accepts, check_schema
from gateway.content.tokens import Restorer

Mode = Literal["pass", "inspect", "buffer"]


class AnswerPlan(NamedTuple):
    """What policy wants of an answer.

    `redact`: finding type → mask | drop | hash. `block`: (id, pattern) in google-re2 syntax; a match stops the
    answer. `max_chars`: longest text. `schema`: JSON Schema that the answer's text must satisfy. `mode`: pass (not
    inspected, if nothing else is asked for), inspect, or buffer (nothing leaves before all is inspected; a schema
    implies it, and a pattern that needs the whole text).
    """

    redact: Mapping[str, str] = {}
    block: tuple[tuple[str, str], ...] = ()
    max_chars: int | None = None
    schema: dict[str, Json] | None = None
    mode: Mode = "inspect"


class AnswerLimits(NamedTuple):
    """`buffered`: most bytes of an answer that has to be held whole; `decoded`: most bytes of any; `ratio`: growth."""

    buffered: int = 33_554_432
    decoded: int = 1_073_741_824
    ratio: int = 100


DEFAULT_LIMITS = AnswerLimits()


class Emit(NamedTuple):
    """Bytes that may be sent to the client now."""

    data: bytes


class Final(NamedTuple):
    """The last bytes: to be sent when the outcome is recorded. After them there is nothing more."""

    data: bytes


Step = Emit | Ask | Final


class Body(Protocol):
    """One kind of body within the machine."""

    @property
    def model(self) -> str | None:
        """The model that the vendor says it was."""
        ...

    @property
    def text_length(self) -> int:
        """Characters of text so far."""
        ...

    def feed(self, data: bytes) -> None:
        """Take decoded bytes."""
        ...

    def end(self) -> None:
        """No bytes follow."""
        ...

    def step(self) -> bool:
        """Do the next piece of work; False when there is none. Not called while a question is open."""
        ...

    def take(self) -> bytes:
        """Bytes that may leave: none that belong to a finding nobody has been asked about."""
        ...

    @property
    def last(self) -> bool:
        """Whether what the next `take` gives is of the final part."""
        ...

    @property
    def open_ended(self) -> bool:
        """Whether the body can end after anything, without a mark."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the body was whole."""
        ...

    def answer_texts(self) -> list[str]:
        """The texts of the answer, as the client gets them; only kept when a schema asks for them."""
        ...


class AnswerInspector:
    """One answer of one attempt. `key` is the tenant's, for hashes; `restorer` puts back what the request tokenised.

    `received`: bytes as they came; `held`: decoded bytes that came since anything left.

    Raises ContentError from the constructor (a plan that cannot be enforced), `feed`, `end` and `steps` (an answer
    that cannot be read): the answer must not go on then.
    """

    def __init__(
        self,
        *,
        dialect: str,
        status: int,
        media_type: str,
        content_encoding: str,
        scanner: Scanner,
        plan: AnswerPlan,
        key: bytes,
        limits: AnswerLimits = DEFAULT_LIMITS,
        restorer: Restorer | None = None,
    ) -> None:
        self.status = status
        self.blocked = False
        self.received = 0
        self.held = 0
        self._decoded = 0
        self._plan = plan
        self._limits = limits
        self._findings = Findings()
        self._redactor = Redactor(plan.redact, key, restorer=restorer)
        self._media = read_media_type(media_type)
        self._decoder = decoder(content_encoding, limit=limits.decoded, ratio=limits.ratio)
        self._guard = guard(plan.block) if plan.block else None
        if plan.schema is not None:
            check_schema(plan.schema)
        self._buffering = (
            plan.mode == "buffer" or plan.schema is not None or (self._guard is not None and not self._guard.streamable)
        )
        self._dialect: Dialect = dialect_of(dialect) if dialect else Generic()
        self._body = self._open(scanner)
        # A client of a dialect reads JSON or events whatever the type says, so nothing else is taken for an answer.
        self._foreign = (
            bool(dialect) and plan.mode != "pass" and status < 300 and self._media.shape not in ("json", "events")
        )
        self._held = bytearray()
        self._out: list[bytes] = []
        self._asked: Ask | None = None
        self._ended = False
        self._checked = False
        self.finished = False

    def _open(self, scanner: Scanner) -> Body:
        shape, plan = self._media.shape, self._plan
        demands = plan.redact or plan.block or plan.max_chars is not None or plan.schema is not None
        tools = bodies.Tools(scanner, self._guard, self._findings, self._redactor, self._limits.buffered)
        if plan.mode == "pass" and not demands and self._redactor.restorer is None:
            return bodies.PassedEvents(self._dialect) if shape == "events" else bodies.Passed()
        if shape in ("events", "lines"):
            return bodies.Events(tools, self._dialect, lines=shape == "lines", keep=plan.schema is not None)
        if shape == "json":
            return whole.Whole(tools, self._dialect, keep=plan.schema is not None)
        if shape == "opaque":
            return bodies.Opaque(tools)
        return whole.Text(tools, keep=plan.schema is not None)

    @property
    def model(self) -> str | None:
        """The model that the vendor says it was."""
        return self._body.model

    @property
    def text_length(self) -> int:
        """Characters of text inspected so far."""
        return self._body.text_length

    @property
    def complete(self) -> bool:
        """Whether the upstream's answer was whole: decoded to its end, and a stream up to its terminal event."""
        return self._ended and self._body.complete

    @property
    def types(self) -> Collection[str]:
        """Types of the findings so far."""
        return self._findings.types

    @property
    def sequence(self) -> int | None:
        """The highest number of an event so far, where the stream is of a protocol that numbers them (-1: none had)."""
        return self._dialect.sequence

    def summary(self) -> dict[str, TypeSummary]:
        """Findings by type so far."""
        return self._findings.summary()

    def feed(self, data: bytes) -> None:
        """Take bytes of the answer's body as they came."""
        self.received += len(data)
        plain = self._decoder.feed(data)
        if plain:
            if self._foreign:
                raise ContentError("malformed", "a model's answer must be JSON or a stream of events")
            self.held += len(plain)
            self._decoded += len(plain)
            self._body.feed(plain)

    def end(self) -> None:
        """The upstream's answer is over, by its framing. Not to be called when the connection broke."""
        rest = self._decoder.end()
        self._decoded += len(rest)
        self._body.feed(rest)
        self._body.end()
        self._ended = True

    def answer(self, allow: bool, redact: Mapping[str, str] | None = None) -> None:
        """Answer the last `Ask`: go on, with these types redacted from here on too, or stop."""
        if self._asked is None:
            raise ContentError("misuse", "there is no open question")
        asked, self._asked = self._asked, None
        if not allow or asked.binding:
            self.blocked = True
            return
        self._redactor.add(redact or {})

    def steps(self) -> Iterator[Step]:
        """What can be done now; to be gone through after each `feed`, `end` and `answer`."""
        while not (self.finished or self.blocked or self._asked):
            self._collect()
            if self._findings.pending:
                yield from self._emit()
                self._asked = self._findings.ask()
                yield self._asked
                continue
            if self._body.step():
                self._count_text()
            elif not self._findings.pending:
                yield from self._emit()
                if not self._ended:
                    return
                if self._final():
                    yield self._finish()

    def _collect(self) -> None:
        while True:
            last = self._body.last
            data = self._body.take()
            if not data:
                return
            if not (self._buffering or last):
                if self._held:
                    self._out.append(bytes(self._held))
                    self._held.clear()
                if not self._body.open_ended:
                    self._out.append(data)
                    continue
            # In a body without a mark of its end, what came last is kept back until there is more.
            self._held += data
            if len(self._held) > self._limits.buffered:
                raise ContentError("too_large", "the answer is too large to be held")

    def _emit(self) -> Iterator[Emit]:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self.held = 0
            yield Emit(data)

    def _final(self) -> bool:
        """Whether the end is reached; the demands on the whole answer are checked here."""
        if not self._body.complete:
            self._held.clear()
            return True
        if self._plan.schema is not None and not self._checked:
            self._checked = True
            if not accepts(self._plan.schema, self._body.answer_texts()):
                self._findings.add("wrong_shape", 100, "")
                return False
        return True

    def _finish(self) -> Final:
        self.finished = True
        return Final(bytes(self._held))

    def _count_text(self) -> None:
        longest = self._plan.max_chars
        # No text has more characters than the body that it came in has bytes.
        if longest is None or self._decoded <= longest or "too_long" in self._findings.types:
            return
        if self._body.text_length > longest:
            self._findings.add("too_long", 100, "")
