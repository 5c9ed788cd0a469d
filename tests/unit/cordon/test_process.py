"""The entry of a child process, played by hand over its channel."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cordon.channel import DESCRIPTOR, Channel
from cordon.config import Config, load
from tests.support.cli import ROOT, Installation


class Played:
    """A child process and this side of its channel."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.messages = channel.messages()

    async def until(self, name: str) -> Any:
        """The first message of this name."""
        async for message in self.messages:
            if name in message:
                return message[name]
        raise AssertionError(f"no {name} before its end")

    def configure(self, config: Config) -> None:
        self.channel.send(config=config.model_dump(mode="json"))


@asynccontextmanager
async def child(role: str, parent: int | None = None) -> AsyncIterator[Played]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cordon.process", role, "--parent", str(parent or os.getpid()),
            cwd=ROOT, env={**os.environ, DESCRIPTOR: str(theirs.fileno())}, pass_fds=(theirs.fileno(),),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    played = Played(process, await Channel.over(ours))
    try:
        yield played
    finally:
        played.channel.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


def play(tmp_path: Path, scene: Callable[[Config], Awaitable[None]]) -> None:
    installation = Installation(tmp_path)
    asyncio.run(asyncio.wait_for(scene(load(installation.file)), 30))


def test_the_writer_beats_works_and_ends_on_sigterm(tmp_path: Path) -> None:
    async def scene(config: Config) -> None:
        async with child("writer") as played:
            played.configure(config)
            assert await played.until("beat") == 1
            assert await played.until("ready") == {}
            assert await played.until("beat") == 1
            played.process.terminate()
            assert await played.process.wait() == 0

    play(tmp_path, scene)
    lines = Installation(tmp_path)("log", "show", "--json").lines
    assert [row["record"]["kind"] for row in lines] == ["process.started", "process.stopped"]
    assert lines[0]["record"]["boot"] == lines[1]["record"]["boot"]
    assert lines[0]["record"]["boot"].startswith("writer-0-01")


def test_two_writers_cannot_share_a_log(tmp_path: Path) -> None:
    async def scene(config: Config) -> None:
        async with child("writer") as first, child("writer") as second:
            first.configure(config)
            await first.until("ready")
            second.configure(config)
            assert "another" in await second.until("failed")
            assert await second.process.wait() == 1

    play(tmp_path, scene)


def test_a_role_without_a_log_says_what_is_missing(tmp_path: Path) -> None:
    async def scene(config: Config) -> None:
        async with child("control") as played:
            played.configure(config)
            assert "no log writer answers" in await played.until("failed")
            assert await played.process.wait() == 1
            assert played.process.stderr is not None
            assert b"Traceback" not in await played.process.stderr.read()

    play(tmp_path, scene)


def test_a_process_whose_parent_is_gone_ends_at_once() -> None:
    async def scene() -> None:
        async with child("writer", parent=1) as played:
            assert await played.process.wait() == 1

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_a_process_whose_channel_ends_before_it_is_configured_ends(tmp_path: Path) -> None:
    async def scene(_: Config) -> None:
        async with child("writer") as played:
            played.channel.close()
            assert await played.process.wait() == 1

    play(tmp_path, scene)


def test_ctrl_c_is_left_to_the_supervisor(tmp_path: Path) -> None:
    import signal

    async def scene(config: Config) -> None:
        async with child("writer") as played:
            played.configure(config)
            await played.until("ready")
            played.process.send_signal(signal.SIGINT)
            await played.until("beat")
            played.process.terminate()
            assert await played.process.wait() == 0

    play(tmp_path, scene)


def test_the_configuration_survives_its_way_to_the_process(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    config = load(installation.file)
    assert Config.model_validate_json(config.model_dump_json()) == config
