"""The playground as a page and as a call of the API."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse

from policies.engine import Moment
from siem.console import schemas as s
from siem.console.access import GuardedRoute, Signed
from siem.console.api import PREFIX, PROBLEMS, record_at
from siem.console.deps import Parts
from siem.console.errors import ConsoleError, Invalid
from siem.console.playground import parted
from siem.console.render import pages

pages_router = APIRouter(include_in_schema=False, route_class=GuardedRoute)
api_router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, responses=PROBLEMS, tags=["policy"])

LONGEST: Final = 200_000
_BEGIN: Final = {"phase": "request", "principal": {"id": "acme/me", "tenant": "acme", "roles": [], "key": "key-1"}}
Text = Annotated[str, Form(max_length=LONGEST)]


@api_router.post("/policy/trial")
def trial(asked: s.TrialRequest, session: Signed, deps: Parts) -> s.Trial:
    """Try files of a bundle on an input, recorded or given, and run their tests; nothing in force is touched."""
    document, moment = asked.input, asked.moment
    if asked.record is not None:
        found = deps.playground.recorded(asked.record, record_at(deps, asked.record), by=session.account)
        document, moment = found.document, found.moment
    answer = deps.playground.run(asked.files, document, moment, tests=asked.tests, by=session.account)
    return s.Trial.model_validate(answer | {"input": document})


@pages_router.get("/policy/playground")
def playground(
    request: Request, session: Signed, deps: Parts, record: Annotated[int | None, Query(ge=0)] = None
) -> HTMLResponse:
    """The configured bundle, and an input to try it on: that of the call whose record is named, if one is."""
    document: Any = _BEGIN
    moment, files, problem = Moment.REQUEST, "", None
    try:
        files = deps.playground.start()
        if record is not None:
            found = deps.playground.recorded(record, record_at(deps, record), by=session.account)
            document, moment = found.document, found.moment
    except ConsoleError as error:
        problem = error
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    return _page(request, files, text, moment.value, problem=problem)


@pages_router.post("/policy/playground")
def tried(
    request: Request,
    session: Signed,
    deps: Parts,
    files: Text = "",
    document: Annotated[str, Form(alias="input", max_length=LONGEST)] = "",
    moment: Annotated[Moment, Form()] = Moment.REQUEST,
    tests: Annotated[bool, Form()] = False,
) -> HTMLResponse:
    """What comes of it, beside what was typed."""
    try:
        parts = parted(files)
        answer = deps.playground.run(parts, _value(document), moment, tests=tests, by=session.account)
    except ConsoleError as error:
        return _page(request, files, document, moment.value, problem=error)
    return _page(request, files, document, moment.value, answer=answer, marked=_marked(parts, answer))


def _value(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The input is not JSON: {error}.", field="input") from None
    if not isinstance(value, dict):
        raise Invalid("The input is not a JSON object.", field="input")
    return value


def _marked(files: dict[str, str], answer: dict[str, Any]) -> list[tuple[str, list[tuple[int, str, str, str]]]]:
    """Each file that has something to show, as lines of (number, text, mark, what is to be said of it)."""
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


def _page(request: Request, files: str, document: str, moment: str, **more: Any) -> HTMLResponse:
    values = {"answer": None, "marked": [], "problem": None} | more
    moments = [each.value for each in Moment]
    return pages(request).page(
        request, "playground.html", files=files, document=document, moment=moment, moments=moments, **values
    )
