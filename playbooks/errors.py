"""What can go wrong when an alert is acted on."""

from __future__ import annotations

from lineage.errors import LineageError


class PlaybookError(Exception):
    """Base of every error of this package; its text says what is wrong, where, and what to do."""


class AlreadyRunning(PlaybookError):
    """Another SOC process works on this data directory."""


class LostTurn(PlaybookError, LineageError):
    """This SOC process is no longer the one of its database; it stores nothing, and waits for its next turn."""
