"""Whether the parts of a configuration fit each other and the files that they name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cordon import certificates
from cordon.yaml_file import Place
from gateway.client_names import configured_subject
from gateway.client_trust import TrustError, load_trust
from lineage.paths import Paths
from policies.signatures import SigningError, check_key

if TYPE_CHECKING:
    from cryptography import x509

    from cordon.config import Config
    from gateway.settings import GatewayTls
    from policies.settings import Policy

LONGEST_SOCKET: Final = 103
"""Bytes of a Unix socket's path: 108 on Linux, 104 elsewhere, the closing zero included."""

Conflict = tuple[Place, str]


def conflicts(config: Config) -> Iterator[Conflict]:
    """Each contradiction, with the place of the setting that has to change."""
    routes = list(enumerate(config.routes))
    endpoints = [
        (("routes", index, "endpoints", position), endpoint)
        for index, route in routes
        for position, endpoint in enumerate(route.endpoints)
    ]
    yield from _twice("tenant", (((("tenants", i, "id"), tenant.id)) for i, tenant in enumerate(config.tenants)))
    yield from _twice("route", ((("routes", i, "id"), route.id) for i, route in routes))
    yield from _twice("prefix", ((("routes", i, "prefix"), route.prefix) for i, route in routes if route.prefix))
    yield from _twice("host", ((("routes", i, "host"), route.host.lower()) for i, route in routes if route.host))
    yield from _twice("endpoint", (((*place, "id"), endpoint.id) for place, endpoint in endpoints))
    yield from _twice("address", _listeners(config))
    yield from _decision_logs(config)
    for section, settings in (("gateway", config.gateway.tls), ("control", config.control.tls)):
        wrong = certificates.fault(settings) if settings else None
        if wrong:
            yield (section, "tls", wrong[0]), wrong[1]
    if config.gateway.tls:
        yield from _clients(config, config.gateway.tls)
    for where, endpoint in endpoints:
        problem = certificates.authority_fault(endpoint.ca) if endpoint.ca else None
        if problem:
            yield (*where, "ca"), problem
    socket = len(os.fsencode(Paths(config.data_dir).socket))
    if socket > LONGEST_SOCKET:
        text = f"the path is too long for the Unix socket in it ({socket} bytes, at most {LONGEST_SOCKET}); shorten it"
        yield ("data_dir",), text
    yield from _policy(config.policy)


def _policy(policy: Policy) -> Iterator[Conflict]:
    for place, file in ((("policy", "ca"), policy.ca), (("policy", "download", "ca"), policy.download.ca)):
        problem = certificates.authority_fault(file) if file else None
        if problem:
            yield place, problem
    if policy.push and isinstance(policy.bundle, Path) and not (policy.bundle.is_dir() or policy.bundle.is_file()):
        yield ("policy", "bundle"), f"{policy.bundle} is not a directory or an archive with a policy bundle"
    if policy.verification is not None:
        try:
            check_key(policy.verification.key)
        except SigningError as error:
            yield ("policy", "verification", "key"), str(error)


def _decision_logs(config: Config) -> Iterator[Conflict]:
    each = [(("decision_logs", index), settings) for index, settings in enumerate(config.decision_logs)]
    yield from _twice("destination", (((*place, "id"), settings.id) for place, settings in each))
    yield from _twice("file", (((*place, "file"), str(settings.file)) for place, settings in each if settings.file))
    for place, settings in each:
        problem = certificates.authority_fault(settings.ca) if settings.ca else None
        if problem:
            yield (*place, "ca"), problem


def _clients(config: Config, tls: GatewayTls) -> Iterator[Conflict]:
    """What is wrong with the client certificates that the gateway takes, and whom they stand for."""
    place: Place = ("gateway", "tls")
    try:
        load_trust(tls)
    except TrustError as error:
        yield (*place, *error.setting), str(error)
        return
    tenants = {tenant.id for tenant in config.tenants}
    roles: dict[tuple[str, str], frozenset[str]] = {}
    named: list[tuple[Place, str]] = []
    for index, identity in enumerate(tls.identities):
        where: Place = (*place, "identities", index)
        name = ("san", identity.san) if identity.san else ("subject", _written(configured_subject(identity.subject)))
        named.append(((*where, name[0]), f"{name[0]} {name[1]}"))
        if identity.tenant not in tenants:
            yield (*where, "tenant"), f"{identity.tenant} is not a tenant of this file"
        if roles.setdefault((identity.tenant, identity.name), frozenset(identity.roles)) != frozenset(identity.roles):
            text = (
                f"{identity.tenant}/{identity.name} has other roles in an entry before; a principal has the same in all"
            )
            yield (*where, "roles"), text
    yield from _twice("certificate name", named)


def _written(subject: x509.Name) -> str:
    """A subject in the one form that all of its writings have: the order of what + joins means nothing."""
    return ",".join("+".join(sorted(part.rfc4514_string() for part in each)) for each in reversed(subject.rdns))


def _listeners(config: Config) -> Iterator[tuple[Place, str]]:
    sections = {"gateway": config.gateway, "control": config.control, "stand_in": config.stand_in}
    for name, section in sections.items():
        if section and not section.listen.endswith(":0"):
            yield (name, "listen"), section.listen


def _twice(what: str, named: Iterable[tuple[Place, str]]) -> Iterator[Conflict]:
    seen: set[str] = set()
    for place, name in named:
        if name in seen:
            yield place, f"the {what} {name} is used twice; each must be unique"
        seen.add(name)
