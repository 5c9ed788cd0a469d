"""Draws the picture of the README, docs/picture-light.webp and -dark.webp, from a real session (`make picture`).

`cordon demo` is played in a terminal of its own, then `cordon up` on what the demonstration left, and a browser that
signs in at its console. Of the terminal's output two scenes are shown, word for word; the browser puts both together.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import pty
import re
import shutil
import signal
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "bench/picture.html"
COLUMNS = 96
SCENES = ("Personal data is masked", "A stolen key probes")
WIDTH, CONSOLE_HEIGHT, SCALE = 960, 640, 1.5
QUALITY = 0.86
LARGEST = 300_000
"""Bytes of one picture: it is in the repository, and loaded by everybody who looks at the README."""

_ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")
_OTHER_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]|\x1b\][^\x07]*\x07")
_TO_WEBP = """async ([png, quality]) => {
  const image = new Image(); image.src = png; await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width; canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", quality);
}"""


def terminal(directory: Path) -> str:
    """What `cordon demo` writes to a terminal, escapes included."""
    ours, its = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "cordon.cli", "demo", "--directory", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        read = bytearray()
        with contextlib.suppress(OSError):  # how a pseudo-terminal says that the other side has closed it
            while data := os.read(ours, 65_536):
                read += data
        os.close(ours)
    if process.returncode:
        raise SystemExit(f"cordon demo ended with {process.returncode}:\n{read.decode(errors='replace')}")
    return _OTHER_ESCAPES.sub("", read.decode().replace("\r\n", "\n"))


def scenes(text: str) -> str:
    """The chosen scenes, as they stand there."""
    parts = re.split(r"\n(?=(?:\x1b\[[0-9;]*m)*──)", text)
    chosen = [part.strip("\n") for name in SCENES for part in parts if name in part.partition("\n")[0]]
    if len(chosen) != len(SCENES):
        raise SystemExit("the demonstration has other scenes than bench/picture.py names")
    return "\n\n".join(chosen)


def as_html(text: str) -> str:
    """Text with SGR escapes (ECMA-48 §8.3.117) as spans, a class for each attribute that is on."""
    parts, on = [], set[str]()
    position = 0
    for match in [*_ESCAPE.finditer(text), None]:
        piece = html.escape(text[position : match.start() if match else None])
        classes = " ".join(f"s{code}" for code in sorted(on))
        parts.append(f'<span class="{classes}">{piece}</span>' if on and piece else piece)
        if match is not None:
            position = match.end()
            for code in (match[1] or "0").split(";"):
                on = set() if code == "0" else on | {code}
    return "".join(parts)


@contextmanager
def console(file: Path) -> Iterator[tuple[str, str]]:
    """A Cordon on what the demonstration left: the console's address and the link for its first account."""
    command = [sys.executable, "-m", "cordon.cli"]
    up = subprocess.Popen([*command, "up", "-c", str(file), "--json"], cwd=ROOT, stdout=subprocess.PIPE)
    assert up.stdout is not None
    try:
        told: dict[str, Any] = json.loads(up.stdout.readline())
        first = subprocess.run(
            [*command, "account", "first", "-c", str(file), "--json"], cwd=ROOT, capture_output=True, check=True
        )
        yield str(told["console"]), str(json.loads(first.stdout)["link"])
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(60)
        up.stdout.close()


def signed_in(browser: Browser, link: str, scheme: str, state: Any = None) -> tuple[bytes, Any]:
    """The page of calls as a browser with this colour scheme shows it (PNG), and its session for the next one."""
    size: Any = {"width": WIDTH, "height": CONSOLE_HEIGHT}
    context = browser.new_context(
        viewport=size, device_scale_factor=SCALE, color_scheme=scheme, storage_state=state  # type: ignore[arg-type]
    )  # fmt: skip
    page = context.new_page()
    base = link.partition("/invitation/")[0]
    if state is None:
        page.goto(link)
        page.get_by_label("Account name").fill("ada")
        page.get_by_label("Password").fill("correct horse battery staple")
        page.get_by_role("button", name="Open the account").click()
        page.get_by_label("Account").fill("ada")
        page.get_by_label("Password").fill("correct horse battery staple")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Overview").wait_for()
    page.goto(f"{base}/calls")
    page.get_by_role("heading", name="Calls").wait_for()
    shown, state = page.screenshot(), context.storage_state()
    context.close()
    return shown, state


def composed(browser: Browser, scheme: str, text: str, shown: bytes) -> bytes:
    """The picture (WebP): the terminal above the console."""
    source = "data:image/png;base64," + base64.b64encode(shown).decode()
    filled = string.Template(TEMPLATE.read_text()).substitute(terminal=as_html(text), console=source)
    context = browser.new_context(viewport={"width": WIDTH, "height": 800}, device_scale_factor=SCALE)
    page = context.new_page()
    page.set_content(filled)
    page.evaluate("scheme => document.documentElement.className = scheme", scheme)
    png = "data:image/png;base64," + base64.b64encode(page.locator("body").screenshot()).decode()
    url: str = page.evaluate(_TO_WEBP, [png, QUALITY])
    context.close()
    return base64.b64decode(url.partition(",")[2])


def main() -> None:
    """Play, look, draw, write."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("the picture needs Chromium; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="cordon-") as name, sync_playwright() as playwright:
        directory = Path(name) / "demo"
        text = scenes(terminal(directory))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        state = None
        with console(directory / "cordon.yaml") as (_, link):
            for scheme in ("light", "dark"):
                shown, state = signed_in(browser, link, scheme, state)
                picture = composed(browser, scheme, text, shown)
                if len(picture) > LARGEST:
                    raise SystemExit(f"the picture has {len(picture):,} bytes, more than {LARGEST:,}")
                file = ROOT / f"docs/picture-{scheme}.webp"
                file.write_bytes(picture)
                print(f"Wrote {file.relative_to(ROOT)}, {len(picture):,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
