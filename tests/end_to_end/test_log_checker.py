"""The served log, checked by a program that is not ours: Tessera's fsck rebuilds the tree from entries and tiles.

Its exit status says nothing: it is 0 after a failed check too, and its default, a terminal display, ends at once
with 0 where there is no terminal. So the verdict is read from what it writes, and must name our size and root.
After a fault it waits for ever when more tiles are left than it has workers: there it gets enough of them.
"""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lineage.export import export_tiles
from lineage.keys import load_verifier
from lineage.ledger import Ledger, writer_lock
from lineage.note import Checkpoint, open_checkpoint
from lineage.paths import Paths
from lineage.reader import open_reader
from lineage.serve import is_open, serve
from lineage.settings import Lineage
from tests.support.logs import data_directory
from tests.support.records import intent
from tests.support.servers import require_binary
from tests.support.tampering import flip

TOKEN = "cordonr_for-the-checker"


@contextmanager
def served(data_dir: Path) -> Iterator[str]:
    """The log's read interface over HTTP, as the control server offers it: the records only for a bearer."""
    reader, verifier = open_reader(data_dir), load_verifier(data_dir)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/log/")
            if not is_open(path) and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                with suppress(ConnectionError):  # The checker gives up at the first refusal.
                    self.send_error(401)
                return
            answer = serve(reader, verifier, path)
            if answer is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer.body)))
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(answer.body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/log/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        reader.close()


@dataclass(frozen=True)
class Verdict:
    """What the checker wrote, and the one line that says that it went through with this very checkpoint."""

    text: str
    success: str

    @property
    def passed(self) -> bool:
        """It says that all is well, for the size and the root that the log commits to, and nothing else."""
        return self.success in self.text and "failed" not in self.text

    @property
    def failed(self) -> bool:
        """It says that it found a fault: silence is neither the one nor the other."""
        return "fsck failed" in self.text and "Successfully" not in self.text


def check(url: str, data_dir: Path, expected: Checkpoint, token: str = TOKEN, workers: int = 1) -> Verdict:
    """Run the checker on what is served at `url`."""
    command = [
        str(require_binary("fsck")),
        "--ui=false",
        f"--storage_url={url}",
        f"--public_key={Paths(data_dir).keys / 'log.vkey'}",
    ]
    command += [f"--origin={expected.origin}", f"--bearer_token={token}", f"--N={workers}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    root = base64.b64encode(expected.root).decode()
    return Verdict(done.stdout + done.stderr, f"Successfully fsck'd log with size {expected.size} and root {root} ")


def write_log(data_dir: Path, sizes: list[int]) -> Checkpoint:
    """Write a log with a checkpoint at each of the sizes; return the last."""
    with writer_lock(data_dir):
        ledger = Ledger(data_dir, Lineage(origin="checked.example/log"))
        for size in sizes:
            ledger.append([intent(1_000 + index) for index in range(ledger.size, size)])
            ledger.checkpoint()
        ledger.close()
    with open_reader(data_dir) as reader:
        return open_checkpoint(reader.checkpoint() or b"", [load_verifier(data_dir)])


@pytest.mark.parametrize("sizes", [[1], [256], [3, 300, 1_000], [66_000]], ids=str)
def test_a_foreign_checker_passes_the_served_log(sizes: list[int]) -> None:
    with data_directory() as data_dir:
        checkpoint = write_log(data_dir, sizes)
        with served(data_dir) as url:
            verdict = check(url, data_dir, checkpoint)
        assert verdict.passed, verdict.text


def test_the_checker_gets_nothing_without_the_reader_token() -> None:
    with data_directory() as data_dir:
        checkpoint = write_log(data_dir, [300])
        with served(data_dir) as url:
            verdict = check(url, data_dir, checkpoint, token="wrong")
        assert verdict.failed, verdict.text
        assert "401" in verdict.text


@pytest.mark.parametrize(
    ("table", "row", "offset"), [("records", 137, 40), ("records", 599, 5), ("tiles", 1, 31), ("checkpoints", 1, 30)]
)
def test_the_checker_fails_a_log_that_was_tampered_with(table: str, row: int, offset: int) -> None:
    with data_directory() as data_dir:
        checkpoint = write_log(data_dir, [300, 600])
        flip(data_dir, table, row, offset)
        with served(data_dir) as url:
            verdict = check(url, data_dir, checkpoint, workers=8)
        assert verdict.failed, verdict.text


def test_a_foreign_checker_passes_the_exported_directory(tmp_path: Path) -> None:
    with data_directory() as data_dir:
        checkpoint = write_log(data_dir, [10, 700])
        with open_reader(data_dir) as reader:
            assert export_tiles(reader, tmp_path / "export") == 700
        verdict = check(f"file://{tmp_path / 'export'}/", data_dir, checkpoint)
        assert verdict.passed, verdict.text
