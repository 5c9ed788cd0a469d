"""Client certificates against a whole Cordon: who is let in, what the log says, and how certificates are renewed."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.certificates import Authority, Issued, save, write_certificate
from tests.support.gateway import Cordon, Record, cordon, wait_for

AGENT = x509.UniformResourceIdentifier("spiffe://acme/agent-7")
DESK = x509.DNSName("desk.globex.example")
STREAM: Any = {
    "model": "gpt-4.1-mini",
    "stream": True,
    "messages": [{"role": "user", "content": "standin:words=400 standin:slow=50"}],
}


@dataclass
class Place:
    """A running Cordon that takes certificates of `root` and of `below`, an authority under it."""

    running: Cordon
    directory: Path
    root: Authority
    below: Authority
    agent: Issued
    desk: Issued

    def context(self, shown: Issued | None) -> ssl.SSLContext:
        """A client's side of TLS that shows this certificate."""
        context = ssl.create_default_context(cafile=str(self.directory / "gateway.pem"))
        if shown is not None:
            shown.write(self.directory / "client.pem", self.directory / "client.key")
            context.load_cert_chain(self.directory / "client.pem", self.directory / "client.key")
        return context

    def client(self, shown: Issued | None, key: str = "", **options: Any) -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(
            base_url=self.running.url, verify=self.context(shown), headers=headers, timeout=20, **options
        )

    def call(self, shown: Issued | None, key: str = "", path: str = "/crm/customers") -> httpx.Response:
        with self.client(shown, key) as client:
            return client.get(path)

    def code(self, shown: Issued | None, key: str = "") -> str:
        """Why a call is refused: the first reason's code, or where there is none, the problem's."""
        answer = self.call(shown, key)
        assert answer.status_code == 401, answer.text
        return str(answer.json()["type"].rpartition("/")[2].rpartition(":")[2])

    def lists(self, *revoked: Issued, hours: float = 24) -> None:
        """Save both authorities' revocation lists; these of `below` are revoked."""
        save(self.directory / "root.crl", self.root.revoke())
        save(self.directory / "below.crl", self.below.revoke(*(each.certificate for each in revoked), hours=hours))

    def taken_up(self, change: Callable[[], object], told: str = "the certificates were read again") -> None:
        """Make a change and wait until a worker says so."""
        before = self.running.errors.count(told)
        change()
        wait_for(lambda: self.running.errors.count(told) > before, 15)


def identity(name: str, tenant: str, **names: object) -> dict[str, object]:
    return {**names, "tenant": tenant, "name": name, "roles": ["agent"]}


@contextmanager
def place(directory: Path, **tls: object) -> Iterator[Place]:
    root = Authority()
    below = Authority("Test Issuer", root)
    write_certificate(directory / "gateway.pem", directory / "gateway.key")
    save(directory / "clients.pem", root.certificate, below.certificate)
    agent, desk = below.issue(AGENT), below.issue(DESK)

    def change(config: dict[str, Any]) -> None:
        config["gateway"]["tls"] = {
            "certificate": str(directory / "gateway.pem"),
            "key": str(directory / "gateway.key"),
            "client_ca": str(directory / "clients.pem"),
            "crl": [str(directory / "root.crl"), str(directory / "below.crl")],
            "identities": [
                identity("agent-7", "acme", san="spiffe://acme/agent-7"),
                identity("desk", "globex", san="desk.globex.example"),
                identity("mailer", "acme", san="mailer@acme.example"),
                identity("batch", "acme", subject="CN=batch,O=Acme"),
            ],
        } | tls

    with cordon(change, start=False) as running:
        found = Place(running, directory, root, below, agent, desk)
        found.lists()
        running.start()
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("mtls")) as found:
        yield found


def of(world: Place, answer: httpx.Response, kind: str = "call.intent", count: int = 2) -> Record:
    records = world.running.of_call(answer.headers["x-cordon-call"], count)
    return next(record for record in records if record["kind"] == kind)


# Who is let in


def test_the_official_client_calls_with_a_certificate_alone(world: Place) -> None:
    with world.client(world.agent) as http:
        client = openai.OpenAI(base_url=f"{world.running.url}/openai", api_key="unused", http_client=http)
        answer = client.chat.completions.with_raw_response.create(
            model="gpt-4.1-mini", messages=[{"role": "user", "content": "What is the capital of France?"}]
        )
        assert "Paris" in (answer.parse().choices[0].message.content or "")
    records = world.running.of_call(answer.headers["x-cordon-call"])
    intent = next(record for record in records if record["kind"] == "call.intent")
    assert (intent["principal"], intent["tenant"]) == ("acme/agent-7", "acme")
    assert intent["certificate"] == world.agent.digest
    assert intent["key"] == f"cert:{world.agent.digest[:16]}"
    assert all("spiffe" not in str(record) for record in records)


def test_a_mail_address_and_a_whole_subject_are_names_too(world: Place) -> None:
    assert (
        of(world, world.call(world.below.issue(x509.RFC822Name("mailer@acme.example"))))["principal"] == "acme/mailer"
    )
    subject = x509.Name.from_rfc4514_string("CN=batch,O=Acme")
    assert of(world, world.call(world.root.issue(subject=subject)))["principal"] == "acme/batch"


def test_without_a_certificate_a_key_is_needed_and_works_as_before(world: Place) -> None:
    assert world.code(None) == "no_key"
    record = of(world, world.call(None, world.running.key("plain")))
    assert record["principal"] == "acme/plain"
    assert "certificate" not in record


def test_a_certificate_that_stands_for_nobody_is_no_identity(world: Place) -> None:
    nobody = world.below.issue(x509.UniformResourceIdentifier("spiffe://acme/agent-70"))
    assert world.code(nobody) == "no_key"
    record = of(world, world.call(nobody, world.running.key("bearer")))
    assert record["principal"] == "acme/bearer"
    assert "certificate" not in record


def test_key_and_certificate_have_to_agree(world: Place) -> None:
    own = world.running.key("agent-7", "acme", "agent", "payments")
    both = of(world, world.call(world.agent, own))
    assert both["principal"] == "acme/agent-7"
    assert both["certificate"] == world.agent.digest
    assert not both["key"].startswith("cert:")
    assert world.call(world.agent, own, "/payments/list").status_code == 403  # a role that the certificate lacks
    assert world.code(world.agent, world.running.key("other")) == "two_identities"
    assert world.code(world.agent, world.running.key("agent-7", "globex")) == "two_identities"
    assert world.code(world.agent, "cordon_" + "a" * 43) == "unknown_key"


def test_a_key_in_another_place_has_to_agree_as_well(world: Place) -> None:
    other = world.running.key("elsewhere")
    for headers in ({"x-cordon-key": other}, {"x-api-key": other}, {"api-key": other}):
        with world.client(world.agent) as client:
            assert client.get("/crm/customers", headers=headers).status_code == 401


def test_upstreams_never_hear_a_clients_word_about_certificates(world: Place) -> None:
    headers = {"x-forwarded-client-cert": "URI=spiffe://globex/admin", "client-cert": ":AA==:"}
    with world.client(world.agent) as client:
        assert client.get("/crm/customers", headers=headers).status_code == 200
    seen = str(world.running.eu.received[-1]).lower()
    assert "crm/customers" in seen
    assert "client-cert" not in seen


# Who is not


def handshake_fails(world: Place, shown: Issued | None) -> None:
    with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError, ssl.SSLError)):
        world.call(shown)


@pytest.mark.parametrize(
    "make",
    [
        lambda world: world.below.issue(AGENT, days=-1),
        lambda world: Authority("Test Issuer").issue(AGENT),
        lambda world: Authority("Test Issuer", Authority()).issue(AGENT),
        lambda world: Issued(*_self_signed(AGENT)),
        lambda world: world.below.issue(AGENT, purposes=[x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")]),
    ],
    ids=["expired", "another authority", "another root of the same name", "self-signed", "for servers only"],
)
def test_what_no_authority_vouches_for_does_not_connect(world: Place, make: Callable[[Place], Issued]) -> None:
    handshake_fails(world, make(world))


def _self_signed(name: x509.GeneralName) -> tuple[Any, ...]:
    """A certificate with the right names that vouches for itself."""
    forger = Authority("client")
    issued = forger.issue(name, subject="client")
    return issued.certificate, issued.key, (), issued.certificate


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([x509.DNSName("spiffe://acme/agent-7")], "no_key"),
        ([x509.UniformResourceIdentifier("desk.globex.example")], "no_key"),
        ([x509.UniformResourceIdentifier("spiffe://acme/agent-7\0.evil")], "no_key"),
        ([x509.UniformResourceIdentifier("spiffe://acme/agent-7/")], "no_key"),
        ([x509.UniformResourceIdentifier("SPIFFE://acme/agent-7")], "no_key"),
        ([x509.DNSName("*.globex.example")], "no_key"),
        ([AGENT, DESK], "ambiguous_certificate"),
        ([AGENT, x509.UniformResourceIdentifier("spiffe://acme/other")], "ambiguous_certificate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(repr(each.value) for each in value),
)
def test_names_are_compared_exactly_and_within_their_type(world: Place, names: Any, code: str) -> None:
    assert world.code(world.below.issue(*names)) == code


def test_a_common_name_is_no_alternative_name(world: Place) -> None:
    assert world.code(world.below.issue(subject="spiffe://acme/agent-7")) == "no_key"
    assert world.code(world.below.issue(subject="batch")) == "no_key"
    alike = x509.Name.from_rfc4514_string("CN=b\u0430tch,O=Acme")  # a Cyrillic letter
    assert world.code(world.below.issue(subject=alike)) == "no_key"


def test_a_certificate_that_is_not_for_clients_lets_no_key_through_either(world: Place) -> None:
    key = world.running.key("strict")
    assert world.code(world.below.issue(AGENT, purposes=None), key) == "wrong_purpose"
    assert world.code(world.below.issue(AGENT, ca=True), key) == "authority_certificate"


def test_no_session_is_resumed(world: Place) -> None:
    import socket

    context = world.context(world.agent)
    host, _, port = world.running.url.removeprefix("https://").partition(":")
    with socket.create_connection((host, int(port))) as raw, context.wrap_socket(raw, server_hostname=host) as tls:
        tls.sendall(b"GET /crm/customers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert tls.recv(100).startswith(b"HTTP/1.1 200")
        assert tls.version() == "TLSv1.3"
        assert tls.session is None or not tls.session.has_ticket
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((host, int(port))) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw, server_hostname=host)


# What ends it


class Streaming:
    """A stream that is read in a thread of its own; `text` is what came, `over` says that it has ended."""

    def __init__(self, world: Place, shown: Issued) -> None:
        self.text = ""
        self.begun, self.over = threading.Event(), threading.Event()
        self._client = world.client(shown)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.begun.wait(10)

    def _read(self) -> None:
        try:
            with self._client, self._client.stream("POST", "/openai/chat/completions", json=STREAM) as answer:
                for piece in answer.iter_text():
                    self.text += piece
                    self.begun.set()
        except httpx.HTTPError:
            pass
        self.over.set()


def test_a_contained_principal_is_refused_and_its_streams_are_cut(world: Place) -> None:
    stream = Streaming(world, world.agent)
    world.running.cli("contain", "acme/agent-7", "--for", "1m", "--reason", "test")
    assert stream.over.wait(3)
    assert "[DONE]" not in stream.text
    assert world.call(world.agent).status_code == 403
    world.running.cli("release", "acme/agent-7", "--reason", "test")
    assert world.call(world.agent).status_code == 200


def test_a_revoked_certificate_is_refused_and_its_streams_are_cut_while_others_go_on(world: Place) -> None:
    pid = world.running.processes()["gateway-0"]
    start = world.running.log.size()
    lost = world.below.issue(AGENT)
    with world.client(lost) as kept, world.client(world.agent) as other:
        assert kept.get("/crm/customers").status_code == other.get("/crm/customers").status_code == 200
        stream = Streaming(world, lost)
        world.taken_up(lambda: world.lists(lost))
        assert stream.over.wait(3)
        assert "[DONE]" not in stream.text
        assert world.code(lost) == "revoked_certificate"
        assert world.code(lost, world.running.key("agent-7")) == "revoked_certificate"
        assert kept.get("/crm/customers").status_code == 401  # idle in a pool: closed, and connected again
        assert other.get("/crm/customers").status_code == 200
    cut = world.running.until("call.outcome", start, verdict="cut")
    assert cut["reasons"][0]["rule"] == "revoked_certificate"
    assert world.running.processes()["gateway-0"] == pid
    world.taken_up(world.lists)


def test_a_renewed_gateway_certificate_is_shown_to_new_connections_and_no_call_is_dropped(world: Place) -> None:
    host, _, port = world.running.url.removeprefix("https://").partition(":")

    def shown() -> str:
        return ssl.get_server_certificate((host, int(port)))

    pid, before = world.running.processes()["gateway-0"], shown()
    statuses = set()
    with world.client(world.agent) as client:

        def change() -> None:
            write_certificate(world.directory / "gateway.pem", world.directory / "gateway.key")

        change()
        wait_for(lambda: statuses.add(client.get("/crm/customers").status_code) or shown() != before, 15)
        statuses.add(client.get("/crm/customers").status_code)
    assert statuses == {200}
    assert world.call(world.agent).status_code == 200
    assert world.running.processes()["gateway-0"] == pid


def test_a_bad_list_keeps_the_old_one_says_why_and_raises_an_alert(world: Place) -> None:
    start = world.running.log.size()
    for bad, told in (
        (lambda path: path.write_text("junk"), "is not a certificate revocation list"),
        (lambda path: save(path, Authority("Test Issuer").revoke()), "is signed by none of the authorities"),
    ):
        bad(world.directory / "below.crl")
        alert = world.running.until("alert.raised", start, 15, detector="configuration")
        assert told in alert["summary"]
        assert "gateway.tls.crl[1]" in alert["summary"]
        start = alert["index"] + 1
        assert world.call(world.agent).status_code == 200
    world.taken_up(world.lists)


def test_an_authority_that_is_taken_out_ends_what_it_issued(world: Place) -> None:
    stranger = Authority("Second Root")
    bundle = [world.root.certificate, world.below.certificate]
    batch = stranger.issue(subject=x509.Name.from_rfc4514_string("CN=batch,O=Acme"))
    crl = world.directory / "second.crl"
    handshake_fails(world, batch)
    crl.write_bytes(stranger.revoke().public_bytes(Encoding.PEM))
    world.taken_up(lambda: save(world.directory / "clients.pem", *bundle, stranger.certificate))
    assert world.code(batch) == "no_crl"
    stream = Streaming(world, world.desk)
    world.taken_up(lambda: save(world.directory / "clients.pem", *bundle))
    handshake_fails(world, batch)
    assert world.call(world.agent).status_code == 200
    assert not stream.over.is_set()
    world.running.cli("contain", "globex/desk", "--for", "1m", "--reason", "done")
    assert stream.over.wait(3)


def test_the_doctor_and_the_metrics_tell_of_them(world: Place) -> None:
    findings = world.running.cli("doctor")["findings"]
    assert any(each["check"] == "revocation" and each["level"] == "ok" for each in findings)
    assert any(each["text"].startswith("client_ca: valid for") for each in findings)
    snapshot = world.running.data_dir / "run/metrics/gateway-0.json"
    wait_for(lambda: "cordon_client_certificates_total" in snapshot.read_text())


# Other configurations


def test_a_list_that_runs_out_while_it_serves_refuses_and_cuts(tmp_path: Path) -> None:
    with place(tmp_path) as world:
        start = world.running.log.size()
        world.taken_up(lambda: world.lists(hours=8 / 3600))
        stream = Streaming(world, world.agent)
        assert stream.over.wait(12)
        assert "[DONE]" not in stream.text
        assert world.code(world.agent) == "crl_expired"
        assert "a revocation list is overdue" in world.running.errors
        alert = world.running.until("alert.raised", start, detector="revocation")
        assert alert["severity"] == "medium" and alert["summary"].startswith("below.crl is overdue")
        assert world.call(None, world.running.key("plain")).status_code == 200
        assert "is overdue by" in str(world.running.cli_at_fault("doctor"))
        world.taken_up(world.lists)
        assert world.call(world.agent).status_code == 200


def test_an_older_list_that_is_as_well_signed_does_not_make_a_revoked_certificate_good(tmp_path: Path) -> None:
    with place(tmp_path) as world:
        lost = world.below.issue(AGENT)
        old = world.below.revoke(since=-3)
        world.taken_up(lambda: world.lists(lost))
        start = world.running.log.size()
        world.taken_up(lambda: save(world.directory / "below.crl", old))
        assert world.code(lost) == "revoked_certificate"
        assert world.call(world.agent).status_code == 200
        alert = world.running.until("alert.raised", start, detector="revocation")
        assert alert["severity"] == "high" and alert["summary"].startswith("below.crl is older")
        wait_for(lambda: 'cordon_revocation_list_faults","labels":["older"],"value":1' in metrics(world), 10)
        assert "older than the list in force" in str(world.running.cli_at_fault("doctor"))
        world.taken_up(lambda: world.lists(lost))
        mended = world.running.until("tls.list_faults", alert["index"])
        assert mended["lists"] == []


def metrics(world: Place) -> str:
    return (world.running.data_dir / "run/metrics/gateway-0.json").read_text()


def test_failed_handshakes_are_counted_by_reason_and_shown(tmp_path: Path) -> None:
    with place(tmp_path, client_certificates="required") as world:
        handshake_fails(world, world.below.issue(AGENT, days=-1))
        handshake_fails(world, Authority("Other").issue(AGENT))
        handshake_fails(world, None)
        with pytest.raises(httpx.HTTPError):
            httpx.get(world.running.url.replace("https://", "http://"))

        def told() -> str:
            found = world.running.cli("doctor")["findings"]
            return next(each["text"] for each in found if each["check"] == "tls")

        wait_for(lambda: "4 handshakes failed" in told(), 10)
        for reason in ("expired_certificate", "untrusted_certificate", "no_certificate", "plain_http"):
            assert f"{reason} 1" in told()


def test_where_certificates_are_required_nobody_connects_without(tmp_path: Path) -> None:
    with place(tmp_path, client_certificates="required") as world:
        key = world.running.key("plain")
        with pytest.raises(httpx.HTTPError):
            world.call(None, key)
        assert world.call(world.agent).status_code == 200
        nobody = world.below.issue(x509.DNSName("nobody.acme.example"))
        assert world.code(nobody) == "no_key"
        assert world.call(nobody, key).status_code == 200
