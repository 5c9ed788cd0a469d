"""A bundle on disk: what belongs to it, what is refused, and a digest that nothing served escapes."""

from __future__ import annotations

import hashlib
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from policies import bundle as bundles
from policies.bundle import MAX_FILE, bundle_of_archive, load_bundle, make_bundle, read_all, read_files, signature
from policies.datafiles import MAX_DEPTH
from policies.errors import BundleError, Problem
from policies.settings import Verification
from policies.signatures import SIGNATURES, sign
from policies.tarball import pack
from tests.support.bundles import write_keys
from tests.support.policies import MINIMAL, STARTER, write


def refused(folder: Path) -> Problem:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert caught.value.problems
    return caught.value.problems[0]


def test_the_starter_bundle_is_read_whole() -> None:
    bundle = load_bundle(STARTER)
    assert set(bundle.modules) | set(bundle.tests) == {file.name for file in STARTER.glob("*.rego")}
    assert all(name.endswith("_test.rego") for name in bundle.tests)
    assert bundle.label == "starter"
    assert bundle.revision == bundle.digest[:16]
    assert "tenants" in bundle.data
    assert '"tenants"' in bundle.data_json


def test_data_stands_at_its_folders_path(tmp_path: Path) -> None:
    write(
        tmp_path,
        MINIMAL
        | {
            "data.json": '{"top": 1, "teams": {"red": {"size": 3}}}',
            "teams/red/data.yaml": "open: true\n",
            "teams/blue/data.yml": "open: false\n",
        },
    )
    assert load_bundle(tmp_path).data == {
        "top": 1,
        "teams": {"red": {"size": 3, "open": True}, "blue": {"open": False}},
    }


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        ('{"teams": {"red": 1}}', '{"red": 2}', "data.teams.red"),
        ('{"teams": 1}', '{"red": 2}', "data.teams"),
        ('{"teams": {"red": {"a": 1}}}', '{"red": []}', "data.teams.red"),
        ('{"teams": {"red": 1}}', '{"red": 1}', "data.teams.red"),
    ],
)
def test_data_that_is_set_twice_is_refused(tmp_path: Path, one: str, other: str, place: str) -> None:
    write(tmp_path, MINIMAL | {"data.json": one, "teams/data.json": other})
    problem = refused(tmp_path)
    assert (problem.file, problem.code) == ("teams/data.json", "data")
    assert place in problem.message


@pytest.mark.parametrize("text", ["[]", "1", "null", '"text"', "true"])
def test_data_at_the_top_is_an_object(tmp_path: Path, text: str) -> None:
    assert "not an object" in refused(write(tmp_path, MINIMAL | {"data.json": text})).message


def test_data_below_the_top_may_be_anything(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL | {"teams/data.json": '["red"]', "empty/data.yaml": ""})
    assert load_bundle(tmp_path).data == {"teams": ["red"], "empty": None}


def test_other_files_do_not_belong_to_it(tmp_path: Path) -> None:
    write(tmp_path)
    alone = load_bundle(tmp_path)
    others = {
        "README.md": "x",
        "more.json": "{",
        ".hidden.rego": "junk",
        ".git/a.rego": "junk",
        "sub/.cache/data.json": "{",
        "a.rego.bak": "junk",
        "sub/.manifest": "{",
    }
    write(tmp_path, others)
    assert load_bundle(tmp_path) == alone


def test_tests_are_read_and_are_no_part_of_the_digest(tmp_path: Path) -> None:
    write(tmp_path)
    alone = load_bundle(tmp_path)
    write(tmp_path, {"a_test.rego": "package a_test\n"})
    bundle = load_bundle(tmp_path)
    assert dict(bundle.tests) == {"a_test.rego": "package a_test\n"}
    assert bundle.modules == alone.modules
    assert bundle.digest == alone.digest


def test_every_served_byte_changes_the_digest() -> None:
    files = {"a.rego": b"package a\n", "b/data.json": b'{"x": 1}', ".manifest": b"{}"}
    digest = make_bundle(files).digest
    assert len(digest) == hashlib.sha256().digest_size * 2
    changed = [
        files | {"a.rego": b"package a\n "},
        files | {"b/data.json": b'{"x": 2}'},
        files | {".manifest": b'{"revision": "2"}'},
        files | {"c.rego": b"package c\n"},
        {"b.rego": files["a.rego"], "b/data.json": files["b/data.json"], ".manifest": b"{}"},
        {"a.rego": files["a.rego"], "c/data.json": files["b/data.json"], ".manifest": b"{}"},
        {"a.rego": files["a.rego"], ".manifest": b"{}"},
    ]
    assert len({digest, *(make_bundle(each).digest for each in changed)}) == len(changed) + 1


def test_content_cannot_move_between_files_under_one_digest() -> None:
    """Names and lengths are hashed with the bytes, so no two bundles run together to the same ones."""
    one = make_bundle({"a.rego": b"package a\n", "b.rego": b"package b\n"})
    other = make_bundle({"a.rego": b"package a\n6:b.rego10:package b\n"})
    assert one.digest != other.digest


def test_the_order_of_files_does_not_matter() -> None:
    files = {"b.rego": b"package b\n", "a.rego": b"package a\n"}
    assert make_bundle(files).digest == make_bundle(dict(reversed(files.items()))).digest


@pytest.mark.parametrize(
    ("manifest", "label"),
    [
        ('{"revision": "v7"}', "v7"),
        ('{"revision": ""}', "bundle"),
        ('{"revision": 7}', "bundle"),
        ('{"revision": "a\\nb"}', "bundle"),
        ("[]", "bundle"),
        ("{}", "bundle"),
    ],
)
def test_the_manifest_names_the_revision(manifest: str, label: str) -> None:
    assert make_bundle({"a.rego": b"package a\n", ".manifest": manifest.encode()}).label == label


def test_a_broken_manifest_is_refused() -> None:
    with pytest.raises(BundleError, match=r"\.manifest:1: not JSON"):
        make_bundle({"a.rego": b"package a\n", ".manifest": b"{"})


def test_no_policy_at_all_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path).code == "empty"
    assert refused(write(tmp_path, {"data.json": "{}", "a_test.rego": "package a_test"})).code == "empty"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").code == "missing"
    file = tmp_path / "file"
    file.write_text("x")
    assert refused(file).code == "archive"


@pytest.mark.parametrize(
    "manifest",
    [{"rego_version": 0}, {"rego_version": True}, {"rego_version": "1"}, {"rego_version": 2},
     {"rego_version": 1, "file_rego_versions": {"*/old.rego": 0}}, {"file_rego_versions": [0]}],
)  # fmt: skip
def test_rego_of_another_version_is_refused(manifest: dict[str, object]) -> None:
    with pytest.raises(BundleError, match=r"\.manifest: the Rego is not of version 1"):
        make_bundle({"a.rego": b"package a\n", ".manifest": json.dumps(manifest).encode()})


def test_rego_that_says_that_it_is_of_version_1_is_served() -> None:
    manifest = {"rego_version": 1, "file_rego_versions": {"*/new.rego": 1}, "revision": "r1"}
    assert make_bundle({"a.rego": b"package a\n", ".manifest": json.dumps(manifest).encode()}).label == "r1"


def test_data_below_too_many_folders_is_refused() -> None:
    place = "d/" * MAX_DEPTH
    assert make_bundle({"a.rego": b"package a\n", f"{place}data.json": b'{"x": 1}'}).modules
    with pytest.raises(BundleError, match="more than 64 folders"):
        make_bundle({"a.rego": b"package a\n", f"{place}d/data.json": b'{"x": 1}'})


# Archives


def test_an_archive_is_the_same_bundle_as_its_folder(tmp_path: Path) -> None:
    files = MINIMAL | {"more/data.json": '{"x": 1}', "a_test.rego": "package a_test", ".manifest": '{"revision": "r1"}'}
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(pack({path: text.encode() for path, text in files.items()} | {"README": b"hello"}))
    found = load_bundle(archive)
    assert found == load_bundle(write(tmp_path / "bundle", files))
    assert (found.label, found.data) == ("r1", {"more": {"x": 1}})
    assert set(read_all(archive)) == {*files, "README"}
    link = tmp_path / "latest.tar.gz"
    link.symlink_to(archive)
    assert load_bundle(link).digest == found.digest


@pytest.mark.parametrize("place", [".hidden.rego", ".git/a.rego", "a/.b/data.json", "..data.rego/x_test.rego"])
def test_hidden_policy_in_an_archive_which_opa_would_read_is_refused(place: str) -> None:
    with pytest.raises(BundleError, match=r"the file is hidden; take it out"):
        bundle_of_archive(pack({"a.rego": b"package a\n", place: b"{}"}), "x")
    assert bundle_of_archive(pack({"a.rego": b"package a\n", ".git/config": b"", ".notes": b""}), "x").modules


def test_a_bundle_on_a_server_is_not_read_from_the_disk() -> None:
    with pytest.raises(BundleError, match="has to be downloaded"):
        load_bundle("https://bundles.example/cordon.tar.gz")


def test_a_signed_folder_counts_every_file_and_serves_what_it_always_did(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    folder = write(tmp_path / "bundle", MINIMAL | {".git/config": "", "README": ""})
    unsigned = load_bundle(folder)
    (folder / SIGNATURES).write_bytes(sign(read_all(folder), private))
    assert load_bundle(folder, Verification(key=public)) == unsigned
    (folder / ".git/config").write_text("changed")
    with pytest.raises(BundleError, match=r"\.git/config: was changed"):
        load_bundle(folder, Verification(key=public))


def test_text_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "bad.rego").write_bytes(b"package a\n\n# caf\xe9\n")
    problem = refused(tmp_path)
    assert (problem.file, problem.line, problem.code) == ("bad.rego", 3, "encoding")


def test_all_problems_of_all_files_are_told(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL | {"b/data.json": "{", "a/data.json": '{"n": 1e400}', "c/data.yaml": "a: yes\n"})
    (tmp_path / "z.rego").write_bytes(b"\xff")
    with pytest.raises(BundleError) as caught:
        load_bundle(tmp_path)
    assert [problem.file for problem in caught.value.problems] == [
        "a/data.json",
        "b/data.json",
        "c/data.yaml",
        "z.rego",
    ]


@pytest.mark.parametrize("target", ["outside.rego", "outside"])
def test_a_link_out_of_the_bundle_is_refused(tmp_path: Path, target: str) -> None:
    folder = write(tmp_path / "bundle")
    write(tmp_path / "outside", {"a.rego": "package a\n"})
    (tmp_path / "outside.rego").write_text("package a\n")
    (folder / "linked.rego").symlink_to(tmp_path / target)
    problem = refused(folder)
    assert (problem.file, problem.code) == ("linked.rego", "link")


def test_links_out_by_a_folder_or_a_chain_or_dots_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "outside", {"a.rego": "package a\n"})
    for place, (name, target) in enumerate(
        [("sub", tmp_path / "outside"), ("data.json", Path("/etc/hostname")), ("x.rego", Path("../outside/a.rego"))]
    ):
        folder = write(tmp_path / f"bundle{place}")
        (folder / name).symlink_to(target)
        assert refused(folder).code == "link"


def test_links_within_the_bundle_are_followed(tmp_path: Path) -> None:
    """Kubernetes mounts a ConfigMap as links to a hidden folder beside them."""
    write(tmp_path / "..2026_01_01", MINIMAL)
    (tmp_path / "..data").symlink_to("..2026_01_01")
    for name in MINIMAL:
        (tmp_path / name).symlink_to(Path("..data", name))
    assert dict(load_bundle(tmp_path).modules) == MINIMAL


def test_the_bundle_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "v1")
    (tmp_path / "current").symlink_to("v1")
    assert dict(load_bundle(tmp_path / "current").modules) == MINIMAL


def test_a_dangling_or_circular_link_is_refused(tmp_path: Path) -> None:
    for place, target in enumerate(("nowhere.rego", "loop.rego")):
        folder = write(tmp_path / str(place))
        (folder / "loop.rego").symlink_to(target)
        assert refused(folder).file == "loop.rego"


def test_a_pipe_does_not_hold_up_reading(tmp_path: Path) -> None:
    write(tmp_path)
    os.mkfifo(tmp_path / "pipe.rego")
    assert refused(tmp_path).file == "pipe.rego"


def test_too_large_a_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL | {"big.rego": "package big\n" + "#" * MAX_FILE})
    problem = refused(tmp_path)
    assert (problem.file, problem.code) == ("big.rego", "size")


def test_too_many_files_or_bytes_or_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {f"{number}/a.rego": f"package a{number}\n" for number in range(6)})
    assert len(read_files(tmp_path)) == 6
    for limit in ("MAX_FILES", "MAX_BUNDLE", "MAX_FOLDERS"):
        with monkeypatch.context() as changed:
            changed.setattr(bundles, limit, 5)
            assert refused(tmp_path).code == "size"


def test_the_signature_changes_with_the_files(tmp_path: Path) -> None:
    write(tmp_path)
    seen = [signature(tmp_path)]
    (tmp_path / "request.rego").write_text("package cordon.request\n")
    seen.append(signature(tmp_path))
    (tmp_path / "more.rego").write_text("package more\n")
    seen.append(signature(tmp_path))
    (tmp_path / "other.rego").write_text("package more\n")
    (tmp_path / "other.rego").replace(tmp_path / "more.rego")
    seen.append(signature(tmp_path))
    (tmp_path / "more.rego").unlink()
    seen.append(signature(tmp_path))
    assert all(one != other for one, other in pairwise(seen))
    assert signature(tmp_path) == seen[-1]


def test_the_signature_does_not_see_what_is_no_part(tmp_path: Path) -> None:
    write(tmp_path)
    before = signature(tmp_path)
    (tmp_path / "README.md").write_text("x")
    assert signature(tmp_path) == before


def test_the_signature_of_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert signature(tmp_path / "nowhere") == ()
    (tmp_path / "out.rego").symlink_to("/etc/hostname")
    assert signature(tmp_path) == ()
