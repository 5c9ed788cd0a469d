"""Settings that are legal and probably not meant: what `cordon config check` warns of and `cordon doctor` shows.

Nothing here stops a start. Each piece of advice names the setting, what follows from it and what to do.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel

from cordon.config import Config
from cordon.suggestions import nearest
from cordon.yaml_file import Place
from gateway.settings import Endpoint, Route


@dataclass(frozen=True, slots=True)
class Advice:
    """One setting, by its place in the file; what is unwise about it; what to do."""

    place: Place
    text: str
    remedy: str


def advice(config: Config) -> Iterator[Advice]:
    """Everything that is worth a second look, in the order of the file's sections."""
    yield from _listeners(config)
    yield from _limits(config)
    yield from _private_files(config)
    yield from _unsafe(config, ())
    yield from _tenants(config)
    yield from _routes(config)
    yield from _spared(config)


def _listeners(config: Config) -> Iterator[Advice]:
    gateway = config.gateway
    if not _is_loopback(_host(gateway.listen)) and gateway.tls is None:
        text = f"{gateway.listen} is reachable from outside without TLS: keys and content cross the network readable"
        yield Advice(("gateway", "listen"), text, "set gateway.tls, or let only a proxy that ends TLS reach this port")
    if config.stand_in is not None and not _is_loopback(_host(config.stand_in.listen)):
        text = f"{config.stand_in.listen} shows the stand-in to the network; it trusts whoever comes"
        yield Advice(("stand_in", "listen"), text, "listen on 127.0.0.1")
    cores = os.cpu_count() or 1
    if gateway.workers > cores:
        text = f"{gateway.workers} workers share {cores} cores, and wait for each other"
        yield Advice(("gateway", "workers"), text, "use at most one worker a core")


def _limits(config: Config) -> Iterator[Advice]:
    limits = config.gateway.limits
    largest: list[tuple[Place, int]] = [
        (("gateway", "limits", "body"), limits.body),
        (("gateway", "limits", "answer"), limits.answer),
    ]
    largest += [(("routes", i, "body_limit"), route.body_limit or 0) for i, route in enumerate(config.routes)]
    for place, size in largest:
        if size > limits.buffered:
            text = f"{size} bytes never fit into the {limits.buffered} that a worker may hold (gateway.limits.buffered)"
            yield Advice(place, text, "lower it, or raise gateway.limits.buffered")
    if limits.first_byte_time > limits.total_time:
        text = f"it never takes effect: a call ends after total_time, {limits.total_time:g} s"
        yield Advice(("gateway", "limits", "first_byte_time"), text, "lower it, or raise total_time")


def _private_files(config: Config) -> Iterator[Advice]:
    files: list[tuple[Place, Path]] = [
        ((name, "tls", "key"), tls.key)
        for name, tls in (("gateway", config.gateway.tls), ("control", config.control.tls))
        if tls is not None
    ]
    files += [
        ((*place, "credential"), Path(endpoint.credential.removeprefix("file:")))
        for place, _, endpoint in _endpoints(config)
        if endpoint.credential.startswith("file:")
    ]
    for place, path in files:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue  # said where it is missed
        if mode & 0o007:
            yield Advice(place, f"every user of this machine can read {path}", f"chmod o-rwx {path}")


def _unsafe(section: BaseModel, place: Place) -> Iterator[Advice]:
    for name, value in section:
        if isinstance(value, BaseModel):
            yield from _unsafe(value, (*place, name))
        elif isinstance(value, tuple):
            for index, each in enumerate(value):
                if isinstance(each, BaseModel):
                    yield from _unsafe(each, (*place, name, index))
        elif name.startswith("unsafe_") and value:
            yield Advice((*place, name), "it is on", "turn it off, or accept what its description says")


def _tenants(config: Config) -> Iterator[Advice]:
    if not config.tenants:
        yield Advice(("tenants",), "there are none: nobody can call", "add tenants")
    known = {endpoint.jurisdiction for _, _, endpoint in _endpoints(config)} - {""}
    for index, tenant in enumerate(config.tenants):
        place: Place = ("tenants", index)
        if not tenant.residency:
            text = f"{tenant.id} has no residency: a policy that looks at it, as the starter's does, refuses every call"
            yield Advice(place, text, "name the jurisdictions that its data may go to")
        for position, name in enumerate(tenant.residency):
            typo = nearest(name, known)
            if known and name not in known and (typo or not known & set(tenant.residency)):
                text = f"no endpoint lies in {name}" + (f"; did you mean {typo}?" if typo else "")
                yield Advice((*place, "residency", position), text, "correct it, or an endpoint's jurisdiction")


def _routes(config: Config) -> Iterator[Advice]:
    if not config.routes:
        yield Advice(("routes",), "there are none: nothing can be called", "add routes")
    resident = [tenant.id for tenant in config.tenants if tenant.residency]
    seen: dict[str, Endpoint] = {}
    for place, route, endpoint in _endpoints(config):
        parts = urlsplit(endpoint.url)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            text = f"endpoint {endpoint.id} is reached by plain http: content and secret cross the network readable"
            yield Advice((*place, "url"), text, "use https, with `ca` for a certificate of your own")
        if not endpoint.jurisdiction and resident:
            text = f"endpoint {endpoint.id} lies nowhere, so the data of {', '.join(resident[:5])} may not go there"
            yield Advice(place, text, "give it a jurisdiction, such as EU")
        other = seen.setdefault(endpoint.url.rstrip("/").lower(), endpoint)
        if other.jurisdiction != endpoint.jurisdiction:
            text = (
                f"the address is that of endpoint {other.id}, which lies in {other.jurisdiction or 'no jurisdiction'}"
            )
            yield Advice((*place, "jurisdiction"), text, "one address lies in one place; correct one of the two")
        yield from _credentials(place, route, endpoint)


def _credentials(place: Place, route: Route, endpoint: Endpoint) -> Iterator[Advice]:
    if route.dialect == "anthropic" and urlsplit(endpoint.url).path.rstrip("/").endswith("/v1"):
        text = "Anthropic's SDKs put /v1 before the path themselves, and here it would be there twice"
        yield Advice((*place, "url"), text, "take /v1 off the end")
    if endpoint.credential and route.key_header == "x-cordon-key" and endpoint.secret_header(route) == "authorization":
        text = (
            "it takes the place of the client's own Authorization, which key_header: x-cordon-key is there to pass on"
        )
        yield Advice((*place, "credential"), text, "take out one of the two settings")


def _spared(config: Config) -> Iterator[Advice]:
    endpoints = [endpoint.id for _, _, endpoint in _endpoints(config)]
    tenants = [tenant.id for tenant in config.tenants]
    for index, name in enumerate(config.detection.contain.spare):
        tenant, slash, _ = name.partition("/")
        if (slash and tenant in tenants) or name in endpoints:
            continue
        typo = nearest(tenant, tenants if slash else endpoints)
        text = f"{name} is no endpoint and no TENANT/NAME of a tenant here" + (
            f"; did you mean {typo}?" if typo else ""
        )
        yield Advice(("detection", "contain", "spare", index), text, "correct it; as it is, nobody is spared")


def _endpoints(config: Config) -> Iterator[tuple[Place, Route, Endpoint]]:
    for index, route in enumerate(config.routes):
        for position, endpoint in enumerate(route.endpoints):
            yield ("routes", index, "endpoints", position), route, endpoint


def _host(listen: str) -> str:
    return listen.rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
