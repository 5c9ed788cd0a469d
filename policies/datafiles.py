"""Reads data.json and data.yaml of a bundle so that no two readers can differ on what they mean.

YAML has many spellings that one parser takes for a number and another for text (`yes`, `0777`, `1:30`, dates);
they are refused with the advice to quote them, as are numbers that a double cannot hold and keys given twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

import yaml

from policies.errors import BundleError, Problem
from policies.numbers import exact

MAX_DEPTH: Final = 64

_NUMBER: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|(-?[0-9][0-9.eE+-]*+)', re.DOTALL)
"""Strings, so that what is in them is passed over, and numbers. One without an end goes up to the end: a server's
archive is read before its signature is, and looking anew from each quote in it would take the square of its length."""
_QUOTE: Final = "put it in quotes, or write it as JSON would"


def read_json(file: str, text: str) -> object:
    """The value of a JSON file; BundleError with the line of what is wrong."""
    line, at = 1, 0
    for match in _NUMBER.finditer(text):
        if match[1]:
            line, at = line + text.count("\n", at, match.start()), match.start()
            _check_number(file, line, match[1])

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        value: dict[str, object] = {}
        for key, item in pairs:
            if key in value:
                _refuse(file, 0, f"the key {key!r} is there twice in one object", "keep one of them")
            value[key] = item
        return value

    def constant(name: str) -> NoReturn:
        _refuse(file, 0, f"{name} is not JSON", "use a number or null")

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except json.JSONDecodeError as error:
        _refuse(file, error.lineno, f"not JSON: {error.msg}", "correct the syntax")
    except RecursionError:
        _refuse(file, 0, "nested too deeply", f"keep it within {MAX_DEPTH} levels")
    _check_text(file, value, 0)
    return value


def read_yaml(file: str, text: str) -> object:
    """The value of a YAML file, of which only the part that means the same as JSON is accepted.

    One that is JSON is read as such, as OPA does, and as its hash in a signature is made: YAML has other escapes and
    line ends within strings, and so would say something else under the same signature.
    """
    if is_json(text):
        return read_json(file, text)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        _refuse(file, line, f"not YAML: {error.problem or 'syntax'}", "correct the syntax")
    except (yaml.YAMLError, RecursionError):
        _refuse(file, 0, "not YAML", "correct the syntax")
    return None if node is None else _value(file, node, 0)


def is_json(text: str) -> bool:
    """Whether a text can be read as JSON, whatever the name of its file says."""

    def constant(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=constant)
    except (ValueError, RecursionError):
        return False
    return True


class _Loader(yaml.SafeLoader):
    """Composes nodes without aliases, which could unfold a small file into a vast value, and without tags."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse an alias or a tag where one begins."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, "tags are not supported", mark)
        return super().compose_node(parent, index)


def _value(file: str, node: yaml.Node, depth: int) -> object:
    line = node.start_mark.line + 1
    if depth > MAX_DEPTH:
        _refuse(file, line, "nested too deeply", f"keep it within {MAX_DEPTH} levels")
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_value(file, item, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        value: dict[str, object] = {}
        for key_node, item in node.value:
            key = _value(file, key_node, depth + 1)
            if not isinstance(key, str):
                _refuse(file, key_node.start_mark.line + 1, "the key is not a string", _QUOTE)
            if key in value:
                _refuse(file, key_node.start_mark.line + 1, f"the key {key!r} is there twice", "keep one of them")
            value[key] = _value(file, item, depth + 1)
        return value
    if isinstance(node, yaml.ScalarNode):
        return _scalar(file, line, node)
    return _refuse(file, line, f"the tag {node.tag} is not supported", "remove it")


def _scalar(file: str, line: int, node: yaml.ScalarNode) -> object:
    text = str(node.value)
    if node.style is not None:
        if node.tag != "tag:yaml.org,2002:str":
            _refuse(file, line, f"the tag {node.tag} is not supported", "remove it")
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    if re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", text):
        _check_number(file, line, text)
        return json.loads(text)
    if node.tag != "tag:yaml.org,2002:str" or _AMBIGUOUS(text):
        _refuse(file, line, f"{text!r} means different things to different readers of YAML", _QUOTE)
    return text


_PLAIN: Final[dict[str, object]] = {"": None, "~": None, "null": None, "true": True, "false": False}
_AMBIGUOUS: Final[Callable[[str], object]] = re.compile(
    r"[-+]?\.?[0-9][0-9_.:xobeE+-]*([a-fA-F]*)|[-+]?0[xob][0-9a-f_]+|[-+]?\.(inf|nan)|"
    r"y|n|yes|no|on|off|true|false|null|<<|=|"
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*",
    re.IGNORECASE,
).fullmatch


def _check_number(file: str, line: int, text: str) -> None:
    try:
        fine = exact(text)
    except ArithmeticError:
        fine = True  # not a number at all: the parser will say so
    if not fine:
        _refuse(
            file,
            line,
            f"the number {text[:40]} cannot be compared exactly",
            "write it as a string",
        )


def _check_text(file: str, value: object, depth: int) -> None:
    """Refuse what the engine's own JSON parser refuses: lone surrogates and deep nesting."""
    if depth > MAX_DEPTH:
        _refuse(file, 0, "nested too deeply", f"keep it within {MAX_DEPTH} levels")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            _refuse(file, 0, "a string holds half of a surrogate pair", "write the whole character")
    elif isinstance(value, list):
        for item in value:
            _check_text(file, item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(file, key, depth + 1)
            _check_text(file, item, depth + 1)


def _refuse(file: str, line: int, message: str, remedy: str) -> NoReturn:
    raise BundleError([Problem(file, line, 0, "data", message, remedy)])
