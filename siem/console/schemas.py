"""What the admin API takes and gives, as its OpenAPI description shows it. Times are ms since the epoch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lineage.actions import LONGEST_CONTAINMENT_SECONDS, LONGEST_TEXT
from policies.engine import Moment
from siem.console.calls import Verdict

Name = Annotated[str, Field(max_length=63)]
Reason = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT, description="one line; the log keeps it")]


class Asked(BaseModel):
    """A request's body: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Given(BaseModel):
    """An answer's body, filled from the object that holds the facts."""

    model_config = ConfigDict(from_attributes=True)


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


class Credentials(Asked):
    """Who signs in."""

    account: Annotated[str, Field(max_length=63)]
    password: Annotated[str, Field(max_length=256)]


class SessionState(Given):
    """The session that the request came with; `csrf` goes into the header x-csrf-token of unsafe requests."""

    account: str
    roles: tuple[str, ...]
    csrf: str
    ends_at: int


class CallSummary(Given):
    """How one call ended; `index` is the log index of the record that says so."""

    index: int
    call: str
    at: int
    verdict: Verdict | Literal[""]
    status: int
    tenant: str
    principal: str
    route: str
    endpoint: str
    method: str
    path: str
    model: str
    stage: str
    ms: int
    count: int
    policy: str
    findings: dict[str, int]
    redacted: dict[str, str]
    reasons: tuple[str, ...]


class CallPage(BaseModel):
    """Calls, newest first; `before` asks for the next page, null where there is nothing older."""

    calls: list[CallSummary]
    before: int | None


class LogRecord(BaseModel):
    """One record of the log, as it stands there."""

    index: int
    record: dict[str, Any]


class AlertItem(Given):
    """One alert; `evidence` are log indexes."""

    id: str
    log_index: int
    raised_at: int
    detector: str
    severity: str
    tenant: str
    subject_type: str
    subject: str
    summary: str
    evidence: tuple[int, ...]
    count: int
    since: int
    until: int
    state: Literal["open", "acknowledged", "closed"]
    changed_by: str
    changed_at: int


class AlertChange(Asked):
    """What an operator makes of an alert."""

    state: Literal["open", "acknowledged", "closed"]


class ContainmentItem(Given):
    """A containment that holds now."""

    id: str
    target_type: Literal["principal", "endpoint"]
    target: str
    reason: str
    owner: str
    since: int
    until: int


class ContainmentRequest(Asked):
    """Whom to isolate, why and for how long."""

    target_type: Literal["principal", "endpoint"]
    target: Annotated[str, Field(max_length=127, description="a principal as tenant/name, or an endpoint's id")]
    reason: Reason
    seconds: Annotated[int, Field(ge=1, le=LONGEST_CONTAINMENT_SECONDS, description="no containment is for ever")]
    alert: Annotated[str, Field(max_length=128)] = ""


class Release(Asked):
    """Why a containment ends, or a bundle is withdrawn."""

    reason: Reason


class Created(BaseModel):
    """The id of what was made."""

    id: str


Stage = Literal["draft", "shadow", "canary", "live"]


class TrialRequest(Asked):
    """Files of a bundle to try on `input`, or on the masked input of a recorded call: give one of the three, or none.

    A call that is named by its id has an input for each moment that was decided on; `moment` chooses.
    """

    files: dict[Annotated[str, Field(max_length=200)], str] = Field(min_length=1, max_length=64)
    input: dict[str, Any] | None = None
    record: int | None = Field(None, ge=0, description="index of a call's intent, outcome or refusal")
    call: Annotated[str, Field(max_length=26, description="id of a call")] = ""
    moment: Moment = Field(
        Moment.REQUEST, strict=False, description="when the decision is asked for; a record has its own"
    )
    tests: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum((self.input is not None, self.record is not None, bool(self.call))) > 1:
            raise ValueError("give one of input, record and call")
        return self


class Trial(Given):
    """What came of it. `decision` has the result and its explanation; `coverage` the lines that no test evaluates."""

    admitted: bool
    revision: str
    problems: list[dict[str, Any]]
    input: dict[str, Any] | None = None
    decision: dict[str, Any] | None = None
    error: str = ""
    tests: list[dict[str, Any]] | None = None
    coverage: dict[str, list[int]] | None = None
    covered: float | None = Field(None, description="percent of lines")


class RolloutItem(Given):
    """A policy bundle on its way. `digest` is the SHA-256 of its archive; `scope` the tenant whose own it is, or empty.

    Of a canary, `tenants` are those whose calls it decides, or else `share` of 1,000 calls. `shadow` counts decisions.
    """

    id: str
    digest: str
    revision: str
    scope: str
    stage: Stage | Literal["replaced"]
    share: int
    tenants: tuple[str, ...]
    author: str
    approved_by: str
    base: str
    previous: str
    note: str
    since: int
    compared: int = 0
    skipped: int = 0
    differences: dict[str, int] = {}


class Draft(Given):
    """A bundle that was proposed: the roll-out's id, its archive's SHA-256, the tests that passed, the log index."""

    id: str
    digest: str
    revision: str
    tests: int
    index: int


class FileDifference(Given):
    """A file of a bundle that another one has otherwise, as a unified diff."""

    file: str
    kind: Literal["added", "removed", "changed"]
    lines: tuple[str, ...]


class RolloutDetail(BaseModel):
    """A roll-out and what it changes `against` the roll-out or the `configured` bundle that decides there."""

    rollout: RolloutItem
    against: str
    files: list[FileDifference]
    added: int = Field(description="lines that it has more, of all files")
    removed: int = Field(description="lines that it has no more")
    problem: str


class Approval(Asked):
    """What was looked at: the SHA-256 (hex) of the roll-out's archive."""

    digest: Annotated[str, Field(min_length=64, max_length=64)]


class StageRequest(Asked):
    """Where a roll-out goes; to draft, a live one gives way to the one before it. A canary needs one of the two."""

    stage: Stage
    share: Annotated[int, Field(ge=0, le=1_000, description="of 1,000 calls, how many a canary decides")] = 0
    tenants: Annotated[list[Name], Field(max_length=64, description="whose calls a canary decides")] = []


class TenantItem(Given):
    """A tenant; an erased one has no keys and gets none."""

    id: str
    keys: int
    erased_at: int | None


class KeyItem(Given):
    """A key in force; its text is kept nowhere."""

    id: str
    name: str
    tenant: str
    roles: tuple[str, ...]
    kind: Literal["caller", "reader"]
    expires: int | None


class KeyRequest(Asked):
    """A key to make. Calls with it are those of the principal `tenant/name`."""

    name: Name
    tenant: Name
    roles: Annotated[list[Name], Field(max_length=16)] = []
    kind: Literal["caller", "reader"] = "caller"
    expires: int | None = None


class KeyCreated(Given):
    """The new key; `text` is shown this once."""

    id: str
    text: str


class AccountItem(Given):
    """An operator account."""

    name: str
    roles: tuple[str, ...]
    active: bool
    created_at: int


class InvitationRequest(Asked):
    """Whom to invite; or, with `reset`, who may choose a new password."""

    account: Name
    roles: Annotated[list[Name], Field(max_length=16)] = []
    reset: bool = False


class Link(BaseModel):
    """A one-time link, relative to this server; shown this once."""

    link: str


class AccountChange(Asked):
    """What changes; give one of the two."""

    roles: Annotated[list[Name], Field(max_length=16)] | None = None
    active: bool | None = None


class ProcessItem(Given):
    """A process that reports measurements; `age_ms` is how long ago it last did, `calls` what it has answered.

    `standby`: another machine's process has the turn to do what only one may do.
    """

    name: str
    age_ms: int
    alive: bool
    calls: int
    standby: bool


class DeliveryItem(Given):
    """A destination of decision logs: `behind` records of the log are not past it, the oldest event `age_seconds` old.

    `lost` is why deliveries fail, empty while they do not; `begun` is false where nothing was delivered or tried yet.
    """

    destination: str
    begun: bool
    behind: int
    age_seconds: float
    lost: str


class Status(BaseModel):
    """How the installation is doing."""

    size: int
    checkpoint_size: int | None
    checkpoint_verified: bool
    log_writable: bool
    containments: int
    keys: int
    open_alerts: int
    processes: list[ProcessItem]
    decision_logs: list[DeliveryItem]
