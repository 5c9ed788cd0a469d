from __future__ import annotations

import hashlib
import json

import pytest

from bench import checks
from bench.peers import setting
from bench.peers.systems import PEERS
from bench.systems import MODEL, System


def test_a_peer_without_its_programs_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(setting, "BUILT", tmp_path)
    program = tmp_path / "program"
    assert "scripts/peers" in setting.lacking("envoy", program)
    (tmp_path / "missing").write_text("ext_authz\tneeds go\nenvoy\tneeds python3 to be built\n")
    assert setting.lacking("envoy", program) == "needs python3 to be built"
    program.touch()
    assert setting.lacking("envoy", program) == ""


def test_peers_get_the_policy_that_cordon_gets_and_a_key_that_only_its_digest_tells(tmp_path):
    made = setting.write(tmp_path / "peer")
    text = made.config.read_text()
    config = json.loads(text)
    assert made.key not in text
    assert list(config["keys"]) == [hashlib.sha256(made.key.encode()).hexdigest()]
    tenants = json.loads((made.bundle / "data.json").read_text())["tenants"]
    (caller,) = config["keys"].values()
    for route in config["routes"]:
        assert tenants[caller["tenant"]]["routes"][route["id"]]["models"] == [MODEL]
    assert (made.bundle / "request.rego").exists()
    assert not list(made.bundle.glob("*_test.rego"))


@pytest.mark.parametrize("kind", PEERS)
def test_each_peer_names_what_it_must_refuse(kind):
    assert kind.name
    assert {"key", "model"} <= kind.refuses


class Scripted(System):
    """Answers of a system, without one: what it lets through and how its evidence grows."""

    name = "scripted"
    key = "right"
    refuses = frozenset({"key", "model", "secret"})
    traces = 2

    def __init__(self, passing: str = "", grows: int = 2) -> None:
        self.passing, self.grows, self.count, self.port = passing, grows, 0, 1

    def evidence(self):
        return self.count

    def call(self, _, path, *, key="", model="", text="hello"):
        bad = ("key" if key else "") or ("model" if model else "") or ("secret" if text != "hello" else "")
        if bad and bad != self.passing:
            return 403, b"refused"
        self.count += self.grows
        return 200, b"data: {}\n\n" * 19 + b"data: [DONE]\n\n" if path.startswith(
            "/stream"
        ) else b"sphinx of black quartz"


def check(system, monkeypatch):
    monkeypatch.setattr(checks, "_call", system.call)
    monkeypatch.setattr(checks.time, "monotonic", iter(range(0, 1000, 20)).__next__)
    checks.check(system)


def test_a_system_that_refuses_and_records_is_measured(monkeypatch):
    check(Scripted(), monkeypatch)


@pytest.mark.parametrize("what", ["key", "model", "secret"])
def test_a_system_that_lets_a_bad_call_through_is_not_measured(what, monkeypatch):
    with pytest.raises(RuntimeError, match=f"a bad {what}"):
        check(Scripted(passing=what), monkeypatch)


def test_a_system_that_records_too_little_is_not_measured(monkeypatch):
    with pytest.raises(RuntimeError, match="wrote 10 records of 10 calls"):
        check(Scripted(grows=1), monkeypatch)
