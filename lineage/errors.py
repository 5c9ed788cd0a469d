"""What can go wrong with the log, and who has to do something about it."""


class LineageError(Exception):
    """Base of every error of this package; its text says what is wrong, where, and what to do."""


class RecordError(LineageError):
    """A record is not of the form that the log keeps; the caller has to mend it."""


class LogUnavailable(LineageError):
    """The log cannot take records now (writer away, disk full, queue full); the call has to be refused."""


class VerificationError(LineageError):
    """The log, a checkpoint or a proof does not add up; somebody has to look into it."""
