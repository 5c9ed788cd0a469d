"""The configuration: one YAML file, composed of the sections that each package declares for itself.

`load` gives a Config whose paths are absolute (relative ones are taken from the file's own directory) and whose parts
fit each other; or a ConfigError that lists every problem with its line. `missing_credentials` is separate: a secret
may be absent where the file is only checked, but not where the gateway starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from cordon.coherence import conflicts
from cordon.errors import ConfigError, Problem
from cordon.suggestions import of_key, of_value
from cordon.yaml_file import Document, Place, named, read
from detectors.settings import Detection
from gateway.settings import Endpoint, Gateway, ListenAddress, Route, Tenant
from lineage.place import is_postgres
from lineage.settings import Lineage, Settings
from policies.settings import Policy
from siem.decision_logs.settings import MOST_DESTINATIONS, DecisionLog
from siem.settings import Control

SQLITE = "sqlite:///"
Section = TypeVar("Section", bound=BaseModel)


class StandIn(Settings):
    """A small upstream for trying Cordon out: it speaks both vendors' protocols and answers with canned text.

    `cordon up` starts it beside the gateway while this section is there; endpoints name it by its address.
    """

    listen: ListenAddress = Field("127.0.0.1:8082", description="host:port; keep it on loopback")


class Log(Settings):
    """What the processes write to their standard error; the audit log is another thing (see lineage)."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is written")
    format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON lines elsewhere"
    )
    lines_per_second: int = Field(100, ge=1, description="most lines of one process; what is over it is counted")


class Config(Settings):
    """The whole file. Relative paths are taken from the directory that the file is in."""

    data_dir: Path = Field(
        Path("var"), description="directory of everything that Cordon keeps; readable by its user only"
    )
    database: str = Field(
        "",
        repr=False,
        description="sqlite:///PATH: file of the state database (empty: cordon.db in data_dir), the log in data_dir. "
        "postgresql://USER:PASSWORD@HOST:PORT/NAME: both lie there",
    )
    gateway: Gateway = Gateway()
    control: Control = Control()
    policy: Policy = Policy()
    lineage: Lineage = Lineage()
    detection: Detection = Detection()
    decision_logs: tuple[DecisionLog, ...] = Field((), max_length=MOST_DESTINATIONS)
    tenants: tuple[Tenant, ...] = ()
    routes: tuple[Route, ...] = ()
    stand_in: StandIn | None = None
    log: Log = Log()

    @property
    def state_path(self) -> Path:
        """File of the state database, where it does not lie on PostgreSQL."""
        if self.database.startswith(SQLITE):
            return Path(self.database.removeprefix(SQLITE))
        return self.data_dir / "cordon.db"

    @model_validator(mode="after")
    def _check(self) -> Self:
        # The value itself is never shown: it may hold a password.
        if is_postgres(self.database):
            from lineage.postgres_session import fault

            if wrong := fault(self.database):
                raise ValueError(f"database {wrong}")
        elif self.database and not (self.database.startswith(SQLITE) and len(self.database) > len(SQLITE)):
            raise ValueError("database must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME")
        return self


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read and check the file, with all that it names (certificates, directories). Raises ConfigError."""
    document = read(path, environment)
    if document.values is None:
        document.values = {}
    if not isinstance(document.values, dict):
        raise ConfigError(
            document.file, [Problem(1, "", "must be a mapping of sections, such as gateway: and routes:")]
        )
    try:
        config = Config.model_validate(document.values)
    except ValidationError as error:
        raise ConfigError(document.file, _problems(error, document)) from None
    config = _anchored(config, path.absolute().parent)
    found = [Problem(document.line(place), named(place), text) for place, text in conflicts(config)]
    if found:
        raise ConfigError(document.file, found)
    return config


def missing_credentials(config: Config, environment: Mapping[str, str] = os.environ) -> Iterator[tuple[Endpoint, str]]:
    """Each endpoint whose secret is not there now, and why."""
    for route in config.routes:
        for endpoint in route.endpoints:
            scheme, _, name = endpoint.credential.partition(":")
            if scheme == "env" and not environment.get(name):
                yield endpoint, f"the environment variable {name} is not set"
            if scheme == "file" and not os.access(name, os.R_OK):
                yield endpoint, f"the file {name} cannot be read"


def _problems(error: ValidationError, document: Document) -> Iterator[Problem]:
    entries = error.errors(include_url=False, include_context=False)
    for entry in entries:
        place: Place = entry["loc"]
        if entry["type"] == "too_short" and any(
            other["loc"][: len(place)] == place != other["loc"] for other in entries
        ):
            continue  # what follows from a fault of the list's items
        text = entry["msg"].removeprefix("Value error, ")
        if entry["type"] == "extra_forbidden":
            text = "is not a setting" + of_key(Config, place)
        elif entry["type"] == "missing":
            text = "is required"
        else:
            text = text.removeprefix("Input ") + of_value(entry["type"], text, entry["input"])
        yield Problem(document.line(place), named(place), document.masked(text))


def _anchored(model: Section, base: Path) -> Section:
    """The same settings with every path absolute."""
    changed: dict[str, object] = {}
    for name, value in model:
        if isinstance(value, Path):
            changed[name] = base / value
        elif isinstance(value, BaseModel):
            changed[name] = _anchored(value, base)
        elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
            changed[name] = tuple(_anchored(item, base) for item in value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Path):
            changed[name] = tuple(base / path for path in value)
        elif name == "credential" and isinstance(value, str) and value.startswith("file:"):
            changed[name] = f"file:{base / value.removeprefix('file:')}"
        elif name == "database" and isinstance(value, str) and value.startswith(SQLITE):
            changed[name] = f"{SQLITE}{base / value.removeprefix(SQLITE)}"
    return model.model_copy(update=changed)
