"""What can go wrong in the control plane; each error knows the status and the words that its answer carries."""

from __future__ import annotations

from collections.abc import Mapping

from lineage.actions import ActionError


class ConsoleError(Exception):
    """Base of every error of this package, answered as a problem (RFC 9457).

    `status` is the answer's; `title` names the kind of problem, `detail` says what happened and what to do, `field` is
    the part of the request to mend.
    """

    status = 500
    title = "Internal error"

    def __init__(self, detail: str, *, field: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})


class Invalid(ConsoleError):
    """The request asks for something that cannot be."""

    status, title = 422, "Invalid request"


class NotSignedIn(ConsoleError):
    """No session, or one that has ended."""

    status, title = 401, "Sign in first"


class Forbidden(ConsoleError):
    """The account's roles do not allow it, or the request did not come from the console's own pages."""

    status, title = 403, "Not allowed"


class NotFound(ConsoleError):
    """There is no such thing."""

    status, title = 404, "Not found"


class Conflict(ConsoleError):
    """It is no longer, or not yet, in a state in which this can be done."""

    status, title = 409, "Conflict"


class Throttled(ConsoleError):
    """Too many attempts; the answer says when to come back."""

    status, title = 429, "Too many attempts"


class TooLarge(ConsoleError):
    """The request's body is over the limit."""

    status, title = 413, "Request too large"


class TooSlow(ConsoleError):
    """The request did not come in whole within its time."""

    status, title = 408, "Request timed out"


class Misdirected(ConsoleError):
    """The request names a host that this server does not answer for."""

    status, title = 421, "Misdirected request"


class Unavailable(ConsoleError):
    """The log or the state database is away; nothing was changed."""

    status, title = 503, "Not available"


def invalid(error: ActionError) -> Invalid:
    """What does not fit into a record, told as the request's mistake."""
    text = str(error)
    return Invalid(f"{text[:1].upper()}{text[1:]}.", field=error.field)


def refused(error: ActionError) -> ConsoleError:
    """What a record about a roll-out cannot say: a mistake of the request, or a state in which it cannot be done."""
    return Conflict(f"The {error}.") if error.field.startswith("roll-out ") else invalid(error)
