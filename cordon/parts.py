"""The parts that Cordon runs as processes, and the order in which they stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of process. Lower stop phases stop first; a process is killed after `silence` seconds without a beat."""

    name: str
    stop_phase: int
    silence: float = 10.0


WRITER: Final = Role("writer", stop_phase=2, silence=30.0)
"""A slow disk may hold the log writer up for a while, and a new life of it would wait for the same disk."""
GATEWAY: Final = Role("gateway", stop_phase=0)
SOC: Final = Role("soc", stop_phase=1)
CONTROL: Final = Role("control", stop_phase=1)
STAND_IN: Final = Role("stand-in", stop_phase=1)
EVERYTHING: Final = frozenset({WRITER, GATEWAY, SOC, CONTROL, STAND_IN})
