"""A whole gateway worker in one event loop: real listener, log writer, Rego engine and upstream pool.

Only the upstream is played: it answers what the test scripts, byte for byte, and keeps what it received.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.budget import Budget
from gateway.call import Services, Setup, Steps
from gateway.content.patterns import PatternScanner
from gateway.counted import UnknownCallers
from gateway.flow import Gateway
from gateway.kept import KeptInputs
from gateway.listener import Listener
from gateway.routing import Health
from gateway.secrets import TenantSecrets
from gateway.settings import Endpoint, Limits, Route, Tenant
from gateway.settings import Tokens as TokenSettings
from gateway.sweep import Sweep
from gateway.tokens import TokenService
from gateway.upstream import UpstreamPool
from lineage.actions import Stamp, apply_containment, create_key, release_containment, revoke_key
from lineage.client import LogClient
from lineage.keys import load_master_key
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.reader import open_reader
from lineage.record import decode, encode
from lineage.side import TenantKeys
from lineage.side_place import CONNECTIONS, SidePlace
from lineage.tokens import Tokens
from policies.bundle import make_bundle
from policies.embedded import EmbeddedEngine
from policies.engine import PolicyEngine
from policies.settings import Policy
from tests.support.logs import data_directory, running_writer

LIMITS = Limits()
TOKENS = TokenSettings()

Script = Callable[[bytes, Callable[[bytes], None]], Awaitable[bool]]
"""Given a whole request, sends the answer; returns whether the connection stays open."""

ALLOW_ALL = """package cordon.request
decision := {"allow": true, "redact": {"email": "mask", "api_key": "drop"}}
"""
INSPECT_ALL = """package cordon.response
decision := {"allow": true, "plan": "inspect", "redact": {"email": "mask"}}
"""


def answer(body: bytes, status: str = "200 OK", media_type: str = "application/json", extra: str = "") -> bytes:
    """An HTTP answer with a length."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def completion(text: str) -> bytes:
    """The body of an OpenAI chat completion."""
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-test-2026",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
    ).encode()


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def delta(text: str, finish: str | None = None) -> bytes:
    """One event of an OpenAI chat stream, as an HTTP chunk."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-test-2026", "choices": [choice]}
    return chunk(b"data: " + json.dumps(event).encode() + b"\n\n")


def response_events(*events: dict[str, Any]) -> bytes:
    """Events of an OpenAI response, as one HTTP chunk."""
    return chunk(b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events))


def chunk(data: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_END = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class PlayedUpstream:
    """Listens on loopback; `script` answers each request; `received` are the requests."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.script: Script = self._complete
        self.port = 0

    async def _complete(self, _request: bytes, send: Callable[[bytes], None]) -> bool:
        send(answer(completion("Hello.")))
        return True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                request = head + await reader.readexactly(length)
                self.received.append(request)
                if not await self.script(request, writer.write):
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Source:
    """The policy in force; a test may set another engine."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine

    async def choose(self, _tenant: str, _call: str) -> PolicyEngine:
        """The engine for a call; a test may choose by tenant and call."""
        return self.engine


@dataclass
class Answer:
    """What the client read."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    def json(self) -> Any:
        """The body's JSON value."""
        return json.loads(self.body)


class InProcess:
    """The running parts, and what tests do with them."""

    def __init__(self, data_dir: Path, log: LogClient, upstreams: Sequence[PlayedUpstream]) -> None:
        self.data_dir = data_dir
        self.log = log
        self.upstreams = upstreams
        self.upstream = upstreams[0]
        self.gateway: Gateway
        self.policy: Source
        self.budget: Budget
        self.tokens: Tokens
        self.meter: Meter
        self.port = 0
        self.key = ""
        self.key_id = ""

    async def send(self, raw: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A fresh connection on which `raw` was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        return reader, writer

    def request(
        self, path: str, body: bytes = b"", method: str = "POST", key: str | None = None, extra: str = ""
    ) -> bytes:
        """The bytes of a request with this gateway's key (or another, or none: "")."""
        key = self.key if key is None else key
        lines = [f"{method} {path} HTTP/1.1", "host: gateway.test", "content-type: application/json"]
        if key:
            lines.append(f"authorization: Bearer {key}")
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode() + body

    async def call(self, path: str, body: Any = None, **options: Any) -> Answer:
        """One call on a connection of its own."""
        data = b"" if body is None else json.dumps(body).encode()
        reader, writer = await self.send(self.request(path, data, **options))
        try:
            async with asyncio.timeout(10):
                return await read_answer(reader)
        finally:
            writer.close()

    async def chat(self, text: str, **options: Any) -> Answer:
        """One chat completion."""
        return await self.call("/openai/chat/completions", chat(text), **options)

    def records(self, *kinds: str) -> list[dict[str, Any]]:
        """The log's records of these kinds, with their index."""
        with open_reader(self.data_dir) as reader:
            rows = reader.read(0, 10_000)
        found = [{**decode(data), "index": index} for index, data in rows]
        return [record for record in found if not kinds or record["kind"] in kinds]

    async def settle(self) -> None:
        """Everything that was appended without waiting is in the log now: one connection's records keep their order."""
        await self.log.append(encode(Stamp.now("test").head("process.started") | {"role": "test", "slot": 0}))

    async def another_key(self, name: str, tenant: str = "acme") -> str:
        """A key of another principal."""
        key, record = create_key(Stamp.now("test"), name=name, tenant=tenant, roles=(), by="tester")
        await self.log.append(encode(record))
        return key

    async def contain(self, target: str, target_type: Any = "principal") -> str:
        """Contain for a minute; the containment's id."""
        record = apply_containment(
            Stamp.now("test"), target_type=target_type, target=target, reason="test", owner="tester", seconds=60
        )
        await self.log.append(encode(record))
        return str(record["containment"])

    async def release(self, containment: str) -> None:
        """End a containment."""
        known = self.log.control.containments
        record = release_containment(
            Stamp.now("test"), containment=containment, by="tester", reason="test", known=known
        )
        await self.log.append(encode(record))

    async def new_key(self, name: str, *, expires: int | None = None) -> str:
        """Another caller's key of the tenant acme, which expires at this time (ms since the epoch)."""
        key, record = create_key(Stamp.now("test"), name=name, tenant="acme", by="tester", expires=expires)
        await self.log.append(encode(record))
        return key

    async def revoke(self, key: str) -> None:
        """Revoke a key by its id."""
        known = [key.id for key in self.log.control.keys.values()]
        await self.log.append(encode(revoke_key(Stamp.now("test"), key=key, by="tester", known=known)))


def chat(text: str, stream: bool = False) -> dict[str, Any]:
    """The body of a chat completion request."""
    body: dict[str, Any] = {"model": "gpt-test", "messages": [{"role": "user", "content": text}]}
    return body | {"stream": True} if stream else body


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One whole HTTP answer; `complete` is False where the connection ended before the answer did."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = b""
    try:
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
    except asyncio.IncompleteReadError as error:
        return Answer(int(head[0].split()[1]), headers, body + error.partial, False)
    return Answer(int(head[0].split()[1]), headers, body, True)


@asynccontextmanager
async def in_process(
    modules: Mapping[str, str] | None = None,
    *,
    endpoints: int = 1,
    limits: Limits = LIMITS,
    routes: Callable[[list[Endpoint]], list[Route]] | None = None,
    roles: Sequence[str] = (),
    tokens: TokenSettings = TOKENS,
    database: str = "",
) -> AsyncIterator[InProcess]:
    """A worker with a bundle of `modules` (by file name; default: allow and inspect all), one tenant, one key.

    `database`: where tenants' keys and tokens lie, if not in the data directory.
    """
    files = {"request.rego": ALLOW_ALL, "response.rego": INSPECT_ALL} | dict(modules or {})
    policy = Policy()
    engine = EmbeddedEngine(make_bundle({name: text.encode() for name, text in files.items()}), policy)
    upstreams = [PlayedUpstream() for _ in range(endpoints)]
    servers = [await asyncio.start_server(upstream.serve, "127.0.0.1", 0) for upstream in upstreams]
    for upstream, server in zip(upstreams, servers, strict=True):
        upstream.port = server.sockets[0].getsockname()[1]
    configured = [
        Endpoint(id=f"e{number}", url=f"http://127.0.0.1:{upstream.port}/v1", jurisdiction="EU")
        for number, upstream in enumerate(upstreams)
    ]
    tables = routes(configured) if routes else _routes(configured)
    with data_directory() as data_dir:
        async with running_writer(data_dir):
            changed: list[Callable[[Any], None]] = []
            log = await LogClient.connect(
                Paths(data_dir).socket, on_control=lambda state: [tell(state) for tell in changed] and None
            )
            world = InProcess(data_dir, log, upstreams)
            world.key, record = create_key(Stamp.now("test"), name="bot", tenant="acme", roles=roles, by="tester")
            world.key_id = str(record["key"])
            await log.append(encode(record))
            sweep, meter = Sweep(), Meter("gateway-0")
            place = SidePlace(data_dir, database)
            side = place.side()
            keys = TenantKeys(side, load_master_key(data_dir))
            threads = ThreadPoolExecutor(CONNECTIONS) if place.remote else None
            world.budget = budget = Budget(limits.buffered)
            world.policy = Source(engine)
            world.tokens = place.tokens(most=tokens.per_principal)
            world.meter = meter
            services = Services(
                boot="gateway-0-TEST",
                log=log,
                policy=world.policy,
                pool=UpstreamPool(limits, sweep),
                scanner=PatternScanner(),
                secrets=TenantSecrets(keys),
                meter=meter,
                steps=Steps(meter),
                health=Health(),
                budget=budget,
                unknown=UnknownCallers("gateway-0-TEST"),
                tokens=TokenService(world.tokens, meter, tokens, threads),
                kept=KeptInputs(lambda: log.generation),
            )
            setup = Setup.of(tables, [Tenant(id="acme", residency=("EU",)), Tenant(id="globex")], limits)
            world.gateway = Gateway(services, setup)
            changed.append(world.gateway.on_control)
            listener = Listener(world.gateway, limits, sweep, budget)
            world.port = await listener.start("127.0.0.1", 0)
            try:
                yield world
            finally:
                await listener.close()
                await services.pool.close()
                sweep.close()
                await log.close()
                keys.close()
                if threads is not None:
                    threads.shutdown(wait=False)
                world.tokens.close()
                side.close()
                for server in servers:
                    server.close()


def _routes(endpoints: list[Endpoint]) -> list[Route]:
    return [
        Route(id="openai", kind="model", dialect="openai", prefix="/openai", endpoints=tuple(endpoints)),
        Route(
            id="crm",
            kind="http",
            prefix="/crm",
            endpoints=tuple(e.model_copy(update={"id": f"crm-{e.id}"}) for e in endpoints),
        ),
    ]


def play(
    scene: Callable[[InProcess], Awaitable[None]], modules: Mapping[str, str] | None = None, **options: Any
) -> None:
    """Run a scene in a gateway of its own."""

    async def run() -> None:
        async with in_process(modules, **options) as world:
            await scene(world)

    asyncio.run(run())


def request_rule(result: str, condition: str = "true") -> dict[str, str]:
    """A bundle whose request decision is `result` where `condition` holds, and undefined elsewhere."""
    return {"request.rego": f"package cordon.request\ndecision := {result} if {{ {condition} }}\n"}


def response_rule(rules: str) -> dict[str, str]:
    """A bundle whose response rules are `rules`."""
    return {"response.rego": f"package cordon.response\n{rules}\n"}
