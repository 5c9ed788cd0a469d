"""The playground as a page and as a call of the API."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse

from lineage.actions import LONGEST_TEXT
from policies.engine import Moment
from siem.console import schemas as s
from siem.console.access import GuardedRoute, Signed
from siem.console.api import PREFIX, PROBLEMS, check_tenant, tenants_to_choose
from siem.console.deps import Deps, Parts
from siem.console.errors import ConsoleError, Invalid
from siem.console.playground import Recorded, packed, parted
from siem.console.render import pages
from siem.console.watch_pages import see

pages_router = APIRouter(include_in_schema=False, route_class=GuardedRoute)
api_router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, responses=PROBLEMS, tags=["policy"])

LONGEST: Final = 200_000
_BEGIN: Final = {"phase": "request", "principal": {"id": "acme/me", "tenant": "acme", "roles": [], "key": "key-1"}}
Text = Annotated[str, Form(max_length=LONGEST)]
Marks = list[tuple[str, list[tuple[int, str, str, str]]]]
"""Each file that has something to show, as lines of (number, text, mark, what is to be said of it)."""


@dataclass(slots=True)
class _Shown:
    """What stands on the page: what was typed or loaded, and what came of it."""

    files: str = ""
    document: str = orjson.dumps(_BEGIN, option=orjson.OPT_INDENT_2).decode()
    moment: Moment = Moment.REQUEST
    start: str = ""
    call: str = ""
    tests: bool = False
    tenant: str = ""
    note: str = ""
    answer: dict[str, Any] | None = None
    marked: Marks = field(default_factory=list)
    problem: ConsoleError | None = None

    def take(self, found: Recorded) -> None:
        """Show a recorded input in the place of the one before."""
        self.document = orjson.dumps(found.document, option=orjson.OPT_INDENT_2).decode()
        self.moment = found.moment


@api_router.post("/policy/trial")
def trial(asked: s.TrialRequest, session: Signed, deps: Parts) -> s.Trial:
    """Try files of a bundle on an input, recorded or given, and run their tests; nothing in force is touched."""
    document, moment = asked.input, asked.moment
    name = str(asked.record) if asked.record is not None else asked.call
    if name:
        found = deps.playground.recorded(name, by=session.account, moment=asked.moment)
        document, moment = found.document, found.moment
    answer = deps.playground.run(asked.files, document, moment, tests=asked.tests, by=session.account)
    return s.Trial.model_validate(answer | {"input": document})


@pages_router.get("/policy/playground")
def playground(
    request: Request,
    session: Signed,
    deps: Parts,
    start: Annotated[str, Query(max_length=127)] = "",
    call: Annotated[str, Query(max_length=127)] = "",
    record: Annotated[int | None, Query(ge=0)] = None,
) -> HTMLResponse:
    """The bundle in force, or another to start from, and an input to try it on: that of a call, if one is named."""
    shown = _Shown(start=start, call=str(record) if record is not None else call)
    try:
        shown.start = start or deps.playground.starts()[0].name
        shown.files = deps.playground.start(shown.start)
        if shown.call:
            shown.take(deps.playground.recorded(shown.call, by=session.account))
    except ConsoleError as error:
        shown.problem = error
    return _page(request, deps, shown)


@pages_router.post("/policy/playground")
def tried(
    request: Request,
    session: Signed,
    deps: Parts,
    files: Text = "",
    document: Annotated[str, Form(alias="input", max_length=LONGEST)] = "",
    moment: Annotated[Moment, Form()] = Moment.REQUEST,
    tests: Annotated[bool, Form()] = False,
    start: Annotated[str, Form(max_length=127)] = "",
    call: Annotated[str, Form(max_length=127)] = "",
    load: Annotated[Literal["", "bundle", "input"], Form()] = "",
) -> HTMLResponse:
    """What comes of it, beside what was typed; or, with `load`, another bundle or a call's input in its place."""
    shown = _Shown(files, document, moment, start, call.strip(), tests=tests)
    try:
        if load == "bundle":
            shown.files = deps.playground.start(start)
        elif load == "input":
            shown.take(deps.playground.recorded(shown.call, by=session.account, moment=moment))
        else:
            parts = parted(files)
            shown.answer = deps.playground.run(parts, _value(document), moment, tests=tests, by=session.account)
            shown.marked = _marked(parts, shown.answer)
    except ConsoleError as error:
        shown.problem = error
    return _page(request, deps, shown)


@pages_router.post("/policy/playground/proposal")
def propose(
    request: Request,
    session: Signed,
    deps: Parts,
    files: Text = "",
    document: Annotated[str, Form(alias="input", max_length=LONGEST)] = "",
    moment: Annotated[Moment, Form()] = Moment.REQUEST,
    tenant: Annotated[str, Form(max_length=127)] = "",
    note: Annotated[str, Form(max_length=LONGEST_TEXT)] = "",
) -> Response:
    """Propose what stands in the editor."""
    shown = _Shown(files, document, moment, tenant=tenant, note=note)
    try:
        if tenant:
            check_tenant(deps, tenant)
        made = deps.proposals.propose(packed(parted(files)), tenant=tenant, note=note, by=session.account)
    except ConsoleError as error:
        shown.problem = error
        return _page(request, deps, shown)
    to = f"/policy/{quote(made.id, safe='')}?done=proposed"
    return Response(headers={"hx-redirect": to}) if "hx-request" in request.headers else see(to)


def _value(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The input is not JSON: {error}.", field="input") from None
    if not isinstance(value, dict):
        raise Invalid("The input is not a JSON object.", field="input")
    return value


def _marked(files: dict[str, str], answer: dict[str, Any]) -> Marks:
    said: dict[tuple[str, int], list[str]] = defaultdict(list)
    mark: dict[tuple[str, int], str] = {}
    for file, lines in answer.get("coverage", {}).items():
        mark |= {(file, line): "missed" for line in lines}
    for each in answer.get("tests", ()):
        if each["outcome"] in ("failed", "error"):
            at = (each["file"], each["at"] or each["line"])
            said[at].append(f"{each['name']}: {each['detail']}")
            mark[at] = "bad"
    for each in answer["problems"]:
        if each["severity"] != "note":
            at = (each["file"], each["line"])
            said[at].append(each["message"])
            mark[at] = "bad" if each["severity"] == "error" else "warn"
    shown = []
    for file in sorted({file for file, _ in mark} & files.keys()):
        lines = files[file].split("\n")
        rows = [
            (number, text, mark.get((file, number), ""), "; ".join(said[file, number]))
            for number, text in enumerate(lines, 1)
        ]
        shown.append((file, rows))
    return shown


def _page(request: Request, deps: Deps, shown: _Shown) -> HTMLResponse:
    moments = [each.value for each in Moment]
    # What comes of typing replaces the outcome alone; the bundles to start from may have to be asked for elsewhere.
    starts = [] if request.headers.get("hx-target") == "outcome" else deps.playground.starts()
    return pages(request).page(
        request,
        "playground.html",
        shown=shown,
        answer=shown.answer,
        moments=moments,
        starts=starts,
        tenants=tenants_to_choose(deps),
    )
