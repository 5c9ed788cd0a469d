"""Errors that are expected to happen: what is said of them (one sentence, never a traceback), and what can be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from cordon.errors import BackupError, ConfigError, CordonError, SupervisorError
from gateway.errors import GatewayError
from lineage.actions import ActionError
from lineage.errors import KeyFileError, LineageError, LogUnavailable, SideError, VerificationError
from playbooks.errors import PlaybookError
from policies.download import DownloadError
from policies.errors import BundleError, PolicyError
from policies.opa.wire import ServerError
from policies.signatures import SigningError
from siem.console.errors import ConsoleError


class Failure(NamedTuple):
    """A kind of error that a command or a start can end with: its code, what it means, and what to do."""

    code: str
    meaning: str
    remedy: str


FAILURES: Final[Mapping[type[Exception], Failure]] = {
    ConfigError: Failure(
        "configuration",
        "The configuration file cannot be used: a key that is not known (one that is close is named), a value of "
        "another kind or beyond its limits, an environment variable that is not set, two settings that contradict each "
        "other. All that was found is told at once, each with its line. A running Cordon keeps what it had.",
        "Mend the lines and try `cordon config check`. `docs/reference/configuration.md` has every setting; an editor "
        "completes them with `configuration.schema.json` beside it.",
    ),
    SupervisorError: Failure(
        "start",
        "Cordon does not start: a process of it did not come up, a secret that the configuration points to is not "
        "there, another Cordon works in the same `data_dir`, or the folder of a demo is in use.",
        "The message names the process or the secret. `cordon doctor` looks at ports, files, limits, certificates and "
        "servers; the log on standard error says what the process itself met.",
    ),
    BackupError: Failure(
        "backup",
        "A backup cannot be made, or is not one that can be restored here. Nothing was changed and nothing half-done "
        "stays.",
        "Name a folder that is not there yet; give the keys (`--keys`) from where they are kept, not from the backup. "
        "`docs/keeping.md` shows both ways.",
    ),
    LogUnavailable: Failure(
        "log_unavailable",
        "The log cannot be read or written: its disk is full or read-only, its database is out of reach, its writer "
        "does not answer. Calls are refused meanwhile.",
        "`cordon doctor` says which of them it is. Nothing is lost: once it can write, it goes on.",
    ),
    VerificationError: Failure(
        "verification",
        "The log, a checkpoint or a proof does not add up: something was changed, cut or lost, or comes from another "
        "log.",
        "Keep the files as they are. `cordon log verify` says where; compare with a checkpoint that was kept outside "
        "(`--since`), then restore from a backup.",
    ),
    KeyFileError: Failure(
        "key_file",
        "A file of keys is not there, is no such key, belongs to another log, or can be read by others.",
        "Restore it from where the keys are kept; without the master key what lies beside the log cannot be opened. "
        "`chmod 600` where only its permissions are wrong.",
    ),
    SideError: Failure(
        "beside_the_log",
        "What lies beside the log (masked inputs, tokens, bundles) is missing, was changed, or belongs to a tenant "
        "that was erased.",
        "What was erased does not come back. Propose a bundle again; restore the rest from a backup.",
    ),
    ActionError: Failure(
        "refused_action",
        "What was asked for is not done: the target is not known, a value has another form than it must, or a rule "
        "forbids it, such as approving one's own bundle.",
        "The message names the field. `cordon key list`, `cordon tenant list` and `cordon policy bundles` show what "
        "there is.",
    ),
    LineageError: Failure(
        "lineage",
        "A record or message of the log is not what it has to be, or the log's writer speaks another version.",
        "Start all processes of one version. `cordon log verify` tells whether the log itself is in order.",
    ),
    BundleError: Failure(
        "bundle",
        "The bundle cannot be read or is not admitted. Each line is a place, what is wrong there and what to do.",
        "`cordon policy check` shows the code of each finding, and `cordon errors CODE` what it means. A running "
        "Cordon keeps the bundle before.",
    ),
    SigningError: Failure(
        "signing",
        "A bundle cannot be signed or verified with this key: the file is no PEM key, of another kind than RSA, EC on "
        "P-256 or Ed25519, or private where it must be public.",
        "Give the private key to `cordon policy sign`, the public one to `cordon policy verify` and "
        "`policy.verification`.",
    ),
    DownloadError: Failure(
        "download",
        "The bundle server did not give a bundle.",
        "See that it runs, and its address, certificate authority and token in `policy.bundle` and `policy.download`.",
    ),
    ServerError: Failure(
        "opa_server",
        "The OPA server does not answer, answers something else than was asked, or holds another bundle.",
        "See that it runs at `policy.url`, and that no one else pushes to it. Calls are refused meanwhile.",
    ),
    PolicyError: Failure(
        "policy",
        "Policy cannot decide, or cannot do what the command asks of the configured engine.",
        "The message names what is missing; `docs/opa.md` says what differs between the engines.",
    ),
    GatewayError: Failure(
        "gateway",
        "A certificate, a revocation list or a message between Cordon and a server is not what it has to be.",
        "The message names the file or the server; `cordon doctor` looks at all of them.",
    ),
    PlaybookError: Failure(
        "playbook",
        "A playbook cannot run: another process is at it, or its turn is over.",
        "Nothing: the one that has the turn goes on, and what was done is in the log.",
    ),
    ConsoleError: Failure(
        "console",
        "The console or the admin API does not do what was asked.",
        "The message names the field or the right that is missing.",
    ),
    CordonError: Failure(
        "cordon",
        "Something else that Cordon knows of is wrong.",
        "The message says what and where.",
    ),
    SQLAlchemyError: Failure(
        "state_database",
        "The database of accounts, sessions and alerts cannot be reached or written.",
        "`cordon doctor` says why. Calls are decided and recorded all the same.",
    ),
    OSError: Failure(
        "system",
        "The operating system refuses: a file that is not there or may not be read, a port that is taken, a full disk.",
        "The message names the file or address. `cordon doctor` looks for the usual causes.",
    ),
}

USAGE: Final = Failure(
    "usage", "The command was misused; nothing was done.", "`--help` after the command shows what it takes."
)
UNEXPECTED: Final = Failure(
    "unexpected",
    "A fault of Cordon's own. What was recorded is safe; what was under way is refused rather than let through.",
    "Run it again with CORDON_DEBUG=1, and report what it prints.",
)
EXPECTED: Final = tuple(FAILURES)


def told(error: BaseException) -> str:
    """The error in words for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, SQLAlchemyError):
        cause = error.__cause__ or error
        return f"the state database: {str(cause).splitlines()[0]}"
    return str(error)


def failure(error: BaseException) -> Failure:
    """The kind of an error: that of the nearest class which has one."""
    return next((FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES), UNEXPECTED)
