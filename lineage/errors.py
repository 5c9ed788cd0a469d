"""What can go wrong with the log, and who has to do something about it."""


class LineageError(Exception):
    """Base of every error of this package; its text says what is wrong, where, and what to do."""


class RecordError(LineageError):
    """A record is not of the form that the log keeps; the caller has to mend it."""


class LogUnavailable(LineageError):
    """The log cannot take records now (writer away, disk full, queue full); the call has to be refused."""


class WriterPresent(LogUnavailable):
    """Another process has the right to write the log; use that one, or wait until it has ended."""


class VerificationError(LineageError):
    """The log, a checkpoint or a proof does not add up; somebody has to look into it."""


class KeyFileError(LineageError):
    """A key file is missing, readable by others, or not what it should be; the operator has to mend it."""


class SideError(LineageError):
    """A sealed blob or a tenant's key cannot be opened; it was erased, changed, or belongs to somebody else."""


class TenantErased(SideError):
    """The tenant's key was destroyed on purpose, and it gets no new one; nothing can be recorded for it any more."""
