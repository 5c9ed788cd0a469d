"""cordon policy sign and verify: OPA's signatures over all files of a bundle."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from cordon.commands.common import json_option
from cordon.output import bad, emit, good, printable
from policies.bundle import load_bundle, read_all
from policies.errors import BundleError
from policies.settings import Verification
from policies.signatures import SIGNATURES, SigningError
from policies.signatures import sign as sign_files
from policies.tarball import pack

_PLACE: Final = click.Path(exists=True, path_type=Path)
_KEY: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("bundle", type=_PLACE)
@click.option("--key", type=_KEY, required=True, help="Private key in PEM: RSA, EC on P-256 or Ed25519.")
@click.option("--key-id", default="", help="Name of the key, for those who have several.")
@click.option("--scope", default="", help="What the signature is for; the verifier must ask for the same.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the signed archive here, not over BUNDLE.")
@json_option
def sign(bundle: Path, key: Path, key_id: str, scope: str, output: Path | None, as_json: bool) -> int:
    """Sign BUNDLE, a folder or a .tar.gz, as `opa sign` does: .signatures.json names each file by its hash.

    A folder gets that file; an archive is written anew with it in.
    """
    files = read_all(bundle)
    files.pop(SIGNATURES, None)
    try:
        signed = sign_files(files, key, key_id=key_id, scope=scope)
    except SigningError as error:
        raise click.ClickException(str(error)) from None
    if bundle.is_dir() and output is None:
        target, content = bundle / SIGNATURES, signed
    else:
        target, content = output or bundle, pack(files | {SIGNATURES: signed})
    _replace(target, content)
    value = {"bundle": str(bundle), "written": str(target), "files": sorted(files)}
    emit(value, good(f"{len(files)} files of {bundle} are signed") + f" in {target}", as_json)
    return 0


@click.command()
@click.argument("bundle", type=_PLACE)
@click.option("--key", type=_KEY, required=True, help="Public key in PEM.")
@click.option("--key-id", default="", help="Key id that the signature must name; without it, any.")
@click.option("--scope", default="", help="Scope that the signature must have; without it, none.")
@json_option
def verify(bundle: Path, key: Path, key_id: str, scope: str, as_json: bool) -> int:
    """Verify the signature of BUNDLE, a folder or a .tar.gz, as a gateway with policy.verification does."""
    try:
        found = load_bundle(bundle, Verification(key=key, key_id=key_id, scope=scope))
    except BundleError as error:
        value = {"bundle": str(bundle), "verified": False, "problems": [asdict(each) for each in error.problems]}
        lines = [printable(str(problem)) for problem in error.problems]
        emit(value, "\n".join([*lines, bad(f"{bundle} is refused")]), as_json)
        return 1
    value = {"bundle": str(bundle), "verified": True, "revision": found.revision}
    emit(value, good(f"{bundle} is as it was signed") + f", revision {found.revision}", as_json)
    return 0


def _replace(target: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise click.ClickException(f"{target} cannot be written ({error.strerror})") from None
