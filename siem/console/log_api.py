"""The log for people who need not trust this server, and the measurements.

Checkpoint and public key are anybody's, tiles and proofs are for bearers of a reader token. Formats are those of C2SP
tlog-checkpoint, tlog-tiles and tlog-proof, so that tools of others verify the log. The key in `/log/vkey` proves
nothing to somebody who gets it from here each time; keep it from the first time on.
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from lineage.errors import LineageError
from lineage.keys import load_verifier
from lineage.metrics import load_snapshots, render, values
from lineage.paths import Paths
from lineage.serve import is_pruned, serve
from siem.console.access import GuardedRoute
from siem.console.deps import Deps, Parts
from siem.console.errors import NotFound, Unavailable
from siem.console.problems import AWAY

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)


@router.get("/log/checkpoint")
def checkpoint(deps: Parts) -> Response:
    """The newest signed checkpoint."""
    return _served(deps, "checkpoint")


@router.get("/log/vkey")
def vkey(deps: Parts) -> Response:
    """The log's public key."""
    return _served(deps, "vkey")


@router.get("/log/tile/{path:path}")
def tile(path: str, deps: Parts) -> Response:
    """A tile or an entry bundle. Only the one way of writing its place is known; it never becomes a file's path."""
    return _served(deps, f"tile/{path}")


@router.get("/log/proof/{index}")
def proof(index: str, deps: Parts) -> Response:
    """The proof that a record is under the newest checkpoint."""
    return _served(deps, f"proof/{index}")


@router.get("/metrics")
def metrics(deps: Parts) -> Response:
    """All processes' measurements in Prometheus's text format."""
    text = render(load_snapshots(Paths(deps.data_dir).metrics))
    return Response(text, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})


@router.get("/healthz")
def healthz() -> Response:
    """Whether this process answers."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz")
def readyz(deps: Parts) -> Response:
    """Whether it can do its work: read the log, write to it, know who asks, and have calls decided."""
    try:
        deps.reader.size()
        writable = deps.journal.writable
    except LineageError as error:
        raise Unavailable("The log cannot be read.") from error
    if not writable:
        raise Unavailable("The log takes no records.")
    try:
        deps.accounts.any()
    except AWAY as error:
        raise Unavailable("The state database does not answer.") from error
    if 0 in values(load_snapshots(Paths(deps.data_dir).metrics), "cordon_policy_server_up"):
        raise Unavailable("The OPA server that decides does not answer, or not with the bundle that is meant.")
    return Response("ok\n", media_type="text/plain")


def _served(deps: Deps, path: str) -> Response:
    answer = serve(deps.reader, load_verifier(deps.data_dir), path)
    if answer is None:
        if is_pruned(deps.reader, path):
            raise NotFound("Records of this bundle were pruned for their age; their hashes are in the tile of level 0.")
        raise NotFound("The log has nothing there (yet).")
    kept = {"cache-control": "private, max-age=31536000, immutable"} if answer.final else {}
    return Response(answer.body, headers={"content-type": answer.media_type, **kept})
