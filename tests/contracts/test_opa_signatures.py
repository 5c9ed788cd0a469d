"""Signatures of the real OPA verify here, and ours there, of the same bundles, by the same keys."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from policies.bundle import load_bundle, read_all
from policies.errors import BundleError
from policies.hashing import hash_file
from policies.settings import Verification
from policies.signatures import SIGNATURES, sign
from policies.tarball import pack
from tests.support.bundles import ALGORITHMS, write_keys
from tests.support.policies import STARTER, write
from tests.support.servers import require_binary

DATA = {
    "data.json": '{"z": [1, 1.0, -0, 2.50, 1e3], "a": {"é": "\\u2028<&>\\u0001\\b\\f\\u007f", "e": "😀\\u00e9"}}',
    "more/data.yaml": "b: [x, null, true, 1.5, 0.0000001, 12345678901, -3]\na: 'text'\n",
    "more/json/data.yml": '{"c": 1.0}',
    "more/notes.txt": "left alone",
}

TEXT = 'aZ"\\/<>&\x00\x08\x0c\n\r\t\x1f\u2028\u2029é\ufffd'


def opa(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(require_binary("opa")), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def verified_by_opa(place: Path, algorithm: str, public: Path, *options: str) -> str:
    """What the real OPA says of an archive that it is to verify; "" where it is content."""
    run = opa("build", "-b", place, "-o", place.parent / "checked.tar.gz", "--verification-key", public,
              "--signing-alg", algorithm, *options)  # fmt: skip
    return run.stderr + run.stdout if run.returncode else ""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write(Path(shutil.copytree(STARTER, tmp_path / "policies")), {f"extra/{k}": v for k, v in DATA.items()})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_archive_that_opa_signs_verifies_here(bundle: Path, tmp_path: Path, algorithm: str) -> None:
    private, public = write_keys(tmp_path, algorithm)
    archive = tmp_path / "bundle.tar.gz"
    run = opa(
        "build", "-b", bundle, "-o", archive, "--signing-key", private, "--signing-alg", algorithm, "--revision", "r7"
    )
    assert run.returncode == 0, run.stderr
    found = load_bundle(archive, Verification(key=public))
    assert found.label == "r7"
    assert found.data == load_bundle(bundle).data
    other = write_keys(tmp_path, algorithm, "other")[1]
    with pytest.raises(BundleError, match="not good by the configured key"):
        load_bundle(archive, Verification(key=other))
    files = read_all(archive)
    name = next(path for path in files if path.endswith("residency.rego"))
    archive.write_bytes(pack(files | {name: files[name] + b"\n"}))
    with pytest.raises(BundleError, match=r"residency\.rego: was changed after it was signed"):
        load_bundle(archive, Verification(key=public))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_folder_that_opa_signs_verifies_here(bundle: Path, tmp_path: Path, algorithm: str) -> None:
    private, public = write_keys(tmp_path, algorithm)
    claims = tmp_path / "claims.json"
    claims.write_text('{"scope": "write", "keyid": "ci"}')
    (bundle / "extra/more/notes.txt").unlink()  # OPA signs what it reads, and here every file counts
    run = opa("sign", "--bundle", bundle, "--signing-key", private, "--signing-alg", algorithm,
              "--claims-file", claims, "-o", bundle)  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert load_bundle(bundle, Verification(key=public, key_id="ci", scope="write")).modules
    (bundle / "extra/data.json").write_text("{}")
    with pytest.raises(BundleError, match=r"extra/data\.json: was changed"):
        load_bundle(bundle, Verification(key=public, key_id="ci", scope="write"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_signed_here_verifies_there(bundle: Path, tmp_path: Path, algorithm: str) -> None:
    private, public = write_keys(tmp_path, algorithm)
    (bundle / "extra/more/notes.txt").unlink()
    files = read_all(bundle)
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(pack(files | {SIGNATURES: sign(files, private, key_id="ci", scope="write")}))
    options = ("--verification-key-id", "ci", "--scope", "write")
    assert verified_by_opa(archive, algorithm, public, *options) == ""
    assert load_bundle(archive, Verification(key=public, key_id="ci", scope="write")).modules
    other = write_keys(tmp_path, algorithm, "other")[1]
    assert "failed to verify JWT signature" in verified_by_opa(archive, algorithm, other, *options)
    assert "scope mismatch" in verified_by_opa(archive, algorithm, public, "--verification-key-id", "ci")
    archive.write_bytes(pack(files | {SIGNATURES: sign({**files, "data.json": b"{}"}, private)}))
    assert "digest mismatch" in verified_by_opa(archive, algorithm, public)


def test_hashes_of_any_data_are_opas(tmp_path: Path) -> None:
    """One folder with many data files of random values, signed by OPA, hashed here."""
    dice = random.Random(20_260)
    texts: dict[str, str] = {"a.rego": "package a\n"}
    for number in range(60):
        value = _value(dice, 3, TEXT + "\x7f😀\u2028")
        texts[f"json{number}/data.json"] = json.dumps({"v": value}, ensure_ascii=dice.random() < 0.5, indent=number % 3)
        digits = f"{dice.randrange(-999, 999)}.{dice.randrange(10**6):06}e{dice.randrange(-12, 9):+}"
        texts[f"yaml{number}/data.yaml"] = f"v: {digits}\nw: {json.dumps(_value(dice, 3, TEXT))}\n"
    folder = write(tmp_path / "policies", texts)
    private, _ = write_keys(tmp_path, "EdDSA")
    run = opa("sign", "--bundle", folder, "--signing-key", private, "--signing-alg", "EdDSA", "-o", tmp_path)
    assert run.returncode == 0, run.stderr
    payload = json.loads((tmp_path / SIGNATURES).read_text())["signatures"][0].split(".")[1]
    listed = {each["name"]: each["hash"] for each in json.loads(base64.urlsafe_b64decode(payload + "=="))["files"]}
    prefix = str(folder)[1:] + "/"
    assert {name.removeprefix(prefix) for name in listed} == texts.keys()
    different = [path for path, text in texts.items() if hash_file(path, text.encode()) != listed[prefix + path]]
    assert different == [], texts[different[0]]


def _value(dice: random.Random, depth: int, letters: str) -> object:
    kind = dice.randrange(7 if depth else 5)
    if kind == 0:
        return dice.choice((None, True, False))
    if kind == 1:
        return dice.randrange(-(2**53), 2**53)
    if kind == 2:
        return dice.randrange(-9999, 9999) / 2 ** dice.randrange(12)
    if kind in {3, 4}:
        return "".join(dice.choices(letters, k=dice.randrange(6)))
    items = [_value(dice, depth - 1, letters) for _ in range(dice.randrange(4))]
    return items if kind == 5 else {str(_value(dice, 0, letters)): item for item in items}
