"""`redact: tokenise` at work: one call's tokens, kept before the upstream sees them, and restored in its answer only.

The scope of a token is its caller: tenant, principal and, where the client sends one, `x-cordon-conversation`. Within
it a value has the same token in every call and every worker; outside of it the token is just text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import structlog

from gateway.complaints import Complaints
from gateway.content.errors import ContentError
from gateway.content.request import RequestContent
from gateway.content.scanner import Scanner
from gateway.content.tokens import LABELS, Issuer, Known, Restorer, Value
from gateway.errors import Refusal
from gateway.request_head import RequestHead
from gateway.secrets import Secrets
from gateway.settings import Tokens as Settings
from lineage.errors import LineageError, LogUnavailable
from lineage.metrics import Meter
from lineage.tokens import Kept, Scope, Tokens, TokensFull

log = structlog.get_logger("gateway")

HEADER = b"x-cordon-conversation"
LONGEST_CONVERSATION = 128
LARGE = 65_536
FORGET_SECONDS = 60.0
_TRIES = 4
_T = TypeVar("_T")
_complaints = Complaints("the table of tokens cannot be used, calls are refused")


@dataclass(frozen=True, slots=True)
class TokenService:
    """What a worker has for the tokens of its calls.

    `threads`: where a table is asked that lies behind a network, even for what a file answers at once; None for a file.
    """

    store: Tokens
    meter: Meter
    settings: Settings
    threads: Executor | None = None

    async def of(
        self, secrets: Secrets, principal: str, head: RequestHead, scanner: Scanner, *, tokenises: bool
    ) -> CallTokens:
        """The tokens of one call, none where policy does not tokenise.

        Raises Refusal where the table cannot be read or the conversation's name is none.
        """
        call = CallTokens(self, secrets, scanner)
        if tokenises:
            conversation = conversation_of(head)
            try:
                await call.open(principal, conversation)
            except LineageError as error:
                raise self.refusal(error) from error
        return call

    async def aside(self, work: Callable[..., _T], *values: object) -> _T:
        """Do what may take long beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *values)

    def refusal(self, error: LineageError) -> Refusal:
        """The refusal of a call whose tokens cannot be kept or read."""
        self.meter.inc("cordon_tokens_failures_total")
        if isinstance(error, TokensFull):
            return Refusal(429, "limits", "too_many_tokens", f"The call's values cannot be tokenised: {error}.")
        _complaints.tell(error)
        return Refusal(503, "lineage", "tokens_unavailable", "The table of tokens cannot be used.")

    async def forget(self) -> None:
        """Delete tokens that have expired, now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                while await self.aside(self.store.forget, _now()):
                    pass
            except LineageError as error:
                self.meter.inc("cordon_tokens_failures_total")
                log.error("expired tokens could not be deleted", error=str(error))


class CallTokens:
    """The tokens of one call: what its scope knows already, what it issues, and what its answer gets back.

    `scanner` finds what every scanner finds, and values the caller has tokens for that would not be found otherwise.
    """

    def __init__(self, service: TokenService, secrets: Secrets, scanner: Scanner) -> None:
        self.scanner = scanner
        self._plain = scanner
        self._service = service
        self._secrets = secrets
        self._scope = Scope("", b"")
        self._issuer: Issuer | None = None
        self._restorer: Restorer | None = None
        self._counted = 0
        self._failed = False

    async def open(self, principal: str, conversation: str) -> None:
        """Find the scope, and the values in it that need to be looked for; raises LineageError."""
        service = self._service
        scope, key = self._secrets.scope(principal, conversation)
        self._scope = Scope(principal, scope)
        self._issuer = Issuer(key, self._plain, most=service.settings.per_principal)
        if service.threads is None:
            kept = service.store.loose(self._scope, _now())
        else:
            kept = await service.aside(service.store.loose, self._scope, _now())
        if kept:
            self.scanner = Known(self._plain, [self._opened(each) for each in kept])

    async def render(self, content: RequestContent, redact: Mapping[str, str], model: str) -> bytes:
        """The body to be sent, its tokens kept; Refusal where that is not possible."""
        key = self._secrets.hash_key
        if "tokenise" not in redact.values():
            return content.render(redact, key, model)
        issuer = self._issuer
        if issuer is None:
            # The bundle was exchanged in mid-call, or it makes the word up of pieces.
            text = "Policy tokenises, but does not say so in a word that can be found; write it out, or try again."
            raise Refusal(403, "decision", "policy_failed", text)
        for _ in range(_TRIES):
            try:
                if content.size > LARGE:
                    body = await asyncio.to_thread(content.render, redact, key, model, issuer)
                else:
                    body = content.render(redact, key, model, issuer)
            except ContentError as error:
                if error.code == "too_large":
                    raise Refusal(413, "inspection", error.code, f"The request's body: {error.detail}.") from error
                raise Refusal(503, "lineage", "tokens_unavailable", f"The request's body: {error.detail}.") from error
            if not await self._keep(issuer):
                self._restorer = Restorer(issuer.issued, self._look_up, self._plain)
                self._counted = 0
                return body
        raise Refusal(503, "lineage", "tokens_unavailable", "No tokens are free for the call's values; try again.")

    @property
    def restorer(self) -> Restorer | None:
        """What restores the answer; None where policy tokenised nothing of the request."""
        return self._restorer

    @property
    def threads(self) -> Executor | None:
        """Where the answer has to be restored, because a token in it may have to be asked for; None: in the loop."""
        return self._service.threads if self._restorer is not None else None

    def count_restored(self) -> int:
        """How many tokens of the answer were restored; tells the metric."""
        count = self._restorer.count if self._restorer is not None else 0
        if count > self._counted:
            self._service.meter.inc("cordon_tokens_restored_total", by=count - self._counted)
            self._counted = count
        return count

    def close(self) -> None:
        """The call is over: its values are let go of."""
        self._restorer = self._issuer = None
        self.scanner = self._plain

    async def _keep(self, issuer: Issuer) -> bool:
        """Have the table keep what was issued; whether some tokens are another value's, and were given up."""
        issued = issuer.issued
        if not issued:
            return False
        try:
            # A disk that is slow must not hold up the calls of others.
            taken = await self._service.aside(self._write, dict(issued))
        except LineageError as error:
            raise self._service.refusal(error) from error
        issuer.shun(taken)
        if not taken:
            self._service.meter.inc("cordon_tokens_issued_total", by=len(issued))
        return bool(taken)

    def _write(self, issued: Mapping[str, Value]) -> list[str]:
        now = _now()
        rows = [Kept(token, value.mark, value.loose, self._sealed(token, value)) for token, value in issued.items()]
        return self._service.store.keep(self._scope, rows, now, now + int(self._service.settings.time * 1_000))

    def _sealed(self, token: str, value: Value) -> bytes:
        text = value.text.encode("utf-8", "surrogatepass")
        return self._secrets.seal_token(self._scope, token, text)

    def _opened(self, kept: Kept) -> Value:
        text = self._secrets.unseal_token(self._scope, kept.token, kept.sealed)
        return Value(
            _KINDS[kept.token[1:].partition("_")[0]], text.decode("utf-8", "surrogatepass"), kept.mark, kept.loose
        )

    def _look_up(self, token: str) -> Value | None:
        """A token that an earlier call of this scope issued. Where the table fails, it and all others stay tokens."""
        if self._failed:
            return None
        try:
            kept = self._service.store.find(self._scope, token, _now())
            return None if kept is None else self._opened(kept)
        except LineageError as error:
            self._failed = isinstance(error, LogUnavailable)
            self._service.meter.inc("cordon_tokens_failures_total")
            log.error("a token could not be looked up and was not restored", error=str(error))
            return None


_KINDS = {label: kind for kind, label in LABELS.items()}


def conversation_of(head: RequestHead) -> str:
    """The client's name for the conversation; empty where it gives none, Refusal where it is not a name."""
    values = [value for name, value in head.cordon if name == HEADER]
    if not values:
        return ""
    text = values[0].decode("latin-1").strip()
    if len(values) > 1 or not 0 < len(text) <= LONGEST_CONVERSATION or not (text.isascii() and text.isprintable()):
        detail = f"x-cordon-conversation is sent once and has 1 to {LONGEST_CONVERSATION} printable ASCII characters."
        raise Refusal(400, "identity", "conversation", detail)
    return text


def _now() -> int:
    return time.time_ns() // 1_000_000
