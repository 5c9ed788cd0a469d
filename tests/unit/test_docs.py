"""What the program has, the reference tells: settings, metrics, records, commands, dependencies."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from cordon.cli import cordon
from cordon.config import Config
from cordon.reference import every_command, pages
from cordon.suggestions import model_in, sections
from gateway.refusal_codes import CODES
from gateway.refusal_pages import refusal_pages
from lineage.metrics import METRICS
from lineage.record import KINDS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"
PAGES = pages()
FOR_OTHERS = {"cordon demo", "cordon completion"}
"""Commands that tell programs nothing: a play for people, and a script for shells."""


@pytest.mark.parametrize("name", sorted(PAGES))
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name], "run `make docs`"


def test_each_refusal_code_has_its_page_and_each_page_its_code() -> None:
    assert {path.name for path in (REFERENCE / "errors").iterdir()} == {f"{code}.md" for _, code in CODES}
    listed = re.findall(r"\]\(errors/([a-z0-9_]+)\.md\)", (REFERENCE / "refusals.md").read_text())
    assert sorted(listed) == sorted(code for _, code in CODES)


def test_what_a_page_on_a_refusal_tells_to_use_is_there() -> None:
    commands = {path for path, _ in every_command(cordon, "cordon")}
    settings = {f"{path}.{name}" for path, model in sections(Config) for name in model.model_fields}
    for code, told in refusal_pages().items():
        text = " ".join(f"{each.about} {each.meaning} {each.caller} {each.operator}" for each in told)
        for name in re.findall(r"`(cordon [a-z ]+[a-z])`", text):
            assert name in commands, f"{code}: {name}"
        for name in re.findall(r"`((?:gateway|control|policy)\.[a-z_.]+)`", text):
            assert name in settings or any(each.startswith(f"{name}.") for each in settings), f"{code}: {name}"
        for name in re.findall(r"`(cordon_[a-z_]+)`", text):
            assert name in METRICS, f"{code}: {name}"


def test_every_setting_says_what_it_means() -> None:
    for path, model in sections(Config):
        assert model.__doc__, path
        for name, field in model.model_fields.items():
            assert field.description or model_in(field.annotation), f"{path}.{name} has no description"


def test_every_setting_is_in_the_reference() -> None:
    text = (REFERENCE / "configuration.md").read_text()
    for path, model in sections(Config):
        section = text.partition(f"\n## {path or 'Top level'}\n")[2].partition("\n## ")[0]
        assert all(f"| `{name}` |" in section for name in model.model_fields), path


def test_every_metric_is_in_the_reference_and_names_its_unit() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    for name, definition in METRICS.items():
        assert f"| `{name}` |" in text
        assert definition.help.endswith("."), name
        if definition.kind == "counter":
            assert name.endswith("_total"), name


def test_every_kind_of_record_is_in_the_reference_and_no_other() -> None:
    told = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", (REFERENCE / "records.md").read_text(), re.MULTILINE))
    assert told == KINDS


@pytest.mark.parametrize(("path", "command"), list(every_command(cordon, "cordon")), ids=lambda item: str(item))
def test_every_command_and_option_has_help(path: str, command: click.Command) -> None:
    assert command.help, path
    assert command.get_short_help_str(200).endswith((".", "…", "...")) or command.help, path
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


def test_every_command_that_tells_something_can_tell_it_as_json() -> None:
    for path, command in every_command(cordon, "cordon"):
        if not isinstance(command, click.Group) and path not in FOR_OTHERS:
            assert any("--json" in parameter.opts for parameter in command.params), path


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "docs/dependencies.md").read_text().lower()
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        for name in group:
            assert f"| {name.lower()} |" in text, name


def test_lock_files_hold_hashes_and_no_addresses() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert not re.search(r"^-", text, re.MULTILINE)
        pinned = re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE | re.IGNORECASE)
        assert len(pinned) > 20
        assert text.count("--hash=sha256:") >= len(pinned)


def test_both_lock_files_pin_the_same_versions() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^(\S+==\S+)", (ROOT / name).read_text(), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_everything_that_the_project_needs_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for lock, wanted in (
        ("requirements.lock", project["dependencies"] + project["optional-dependencies"]["build"]),
        ("requirements-dev.lock", project["dependencies"] + project["optional-dependencies"]["dev"]),
    ):
        pinned = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / lock).read_text(), re.MULTILINE | re.IGNORECASE))
        missing = {name.lower().partition("[")[0] for name in wanted} - {name.lower() for name in pinned}
        assert not missing, f"run `make lock`: {missing}"
