"""The page on client certificates, typed word for word on the starter configuration and the starter bundle."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml

from policies.embedded import EmbeddedEngine
from tests.support.gateway import BUNDLE, ROOT, START_SECONDS, STOP_SECONDS, free_ports
from tests.support.policies import MINIMAL, SETTINGS, ask, examined

PAGE = (ROOT / "docs/client-certificates.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block printed, in the order of the page; the gateway starts after the first."""
    folder = tmp_path_factory.mktemp("guide")
    ports = dict(zip(("8080", "8081", "8082"), map(str, free_ports(3)), strict=True))

    def moved(text: str) -> str:
        return re.sub("|".join(ports), lambda match: ports[match[0]], text)

    command = folder / "cordon"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cordon.cli "$@"\n')
    command.chmod(0o755)
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "PATH": f"{folder}:{os.environ['PATH']}"}

    def typed(block: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", moved(block)], cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    make, call, revoke = blocks("sh")
    typed(make)
    (page,) = blocks("yaml")
    starter = yaml.safe_load(moved((ROOT / "cordon/templates/cordon.yaml").read_text()))
    (folder / "cordon.yaml").write_text(yaml.safe_dump(starter | yaml.safe_load(moved(page))))
    shutil.copytree(BUNDLE, folder / "policies/bundles/starter")
    up = subprocess.Popen(["cordon", "up", "--json"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert up.stdout is not None
    try:
        assert select.select([up.stdout], [], [], START_SECONDS)[0], "cordon up said nothing"
        assert up.stdout.readline()
        called = typed(call)
        yield [called, typed(revoke)]
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(STOP_SECONDS)
        up.stdout.close()


def test_the_call_is_the_principals_and_the_doctor_knows_the_list(session: list[str]) -> None:
    assert "1001" in session[0]
    assert "acme/agent-7" in session[0]
    assert "client_ca: valid for" in session[0]
    assert "clients.crl is due for its next update in 24 hours" in session[0]


def test_the_revoked_certificate_is_refused_by_name(session: list[str]) -> None:
    assert json.loads(session[1])["status"] == 401
    assert "was revoked" in session[1]


def test_the_policy_takes_certificates_and_no_key_alone() -> None:
    admission = examined(MINIMAL | {"request.rego": blocks("rego")[0]})
    assert admission.bundle is not None
    engine = EmbeddedEngine(admission.bundle, SETTINGS, admission.reads, admission.uncached)
    principal = {"id": "acme/a", "tenant": "acme", "roles": [], "key": "k"}
    shown = {"subject": "", "digest": "ab" * 32, "not_after": 1}
    for certificate, allowed in (
        (None, False),
        (shown | {"sans": ["URI:spiffe://acme/agent-7"]}, True),
        (shown | {"sans": ["DNS:URI:spiffe://acme/agent-7"]}, False),
        (shown | {"sans": []}, False),
    ):
        who = principal if certificate is None else principal | {"certificate": certificate}
        assert ask(engine, {"phase": "request", "principal": who}).allow is allowed
