"""Verdicts are remembered for exactly one content, settings and examining code, in a private folder only."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from policies import verdicts
from policies.admission import Admission
from policies.errors import Problem
from policies.settings import Policy, Verification
from policies.verdicts import KEPT, Verdicts
from tests.support.bundles import write_keys
from tests.support.policies import SETTINGS, bundle

BUNDLE = bundle()
NOTE = Problem("request.rego", 3, 1, "changing", "it changes", severity="note")
VERDICT = Admission(
    replace(BUNDLE, modules={"request.rego": "package rewritten\n"}),
    (NOTE,),
    {"data.a.b": 0.25},
    {"data.a.b": frozenset({"tenant.id"}), "data.a.c": None},
    {"data.a.c": NOTE},
)


@pytest.fixture
def kept(tmp_path: Path) -> Verdicts:
    found = Verdicts(tmp_path / "admitted")
    found.write(BUNDLE, SETTINGS, VERDICT)
    return found


def test_a_verdict_comes_back_as_it_was(kept: Verdicts) -> None:
    found = kept.read(BUNDLE, SETTINGS)
    assert found == VERDICT
    assert found is not None
    assert found.uncached == {"data.a.c": NOTE}


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    assert Verdicts(tmp_path / "admitted").read(BUNDLE, SETTINGS) is None
    assert not (tmp_path / "admitted").exists()


def test_it_counts_for_this_content_only(kept: Verdicts) -> None:
    assert kept.read(bundle(request="package cordon.request\n"), SETTINGS) is None


@pytest.mark.parametrize(
    "settings",
    [
        Policy(decision_ms=49),
        Policy(request_rule="data.other.decision"),
        Policy(response_rule="data.other.decision"),
        Policy(unsafe_pass_answers=True),
    ],
)
def test_it_counts_for_these_settings_only(kept: Verdicts, settings: Policy) -> None:
    assert kept.read(BUNDLE, settings) is None


def test_it_counts_for_this_examining_code_only(kept: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "_examiner", lambda: "another")
    assert kept.read(BUNDLE, SETTINGS) is None


def test_the_folder_is_private(kept: Verdicts, tmp_path: Path) -> None:
    assert (tmp_path / "admitted").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o770, 0o711])
def test_a_folder_that_others_may_enter_is_not_believed(kept: Verdicts, tmp_path: Path, mode: int) -> None:
    (tmp_path / "admitted").chmod(mode)
    assert kept.read(BUNDLE, SETTINGS) is None
    before = sorted((tmp_path / "admitted").iterdir())
    kept.write(bundle(request="package cordon.request\n"), SETTINGS, VERDICT)
    assert sorted((tmp_path / "admitted").iterdir()) == before


def test_a_link_in_the_folders_place_is_not_believed(kept: Verdicts, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(tmp_path / "admitted")
    assert Verdicts(tmp_path / "linked").read(BUNDLE, SETTINGS) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user takes root")
def test_a_folder_of_another_user_is_not_believed(kept: Verdicts, tmp_path: Path) -> None:
    os.chown(tmp_path / "admitted", 12_345, -1)
    assert kept.read(BUNDLE, SETTINGS) is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "1", "{}", '{"problems": 1}', '{"problems": [{"x": 1}], "reads": {}}', "\xff",
     '{"problems": [], "reads": [], "modules": {}, "costs": {}}', '{"problems": [], "reads": {"a": 1}}'],
)  # fmt: skip
def test_a_damaged_file_counts_for_nothing(kept: Verdicts, tmp_path: Path, content: str) -> None:
    (file,) = (tmp_path / "admitted").iterdir()
    file.write_bytes(content.encode("latin-1"))
    assert kept.read(BUNDLE, SETTINGS) is None


def test_a_file_cut_short_counts_for_nothing(kept: Verdicts, tmp_path: Path) -> None:
    (file,) = (tmp_path / "admitted").iterdir()
    text = file.read_text()
    for length in range(0, len(text), 7):
        file.write_text(text[:length])
        assert kept.read(BUNDLE, SETTINGS) is None


def test_only_the_latest_are_kept(kept: Verdicts, tmp_path: Path) -> None:
    folder = tmp_path / "admitted"
    for number in range(KEPT + 5):
        other = replace(BUNDLE, digest=f"{number:064}")
        kept.write(other, SETTINGS, VERDICT)
        for place, file in enumerate(sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)):
            os.utime(file, (1_000 + place, 1_000 + place))
    assert len(list(folder.iterdir())) == KEPT
    assert kept.read(BUNDLE, SETTINGS) is None
    assert kept.read(replace(BUNDLE, digest=f"{KEPT + 4:064}"), SETTINGS) is not None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    kept = Verdicts(tmp_path / "file" / "admitted")
    kept.write(BUNDLE, SETTINGS, VERDICT)
    assert kept.read(BUNDLE, SETTINGS) is None


def test_what_is_kept_is_json(kept: Verdicts, tmp_path: Path) -> None:
    (file,) = (tmp_path / "admitted").iterdir()
    assert set(json.loads(file.read_text())) == {"problems", "modules", "costs", "reads", "uncached"}


# The bundle that was in force last


def known(kept: Verdicts, settings: Policy) -> bool:
    return kept.read_last(settings) is not None


def test_the_last_bundle_of_a_folder_is_for_processes_of_the_same_parent(
    kept: Verdicts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write_last(SETTINGS, VERDICT)
    assert known(kept, SETTINGS)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert not known(kept, SETTINGS)


def test_the_last_bundle_of_a_server_outlives_its_parent(kept: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Policy(bundle="https://bundles.example/a.tar.gz")
    kept.write_last(settings, VERDICT)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert known(kept, settings)
    assert not known(kept, Policy(bundle="https://bundles.example/b.tar.gz"))


def test_the_last_bundle_counts_for_the_key_that_it_was_verified_by(kept: Verdicts, tmp_path: Path) -> None:
    def policy(**names: str) -> Policy:
        return Policy(bundle="https://bundles.example/a.tar.gz", verification=Verification(key=public, **names))

    public, other = write_keys(tmp_path)[1], write_keys(tmp_path, "EdDSA", "other")[1]
    kept.write_last(Policy(bundle="https://bundles.example/a.tar.gz"), VERDICT)
    assert not known(kept, policy())
    kept.write_last(policy(), VERDICT)
    assert known(kept, policy())
    assert not known(kept, policy(scope="x"))
    assert not known(kept, policy(key_id="x"))
    content = public.read_bytes()
    public.write_bytes(other.read_bytes())
    assert not known(kept, policy())
    public.unlink()
    assert not known(kept, policy())
    kept.write_last(policy(), VERDICT)
    public.write_bytes(content)
    assert known(kept, policy())


def test_the_last_bundle_gives_way_to_no_verdicts_on_others(kept: Verdicts, tmp_path: Path) -> None:
    """Else Cordon could not start without the bundle server once many bundles had been rolled out."""
    settings = Policy(bundle="https://bundles.example/b.tar.gz")
    kept.write_last(settings, VERDICT)
    for number in range(KEPT + 2):
        kept.write(replace(BUNDLE, digest=f"{number:064}"), SETTINGS, VERDICT)
    assert kept.read_last(settings) is not None
    assert len(list((tmp_path / "admitted").iterdir())) == KEPT + 1
