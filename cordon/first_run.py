"""The first start: a commented configuration, a first key, and the link that opens the first operator account."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from cordon.addresses import console_url, gateway_url
from cordon.config import Config
from cordon.yaml_file import read
from lineage.actions import Stamp, create_key
from lineage.local import Log, open_log
from lineage.record import encode
from lineage.state import open_state
from siem.console.accounts import Accounts

FIRST_KEY = "first"


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a new user needs; each is empty where it was given out before."""

    key: str
    tenant: str
    invitation: str


def write_starter(file: Path) -> list[Path]:
    """Write the configuration, and the starter bundle beside it where it is not there; what was written."""
    written = []
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(files("cordon").joinpath("templates/cordon.yaml").read_text("utf-8"), "utf-8")
        written.append(file)
        bundle = file.parent / "policies/bundles/starter"
        if not bundle.exists():
            with as_file(files("policies").joinpath("bundles/starter")) as source:
                shutil.copytree(source, bundle)
            written.append(bundle)
    return written


def welcome(config: Config, boot: str) -> Welcome:
    """Make the first key where there has been none, and a link where there is no account; blocks on the disk."""
    with open_log(config.data_dir, config.lineage, config.database) as log:
        key, tenant = "", ""
        if config.tenants and log.control.epoch == 0:
            tenant = config.tenants[0].id
            key, record = create_key(Stamp.now(boot), name=FIRST_KEY, tenant=tenant, by="cli:first-run")
            log.append(encode(record))
        return Welcome(key, tenant, first_link(config, log, boot))


def first_link(config: Config, log: Log, boot: str) -> str:
    """The console's address at which the first account is opened; empty where there is an account."""
    state = open_state(config.state_path, config.database)
    try:
        accounts = Accounts(
            state,
            lambda record: log.append(encode(record)),
            boot,
            invitation_seconds=config.control.invitation_hours * 3600,
        )
        token = accounts.first_link()
    finally:
        state.dispose()
    return f"{console_url(config)}/invitation/{token}" if token else ""


def example_call(config: Config, key: str) -> str:
    """A curl line for the first route that a chat can be held on; empty where there is none."""
    for route in config.routes:
        if route.dialect == "openai" and route.prefix:
            says = "standin:echo Charge card 4111 1111 1111 1111."
            body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": says}]})
            return (
                f"curl -s {gateway_url(config)}{route.prefix}/chat/completions -H 'Authorization: Bearer {key}' "
                f"-H 'Content-Type: application/json' -d '{body}'"
            )
    return ""


def stand_in_line(file: Path, config: Config) -> int:
    """The line of the first model endpoint that the stand-in serves: the one to change; 0 where there is none."""
    if config.stand_in is None:
        return 0
    address = f"//{config.stand_in.listen}"
    document = read(file)
    for number, route in enumerate(config.routes):
        for position, endpoint in enumerate(route.endpoints):
            if route.kind == "model" and address in endpoint.url:
                return document.line(("routes", number, "endpoints", position))
    return 0
