"""The completion scripts, run by the shells that they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import Installation
from tests.support.pages import command_folder

BASH = """\
source <(cordon completion bash)
complete -p cordon >/dev/null || exit 3
COMP_WORDS=({words} ""); [ -n "{last}" ] && COMP_WORDS[{at}]="{last}"
COMP_CWORD={at}
_cordon_completion cordon
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(folder: Path, words: str, last: str) -> list[str]:
    """What bash offers after the words of a line whose last word is begun."""
    script = BASH.format(words=words, last=last, at=len(words.split()))
    environment = {**os.environ, "PATH": f"{command_folder(folder)}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "last", "offered"),
    [
        ("cordon", "co", {"contain", "config", "completion"}),
        ("cordon log", "", {"show", "proof", "checkpoint", "verify", "export", "move", "prune", "decisions"}),
        ("cordon log verify", "--s", {"--since"}),
        ("cordon completion", "", {"bash", "zsh", "fish"}),
        ("cordon account invite x --role", "an", {"analyst"}),
    ],
)
def test_bash_completes_commands_options_and_values(tmp_path: Path, words: str, last: str, offered: set[str]) -> None:
    assert set(completed(tmp_path, words, last)) == offered


def test_nothing_is_offered_where_nothing_fits(tmp_path: Path) -> None:
    assert completed(tmp_path, "cordon", "zzz") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_take_their_script(tmp_path: Path, shell: str) -> None:
    script = Installation(tmp_path)("completion", shell).out
    assert f"_CORDON_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=60)


def test_another_shell_is_misuse(tmp_path: Path) -> None:
    result = Installation(tmp_path)("completion", "tcsh")
    assert result.code == 2
    assert "'bash', 'zsh', 'fish'" in result.err
