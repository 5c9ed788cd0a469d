"""What the peers are given: the bundle that Cordon evaluates, one caller, and the two routes that are measured."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from bench.full import RESIDENCY, ROUTES, TENANT, write_bundle
from bench.systems import ROOT

BUILT = ROOT / ".cache/peers"


@dataclass(frozen=True)
class Setting:
    """A bundle without its tests, a file of callers and routes, and the key of the one caller."""

    bundle: Path
    config: Path
    key: str


def write(directory: Path) -> Setting:
    """Write the bundle and the file below `directory`, which is made."""
    directory.mkdir()
    bundle = directory / "bundle"
    write_bundle(bundle)
    for test in bundle.glob("*_test.rego"):
        test.unlink()
    key = f"peer_{secrets.token_urlsafe(24)}"
    config = directory / "config.json"
    config.write_text(json.dumps(_config(key)))
    return Setting(bundle, config, key)


def lacking(name: str, *programs: Path) -> str:
    """Why a peer cannot be had here, as scripts/peers found; empty if all its programs are there."""
    if all(program.exists() for program in programs):
        return ""
    missing = BUILT / "missing"
    rows = missing.read_text().splitlines() if missing.exists() else []
    told = dict(row.split("\t", 1) for row in rows if "\t" in row)
    return told.get(name, "it is not built here: run scripts/peers")


def _config(key: str) -> dict[str, object]:
    caller = {
        "id": "k1", "principal": f"{TENANT}/bench", "tenant": TENANT, "residency": RESIDENCY, "roles": [],
    }  # fmt: skip
    return {
        "keys": {hashlib.sha256(key.encode()).hexdigest(): caller},
        "routes": [_route(name, prefix) for name, prefix in ROUTES.items()],
        "secret": secrets.token_hex(32),
    }


def _route(name: str, prefix: str) -> dict[str, object]:
    endpoint = {"id": f"{name}-eu", "region": "", "jurisdiction": "EU", "provider": "", "model": "", "healthy": True}
    route = {"id": name, "prefix": prefix, "kind": "model", "dialect": "openai", "risk": "low"}
    return route | {"endpoints": [endpoint]}
