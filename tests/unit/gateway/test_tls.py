"""The listener's TLS on real sockets: what it asks of clients, what it renews, and that nothing is resumed."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.settings import ClientIdentity, GatewayTls
from gateway.tls import load_security
from tests.support.certificates import Authority, Issued, save, write_certificate
from tests.support.listening import Listening, Script, echo, hold, listening

GET = b"GET /a HTTP/1.1\r\nHost: gateway\r\n\r\n"
AGENT = x509.UniformResourceIdentifier("spiffe://acme/agent-7")


class Stage:
    """Files of a listener and of its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Authority()
        self.below = Authority("Between", self.root)
        self.agent = self.below.issue(AGENT)
        write_certificate(folder / "gateway.pem", folder / "gateway.key")
        save(folder / "ca.pem", self.root.certificate, self.below.certificate)
        self.revoke()
        self.tls = GatewayTls(
            certificate=folder / "gateway.pem",
            key=folder / "gateway.key",
            client_ca=folder / "ca.pem",
            crl=(folder / "root.crl", folder / "below.crl"),
            identities=(ClientIdentity(san="spiffe://acme/agent-7", tenant="acme", name="agent-7"),),
        )

    def revoke(self, *issued: Issued) -> None:
        save(self.folder / "root.crl", self.root.revoke())
        save(self.folder / "below.crl", self.below.revoke(*(each.certificate for each in issued)))

    def context(self, shown: Issued | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "gateway.pem"))
        if shown is not None:
            shown.write(self.folder / "client.pem", self.folder / "client.key")
            context.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        return context


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def renew(running: Listening, tls: GatewayTls) -> None:
    security = load_security(tls)
    running.listener.secure(security)
    await running.listener.serve_with(security)


def test_each_request_of_a_connection_has_its_client(stage: Stage) -> None:
    async def scenario() -> None:
        handler = Script()
        async with listening(handler, tls=stage.tls) as running:
            for shown in (stage.agent, None, stage.below.issue(x509.DNSName("nobody.example"))):
                client = await running.client(stage.context(shown))
                client.send(GET + GET)
                for _ in range(2):
                    assert (await client.answer())[0] == 200
                client.close()
            assert running.certificates == ["mapped", "none", "unmapped"]
        names = [exchange.peer.principal and exchange.peer.principal.id for exchange in handler.heads if exchange.peer]
        assert names == ["acme/agent-7"] * 2 + [None] * 4
        peers = {id(exchange.peer) for exchange in handler.heads}
        assert len(peers) == 3

    uvloop.run(scenario())


def test_without_client_certificates_there_is_no_peer(stage: Stage) -> None:
    async def scenario() -> None:
        handler = Script()
        plain = GatewayTls(certificate=stage.tls.certificate, key=stage.tls.key)
        async with listening(handler, tls=plain) as running:
            client = await running.client(stage.context(stage.agent))
            client.send(GET)
            assert (await client.answer())[0] == 200
            client.close()
            assert running.certificates == []
        assert handler.heads[0].peer is None

    uvloop.run(scenario())


def test_no_session_is_offered_and_an_old_version_is_refused(stage: Stage) -> None:
    context = load_security(stage.tls).context
    assert context.num_tickets == 0
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert not context.post_handshake_auth

    async def scenario() -> None:
        async with listening(Script(), tls=stage.tls) as running:
            client = await running.client(stage.context(stage.agent))
            client.send(GET)
            await client.answer()
            session = client.writer.get_extra_info("ssl_object").session
            assert session is None or not session.has_ticket
            client.close()
            old = stage.context(stage.agent)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await running.client(old)

    uvloop.run(scenario())


def test_sockets_are_renewed_under_connections_without_one_being_turned_away(stage: Stage) -> None:
    async def scenario() -> None:
        async with listening(Script(), tls=stage.tls) as running:
            context = stage.context(stage.agent)
            done = asyncio.Event()
            count = 0

            async def knock() -> None:
                nonlocal count
                while not done.is_set():
                    client = await running.client(context)
                    client.send(GET)
                    assert (await client.answer())[0] == 200
                    client.close()
                    count += 1

            knocking = [asyncio.create_task(knock()) for _ in range(4)]
            for number in range(20):
                await renew(running, stage.tls)
                while count < 3 * number and not any(task.done() for task in knocking):
                    await asyncio.sleep(0.001)
            done.set()
            await asyncio.gather(*knocking)
            assert len(running.listener._servers) == 1

    uvloop.run(scenario())


def test_a_revoked_certificate_ends_an_idle_connection_and_marks_a_busy_one(stage: Stage) -> None:
    async def scenario() -> None:
        handler = Script(lambda exchange: hold(exchange) if exchange.head.path == "/slow" else echo(exchange))
        async with listening(handler, tls=stage.tls) as running:
            context = stage.context(stage.agent)
            idle, busy, other = [await running.client(context) for _ in range(3)]
            idle.send(GET)
            await idle.answer()
            busy.send(GET.replace(b"/a", b"/slow"))
            await handler.wait_for(lambda: len(handler.requests) == 2)
            other.close()
            stranger = await running.client(stage.context())
            stranger.send(GET)
            await stranger.answer()
            stage.revoke(stage.agent)
            await renew(running, stage.tls)
            assert await idle.closed()
            held: Exchange = handler.requests[1]
            assert held.peer is not None
            assert held.peer.fault == "revoked_certificate"
            echo(held)
            _, headers, _ = await busy.answer()
            assert headers[b"connection"] == b"close"
            stranger.send(GET)
            assert (await stranger.answer())[0] == 200
            for client in (idle, busy, stranger):
                client.close()

    uvloop.run(scenario())


def test_turning_certificates_off_or_on_reaches_open_connections(stage: Stage) -> None:
    plain = GatewayTls(certificate=stage.tls.certificate, key=stage.tls.key)
    required = stage.tls.model_copy(update={"client_certificates": "required"})

    async def scenario() -> None:
        handler = Script()
        async with listening(handler, tls=stage.tls) as running:
            known = await running.client(stage.context(stage.agent))
            known.send(GET)
            await known.answer()
            await renew(running, plain)
            assert await known.closed()
            nameless = await running.client(stage.context(stage.agent))
            nameless.send(GET)
            await nameless.answer()
            assert handler.heads[-1].peer is None
            await renew(running, required)
            assert await nameless.closed()
            known.close()
            nameless.close()

    uvloop.run(scenario())


def test_a_file_that_cannot_be_used_leaves_everything_as_it_was(stage: Stage) -> None:
    before = load_security(stage.tls)
    assert load_security(stage.tls).mark == before.mark
    for name, data in (("gateway.key", b"junk"), ("ca.pem", b"junk"), ("below.crl", b"junk")):
        kept = (stage.folder / name).read_bytes()
        (stage.folder / name).write_bytes(data)
        with pytest.raises(GatewayError, match=name):
            load_security(stage.tls)
        (stage.folder / name).write_bytes(kept)
    (stage.folder / "root.crl").unlink()
    with pytest.raises(GatewayError, match=r"root.crl cannot be read"):
        load_security(stage.tls)
    stage.revoke()
    assert load_security(stage.tls).mark != before.mark


def test_a_request_begun_before_certificates_were_required_has_none(stage: Stage) -> None:
    """Who keeps a head or a body half sent would otherwise call without a certificate for as long as it takes."""
    plain = GatewayTls(certificate=stage.tls.certificate, key=stage.tls.key)
    required = stage.tls.model_copy(update={"client_certificates": "required"})

    async def scenario() -> None:
        handler = Script()
        async with listening(handler, tls=plain) as running:
            half_head, half_body = [await running.client(stage.context()) for _ in range(2)]
            half_head.send(GET[:20])
            half_body.send(b"POST /a HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\na")
            while not (handler.heads and all(each._held for each in running.listener._connections)):
                await asyncio.sleep(0.01)
            await renew(running, required)
            half_head.send(GET[20:])
            half_body.send(b"b")
            await handler.wait_for(lambda: len(handler.requests) == 2)
            assert [exchange.peer and exchange.peer.fault for exchange in handler.heads] == ["no_certificate"] * 2
            for client in (half_head, half_body):
                client.close()

    uvloop.run(scenario())


def test_a_connection_that_cannot_be_judged_does_not_spare_the_others(stage: Stage) -> None:
    """OpenSSL takes authorities with keys that cannot be read here; that came out once lists were configured."""
    without_lists = stage.tls.model_copy(update={"crl": ()})

    async def scenario() -> None:
        handler = Script()
        async with listening(handler, tls=without_lists) as running:
            strange = odd_authority(stage.folder, stage.root)
            context = stage.context(stage.agent)
            clients = [await running.client(context) for _ in range(8)]
            clients.insert(4, await running.client(strange))
            for client in clients:
                client.send(GET)
                assert (await client.answer())[0] == 200
            assert running.certificates.count("mapped") == 9
            stage.revoke(stage.agent)
            await renew(running, stage.tls)
            faults = sorted(exchange.peer.fault for exchange in handler.heads if exchange.peer)
            assert faults == ["revoked_certificate"] * 8 + ["unreadable_certificate"]
            for client in clients:
                assert await client.closed()
                client.close()

    uvloop.run(scenario())


def odd_authority(folder: Path, root: Authority) -> ssl.SSLContext:
    """A client of the same name, issued below an authority with a key on a curve that few libraries know."""

    def run(*arguments: str, given: str = "") -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, input=given, text=True, check=True, capture_output=True)

    save(folder / "odd-root.pem", root.certificate)
    (folder / "odd-root.key").write_bytes(root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "odd.ext").write_text("basicConstraints=critical,CA:TRUE\n")
    names = "subjectAltName=URI:spiffe://acme/agent-7\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n"
    (folder / "leaf.ext").write_text(names)
    for name, curve, issuer in (("odd", "prime239v1", "odd-root"), ("leaf", "prime256v1", "odd")):
        run("ecparam", "-name", curve, "-genkey", "-noout", "-out", f"{name}.key")
        run("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        signing = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-set_serial", "77", "-days", "5"]
        run("x509", "-req", "-in", f"{name}.csr", *signing, "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    both = folder / "odd-chain.pem"
    both.write_bytes((folder / "leaf.pem").read_bytes() + (folder / "odd.pem").read_bytes())
    context = ssl.create_default_context(cafile=str(folder / "gateway.pem"))
    context.load_cert_chain(both, folder / "leaf.key")
    return context
