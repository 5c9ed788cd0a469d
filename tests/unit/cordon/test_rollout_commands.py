"""The commands by which a bundle gets to decide calls, by what they print, write and return."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cordon.commands.common import the_log
from cordon.commands.common import write as write_record
from cordon.config import load
from cordon.doctor.rollouts import examine_rollouts
from lineage.local import Log
from lineage.record import encode
from lineage.side_place import SidePlace
from policies.tarball import pack
from tests.support.cli import Installation, Result
from tests.support.policies import MINIMAL, write
from tests.support.users import ANOTHER, as_user, myself

TESTED = MINIMAL | {"a_test.rego": "package a_test\n\ntest_one if data.cordon.request.decision.allow\n"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write(tmp_path / "bundle", TESTED)


@pytest.fixture
def cordon(tmp_path: Path, bundle: Path) -> Installation:
    made = Installation(tmp_path)
    made.file.write_text(
        made.file.read_text().replace(made.file.read_text().split("\n")[1], "policy: {bundle: bundle}")
    )
    return made


def policy(cordon: Installation, *words: str, by: str = "") -> Result:
    with as_user(by or myself()):
        return cordon("policy", *words, "--json")


def proposed(cordon: Installation, bundle: Path, *words: str) -> str:
    result = policy(cordon, "propose", str(bundle), *words)
    assert result.code == 0, result.err
    return str(result.json["rollout"])


def listed(cordon: Installation) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in policy(cordon, "bundles").json}


def test_a_bundle_goes_from_draft_to_live_and_back(cordon: Installation, bundle: Path) -> None:
    assert policy(cordon, "bundles").json == []
    first = proposed(cordon, bundle, "--note", "as it is")
    assert "somebody else" in policy(cordon, "approve", first).err
    assert policy(cordon, "stage", first, "live").code == 1
    assert policy(cordon, "approve", first, by=ANOTHER).json["by"] == f"cli:{ANOTHER}"
    assert policy(cordon, "stage", first, "shadow").code == 0
    assert policy(cordon, "stage", first, "canary", "--share", "2.5%").code == 0
    row = listed(cordon)[first]
    assert (row["stage"], row["share"]) == ("canary", 25)
    assert (row["author"], row["approved_by"]) == (f"cli:{myself()}", f"cli:{ANOTHER}")
    assert policy(cordon, "stage", first, "live").code == 0
    revision = listed(cordon)[first]["revision"]
    assert listed(cordon)[first]["base"] == revision, "the configured bundle is the same one"

    (bundle / "more.rego").write_text("package more\n\nx := 1\n")
    second = proposed(cordon, bundle)
    shown = policy(cordon, "diff", second)
    assert (shown.code, [(each["file"], each["kind"]) for each in shown.json["files"]]) == (1, [("more.rego", "added")])
    assert shown.json["before"] == first
    policy(cordon, "approve", second, by=ANOTHER)
    policy(cordon, "stage", second, "live")
    assert policy(cordon, "back").json["to"] == first
    assert {name: each["stage"] for name, each in listed(cordon).items()} == {first: "live", second: "draft"}
    assert policy(cordon, "withdraw", second).code == 0
    assert policy(cordon, "back").json["to"] == ""
    assert "decides already" in policy(cordon, "back").err
    assert cordon("log", "verify").code == 0


def test_nobody_becomes_another_person_by_saying_so(
    cordon: Installation, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = proposed(cordon, bundle)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER", "SUDO_UID"):
        monkeypatch.setenv(name, "1" if name == "SUDO_UID" else ANOTHER)
    result = policy(cordon, "approve", rollout)
    assert result.code == 1 and "somebody else" in result.err
    assert listed(cordon)[rollout]["approved_by"] == ""


def test_a_tenant_s_own_bundle_is_staged_beside_the_common_one(cordon: Installation, bundle: Path) -> None:
    own = proposed(cordon, bundle, "--tenant", "acme")
    policy(cordon, "approve", own, by=ANOTHER)
    policy(cordon, "stage", own, "live")
    assert (listed(cordon)[own]["scope"], listed(cordon)[own]["base"]) == ("acme", "")
    assert "decides already" in policy(cordon, "back").err
    assert policy(cordon, "back", "--tenant", "acme").json["from"] == own


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"request.rego": "package cordon.request\n\ndecision := {"}, "request.rego"),
        ({"a_test.rego": "package a_test\n\ntest_no if false\n"}, "test_no"),
        ({"delta.json": "{}", "patch.json": "{}"}, "delta"),
    ],
)
def test_what_does_not_pass_is_no_draft(cordon: Installation, bundle: Path, files: dict[str, str], why: str) -> None:
    write(bundle, TESTED | files)
    result = policy(cordon, "propose", str(bundle))
    assert result.code != 0 and why in result.err
    assert listed(cordon) == {}


def test_an_archive_is_kept_as_it_is_and_a_changed_one_is_not_shown(cordon: Installation, bundle: Path) -> None:
    archive = pack({name: text.encode() for name, text in TESTED.items()})
    file = bundle.parent / "bundle.tar.gz"
    file.write_bytes(archive)
    name = proposed(cordon, file)
    side = SidePlace(cordon.directory / "var").side()
    assert side.bundle(listed(cordon)[name]["digest"]) == archive
    side.close()
    assert policy(cordon, "diff", "configured", name).code == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("propose", "bundle", "--tenant", "nobody"), "no tenant nobody"),
        (("stage", "rollout-1", "canary", "--share", "0%"), "no part of the calls"),
        (("stage", "rollout-1", "canary", "--share", "100.1%"), "no part of the calls"),
        (("stage", "rollout-1", "shadow", "--share", "5%"), "for a canary"),
        (("stage", "rollout-1", "canary", "--tenants", "acme,nobody"), "no tenant nobody"),
        (("stage", "rollout-1", "canary"), "share"),
        (("stage", "rollout-1", "live"), "not known"),
        (("approve", "rollout-1"), "not known"),
        (("withdraw", "x y"), "must be the id"),
        (("diff", "rollout-1"), "neither a roll-out nor a path"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    cordon: Installation, bundle: Path, words: tuple[str, ...], why: str
) -> None:
    words = tuple(str(bundle) if word == "bundle" else word for word in words)
    result = policy(cordon, *words)
    assert result.code != 0 and why in result.err, result.err
    assert listed(cordon) == {}


def test_the_list_adds_up_what_the_shadow_counted(cordon: Installation, bundle: Path) -> None:
    name = proposed(cordon, bundle)
    policy(cordon, "stage", name, "shadow")
    facts = {
        "v": 1, "kind": "policy.shadow", "at": 1, "boot": "b", "rollout": name, "scope": "", "revision": "r",
        "compared": 10, "skipped": 1,
        "differences": [{"kind": "refused", "count": 2, "rules": [{"rule": "x", "count": 2}], "calls": ["C1"]}],
    }  # fmt: skip
    with the_log(load(cordon.file)) as log:
        log.append(encode(facts))
        log.append(encode(facts | {"differences": []}))
    shadow = listed(cordon)[name]["shadow"]
    assert (shadow["compared"], shadow["skipped"], shadow["kinds"]) == (20, 2, {"refused": 2})
    assert (shadow["rules"], shadow["calls"]) == ({"refused": {"x": 2}}, {"refused": ["C1"]})
    assert "2 refused of 20" in cordon("policy", "bundles").out


def test_whoever_comes_too_late_is_told(cordon: Installation, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's record lands between the look at the state and this one's."""
    first, second = proposed(cordon, bundle), proposed(cordon, bundle)
    other = {"v": 1, "kind": "policy.staged", "at": 1, "boot": "b", "rollout": first, "stage": "shadow", "by": "x"}
    gone = {"v": 1, "kind": "policy.withdrawn", "at": 1, "boot": "b", "rollout": second, "by": "x", "reason": "r"}

    def after(earlier: dict[str, object]) -> None:
        def late(log: Log, record: dict[str, object]) -> int:
            log.append(encode(earlier))
            return write_record(log, record)

        monkeypatch.setattr("cordon.commands.rollout.write", late)

    after(other)
    assert "at the same moment" in policy(cordon, "stage", second, "shadow").err
    after(gone)
    assert "at the same moment" in policy(cordon, "approve", second, by=ANOTHER).err
    assert {name: each["stage"] for name, each in listed(cordon).items()} == {first: "shadow"}


def test_an_erased_tenant_s_own_bundle_goes_with_it(
    cordon: Installation, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = proposed(cordon, bundle, "--tenant", "acme")
    (bundle / "more.rego").write_text("package more\n\nx := 1\n")
    common = proposed(cordon, bundle)
    digests = {name: each["digest"] for name, each in listed(cordon).items()}
    monkeypatch.setattr("lineage.bundles.UNNEEDED_SECONDS", -1)
    assert cordon("tenant", "erase", "acme", "--yes").code == 0
    assert set(listed(cordon)) == {common}
    with closing(SidePlace(cordon.directory / "var").side()) as side:
        assert side.bundle(digests[own]) is None and side.bundle(digests[common]) is not None
    assert "erased" in policy(cordon, "propose", str(bundle), "--tenant", "acme").err


def test_the_doctor_tells_what_is_live_and_what_is_not_as_it_was(cordon: Installation, bundle: Path) -> None:
    def told() -> dict[str, str]:
        return {each.text: each.level for each in examine_rollouts(load(cordon.file))}

    assert told() == {}
    name = proposed(cordon, bundle)
    revision = listed(cordon)[name]["revision"]
    assert told() == {}, "a draft does nothing"
    policy(cordon, "approve", name, by=ANOTHER)
    policy(cordon, "stage", name, "live")
    live = f"{name} (revision {revision}) is in live for the calls of all"
    assert told() == {live: "ok"}
    (bundle / "more.rego").write_text("package more\n\nx := 1\n")
    assert told() == {
        live: "ok",
        f"the configured bundle was changed after {name} went live, and has taken its place": "ok",
    }
    cordon.file.write_text(cordon.file.read_text().replace("{bundle: bundle}", "{bundle: bundle, changes: rollout}"))
    (differs,) = [text for text, level in told().items() if level == "warn"]
    assert "does not decide" in differs
    with closing(SidePlace(cordon.directory / "var").side()) as side:
        side.drop_bundles((), 1 << 60)
    assert "fail" in told().values()


def test_with_the_opa_engine_nothing_is_proposed(cordon: Installation, bundle: Path) -> None:
    text = cordon.file.read_text().replace(
        "{bundle: bundle}", '{bundle: bundle, engine: opa, url: "http://127.0.0.1:9"}'
    )
    cordon.file.write_text(text)
    result = policy(cordon, "propose", str(bundle))
    assert result.code != 0 and "embedded engine" in result.err
