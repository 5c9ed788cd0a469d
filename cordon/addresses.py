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
    """The address below which callers find a page on each refusal code; empty where they are not to be told one.

    That is the address that the operator gave out for the console, or its loopback address where the gateway has none
    but loopback callers: nobody learns from a refusal where an internal server listens.
    """
    control, gateway = config.control, config.gateway
    local = control.host in LOOPBACK and gateway.listen.rpartition(":")[0].strip("[]") in LOOPBACK
    return f"{console_url(config)}/errors/" if control.public_url or (local and control.port) else ""
