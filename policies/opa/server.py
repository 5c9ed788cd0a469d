"""What an OPA server holds, and changing it piece by piece: modules, data, and the lock that pushes take."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import orjson

from policies.errors import Problem
from policies.opa.wire import PREFIX, Answer, ServerError, Transport, body_of, check_status, own_file
from policies.opa.wrapper import NAME

MAX_HELD: Final = 64 << 20
"""Longest list of modules in bytes; OPA sends their syntax trees along."""
_LOCK: Final = "cordon_gateway_lock"
_STATE: Final = "cordon_gateway_state"
_POLL: Final = 0.05
_STEP: Final = 5.0
_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Held:
    """The server's modules: Cordon's by file, its wrapper ("" for none), and the rules and packages of each name."""

    modules: Mapping[str, str]
    wrapper: str
    rules: frozenset[str]
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """What the last push left behind: the top-level keys of its data, and the bundle that the server refused last."""

    keys: frozenset[str] = frozenset()
    refused: str = ""
    problems: tuple[Problem, ...] = ()


class Refused(Exception):
    """The server does not take a module or a value; `problems` are its words."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(str(problems[0]))
        self.problems = problems


class Server:
    """The server's policy and data interfaces. Every method raises ServerError where the server does not answer."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def held(self) -> Held:
        """All modules there are."""
        listed = body_of(await self._send("GET", "/v1/policies", limit=MAX_HELD)).get("result")
        modules, packages, rules, wrapped = {}, {}, set(), ""
        for each in listed if isinstance(listed, list) else ():
            try:
                name, raw, tree = each["id"], each["raw"], each["ast"]
                package = ".".join(step["value"] for step in tree["package"]["path"])
                rules |= {f"{package}.{_head(rule['head'])}" for rule in tree.get("rules", ())}
            except (KeyError, TypeError):
                raise ServerError("nonsense", "the OPA server's list of policies cannot be read") from None
            packages[name] = package
            if name == NAME:
                wrapped = raw
            elif name.startswith(PREFIX):
                modules[own_file(name)] = raw
        return Held(modules, wrapped, frozenset(rules), packages)

    async def put_module(self, name: str, text: str) -> None:
        """Put a module under its name in the server; Refused where it does not compile with the others there."""
        self._accepted(await self._send("PUT", f"/v1/policies/{quote(name)}", text.encode()), name)

    async def delete_module(self, name: str) -> None:
        """Take a module out; Refused while others need it. One that is not there is no fault."""
        answer = await self._send("DELETE", f"/v1/policies/{quote(name)}")
        if answer.status != 404:
            self._accepted(answer, name)

    async def data(self, key: str) -> tuple[object, ...]:
        """The value at a top-level key of the data, as the only item; () where there is none."""
        body = body_of(await self._send("GET", f"/v1/data/{quote(key, safe='')}", limit=MAX_HELD))
        return (body["result"],) if "result" in body else ()

    async def put_data(self, key: str, value: object) -> None:
        """Set the value at a top-level key."""
        self._accepted(await self._send("PUT", f"/v1/data/{quote(key, safe='')}", orjson.dumps(value)), f"data.{key}")

    async def delete_data(self, key: str) -> None:
        """Take a top-level key out of the data."""
        answer = await self._send("DELETE", f"/v1/data/{quote(key, safe='')}")
        if answer.status != 404:
            self._accepted(answer, f"data.{key}")

    async def state(self) -> State:
        """What the last push left behind; nothing where the server was restarted."""
        found = await self.data(_STATE)
        try:
            (state,) = found
            assert isinstance(state, dict)
            problems = tuple(Problem(**each) for each in state["problems"])
            return State(frozenset(map(str, state["keys"])), str(state["refused"]), problems)
        except (ValueError, AssertionError, KeyError, TypeError):
            return State()

    async def put_state(self, state: State) -> None:
        """Leave word for the next push."""
        problems = [{name: getattr(each, name) for name in each.__slots__} for each in state.problems]
        value = {"keys": sorted(state.keys), "refused": state.refused, "problems": problems}
        await self.put_data(_STATE, value)

    @asynccontextmanager
    async def locked(self, stale: float) -> AsyncIterator[str]:
        """Hold the lock that pushes of all workers and machines take, in the server itself; yields its holder's name.

        One that has not moved for `stale` seconds was left by a process that died: it is taken away.
        """
        mine = secrets.token_hex(8)
        other, since = "", time.monotonic()
        while not await self._take(mine):
            holder = await self._holder()
            if holder != other:
                other, since = holder, time.monotonic()
            elif holder and time.monotonic() - since > stale:
                await self.delete_data(_LOCK)
            await asyncio.sleep(_POLL)
        try:
            yield mine
        finally:
            with suppress(ServerError, Refused):  # the lock of a server that is lost goes stale, or with it
                if await self._holder() == mine:
                    await self.delete_data(_LOCK)

    async def holds(self, mine: str) -> bool:
        """Whether the lock is still this holder's."""
        return await self._holder() == mine

    async def _take(self, mine: str) -> bool:
        body = orjson.dumps({"holder": mine})
        answer = await self._send("PUT", f"/v1/data/{_LOCK}", body, (b"if-none-match", b"*"))
        if answer.status == 304:
            return False
        self._accepted(answer, "data." + _LOCK)
        return True

    async def _holder(self) -> str:
        found = await self.data(_LOCK)
        return str(found[0].get("holder", "")) if found and isinstance(found[0], dict) else ""

    async def _send(
        self, method: str, target: str, body: bytes = b"", *headers: tuple[bytes, bytes], limit: int = 1 << 20
    ) -> Answer:
        try:
            async with asyncio.timeout(_STEP):
                return await self._transport.send(method, target.encode(), body, limit, headers)
        except TimeoutError:
            raise ServerError("timeout", f"the OPA server did not take a change within {_STEP:g} s") from None

    def _accepted(self, answer: Answer, name: str) -> None:
        if answer.status in {200, 204}:
            return
        if answer.status == 400:
            raise Refused(_problems(answer.body, own_file(name)))
        check_status(answer)


def _head(head: Mapping[str, object]) -> str:
    """The static beginning of a rule's name: `decision`, `labels`, `a.b`."""
    ref = head.get("ref")
    if not isinstance(ref, list):
        return str(head.get("name", ""))
    steps: list[str] = []
    for place, each in enumerate(ref):
        if place and each["type"] != "string":
            break
        steps.append(str(each["value"]))
    return ".".join(steps)


def _problems(body: bytes, file: str) -> tuple[Problem, ...]:
    """The server's words on what it does not take. They quote the policy, never an input."""
    try:
        told = orjson.loads(body)
        message, errors = str(told["message"]), told.get("errors") or ()
        found = [_problem(each, file) for each in errors[:_TOLD]]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return (Problem(file, 0, 0, "opa", "the OPA server does not take it, and does not say why"),)
    return tuple(sorted(set(found))) or (Problem(file, 0, 0, "opa", message[:500], _remedy(message)),)


def _problem(error: Mapping[str, object], file: str) -> Problem:
    place = error.get("location")
    where = place if isinstance(place, dict) else {}
    message = str(error["message"])[:500]
    line, column = where.get("row", 0), where.get("col", 0)
    name = own_file(str(where.get("file") or file))
    return Problem(name, int(line), int(column), "opa", message, _remedy(message))


def _remedy(message: str) -> str:
    if "undefined function data." in message:
        return (
            "put files that call each other's functions into one, or let the server get its bundle itself: push: false"
        )
    if "owned by bundle" in message:
        return "a bundle of the server's own covers this path; give it narrower roots, or set policy.push: false"
    return "see what `opa check` says of the bundle"
