"""What several of these tests need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.logs import data_directory


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A data directory whose path is short enough for a Unix socket."""
    with data_directory() as path:
        yield path
