"""`cordon up` as a program: what it says, what it refuses, what it survives, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.certificates import write_certificate
from tests.support.cli import Installation
from tests.support.gateway import ROOT, Cordon, cordon, free_ports, wait_for

STARTER = ROOT / "cordon/templates/cordon.yaml"


@pytest.fixture(scope="module")
def running() -> Iterator[Cordon]:
    with cordon() as gateway:
        yield gateway


def change(running: Cordon, **sections: Any) -> None:
    """Save the configuration with other sections."""
    running.file.write_text(yaml.safe_dump(yaml.safe_load(running.file.read_text()) | sections))


def taken_up(running: Cordon, client: httpx.Client, times: int, **sections: Any) -> set[int]:
    """Save, and call on and on until it was taken up; the calls' statuses."""
    statuses = set()

    def told() -> bool:
        statuses.add(client.get("/openai/models").status_code)
        return running.errors.count("the changed configuration is in force") == times

    change(running, **sections)
    wait_for(told)
    return statuses


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def healthy(running: Cordon) -> bool:
    try:
        return httpx.get(f"{running.control_url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def start_refused(directory: Path, text: str) -> str:
    """What `cordon up` says when it does not start."""
    result = Installation(directory, text).program("up")
    assert result.code == 1
    assert result.out == ""
    assert "Traceback" not in result.err
    told = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, result.err
    return told[0]


# A running Cordon


def test_every_process_records_its_beginning(running: Cordon) -> None:
    assert set(running.processes()) == {"writer-0", "gateway-0", "soc-0", "control-0"}
    roles = [record["role"] for record in running.records(0, "process.started")]
    assert sorted(roles) == ["control", "gateway", "soc", "writer"]


@pytest.mark.parametrize("name", ["gateway-0", "writer-0", "soc-0", "control-0"])
def test_a_killed_process_is_replaced_and_calls_go_on(running: Cordon, name: str) -> None:
    key, start = running.key(f"after-{name}"), running.log.size()
    old = running.kill(name)
    running.restarted(name, old)
    running.until("process.started", start, 20, role=name.partition("-")[0])

    def works() -> bool:
        try:
            with running.client(key) as client:
                return client.get("/crm/customers").status_code == 200
        except httpx.HTTPError:
            return False

    wait_for(works, 15)


def test_a_stopped_event_loop_is_noticed_and_replaced(running: Cordon) -> None:
    old = running.processes()["soc-0"]
    os.kill(old, signal.SIGSTOP)
    running.restarted("soc-0", old, 25)


def test_a_saved_file_is_taken_up_without_dropping_a_call(running: Cordon) -> None:
    key = running.key("reloading")
    before = running.processes()
    routes = yaml.safe_load(running.file.read_text())["routes"]
    crm = next(route for route in routes if route["id"] == "crm")
    moved = [{**route, "prefix": "/customers"} if route is crm else route for route in routes]
    with running.client(key) as client:
        assert taken_up(running, client, 1, routes=moved) == {200}
        wait_for(lambda: client.get("/customers/customers").status_code == 200)
        assert taken_up(running, client, 2, routes=routes) == {200}
        wait_for(lambda: client.get("/crm/customers").status_code == 200)
    assert running.processes()["gateway-0"] == before["gateway-0"]


def test_a_bad_file_keeps_the_old_one_says_why_and_raises_an_alert(running: Cordon) -> None:
    key, good, start = running.key("steady"), running.file.read_text(), running.log.size()
    running.file.write_text(good + "gatway: {}\n")
    alert = running.until("alert.raised", start, detector="configuration")
    assert "gatway: is not a setting; did you mean gateway?" in alert["summary"]
    with running.client(key) as client:
        assert client.get("/crm/customers").status_code == 200
    running.file.write_text(good)
    assert "gatway: is not a setting" in running.errors


def test_a_second_one_in_the_same_place_is_refused(running: Cordon) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "cordon.cli", "up", "-c", str(running.file)], cwd=ROOT, capture_output=True, text=True
    )
    assert second.returncode == 1
    assert f"(process {running.pid}); stop it first" in second.stderr


def test_the_doctor_finds_it_in_order(running: Cordon) -> None:
    wait_for(lambda: "control-0" in running.processes() and healthy(running), 60)
    findings = running.cli("doctor")["findings"]
    assert [finding for finding in findings if finding["level"] == "fail"] == []
    assert any(finding["text"] == "the log writer is at work" for finding in findings)


def test_the_metrics_of_every_process_are_written(running: Cordon) -> None:
    names = {"writer-0.json", "gateway-0.json", "soc-0.json", "control-0.json"}
    wait_for(lambda: names <= {file.name for file in (running.data_dir / "run/metrics").iterdir()})


# Its end


def test_sigterm_lets_a_call_in_flight_finish_and_leaves_nothing_behind() -> None:
    with cordon() as running:
        key = running.key("last")
        pids = running.processes().values()
        body = {"model": "gpt-4.1-mini", "stream": True}
        asked = body | {"messages": [{"role": "user", "content": "standin:words=40 standin:slow=10"}]}
        with (
            ThreadPoolExecutor(1) as pool,
            running.client(key, timeout=20) as client,
            client.stream("POST", "/openai/chat/completions", json=asked) as answer,
        ):
            lines = answer.iter_lines()
            next(lines)
            stopping = pool.submit(running.stop)
            assert "data: [DONE]" in list(lines)
            assert stopping.result() == 0
        assert all(gone(pid) for pid in pids)
        kinds = [
            record["kind"] for record in running.records() if record["kind"] in {"process.stopped", "call.outcome"}
        ]
        assert kinds == ["call.outcome", *["process.stopped"] * 4]


def test_no_process_outlives_a_killed_supervisor() -> None:
    with cordon() as running:
        pids = list(running.processes().values())
        os.kill(running.pid, signal.SIGKILL)
        wait_for(lambda: all(gone(pid) for pid in pids), 5)


def test_the_parts_run_apart() -> None:
    with cordon(start=False) as running:
        running.start("gateway")
        assert set(running.processes()) == {"writer-0", "gateway-0"}
        arguments = [sys.executable, "-m", "cordon.cli", "soc", "-c", str(running.file), "--json"]
        with open(running.directory / "soc.err", "wb") as errors:
            soc = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
        assert soc.stdout is not None
        try:
            assert running.control_url.encode() in soc.stdout.readline()
            assert httpx.get(f"{running.control_url}/healthz").status_code == 200
        finally:
            soc.terminate()
            assert soc.wait(20) == 0
            soc.stdout.close()


# The first start


def test_the_first_start_gives_out_what_a_new_user_needs(tmp_path: Path) -> None:
    gateway, control, standin = free_ports(3)
    text = STARTER.read_text().replace("8080", str(gateway)).replace("8081", str(control)).replace("8082", str(standin))
    file = tmp_path / "cordon.yaml"
    file.write_text(text)
    shutil.copytree(ROOT / "policies/bundles/starter", tmp_path / "policies/bundles/starter")
    for turn in (1, 2):
        with open(tmp_path / "err", "wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "cordon.cli", "up", "--first-run", "-c", str(file)],
                env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        assert process.stdout is not None
        try:
            told = ""
            while "Console" not in told:
                line = process.stdout.readline()
                assert line, (tmp_path / "err").read_text()
                told += line
            assert "/invitation/" in told
            assert f"{file}:{line_of(text, 'stand-in}')}" in told
            if turn == 1:
                curl = next(line for line in told.splitlines() if line.startswith("curl "))
                answer = subprocess.run(
                    ["bash", "-c", curl], capture_output=True, text=True, timeout=20, check=True
                ).stdout
                assert "You wrote: Charge card [PAYMENT_CARD]." in answer
            else:
                assert "curl" not in told
                assert "key create" in told
        finally:
            process.terminate()
            assert process.wait(30) == 0
            process.stdout.close()


def line_of(text: str, part: str) -> int:
    return next(
        number for number, line in enumerate(text.splitlines(), 1) if part in line and not line.lstrip().startswith("#")
    )


def test_a_first_start_elsewhere_writes_the_configuration_and_the_bundle(tmp_path: Path) -> None:
    from cordon.config import load
    from cordon.first_run import write_starter

    file = tmp_path / "new/cordon.yaml"
    assert write_starter(file) == [file, tmp_path / "new/policies/bundles/starter"]
    assert write_starter(file) == []
    assert [route.id for route in load(file).routes] == ["openai", "anthropic", "crm", "payments"]


# What does not start


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("gatway: {}", "cordon.yaml:1: gatway: is not a setting; did you mean gateway?"),
        ("gateway: {listen: 8080}", "cordon.yaml:1: gateway.listen: should be a valid string"),
        ("policy: {bundle: none}", "none is not a directory or an archive with a policy bundle"),
        ("a: [", "cordon.yaml:2: is not YAML"),
    ],
)
def test_a_bad_configuration_names_the_place(tmp_path: Path, change: str, told: str) -> None:
    assert told in start_refused(tmp_path, change + "\n")


def test_a_bad_certificate_names_the_setting_and_the_file(tmp_path: Path) -> None:
    write_certificate(tmp_path / "a.pem", tmp_path / "a.key")
    write_certificate(tmp_path / "b.pem", tmp_path / "b.key")
    told = start_refused(tmp_path, "policy: {bundle: .}\ngateway:\n  tls:\n    certificate: a.pem\n    key: b.key\n")
    assert f"cordon.yaml:5: gateway.tls.key: {tmp_path}/b.key is not the key of" in told


def test_a_bad_bundle_names_file_and_line(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "policy.rego").write_text("package cordon.request\n\ndecision := {\n")
    ports = free_ports(2)
    listen = [f"{{listen: '127.0.0.1:{port}'}}" for port in ports]
    told = start_refused(tmp_path, f"policy: {{bundle: bundle}}\ngateway: {listen[0]}\ncontrol: {listen[1]}\n")
    assert "gateway-0 did not start" in told
    assert "policy.rego:" in told


def test_a_port_in_use_names_the_setting(tmp_path: Path, running: Cordon) -> None:
    taken = running.url.removeprefix("http://")
    told = start_refused(tmp_path, f"policy: {{bundle: .}}\ngateway: {{listen: '{taken}'}}\n")
    assert f"{taken} cannot be listened at: another program does; change gateway.listen" in told


def test_nothing_is_imported_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    for name in ("cordon", "yaml", "structlog", "json", "policies", "uvloop"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')\n")
    (tmp_path / "cordon.yaml").write_text("policy: {bundle: bundle}\n" + "gateway: {listen: '127.0.0.1:0'}\n")
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from cordon.cli import main; main(['up'])"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "imported from the working directory" not in done.stdout + done.stderr
    assert "gateway-0 did not start" in done.stderr


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation("key", "create", "x", "--tenant", "acme")
    (tmp_path / "var/keys/log.key").chmod(0o644)
    result = installation.program("up")
    assert result.code == 1
    assert "log.key can be read by others: chmod 600" in result.err


def test_a_start_that_fails_ends_quickly_and_leaves_no_process(tmp_path: Path) -> None:
    began = time.monotonic()
    start_refused(tmp_path, "policy: {bundle: none}\n")
    assert time.monotonic() - began < 10
