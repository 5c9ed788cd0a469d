"""Reads YAML into plain values and remembers the line of each, so that an error can name its place.

Stricter than PyYAML: a doubled key is an error, aliases cannot blow a small file up, only `true` and `false` are
booleans (the country code NO stays a text), and `${NAME}` in a text is the environment variable of that name
(`$${` is a plain `${`). YAML 1.2's core schema, with merge keys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from cordon.errors import ConfigError, Problem

Place = tuple[str | int, ...]

LARGEST_FILE: Final = 1_048_576
MOST_NODES: Final = 50_000
DEEPEST: Final = 32
PLAIN_TAGS: Final = frozenset(
    "tag:yaml.org,2002:" + name for name in ("str", "int", "float", "bool", "null", "map", "seq")
)
_REFERENCE: Final = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Loader(yaml.SafeLoader):
    """Only the scalars of YAML 1.2's core schema are anything but texts."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


@dataclass(slots=True)
class Document:
    """A file's values, the 1-based line of each place in it, and the environment's texts that were put in."""

    file: str
    values: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    substituted: dict[str, str] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of `place`, or of what encloses it where the place itself is not in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)

    def masked(self, text: str) -> str:
        """`text` without the values that came from the environment: they may be secrets."""
        for name, value in self.substituted.items():
            if len(value) >= 4:
                text = text.replace(value, "${" + name + "}")
        return text


def read(path: Path, environment: Mapping[str, str] = os.environ) -> Document:
    """The file's values. Raises ConfigError that names the line of what is wrong."""
    document = Document(str(path))
    try:
        raw = path.read_bytes()
        if len(raw) > LARGEST_FILE:
            raise _Bad(0, "", f"is larger than {LARGEST_FILE} bytes")
        loader = _Loader(raw.decode("utf-8"))
        try:
            node = loader.get_single_node()
            if node is not None:
                document.values = _Reader(loader, document, environment).value(node, ())
        finally:
            loader.dispose()
    except FileNotFoundError:
        problem = Problem(0, "", "does not exist; `cordon up --first-run` makes one, -c FILE names another")
    except OSError as error:
        problem = Problem(0, "", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        problem = Problem(raw[: error.start].count(b"\n") + 1, "", "is not UTF-8 text")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = Problem(mark.line + 1 if mark else 0, "", f"is not YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        problem = Problem(0, "", f"is not YAML: {str(error).splitlines()[0]}")
    except RecursionError:
        problem = Problem(0, "", f"is nested deeper than {DEEPEST} levels")
    except _Bad as bad:
        problem = bad.problem
    else:
        return document
    raise ConfigError(document.file, [problem])


class _Bad(Exception):
    def __init__(self, line: int, key: str, text: str) -> None:
        self.problem = Problem(line, key, text)


class _Reader:
    """Walks the nodes; every visit of a node counts, so that aliases of aliases end early."""

    def __init__(self, loader: _Loader, document: Document, environment: Mapping[str, str]) -> None:
        self._loader = loader
        self._document = document
        self._environment = environment
        self._visits = 0
        self._depth = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self._document.lines.setdefault(place, line)
        if node.tag not in PLAIN_TAGS:
            raise _Bad(line, named(place), f"has the tag {node.tag}; only plain values are read here")
        self._visits += 1
        self._depth += 1
        if self._visits > MOST_NODES:
            raise _Bad(line, named(place), f"the file unfolds into more than {MOST_NODES} values; use fewer aliases")
        if self._depth > DEEPEST:
            raise _Bad(line, named(place), f"is nested deeper than {DEEPEST} levels")
        value = self._inner(node, line, place)
        self._depth -= 1
        return value

    def _inner(self, node: yaml.Node, line: int, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        try:
            value = self._loader.construct_object(node)
        except ValueError:
            raise _Bad(line, named(place), f"is not of the type {node.tag} that its tag says") from None
        return self._resolved(value, line, place) if isinstance(value, str) else value

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in sources:
                    if not isinstance(source, yaml.MappingNode):
                        raise _Bad(line, named(place), "<< takes a mapping or a list of mappings")
                    merged = self.value(source, place) | merged
                continue
            key = key_node.value
            if key_node.tag != "tag:yaml.org,2002:str" or not isinstance(key, str):
                raise _Bad(line, named(place), "has a key that is not a text")
            if key in values:
                raise _Bad(line, named((*place, key)), "is given twice; keep one of the two")
            self._document.lines[(*place, key)] = line
            values[key] = self.value(value_node, (*place, key))
        return merged | values

    def _resolved(self, text: str, line: int, place: Place) -> str:
        def replace(match: re.Match[str]) -> str:
            if match[1]:
                return match[1]
            name = match[2]
            if not _VARIABLE.fullmatch(name):
                raise _Bad(line, named(place), "${…} must hold the name of an environment variable; $${ is a plain ${")
            if name not in self._environment:
                raise _Bad(line, named(place), f"the environment variable {name} is not set")
            self._document.substituted[name] = self._environment[name]
            return self._environment[name]

        return _REFERENCE.sub(replace, text)


def named(place: Place) -> str:
    """A place as people write it: routes[0].endpoints[1].url."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
