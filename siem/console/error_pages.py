"""The pages on refusal codes, which an error's `help` leads to: anybody's, as they say nothing of this installation."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.refusal_codes import STAGES
from gateway.refusal_pages import markdown, refusal_pages
from siem.console.access import GuardedRoute
from siem.console.errors import NotFound
from siem.console.problems import wants_page
from siem.console.render import pages

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)


@router.get("/errors")
def all_codes(request: Request) -> Response:
    """Every code, by the stage of the call that it ends."""
    return pages(request).page(request, "refusals.html", stages=STAGES, codes=refusal_pages())


@router.get("/errors/{code}")
def one_code(code: str, request: Request) -> Response:
    """What a code means and what to do: a page for browsers, its Markdown for anything else."""
    sections = refusal_pages().get(code)
    if sections is None:
        raise NotFound("There is no such code; /errors lists all of them.")
    if not wants_page(request):
        return Response(markdown(code), media_type="text/markdown")
    return pages(request).page(request, "refusal.html", code=code, sections=sections)
