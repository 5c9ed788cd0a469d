"""What the configuration says and names: secrets, unwise settings, certificates, ports, upstreams."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from cordon import certificates
from cordon.advice import advice
from cordon.config import Config, missing_credentials
from cordon.doctor.finding import Finding, fail, ok, warn
from cordon.doctor.storage import writer_runs
from cordon.listeners import listeners, taken
from cordon.yaml_file import named
from gateway.settings import Endpoint, GatewayTls

EXPIRES_SOON_DAYS = 30
LIST_SOON_DAYS = 0.25
CONNECT_SECONDS = 3.0


def examine_settings(config: Config) -> Iterator[Finding]:
    """All checks of this file."""
    yield from _credentials(config)
    yield from _advice(config)
    yield from _certificates(config)
    yield from _ports(config)
    yield from _upstreams(config)


def _credentials(config: Config) -> Iterator[Finding]:
    missing = list(missing_credentials(config))
    for endpoint, why in missing:
        yield fail("credentials", f"endpoint {endpoint.id}: {why}", "set it where Cordon is started")
    if not missing:
        yield ok("credentials", "every endpoint's secret is there")


def _advice(config: Config) -> Iterator[Finding]:
    found = [warn("settings", f"{named(each.place)}: {each.text}", each.remedy) for each in advice(config)]
    yield from found or [ok("settings", "nothing in them is unwise")]


def _certificates(config: Config) -> Iterator[Finding]:
    files: dict[str, Path] = {}
    if config.gateway.tls:
        files["gateway"] = config.gateway.tls.certificate
    if config.control.tls:
        files["control"] = config.control.tls.certificate
    for route in config.routes:
        files |= {endpoint.id: endpoint.ca for endpoint in route.endpoints if endpoint.ca}
    for name in files.keys() & {"gateway", "control"}:
        broken = certificates.chain_fault(files[name])
        if broken:
            text = "put the certificate first, then the authority that issued it, and so on"
            yield fail("certificates", f"{name}: {files[name]}: {broken}", text)
    if config.gateway.tls:
        yield from _clients(config.gateway.tls, files)
    for name, file in files.items():
        days = certificates.days_left(file)
        if days < 0:
            yield fail("certificates", f"{name}: {file} expired {-days:.0f} days ago", "renew it and save it there")
        elif days < EXPIRES_SOON_DAYS:
            yield warn("certificates", f"{name}: {file} expires in {days:.0f} days", "renew it")
        else:
            yield ok("certificates", f"{name}: valid for {days:.0f} days")


def _clients(tls: GatewayTls, files: dict[str, Path]) -> Iterator[Finding]:
    """Lists that are due soon, overdue or missing; the bundle of authorities joins `files`."""
    if tls.client_ca:
        files["client_ca"] = tls.client_ca
    for file in tls.crl:
        days = certificates.list_days_left(file)
        found = f"{file} is due for its next update in {days * 24:.0f} hours"
        if days <= 0:
            found = f"{file} is overdue by {-days * 24:.0f} hours: the certificates of its authority are refused"
            yield fail("revocation", found, "save a newer list there")
        elif days < LIST_SOON_DAYS:
            yield warn("revocation", found, "save the newer list there; overdue, it refuses its certificates")
        else:
            yield ok("revocation", found)
    if tls.client_ca and not tls.crl:
        text = "client certificates are taken without a revocation list"
        yield warn("revocation", text, "set gateway.tls.crl, or issue certificates that last for hours")


def _ports(config: Config) -> Iterator[Finding]:
    running = writer_runs(config.data_dir)
    for name, listen in listeners(config):
        busy = taken(listen)
        if busy and running:
            yield ok("ports", f"{name} answers at {listen}")
        elif running:
            yield fail("ports", f"Cordon runs, but {name} does not answer at {listen}", "see its messages")
        elif busy:
            yield fail("ports", f"{listen} is in use by another program", f"change {name}.listen, or stop it")
        else:
            yield ok("ports", f"{listen} is free for {name}")


def _upstreams(config: Config) -> Iterator[Finding]:
    endpoints = [endpoint for route in config.routes for endpoint in route.endpoints]
    if endpoints:
        with ThreadPoolExecutor(8) as pool:
            yield from pool.map(_reach, endpoints)


def _reach(endpoint: Endpoint) -> Finding:
    """Connect, with TLS where the endpoint has it; nothing is sent."""
    parts = urlsplit(endpoint.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS) as connection:
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=str(endpoint.ca) if endpoint.ca else None)
                context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or "TLS failed"
        return warn("upstreams", f"{endpoint.id} ({host}:{port}): {why}", "check its certificate, and the setting ca")
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        return warn("upstreams", f"{endpoint.id} ({host}:{port}): {why}", "check the address and the network")
    return ok("upstreams", f"{endpoint.id} ({host}:{port}) takes connections")
