"""The bundle of a roll-out: what was proposed, or an error that says why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policies.errors import BundleError
from policies.settings import Verification
from policies.stored import stored_bundle
from tests.support.bundles import write_keys
from tests.support.rollouts import Archives


def test_the_bundle_is_the_one_that_was_proposed() -> None:
    archives = Archives()
    rollout = archives.add()
    assert stored_bundle(archives.get, rollout).revision == rollout.revision


def test_a_bundle_that_is_not_there_or_another_one_is_refused() -> None:
    archives = Archives()
    rollout = archives.add("r1")
    with pytest.raises(BundleError, match="the bundle of r1 is not in the bundle store; propose it again"):
        stored_bundle({}.get, rollout)
    with pytest.raises(BundleError, match="r1 is of another revision than was proposed"):
        stored_bundle(archives.get, replace(rollout, revision="1" * 16))


def test_a_bundle_that_has_to_be_signed_and_is_not_is_refused(tmp_path: Path) -> None:
    archives = Archives()
    _, public = write_keys(tmp_path)
    with pytest.raises(BundleError, match="sign"):
        stored_bundle(archives.get, archives.add(), Verification(key=public))
