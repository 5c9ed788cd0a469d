"""The supervisor with real processes that play simple parts (tests/support/player.py)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cordon import child as child_module
from cordon.channel import DESCRIPTOR
from cordon.child import PAUSES, PROVEN_SECONDS, Backoff
from cordon.config import Config, load
from cordon.errors import SupervisorError
from cordon.parts import CONTROL, EVERYTHING, GATEWAY, SOC, WRITER, Role
from cordon.supervisor import RELIEF_SLOT, Supervisor
from tests.support.certificates import write_certificate

ROOT = Path(__file__).parents[3]
CONFIG = """\
data_dir: data
policy: {bundle: .}
gateway: {workers: 2, limits: {drain_time: 0.5, body: 4000}}
"""


class Stage:
    """A supervisor in a directory of its own, and what its processes noted."""

    def __init__(self, directory: Path, roles: frozenset[Role] = EVERYTHING) -> None:
        self.directory = directory
        self.file = directory / "cordon.yaml"
        if not self.file.exists():
            self.file.write_text(CONFIG)
        self.refusals: list[str] = []
        self.told = False  # to stop, by the scene itself
        self.supervisor = Supervisor(load(self.file), self.file, roles=roles, command=self.command, report=self.report)

    def command(self, role: str, slot: int) -> list[str]:
        return [sys.executable, "-m", "tests.support.player", str(self.directory), role, str(slot)]

    async def report(self, _config: Config, text: str) -> None:
        self.refusals.append(text)

    def events(self, beginning: str = "") -> list[str]:
        path = self.directory / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(beginning)]

    def play(self, scene: Callable[[], Awaitable[None]]) -> bool:
        """Run the supervisor, and the scene once all works; then stop it. Whether all went by itself."""

        async def whole() -> bool:
            works = asyncio.Event()
            running = asyncio.create_task(self.supervisor.run(lambda _: works.set()))
            waiting = asyncio.create_task(works.wait())
            await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
            if works.is_set():
                try:
                    await scene()
                finally:
                    if not self.told:
                        self.supervisor.stop()
            waiting.cancel()
            return await running

        return asyncio.run(whole())


@pytest.fixture(autouse=True)
def watch_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cordon.supervisor.WATCH_SECONDS", 0.1)


async def until(condition: Callable[[], bool], seconds: float = 8.0) -> float:
    """Wait for what other processes do; how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def nothing() -> None:
    """A scene in which nothing happens."""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_the_writer_starts_first_and_stops_last(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.play(nothing)
    ready = [line.split()[0] for line in stage.events() if "ready" in line]
    assert ready[0] == "writer-0"
    assert set(ready) == {"writer-0", "gateway-0", "gateway-1", "soc-0", "control-0"}
    finished = [line.split()[0] for line in stage.events() if "finished" in line]
    assert set(finished[:2]) == {"gateway-0", "gateway-1"}
    assert set(finished[2:4]) == {"soc-0", "control-0"}
    assert finished[4] == "writer-0"


def test_only_the_asked_parts_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path, frozenset({SOC, CONTROL}))
    assert stage.play(nothing)
    assert {line.split()[0] for line in stage.events()} == {"soc-0", "control-0"}


@pytest.mark.parametrize("name", ["writer-0", "gateway-1", "soc-0", "control-0"])
def test_a_killed_process_is_back_within_a_second(tmp_path: Path, name: str) -> None:
    stage = Stage(tmp_path)

    async def scene() -> None:
        child = stage.supervisor.child(name)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: child.lives == 2 and child.ready.is_set(), 3)

    assert stage.play(scene)
    assert len(stage.events(f"{name} ready")) == 2
    (restarts,) = [tally for tally in stage.supervisor.meter.snapshot()["tallies"] if tally["value"]]
    assert (restarts["name"], *restarts["labels"]) == ("cordon_process_restarts_total", name.partition("-")[0])


def test_a_stuck_event_loop_is_killed_and_replaced(tmp_path: Path) -> None:
    quick = Role("gateway", stop_phase=0, silence=0.6)
    stage = Stage(tmp_path, frozenset({WRITER, GATEWAY}))

    async def scene() -> None:
        child = stage.supervisor.child("gateway-0")
        child.role = quick
        await asyncio.sleep(0.3)  # one beat under the shorter silence
        stuck = child.pid
        child.signal(signal.SIGUSR1)
        await until(lambda: child.lives == 2 and child.ready.is_set())
        assert child.pid != stuck

    assert stage.play(scene)


def test_a_part_that_fails_to_start_stops_the_rest_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "control.fail").write_text("127.0.0.1:8081 is in use by another program")
    stage = Stage(tmp_path)
    with pytest.raises(SupervisorError, match=r"control-0 did not start: 127\.0\.0\.1:8081 is in use"):
        stage.play(nothing)
    assert stage.events("writer-0 finished")


def test_a_part_that_crashes_at_its_start_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "writer.crash").touch()
    stage = Stage(tmp_path)
    with pytest.raises(SupervisorError, match="writer-0 did not start"):
        stage.play(nothing)
    assert not stage.events("gateway")


def test_a_deaf_process_is_killed_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cordon.supervisor.GRACE_SECONDS", 0.2)
    (tmp_path / "gateway.deaf").touch()
    stage = Stage(tmp_path)
    assert not stage.play(nothing)
    assert stage.events("writer-0 finished")
    pids = [int(line.split()[2]) for line in stage.events() if "ready" in line]
    assert not any(alive(pid) for pid in pids)


def test_told_twice_to_stop_kills_at_once(tmp_path: Path) -> None:
    (tmp_path / "gateway.deaf").touch()
    stage = Stage(tmp_path)
    began = 0.0

    async def scene() -> None:
        nonlocal began
        stage.supervisor.stop()
        await until(lambda: bool(stage.events("gateway-0 deaf")))
        began = time.monotonic()
        stage.supervisor.stop()

    stage.play(scene)
    assert time.monotonic() - began < 4


def test_a_changed_file_reaches_the_processes_without_a_new_life(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.file.write_text(CONFIG.replace("4000", "5000"))
        await until(lambda: len([line for line in stage.events() if line.endswith("config 5000")]) == 5)
        assert all(child.lives == 1 for child in stage.supervisor.children)

    assert stage.play(scene)


def test_sighup_reads_the_file_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.file.write_text(CONFIG.replace("4000", "6000"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: bool(stage.events("gateway-1 config 6000")), 0.9)
        assert all(child.lives == 1 for child in stage.supervisor.children)

    assert stage.play(scene)


def test_a_bad_file_changes_nothing_and_is_reported_with_its_line(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.file.write_text(CONFIG + "routs: []\n")
        await until(lambda: bool(stage.refusals))
        child = stage.supervisor.child("gateway-0")
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: child.lives == 2 and child.ready.is_set())
        stage.file.write_text(CONFIG.replace("4000", "7000"))
        await until(lambda: bool(stage.events("gateway-0 config 7000")))

    assert stage.play(scene)
    assert stage.refusals == ["cordon.yaml:4: routs: is not a setting; did you mean routes?"]
    assert stage.events("gateway-0 config") == [f"gateway-0 config {body}" for body in (4000, 4000, 7000)]


def test_what_cannot_change_while_it_runs_is_refused(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.file.write_text(CONFIG.replace("data_dir: data", "data_dir: elsewhere"))
        await until(lambda: bool(stage.refusals))

    assert stage.play(scene)
    assert "data_dir: cannot change while Cordon runs" in stage.refusals[0]


def test_a_changed_listener_renews_the_workers_only(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.file.write_text(CONFIG.replace("workers: 2", "workers: 2, listen: '127.0.0.1:9'"))
        await until(lambda: len([line for line in stage.events("gateway") if "ready" in line]) == 4)

    assert stage.play(scene)
    assert {child.name for child in stage.supervisor.children if child.lives == 2} == {"gateway-0", "gateway-1"}


def test_workers_are_added_and_taken_away(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.file.write_text(CONFIG.replace("workers: 2", "workers: 3"))
        await until(lambda: bool(stage.events("gateway-2 ready")))
        stage.file.write_text(CONFIG.replace("workers: 2", "workers: 1"))
        await until(lambda: {"gateway-1 finished", "gateway-2 finished"} <= set(stage.events("gateway")))
        assert not stage.events("gateway-0 finished")

    assert stage.play(scene)


def test_two_supervisors_cannot_share_a_data_directory(tmp_path: Path) -> None:
    stage, second = Stage(tmp_path), Stage(tmp_path, frozenset({SOC}))

    async def scene() -> None:
        with pytest.raises(SupervisorError, match=rf"runs already in .* \(process {os.getpid()}\)"):
            await second.supervisor.run()

    assert stage.play(scene)


def test_sigterm_drains(tmp_path: Path) -> None:
    (tmp_path / "gateway.slow").touch()
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.told = True
        os.kill(os.getpid(), signal.SIGTERM)

    assert stage.play(scene)
    assert len([line for line in stage.events() if "finished" in line]) == 5


def test_no_process_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    (tmp_path / "cordon.yaml").write_text(CONFIG)
    script = (
        "import asyncio, pathlib, sys; from tests.unit.cordon.test_supervisor import Stage\n"
        "asyncio.run(Stage(pathlib.Path(sys.argv[1])).supervisor.run())\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    events = tmp_path / "events"

    async def scene() -> None:
        await until(lambda: events.exists() and events.read_text().count("ready") == 5)
        pids = [int(line.split()[2]) for line in events.read_text().splitlines() if "ready" in line]
        supervisor.kill()
        supervisor.wait()
        await until(lambda: not any(alive(pid) for pid in pids), 3)

    asyncio.run(scene())


def test_restarts_are_held_back_more_and_more_and_a_long_life_forgives() -> None:
    backoff = Backoff()
    pauses = [backoff.pause(0.1) for _ in range(10)]
    assert pauses == [*PAUSES, PAUSES[-1], PAUSES[-1], PAUSES[-1]]
    assert backoff.pause(PROVEN_SECONDS) == 0


def test_a_process_that_never_beats_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "START_SECONDS", 0.3)

    async def scene() -> None:
        child = child_module.Child(
            GATEWAY, 0, b"{}", lambda _role, _slot: [sys.executable, "-c", "import time; time.sleep(60)"]
        )
        child.start()
        assert "stuck" in await child.started()
        await child.stop(0.1)

    asyncio.run(scene())


def test_a_start_may_be_silent_after_its_first_beat_but_not_what_works() -> None:
    """The imports of a part hold its beats up, for long where the machine is busy."""
    beating = (
        f"import os, socket, time; s = socket.socket(fileno=int(os.environ[{DESCRIPTOR!r}])); "
        """s.sendall(b'{"beat":1}\\n'); time.sleep(1.5); s.sendall(b'{"ready":{}}\\n'); time.sleep(60)"""
    )

    async def scene() -> None:
        role = Role("gateway", 0, silence=0.3)
        child = child_module.Child(role, 0, b"{}", lambda _role, _slot: [sys.executable, "-c", beating])
        child.start()
        assert await child.started() == ""
        await until(lambda: child.failure == "its event loop was stuck", 5)
        await child.stop(0.1)

    asyncio.run(scene())


def test_a_stop_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scene() -> None:
        running = asyncio.create_task(stage.supervisor.run())
        await until(lambda: bool(stage.events("writer-0 ready")))
        stage.supervisor.stop()
        await running

    asyncio.run(scene())
    pids = [int(line.split()[2]) for line in stage.events() if "ready" in line]
    assert pids
    assert not any(alive(pid) for pid in pids)


def test_a_renewed_certificate_reaches_the_workers_that_serve(tmp_path: Path) -> None:
    write_certificate(tmp_path / "a.pem", tmp_path / "a.key")
    (tmp_path / "cordon.yaml").write_text(
        CONFIG.replace("workers: 2", "workers: 2, tls: {certificate: a.pem, key: a.key}")
    )
    stage = Stage(tmp_path)

    async def scene() -> None:
        write_certificate(tmp_path / "a.pem", tmp_path / "a.key")
        for name in ("gateway-0", "gateway-1"):
            await until(lambda name=name: len(stage.events(f"{name} config")) == 2)  # type: ignore[misc]
        assert all(child.lives == 1 for child in stage.supervisor.children)

    assert stage.play(scene)


def test_tls_that_is_turned_on_gives_the_workers_a_new_life(tmp_path: Path) -> None:
    write_certificate(tmp_path / "a.pem", tmp_path / "a.key")
    stage = Stage(tmp_path)

    async def scene() -> None:
        text = CONFIG.replace("workers: 2", "workers: 2, tls: {certificate: a.pem, key: a.key}")
        (tmp_path / "cordon.yaml").write_text(text)
        await until(lambda: len([line for line in stage.events("gateway") if "ready" in line]) == 4)

    assert stage.play(scene)
    assert {child.name for child in stage.supervisor.children if child.lives == 2} == {"gateway-0", "gateway-1"}


def test_a_renewed_certificate_that_does_not_fit_its_key_changes_nothing(tmp_path: Path) -> None:
    write_certificate(tmp_path / "a.pem", tmp_path / "a.key")
    text = CONFIG.replace("workers: 2", "workers: 2, tls: {certificate: a.pem, key: a.key}")
    (tmp_path / "cordon.yaml").write_text(text)
    stage = Stage(tmp_path)

    async def scene() -> None:
        write_certificate(tmp_path / "a.pem", tmp_path / "other.key")
        await until(lambda: bool(stage.refusals))
        assert all(child.lives == 1 for child in stage.supervisor.children)

    assert stage.play(scene)
    assert "is not the key of the certificate" in stage.refusals[0]


def test_a_changed_secret_reaches_the_workers(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a")
    route = (
        "{id: a, prefix: /a, kind: http, endpoints: [{id: x, url: 'http://127.0.0.1:1', credential: 'file:secret'}]}"
    )
    (tmp_path / "cordon.yaml").write_text(f"{CONFIG}routes: [{route}]\n")
    stage = Stage(tmp_path)

    async def scene() -> None:
        secret.write_text("bb")
        await until(lambda: len(stage.events("gateway-0 config")) == 2)
        assert all(child.lives == 1 for child in stage.supervisor.children)

    assert stage.play(scene)


def test_processes_are_renewed_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "gateway.slow").touch()
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.file.write_text(CONFIG.replace("workers: 2", "workers: 2, listen: '127.0.0.1:9'"))
        await until(lambda: len([line for line in stage.events("gateway") if "ready" in line]) == 4)

    assert stage.play(scene)
    told = [line.split()[1] for line in stage.events("gateway") if "config" not in line]
    assert told[2:6] == ["finished", "ready", "finished", "ready"]


def test_another_worker_takes_the_calls_while_the_only_one_is_renewed(tmp_path: Path) -> None:
    (tmp_path / "gateway.slow").touch()
    lone = CONFIG.replace("workers: 2", "workers: 1")
    (tmp_path / "cordon.yaml").write_text(lone)
    stage = Stage(tmp_path)

    async def scene() -> None:
        stage.file.write_text(lone.replace("workers: 1", "workers: 1, listen: '127.0.0.1:9'"))
        await until(lambda: bool(stage.events(f"gateway-{RELIEF_SLOT} finished")))
        await until(lambda: not stage.supervisor.runs(f"gateway-{RELIEF_SLOT}"))

    assert stage.play(scene)
    told = [" ".join(line.split()[:2]) for line in stage.events("gateway") if "config" not in line]
    assert told[:5] == [
        "gateway-0 ready",
        f"gateway-{RELIEF_SLOT} ready",
        "gateway-0 finished",
        "gateway-0 ready",
        f"gateway-{RELIEF_SLOT} finished",
    ]


LONE = CONFIG.replace("workers: 2", "workers: 1, listen: '127.0.0.1:PORT'")


def lone(port: int, workers: int = 1) -> str:
    return LONE.replace("PORT", str(port)).replace("workers: 1", f"workers: {workers}")


async def take_up(stage: Stage, text: str) -> None:
    """Change the file, and wait until that is in force."""
    before = stage.supervisor._renewing
    stage.file.write_text(text)
    stage.supervisor.reload()
    await until(lambda: stage.supervisor._renewing is not before)


async def settled(stage: Stage) -> None:
    """Wait until every renewal is over."""
    renewing = stage.supervisor._renewing
    assert renewing is not None
    async with asyncio.timeout(20):
        await asyncio.shield(renewing)


def test_changes_in_quick_succession_renew_the_only_worker_and_not_its_relief(tmp_path: Path) -> None:
    (tmp_path / "gateway.slow").touch()
    (tmp_path / "cordon.yaml").write_text(lone(7))
    stage = Stage(tmp_path)

    async def scene() -> None:
        for port in (8, 9, 10):
            await take_up(stage, lone(port))
            await until(lambda: stage.supervisor.runs(f"gateway-{RELIEF_SLOT}"))
        await settled(stage)
        assert [child.name for child in stage.supervisor.children if child.role == GATEWAY] == ["gateway-0"]
        assert stage.supervisor.child("gateway-0").lives == 4

    assert stage.play(scene)


def test_a_worker_that_is_taken_away_while_it_is_renewed_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "gateway.slow").touch()
    (tmp_path / "cordon.yaml").write_text(lone(7, 2))
    stage = Stage(tmp_path)

    async def scene() -> None:
        for port, workers in ((8, 2), (8, 1), (9, 1), (9, 2), (9, 1)):
            await take_up(stage, lone(port, workers))
        await settled(stage)
        assert [child.name for child in stage.supervisor.children if child.role == GATEWAY] == ["gateway-0"]

    assert stage.play(scene)


def test_the_last_worker_is_not_taken_away_while_the_other_is_renewed(tmp_path: Path) -> None:
    (tmp_path / "gateway.slow").touch()
    (tmp_path / "cordon.yaml").write_text(lone(7, 2))
    stage = Stage(tmp_path)

    async def scene() -> None:
        for port, workers in ((8, 2), (8, 1)):
            await take_up(stage, lone(port, workers))
        await settled(stage)

    assert stage.play(scene)
    told = [line.split()[1] for line in stage.events("gateway") if line.split()[1] in {"ready", "finished"}]
    working = [told[: end + 1].count("ready") - told[: end + 1].count("finished") for end in range(len(told))]
    assert min(working[1:-1]) >= 1


def test_a_stop_during_a_renewal_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "gateway.slow").touch()
    (tmp_path / "cordon.yaml").write_text(lone(7))
    stage = Stage(tmp_path)

    async def scene() -> None:
        await take_up(stage, lone(8))
        await until(lambda: bool(stage.events(f"gateway-{RELIEF_SLOT} ready")))
        await take_up(stage, lone(9))

    assert stage.play(scene)
    pids = [int(line.split()[2]) for line in stage.events() if "ready" in line]
    assert not any(alive(pid) for pid in pids)


def test_a_process_that_cannot_be_started_now_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "program"

    async def scene() -> None:
        child = child_module.Child(GATEWAY, 0, b"{}", lambda _role, _slot: [str(program)])
        child.start()
        assert "cannot be started" in await child.started()
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o700)
        await until(lambda: child.lives > 0)
        await child.stop(1)

    asyncio.run(scene())


def test_a_stop_does_not_wait_for_the_pause_before_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "PAUSES", (60.0,))

    async def scene() -> None:
        one = child_module.Child(SOC, 0, b"{}", lambda _role, _slot: ("/bin/false",))
        one.start()
        await one.started()
        while not one._restarts.value:
            await asyncio.sleep(0.01)
        assert await one.stop(20.0)

    asyncio.run(scene())
