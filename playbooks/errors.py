"""What can go wrong when an alert is acted on."""


class PlaybookError(Exception):
    """Base of every error of this package; its text says what is wrong, where, and what to do."""


class AlreadyRunning(PlaybookError):
    """Another SOC process works on this data directory."""
