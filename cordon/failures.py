"""Errors that are expected to happen, and what is said of them: one sentence, never a traceback."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from cordon.errors import CordonError
from gateway.errors import GatewayError
from lineage.errors import LineageError
from playbooks.errors import PlaybookError
from policies.errors import PolicyError
from siem.console.errors import ConsoleError

EXPECTED: Final = (
    CordonError,
    PlaybookError,
    GatewayError,
    LineageError,
    PolicyError,
    ConsoleError,
    OSError,
    SQLAlchemyError,
)


def told(error: BaseException) -> str:
    """The error in words for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, SQLAlchemyError):
        cause = error.__cause__ or error
        return f"the state database: {str(cause).splitlines()[0]}"
    return str(error)
