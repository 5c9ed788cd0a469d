"""The OPA server's REST API, as far as it is used: requests as bytes, answers read strictly. No I/O.

Source: OPA's documentation of its REST API (Data API, Policy API, provenance).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Protocol, get_args

import orjson

from policies.errors import PolicyError
from policies.result import MAX_RESULT

Fault = Literal[
    "connect", "tls", "timeout", "broke_off", "too_large", "status", "redirect", "unauthorized", "nonsense",
    "evaluation", "empty", "revision",
]  # fmt: skip
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
"""Why there is no answer: the label `reason` of the metric."""

MAX_ANSWER: Final = 2 * MAX_RESULT
"""Longest answer to a decision in bytes; OPA's own envelope included."""
UNDEFINED: Final = '"<undefined>"'
_MAX_REVISION: Final = 128

Headers = tuple[tuple[bytes, bytes], ...]


class ServerError(PolicyError):
    """The OPA server gave no answer that can be decided by. `reason` is one of `FAULTS`."""

    def __init__(self, reason: Fault, detail: str) -> None:
        super().__init__(detail)
        self.reason: Fault = reason


class Answer(NamedTuple):
    """An HTTP answer, whole."""

    status: int
    body: bytes


class Transport(Protocol):
    """Kept-alive connections to the server, in the event loop that uses them."""

    async def send(self, method: str, target: bytes, body: bytes, limit: int, headers: Headers = ()) -> Answer:
        """Send one request and read the answer up to `limit` bytes; ServerError where there is no whole answer.

        It has no deadline of its own: whoever cancels it drops the connection.
        """
        ...


class Decided(NamedTuple):
    """What an answer says: the bundle that gave it, by mark (pushed) and revision, and the rule's result as JSON."""

    mark: str
    revision: str
    result: str


def question(document: bytes) -> bytes:
    """The body that asks about `document`; PolicyError where it is no JSON, which might end the input early."""
    try:
        orjson.loads(document)
    except orjson.JSONDecodeError:
        raise PolicyError("the input is not JSON") from None
    return b'{"input":%b}' % document


def rule_target(rule: str, query: str = "strict-builtin-errors=true") -> bytes:
    """Path and query that ask for a rule `data.….name`: an error in a builtin is an error, as in the other engine."""
    return f"/v1/{rule.replace('.', '/')}?{query}".encode()


def read_wrapped(answer: Answer) -> Decided:
    """Read what the wrapper says (`wrapper.py`); the mark is empty where the server has no bundle of Cordon's."""
    result = body_of(answer).get("result", {})
    if not isinstance(result, dict):
        raise ServerError("nonsense", "the OPA server's answer is not what Cordon's own module yields")
    mark, revision = result.get("mark", ""), result.get("revision", "")
    if not isinstance(mark, str) or not isinstance(revision, str):
        raise ServerError("nonsense", "the OPA server's answer is not what Cordon's own module yields")
    return Decided(mark, revision, _text(result))


def read_about(answer: Answer) -> Decided:
    """The same of the wrapper's word on itself alone: nothing is decided."""
    return read_wrapped(answer)._replace(result=UNDEFINED)


def read_plain(answer: Answer) -> Decided:
    """Read an answer with provenance, from a server that has its bundles from elsewhere."""
    body = body_of(answer)
    return Decided("", _revision(body.get("provenance")), _text(body))


def body_of(answer: Answer) -> dict[str, object]:
    """The JSON object of a proper answer; ServerError says what it is instead."""
    check_status(answer)
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise ServerError("nonsense", "the OPA server's answer is not JSON") from None
    if not isinstance(body, dict):
        raise ServerError("nonsense", "the OPA server's answer is not an object")
    return body


def check_status(answer: Answer) -> None:
    """ServerError for any status but a plain success. Nothing of the answer's body is repeated but places and codes."""
    status = answer.status
    if status == 200:
        return
    if status in {401, 403}:
        raise ServerError("unauthorized", f"the OPA server refused Cordon itself ({status}); see policy.credential")
    if 300 <= status < 400:
        raise ServerError(
            "redirect", f"the OPA server points elsewhere ({status}), which is not followed; see policy.url"
        )
    if status == 500 and (found := _evaluation(answer.body)):
        raise ServerError("evaluation", found)
    raise ServerError("status", f"the OPA server answered {status}")


def _evaluation(body: bytes) -> str:
    """The place of an error in the policy; its message may quote the input, so only the builtin's name is told."""
    try:
        first = orjson.loads(body)["errors"][0]
        code, message, place = first["code"], first["message"], first["location"]
        file, row = place["file"], place["row"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return ""
    if not (isinstance(code, str) and isinstance(message, str) and isinstance(file, str) and isinstance(row, int)):
        return ""
    name = message.partition(":")[0]
    known = code == "eval_builtin_error" and len(name) <= 64 and name.replace(".", "_").isidentifier()
    what = f"an error in {name}" if known else f"an error ({code[:64]})" if code.isidentifier() else "an error"
    return f"{what} at {own_file(file)[:256]}:{row}"


def own_file(name: str) -> str:
    """A module's file in the bundle, of its name in the server."""
    return name.removeprefix(PREFIX)


def _text(holder: Mapping[str, object]) -> str:
    return orjson.dumps(holder["result"]).decode() if "result" in holder else UNDEFINED


def _revision(provenance: object) -> str:
    """One name for all bundles that the server has; ServerError where it has none, or one without a revision."""
    bundles = provenance.get("bundles") if isinstance(provenance, dict) else None
    if not isinstance(bundles, dict) or not bundles:
        detail = "the OPA server has loaded no bundle, so nobody could say by what it decides"
        raise ServerError("empty", f"{detail}; have it load one with a revision in its .manifest (push: false)")
    found = {name: bundle.get("revision") for name, bundle in bundles.items() if isinstance(bundle, dict)}
    for name, revision in found.items():
        if not isinstance(revision, str) or not revision or not revision.isprintable():
            detail = f"the OPA server's bundle {name[:64]!r} names no revision"
            raise ServerError("revision", f"{detail}; build it with `opa build --revision …`")
    text = next(iter(found.values())) if len(found) == 1 else ",".join(f"{n}={found[n]}" for n in sorted(found))
    return str(text)[:_MAX_REVISION]


PREFIX: Final = "cordon/"
"""What the names of pushed modules begin with in the server."""
