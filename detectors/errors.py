"""What can go wrong while the log is followed."""


class DetectorError(Exception):
    """Base of every error of this package; its text says what is wrong, where, and what to do."""


class StateUnreadable(DetectorError):
    """A stored snapshot does not fit the detector that it belongs to; the detector starts afresh."""
