"""One growing text of a stream: what of it is settled, what was found, and what a piece of it becomes.

A channel is fed the text as it comes and answers for pieces of it later, when no finding can cross their end any
more. Because text is scanned between breaks only (see `breaks`), the result is the same for any cut.
"""

from __future__ import annotations

from collections import deque

from gateway.content.breaks import CONTEXT, WINDOW
from gateway.content.guard import Guard
from gateway.content.redact import Redactor, number_span, quoted_after
from gateway.content.scanner import Match, Scanner, readable
from gateway.content.tokens import RESTORE, TOKEN, Restorer

_TRIM = 1_024


class _Found:
    """A match with absolute offsets. `new` is what its first character becomes; None while nobody has asked."""

    __slots__ = ("bare", "end", "match", "new", "start", "text")

    def __init__(self, match: Match, start: int, end: int, text: str, bare: bool) -> None:
        self.match = match
        self.start = start
        self.end = end
        self.text = text
        self.bare = bare
        self.new: str | None = None


class Channel:
    """All offsets are in characters from the beginning of the channel's text.

    `total`: fed so far; `settled`: looked at for good; `ready`: may be released; `ended`: no text may follow.
    `pointer` names the field. `is_json`: the text is JSON itself (the arguments of a tool call). With a `restorer`,
    tokens become their values: no break (see `breaks`) lies within a token, so it is settled whole, and blocked
    patterns are looked for in what the client gets.
    """

    __slots__ = (
        "_base",
        "_found",
        "_guard",
        "_guarded",
        "_quoted",
        "_restorer",
        "_scanner",
        "_seen",
        "_shown",
        "_text",
        "ended",
        "is_json",
        "pointer",
        "ready",
        "settled",
        "total",
    )

    def __init__(
        self,
        pointer: str,
        scanner: Scanner,
        guard: Guard | None,
        *,
        is_json: bool = False,
        restorer: Restorer | None = None,
    ) -> None:
        self.pointer = pointer
        self.is_json = is_json
        self.total = 0
        self.settled = 0
        self.ready = 0
        self.ended = False
        self._scanner = scanner
        self._guard = guard
        self._guarded = 0
        self._seen = 0
        self._text = ""
        self._base = 0
        self._quoted = False
        self._found: deque[_Found] = deque()
        self._restorer = restorer
        self._shown = _Shown() if restorer is not None and guard is not None else None

    def push(self, text: str) -> int:
        """Append text; returns the offset it begins at."""
        start = self.total
        self._text += readable(text)
        self.total += len(text)
        return start

    def pass_clean(self, text: str) -> bool:
        """Append text and look at what has become certain, as `push` and `advance` do, if nothing is found in it.

        Otherwise nothing is done. Nothing found means that nothing would have been found in any part of it before.
        """
        if self.ended or self._restorer is not None:
            return False
        before, start = self._text, self.settled - self._base
        after = self._text = before + readable(text)
        stop = -1
        if len(after) - start <= WINDOW:
            stop = self._scanner.settled(after, start, self._seen - self._base)
        guard = self._guard if self._guard is not None and self._guard.streamable else None
        if stop < 0 or (stop > start and self._scan(start, stop)) or (guard is not None and guard.occurs(after)):
            self._text = before
            return False
        self.total += len(text)
        if stop > start:
            self._take([], stop, [])
        else:
            self._seen = self.total
        self.ready = self.settled
        if guard is not None:
            self._guard_rest(guard)
        return True

    def advance(self, *, final: bool = False) -> list[Match]:
        """Look at what has become certain; returns what is new (blocked patterns included), with absolute offsets.

        `final`: no text follows.
        """
        new: list[Match] = []
        while self._step(new, final):
            pass
        self.ready = self.settled
        if self._guard is not None and (final or self._guard.streamable):
            new += self._look_for_blocked(self._guard, final)
        self.ended = self.ended or final
        return new

    def _step(self, new: list[Match], final: bool) -> bool:
        """One stretch up to a break, the end, or the end of a window; whether there may be more to take."""
        text, start = self._text, self.settled - self._base
        size = len(text) - start
        if not size:
            return False
        if final and size <= WINDOW:
            stop = len(text)
        else:
            stop = self._scanner.settled(text, start, self._seen - self._base)
            if stop == start:
                if size < WINDOW:
                    self._seen = self.total
                    return False
                self._force(start, new)
                return True
        self._take(self._scan(start, stop), stop, new)
        return size > WINDOW

    def _scan(self, start: int, stop: int) -> list[Match]:
        """Findings in this part of the text that is kept, with as much context as is always kept."""
        first = max(0, start - CONTEXT)
        matches = self._scanner.scan(self._text[first:stop], start - first)
        if not matches or not first:
            return matches
        return [Match(kind, begin + first, end + first, confidence) for kind, begin, end, confidence in matches]

    def _force(self, start: int, new: list[Match]) -> None:
        """No break in a whole window: take what begins in its first half; that cannot reach beyond the second."""
        half = start + WINDOW - self._scanner.reach
        matches = [match for match in self._scan(start, start + WINDOW) if match.start < half]
        stop = max(half, matches[-1].end if matches else 0)
        if self._restorer is not None:
            # The only place that is no break: it may lie within a token.
            stop = max(
                [stop, *(t.end() for t in TOKEN.finditer(self._text, start, start + WINDOW) if t.start() < stop)]
            )
        self._take(matches, stop, new)

    def _take(self, matches: list[Match], stop: int, new: list[Match]) -> None:
        text, base, floor = self._text, self._base, self.settled - self._base
        position, quoted = floor, self._quoted
        if self._restorer is not None:
            matches = self._with_tokens(self._restorer, matches, floor, stop)
        for match in matches:
            start, end, bare = match.start, match.end, False
            if self.is_json:
                quoted = quoted_after(text[position:start], quoted)
                position = start
                if not quoted:
                    bare = True
                    if match.type != RESTORE:
                        start, end = number_span(text, floor, start, end)
            self._found.append(_Found(match, base + start, base + end, text[match.start : match.end], bare))
            if match.type != RESTORE:
                new.append(Match(match.type, base + start, base + end, match.confidence))
        if self.is_json:
            self._quoted = quoted_after(text[position:stop], quoted)
        self.settled = base + stop
        self._trim()

    def _with_tokens(self, restorer: Restorer, matches: list[Match], floor: int, stop: int) -> list[Match]:
        """The findings and the tokens to be restored of a stretch, in order."""
        first = max(0, floor - CONTEXT)
        part = self._text[first:stop]
        tokens = restorer.matches(part, floor - first, is_json=self.is_json)
        if self._shown is not None:
            self._shown.add(
                restorer.preview(part, tokens, floor - first, len(part), is_json=self.is_json), stop - floor
            )
        moved = [Match(RESTORE, token.start + first, token.end + first, 100) for token in tokens]
        return sorted([*matches, *moved], key=_start) if moved else matches

    def _trim(self) -> None:
        """Forget text that is not context any more."""
        floor = self.settled - CONTEXT
        if self._guard is not None and self._shown is None:
            floor = min(floor, self._guarded)
        if floor - self._base > _TRIM:
            self._text = self._text[floor - self._base :]
            self._base = floor

    def _look_for_blocked(self, guard: Guard, final: bool) -> list[Match]:
        if self._shown is not None:
            found, ready = self._shown.search(guard, final)
            self.ready = min(self.settled, ready)
            return found
        base = self._base
        found = guard.search(self._text, self._guarded - base, final=final)
        if not final:
            self._guard_rest(guard)
        return [Match(match.type, match.start + base, match.end + base, 100) for match in found]

    def _guard_rest(self, guard: Guard) -> None:
        """Hold back what may yet become a blocked pattern."""
        self._guarded = max(self._guarded, self.total - guard.width - 1)
        self.ready = max(0, min(self.settled, self.total - guard.width))

    def piece(self, start: int, text: str, redactor: Redactor) -> str:
        """What becomes of `text`, which was pushed at `start` and is ready. Pieces are asked for in order."""
        end = start + len(text)
        found = self._found
        if not found or found[0].start >= end:
            return text
        parts: list[str] = []
        position = start
        for item in found:
            if item.start >= end:
                break
            if item.new is None:
                item.new = self._replacement(item, redactor)
            if redactor.changes(item.match):
                if item.start >= start:
                    parts.append(text[position - start : item.start - start])
                    parts.append(item.new)
                position = min(item.end, end)
        parts.append(text[position - start :])
        while found and found[0].end <= end:
            found.popleft()
        return "".join(parts)

    def touched(self, start: int, end: int, redactor: Redactor) -> bool:
        """Whether a finding that is redacted overlaps [start, end)."""
        return any(item.start < end and item.end > start and redactor.changes(item.match) for item in self._found)

    def _replacement(self, item: _Found, redactor: Redactor) -> str:
        if not redactor.changes(item.match):
            return item.text
        new = redactor.replacement(item.match, item.text, is_json=self.is_json)
        return f'"{new}"' if item.bare else new


class _Shown:
    """The settled text as the client gets it, for blocked patterns, and how much of the channel's text that is."""

    __slots__ = ("_base", "_ready", "_searched", "_stretches", "_text", "_total")

    def __init__(self) -> None:
        self._text = ""
        self._base = 0
        self._total = 0
        self._ready = 0
        self._searched = 0
        self._stretches: deque[tuple[int, int]] = deque()

    def add(self, text: str, size: int) -> None:
        """A further stretch: `size` characters of the channel's text became this."""
        self._text += text
        self._total += size
        self._stretches.append((self._base + len(self._text), self._total))

    def search(self, guard: Guard, final: bool) -> tuple[list[Match], int]:
        """What is found, and up to which offset of the channel's text nothing can be found any more."""
        found = guard.search(self._text, self._searched - self._base, final=final)
        size = self._base + len(self._text)
        if final or not guard.streamable:
            return found, self._total
        safe = max(self._base, size - guard.width)
        self._searched = max(self._searched, safe - 1)
        while self._stretches and self._stretches[0][0] <= safe:
            self._ready = self._stretches.popleft()[1]
        if safe - self._base > _TRIM:
            self._text = self._text[self._searched - self._base :]
            self._base = self._searched
        return found, self._ready


def _start(match: Match) -> int:
    return match.start
