"""What a changed configuration, or a changed file that it names, means for the running processes.

Every process is handed the new configuration; a gateway worker takes up routes, tenants, limits, credentials and
certificates from it while it serves. What a process reads only at its start is in one table: there, a change gives its
role a new life.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cordon.config import Config
from cordon.errors import ConfigError, Problem
from cordon.parts import CONTROL, GATEWAY, SOC, STAND_IN, WRITER, Role
from gateway.settings import Tls
from gateway.tls import files

Stamp = tuple[int, int, int]

# What each role reads only at its start.
READ_AT_START: Final[tuple[tuple[Role, Callable[[Config], object]], ...]] = (
    (
        GATEWAY,
        lambda config: (
            config.gateway.listen,
            config.gateway.tls is None,
            config.gateway.tokens,
            *map(stamp, (*_authorities(config), *_policy_files(config))),
            config.policy,
            config.lineage.policy_inputs,
        ),
    ),
    (WRITER, lambda config: config.lineage),
    (
        SOC,
        lambda config: (
            config.detection,
            config.decision_logs,
            # What the masks of decision logs are evaluated by, and what their authorities are now.
            *((config.policy, *map(stamp, _collector_authorities(config))) if config.decision_logs else ()),
        ),
    ),
    (
        CONTROL,
        lambda config: (config.control, *map(stamp, _certificates(config.control.tls)), config.tenants, config.routes),
    ),
    (STAND_IN, lambda config: config.stand_in),
)
# What only a new start of the whole can change.
FIXED: Final = ("data_dir", "database")


class Changes:
    """Remembers what the processes have read."""

    def __init__(self, config: Config) -> None:
        self._read = self._parts(config)

    def renewed(self, config: Config) -> frozenset[Role]:
        """The roles that need a new life for `config`, which counts as read from now on."""
        before, self._read = self._read, self._parts(config)
        return frozenset(role for role, part in self._read.items() if part != before[role])

    @staticmethod
    def _parts(config: Config) -> dict[Role, object]:
        return {role: part(config) for role, part in READ_AT_START}


def refuse_fixed(file: Path, before: Config, config: Config) -> None:
    """Raise ConfigError where `config` changes what cannot change while Cordon runs."""
    for name in FIXED:
        if getattr(config, name) != getattr(before, name):
            text = "cannot change while Cordon runs; stop it and start it again"
            raise ConfigError(str(file), [Problem(0, name, text)])


def watched(file: Path, config: Config) -> dict[Path, Stamp | None]:
    """The configuration file and the certificates and secrets that it names, each as it is now."""
    gateway = files(config.gateway.tls) if config.gateway.tls is not None else ()
    paths = [file, *gateway, *_certificates(config.control.tls), *_authorities(config), *_policy_files(config)]
    paths += _collector_authorities(config)
    paths += [
        Path(endpoint.credential.removeprefix("file:"))
        for route in config.routes
        for endpoint in route.endpoints
        if endpoint.credential.startswith("file:")
    ]
    return {path: stamp(path) for path in paths}


def stamp(path: Path) -> Stamp | None:
    """What changes whenever the file does; None where it cannot be read now."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _certificates(tls: Tls | None) -> Iterator[Path]:
    if tls is not None:
        yield tls.certificate
        yield tls.key


def _policy_files(config: Config) -> Iterator[Path]:
    """What is read to reach an OPA server."""
    if config.policy.ca is not None:
        yield config.policy.ca
    if config.policy.credential.startswith("file:"):
        yield Path(config.policy.credential.removeprefix("file:"))


def _collector_authorities(config: Config) -> list[Path]:
    return [each.ca for each in config.decision_logs if each.ca is not None]


def _authorities(config: Config) -> Iterator[Path]:
    for route in config.routes:
        for endpoint in route.endpoints:
            if endpoint.ca is not None:
                yield endpoint.ca
