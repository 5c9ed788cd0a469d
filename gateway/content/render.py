"""An event as the client gets it: with what became of its texts in their places."""

from __future__ import annotations

from gateway.content import logprobs, sse
from gateway.content.json_text import Json, dump
from gateway.content.order import Held
from gateway.content.pieces import Key
from gateway.content.redact import Redactor
from gateway.content.walk import replace

_ANSWER_TEXT = frozenset({"content", "text", "data", "delta"})


def render(held: Held, redactor: Redactor, texts: dict[Key, list[str]] | None, *, lines: bool) -> bytes:
    """The bytes of an event that may leave, as a line of its own (`lines`) or as a server-sent event.

    The pieces of the answer's texts are added to `texts`, where those are kept.
    """
    event = held.event
    if event.data is None:
        return b"" if lines else sse.write_comment(event.name)
    dropped = _fill(held, redactor, texts)
    value = held.value
    if held.findings:
        value = replace(value, held.findings, redactor)
    # Only now: findings are found again by the place that they had in their list.
    for entries, entry in dropped:
        entries[:] = [item for item in entries if item is not entry]
    for tokens in held.tokens:
        tokens.remove(set(redactor.redact))
    if held.template is not None and isinstance(value, list):
        data = held.template.write(value)
    elif value is not None:
        data = dump(value)
    elif held.pieces:
        data = str(held.pieces[0][2].container[0]).encode()  # type: ignore[index]
    else:
        data = event.data
    return data + b"\n" if lines else sse.write(event.name, data, event.id)


def _fill(
    held: Held, redactor: Redactor, texts: dict[Key, list[str]] | None
) -> list[tuple[list[Json], logprobs.Entry]]:
    """Put what became of the pieces back into the event; returns the log probabilities that have to go."""
    dropped: list[tuple[list[Json], logprobs.Entry]] = []
    for channel, start, (key, container, name, original, copy) in held.pieces:
        if isinstance(name, dict):
            if channel.touched(start, start + len(original), redactor):
                dropped.append((container, name))  # type: ignore[arg-type]
            name["token"] = channel.piece(start, original, redactor)
            continue
        text = channel.piece(start, original, redactor)
        container[name] = text  # type: ignore[index]
        if texts is not None and key[-1] in _ANSWER_TEXT:
            texts.setdefault((copy, held.number, *key) if copy else key, []).append(text)
    return dropped
