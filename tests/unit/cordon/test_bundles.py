"""Which settings of policy hold for another bundle than the configured one, and who gets its token."""

from __future__ import annotations

from pathlib import Path

import pytest

from cordon.bundles import about, read_bundle
from policies.errors import BundleError
from policies.settings import Download, Policy, Verification
from tests.support.bundles import CONTENT, bundle_host, signed, write_keys

OWN = "https://bundles.example/live.tar.gz"


@pytest.mark.parametrize(
    ("draft", "given"),
    [
        ("https://bundles.example/draft.tar.gz", True),
        ("https://bundles.example:443/draft.tar.gz", True),
        ("https://bundles.example:444/draft.tar.gz", False),
        ("http://bundles.example/draft.tar.gz", False),
        ("https://bundles.example.attacker.example/draft.tar.gz", False),
        ("https://other.example/live.tar.gz", False),
        (Path("draft"), False),
    ],
)
def test_no_other_origin_gets_the_token(tmp_path: Path, draft: str | Path, given: bool) -> None:
    settings = Policy(bundle=OWN, download=Download(credential="env:TOKEN"), verification=Verification(key=tmp_path))
    found = about(settings, draft)
    assert found.bundle == draft
    assert found.download.credential == ("env:TOKEN" if given else "")
    assert found.verification is None


def test_the_configured_bundle_is_verified_from_wherever_it_comes(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    with bundle_host(signed(CONTENT, private)) as host:
        settings = Policy(bundle=host.url, verification=Verification(key=public))
        assert read_bundle(settings).label == "cordon.tar.gz"
        host.put(CONTENT)
        with pytest.raises(BundleError, match="the bundle is not signed"):
            read_bundle(settings)
        assert read_bundle(about(settings, host.url)).modules
