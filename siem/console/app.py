"""The control server's application: console, admin API, log read API, probes.

    request → guard (host, size, headers) → access (who, may, meant it) → route → journal → log

Every route is a `GuardedRoute`, so that none exists without its line in `access.ACCESS`.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from lineage.errors import LineageError
from siem.console import admin_pages, api, door_pages, error_pages, log_api, playground_pages, policy_pages, watch_pages
from siem.console.access import GuardedRoute
from siem.console.deps import Deps
from siem.console.errors import ConsoleError, Invalid, NotFound, NotSignedIn
from siem.console.guard import Guard
from siem.console.problems import problem, unavailable, wants_page
from siem.console.render import STATIC, Pages, pages, static_bytes

_STATIC = static_bytes()
_OF_PEOPLE = (
    api.router,
    playground_pages.api_router,
    playground_pages.pages_router,
    door_pages.router,
    watch_pages.router,
    policy_pages.router,
    admin_pages.router,
)
static = APIRouter(include_in_schema=False, route_class=GuardedRoute)


@static.get("/static/{name:path}")
def static_file(name: str, request: Request) -> Response:
    """One of a closed set of files, held in memory: a path that is not its name finds nothing."""
    if name not in STATIC:
        raise NotFound("There is no such file.")
    lasting = "public, max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
    return Response(_STATIC[name], headers={"content-type": STATIC[name], "cache-control": lasting})


def create_app(deps: Deps) -> FastAPI:
    """The application over these parts."""
    app = FastAPI(
        title="Cordon admin API",
        version="1",
        description="What the console does, for programs. Unsafe requests need the session's CSRF token.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.deps = deps
    app.state.pages = Pages()
    for router in (static, error_pages.router, log_api.router, *_OF_PEOPLE):
        app.include_router(router)
    app.add_middleware(Guard, settings=deps.settings)
    app.add_exception_handler(ConsoleError, _answer)
    app.add_exception_handler(LineageError, _answer)
    app.add_exception_handler(SQLAlchemyError, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    return app


async def _answer(request: Request, error: Exception) -> Response:
    """The error as a page for people, as a problem for programs."""
    told = _told(error)
    if isinstance(told, NotSignedIn) and "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-refresh": "true"})
    if not wants_page(request):
        return problem(told)
    if isinstance(told, NotSignedIn):
        to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        to = to if request.method == "GET" else "/"
        # In a thread: it asks the database, which the event loop must not wait for.
        shown: Response = await run_in_threadpool(door_pages.door, request, request.app.state.deps, to=to)
        shown.status_code = 401 if shown.status_code == 200 else shown.status_code
    else:
        shown = pages(request).page(request, "error.html", status=told.status, problem=told)
    shown.headers.update(told.headers)
    return shown


def _told(error: Exception) -> ConsoleError:
    """What is said of an error; never what was sent, and never what lies inside."""
    if isinstance(error, ConsoleError):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return Invalid(f"{first['msg']}.", field=field)
    if isinstance(error, HTTPException):
        if isinstance(error.__cause__, ConsoleError):
            return error.__cause__
        return _of_status(error)
    return unavailable(error)


def _of_status(error: HTTPException) -> ConsoleError:
    told = ConsoleError(str(error.detail), headers=error.headers)
    told.status, told.title = error.status_code, "Not found" if error.status_code == 404 else "Request refused"
    return told
