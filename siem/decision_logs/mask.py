"""Masks as OPA applies them to an event: what `data.system.log.mask` names is removed, or replaced.

A mask is a path such as `/input/password` (to be removed), or an object with `op` (remove or upsert), `path` and, for
upsert, `value`. The paths that took effect are listed in the event's `erased` and `masked`. One difference: OPA looks
for a path's steps in their percent-encoded form, so that a mask never meets the key `full name`; here it does.

Source: OPA's documentation, "Masking Sensitive Data", and its behaviour, with which a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, unquote

from siem.decision_logs.event import Event

PARTS: Final = frozenset({"input", "result", "nd_builtin_cache"})
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INDEX: Final = re.compile(r"[+-]?[0-9]{1,18}")
_PATH_SAFE: Final = "$&+=:@"


class MaskError(Exception):
    """What the mask rule gave is no list of masks; the text says why, and never shows a value."""


@dataclass(frozen=True, slots=True)
class Mask:
    """One mask: `steps` begin with the part of the event, percent-encoded as in a path of a URL."""

    op: Literal["remove", "upsert"]
    steps: tuple[str, ...]
    value: object = None

    @property
    def path(self) -> str:
        """As `erased` and `masked` list it."""
        return "/" + "/".join(self.steps)


HIDDEN: Final = (Mask("remove", ("input",)), Mask("remove", ("result",)))
"""What an event goes out without where nobody can say what of it may be seen."""


def read_masks(found: object) -> list[Mask]:
    """The masks that a rule's value lists; MaskError where one of them is none: it is unknown then what to hide."""
    if not isinstance(found, list):
        raise MaskError("data.system.log.mask is no set or array")
    return [_read(each) for each in found]


def _read(found: object) -> Mask:
    if isinstance(found, str):
        return Mask("remove", _steps(found))
    if not isinstance(found, dict):
        raise MaskError("a mask is neither a path nor an object")
    op, path = found.get("op"), found.get("path")
    if op not in ("remove", "upsert"):
        raise MaskError("the op of a mask is neither remove nor upsert")
    return Mask(op, _steps(path), found.get("value"))


def _steps(path: object) -> tuple[str, ...]:
    if not isinstance(path, str) or not path.startswith("/"):
        raise MaskError("the path of a mask does not begin with /")
    steps = path[1:].split("/")
    if steps[0] not in PARTS:
        raise MaskError("the path of a mask begins with none of /input, /result and /nd_builtin_cache")
    if _BROKEN_ESCAPE.search(path):
        raise MaskError("the path of a mask has a % that encodes nothing")
    return tuple(quote(step, safe=_PATH_SAFE) for step in steps)


def apply(event: Event, masks: Sequence[Mask]) -> bool:
    """Mask the event, one mask after the other; True where any took effect. Values in the event are changed."""
    effect = False
    for mask in masks:
        part = mask.steps[0]
        if part not in event:
            continue
        if mask.op == "remove" and _remove(event, mask.steps):
            _listed(event, "erased").append(mask.path)
        elif mask.op == "upsert" and _upsert(event, mask.steps, mask.value):
            _listed(event, "masked").append(mask.path)
        else:
            continue
        effect = True
    return effect


def _listed(event: Event, name: str) -> list[object]:
    found = event.setdefault(name, [])
    assert isinstance(found, list)
    return found


def _remove(event: Event, steps: Sequence[str]) -> bool:
    node: object = event
    for step in steps[:-1]:
        place = _place(node, step)
        if place is None:
            return False
        node = node[place]  # type: ignore[index]
    place = _place(node, steps[-1])
    if place is None:
        return False
    del node[place]  # type: ignore[attr-defined]
    return True


def _upsert(event: Event, steps: Sequence[str], value: object) -> bool:
    """Put a value in its place, making the objects on the way to it; elements of arrays are only ever replaced."""
    node: object = event
    for step in steps[:-1]:
        place = _place(node, step)
        if place is None:
            if not isinstance(node, dict):
                return False
            place, node[step] = step, {}
        node = node[place]  # type: ignore[index]
    place = _place(node, steps[-1])
    if place is None and isinstance(node, dict):
        place = steps[-1]
    if place is None:
        return False
    node[place] = value  # type: ignore[index]
    return True


def _place(node: object, step: str) -> str | int | None:
    """Where a step leads within an object or an array; None where it leads nowhere."""
    if isinstance(node, dict):
        return next((key for key in (step, unquote(step), unquote(unquote(step))) if key in node), None)
    if isinstance(node, list) and _INDEX.fullmatch(step):
        index = int(step)
        return index if 0 <= index < len(node) else None
    return None
