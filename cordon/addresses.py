"""Where people and programs find the parts of this Cordon."""

from __future__ import annotations

from cordon.config import Config
from siem.settings import LOOPBACK


def console_url(config: Config) -> str:
    """Where people find the console."""
    scheme = "https" if config.control.tls else "http"
    return config.control.public_url.rstrip("/") or f"{scheme}://{config.control.listen}"


def gateway_url(config: Config) -> str:
    """Where clients find the gateway."""
    return f"{'https' if config.gateway.tls else 'http'}://{config.gateway.listen}"


def error_pages(config: Config) -> str:
    """The address below which callers find a page on each refusal code; empty where they could not reach it.

    Callers from elsewhere are sent to no loopback address, and nobody to a wildcard or a port that is not fixed.
    """
    control = config.control
    if not control.public_url:
        local = config.gateway.listen.rpartition(":")[0].strip("[]") in LOOPBACK
        if control.port == 0 or control.host in {"0.0.0.0", "::"} or (control.host in LOOPBACK and not local):  # noqa: S104
            return ""
    return f"{console_url(config)}/errors/"
