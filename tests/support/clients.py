"""Fixtures for tests through `cordon up` with the official clients: a Cordon, its callers, what it records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import openai
import pytest

from tests.support.gateway import Cordon, cordon
from tests.support.seen import Seen

GPT: Final = "gpt-4.1-mini"
FRANCE: Final = "What is the capital of France?"
CARD: Final = "4111 1111 1111 1111"
MINUTES: Final = "What do the board minutes say?"
HARMLESS: Final = "Here is what I found in the archive. The minutes begin so. "


def says(text: str) -> Any:
    """The messages of a chat in which a user says this."""
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Cordon]:
    """A whole Cordon."""
    with cordon() as running:
        yield running


@pytest.fixture(scope="module")
def acme(gateway: Cordon) -> str:
    """A key of acme/support-bot."""
    return gateway.key("support-bot")


@pytest.fixture(scope="module")
def gpt(gateway: Cordon, acme: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, which shows that key."""
    with openai.OpenAI(base_url=f"{gateway.url}/openai", api_key=acme, max_retries=0) as client:
        yield client


@pytest.fixture
def seen(gateway: Cordon) -> Seen:
    """What the log gains during the test."""
    return Seen(gateway)
