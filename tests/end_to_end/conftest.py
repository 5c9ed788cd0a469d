"""What the tests of official clients share; a module that needs another Cordon defines its own."""

from __future__ import annotations

from tests.support.clients import acme, gateway, gpt, seen

__all__ = ["acme", "gateway", "gpt", "seen"]
