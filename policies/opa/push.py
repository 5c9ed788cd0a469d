"""Puts a bundle into an OPA server, whole or not at all.

OPA takes modules and values one at a time, and compiles each with all the others. So a push, under the lock:

    1. takes the wrapper out: from here on no answer has a mark, and decisions wait
    2. takes the old modules and the old data out
    3. puts the new data and the new modules in, in whichever order OPA takes them
    4. compares what is there with what was meant, and puts the wrapper in

Where the server refuses a piece, the bundle before is put back from what the server itself held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import re2

from policies.bundle import Bundle
from policies.errors import BundleError, Problem
from policies.opa.server import Held, Refused, Server, State
from policies.opa.wire import PREFIX, ServerError
from policies.opa.wrapper import NAME, PACKAGE, mark_of, wrapper
from policies.settings import Policy

_RESERVED: Final = "cordon_gateway"
_SLACK: Final = 5.0
_FORBIDDEN: Final = re2.compile(r"""(?m)^\s*package\s+(cordon_gateway|system(\s*\.\s*|\s*\[\s*["`])authz)\b""")


@dataclass(frozen=True, slots=True)
class _Content:
    modules: Mapping[str, str]
    data: Mapping[str, object]
    wrapper: str


class Pusher:
    """Pushes the bundles of one configuration."""

    def __init__(self, settings: Policy, server: Server) -> None:
        self._settings = settings
        self._server = server
        self._rules = [settings.request_rule] + ([] if settings.unsafe_pass_answers else [settings.response_rule])

    async def push(self, bundle: Bundle, *, restore: bool = False) -> bool:
        """Have the server hold `bundle`, unless it does already.

        With `restore`, only a server without a bundle is changed: False where it has got another one meanwhile.
        Raises BundleError where the bundle is refused (the one before stays), ServerError where the server does not
        answer: then it holds no whole bundle, or holds it unknown to us, and the next look finds out.
        """
        _check_names(bundle)
        seconds = self._settings.admission_seconds
        try:
            async with asyncio.timeout(seconds * 2 + _SLACK), self._server.locked(seconds + _SLACK) as holder:
                try:
                    async with asyncio.timeout(seconds):
                        return await self._push(bundle, holder, restore)
                except TimeoutError:
                    raise ServerError("timeout", f"a push took longer than {seconds:g} s") from None
        except TimeoutError:
            raise ServerError("timeout", "another push holds the OPA server's lock for too long") from None
        except Refused as error:
            raise BundleError(error.problems) from None

    async def _push(self, bundle: Bundle, holder: str, restore: bool) -> bool:
        server, mark = self._server, mark_of(bundle, self._settings)
        wanted = _Content(bundle.modules, bundle.data, wrapper(bundle, self._settings))
        held, state = await server.held(), await server.state()
        if held.wrapper == wanted.wrapper and held.modules == wanted.modules:
            return True
        if held.wrapper and restore:
            return False
        if state.refused == mark and held.wrapper:
            raise BundleError(state.problems)
        await self._clear(set(held.modules))
        values = {key: found[0] for key in sorted(state.keys) if (found := await server.data(key))}
        try:
            await self._fill(state, wanted, holder)
        except (Refused, BundleError) as error:
            problems = tuple(error.problems)
            await self._clear(set(wanted.modules))
            await self._fill(await server.state(), _Content(held.modules, values, held.wrapper), holder)
            await server.put_state(replace(await server.state(), refused=mark, problems=problems))
            raise BundleError(problems) from None
        return True

    async def _clear(self, files: set[str]) -> None:
        """Take out the wrapper, and then the modules of these files."""
        await self._server.delete_module(NAME)
        await _rounds(files, lambda file: self._server.delete_module(PREFIX + file))

    async def _fill(self, state: State, wanted: _Content, holder: str) -> None:
        """Put data, modules and wrapper into a server that has none of Cordon's modules."""
        server = self._server
        for key in sorted(state.keys - set(wanted.data)):
            await server.delete_data(key)
        for key in sorted(set(wanted.data) - state.keys):
            if await server.data(key):
                text = f"the OPA server has data or rules of others at data.{key}"
                raise BundleError([Problem(".", 0, 0, "opa", text, "rename them, or give Cordon a server of its own")])
        await server.put_state(State(state.keys | set(wanted.data)))
        for key, value in wanted.data.items():
            await server.put_data(key, value)
        await server.put_state(State(frozenset(wanted.data)))
        await _rounds(set(wanted.modules), lambda file: server.put_module(PREFIX + file, wanted.modules[file]))
        if not wanted.wrapper:
            return
        self._compare(await server.held(), wanted)
        if not await server.holds(holder):
            raise ServerError("revision", "another Cordon pushes a bundle to the same OPA server")
        await server.put_module(NAME, wanted.wrapper)

    def _compare(self, held: Held, wanted: _Content) -> None:
        if held.modules != wanted.modules:
            raise ServerError("revision", "the OPA server's modules were changed by another while Cordon pushed them")
        own = {package for name, package in held.packages.items() if name.startswith(PREFIX)} | {f"data.{PACKAGE}"}
        for name, package in held.packages.items():
            if not name.startswith(PREFIX) and name != NAME and any(_overlap(package, each) for each in own):
                text = f"the OPA server holds the module {name[:128]} of others, of {package}, which the bundle has too"
                raise BundleError([Problem(".", 0, 0, "opa", text, "take it out, or give Cordon a server of its own")])
        for rule in self._rules:
            if rule not in held.rules:
                text = f"there is no rule {rule}, which is asked for decisions"
                raise BundleError(
                    [Problem(".", 0, 0, "entry", text, "add it, or set policy.request_rule and policy.response_rule")]
                )


async def _rounds(files: set[str], each: Callable[[str], Awaitable[None]]) -> None:
    """Do `each` for all files, those first that OPA takes first; Refused where it takes none of the rest."""
    left = sorted(files)
    while left:
        refused: list[str] = []
        problems: tuple[Problem, ...] = ()
        for file in left:
            try:
                await each(file)
            except Refused as error:
                refused.append(file)
                problems += error.problems
        if len(refused) == len(left):
            raise Refused(tuple(sorted(set(problems))))
        left = refused


def _check_names(bundle: Bundle) -> None:
    """Refuse what would change the server itself, or Cordon's own module in it."""
    for key in bundle.data:
        if not key or key.startswith(_RESERVED) or key in {"system", ".", ".."}:
            text = f"data.{key} is a name that a bundle cannot have in an OPA server"
            raise BundleError([Problem(".", 0, 0, "opa", text, "rename it")])
    for file, text in bundle.modules.items():
        if _FORBIDDEN.search(text):
            raise BundleError([Problem(file, 0, 0, "opa", "this is a package that a bundle cannot have", "rename it")])


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")
