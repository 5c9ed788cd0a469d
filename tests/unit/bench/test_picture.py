"""The README's picture: the terminal's colours, the scenes that are chosen, and what is checked in."""

from __future__ import annotations

import pytest

from bench.picture import LARGEST, ROOT, as_html, scenes

DEMO = "\n".join(
    f"\x1b[2m──\x1b[0m \x1b[1m{number}  {name}\x1b[0m \x1b[2m────\x1b[0m\n  said {number}"
    for number, name in enumerate(["Allowed", "Personal data is masked", "Other", "A stolen key probes", "End"], 1)
)


def test_attributes_become_classes_until_they_are_reset_and_text_is_escaped() -> None:
    assert as_html("a<\x1b[31m\x1b[1mb&\x1b[0mc") == 'a&lt;<span class="s1 s31">b&amp;</span>c'
    assert as_html("\x1b[36;1mx\x1b[my") == '<span class="s1 s36">x</span>y'


def test_the_chosen_scenes_are_shown_word_for_word() -> None:
    shown = scenes(DEMO)
    assert "said 2" in shown and "said 4" in shown
    assert not any(f"said {number}" in shown for number in (1, 3, 5))


def test_a_demonstration_without_one_of_them_is_an_error() -> None:
    with pytest.raises(SystemExit, match="other scenes"):
        scenes(DEMO.replace("stolen", "borrowed"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pictures_are_small_and_the_readme_shows_them(scheme: str) -> None:
    data = (ROOT / f"docs/picture-{scheme}.webp").read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) <= LARGEST
    assert f"docs/picture-{scheme}.webp" in (ROOT / "README.md").read_text()
