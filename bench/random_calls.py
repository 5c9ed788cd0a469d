"""Builtins and operators on random values, in the embedded engine and in OPA: what differs, which must be nothing.

Values are written as Rego (they hold sets), go through a function so that nobody computes them beforehand, and pass the
same rewriting as a bundle. An error here denies, and counts apart.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from policies.bundle import make_bundle
from policies.embedded import build
from policies.rego.builtins import ARITY, CHANGING
from policies.rego.rewriting import rewrite
from policies.rego.tree import parse

TEXTS: Final = (
    *(
        "",
        "a",
        "abc",
        "ABC",
        "héllo",
        "ß",
        "İ",
        "ΑΣ",
        "ﬁ",
        "日本語",
        "😀x",
        "e\u0301",
        " a\t",
        "a,b",
        "aaaa",
        "1.5",
        "-1",
    ),
    *("{}", "10.1.2.3", "10.0.0.0/8", "10.0.0.0/30", "10.1.0.0/16", "::ffff:10.0.0.1", "::ffff:0:0/90", "fe80::/126"),
    *("1.2.3", "v1.2.3-a", "2023-01-02T03:04:05Z", "aGk=", "aGk", "6869", "%41b+", "a=1&a=2&b", "a;b", "x/y", "a~1b"),
)
AMOUNTS: Final = (
    "1",
    "0.1",
    "10",
    "1.5",
    "1e3",
    "1E",
    ".5",
    "5.",
    "-2",
    "+3",
    "0.0005",
    "12345.678",
    "1e-3",
    "e",
    "1e+2",
)
UNITS: Final = ("", "K", "k", "Ki", "KB", "kib", "m", "M", "Mi", "MiB", "G", "gi", "T", "B", " K", "KK", "é")
ADDRESSES: Final = (
    *(
        "http://a.example/x?q=1#f",
        "HTTPS://u:p@h.example:8443/a%20b/%2f",
        "//h/p",
        "/a/b",
        "a:b",
        "a/b:c",
        "mailto:x@y",
    ),
    *("http://[::1]:80/", "http://h:port/", "http://h h/", "http://a/%zz", "?q", "#f", "", "http://é.example/", "x y"),
    *("http://h/a?b=%zz", ":x", "1a:b", "file:///etc", "http://[::ffff:1.2.3.4]/", "http://h/(a)/!b", "http:/x", "*"),
)
DURATIONS: Final = (
    "1h",
    "-1h30m",
    "1.5s",
    "100ms",
    "0",
    "+2us",
    "1.0000000001s",
    "3",
    "9µs",
    ".5s",
    "2562048h",
    "1d",
    "1h-1m",
    "",
)
TIMES: Final = (
    "2023-01-02",
    "2023-02-30",
    "1677-09-21",
    "2023-01-02 03:04:05",
    "2023-01-02T03:04:05+01:00",
    "2300-01-01",
    "x",
)
LAYOUTS: Final = ("2006-01-02", "2006-01-02 15:04:05", "RFC3339", "2006-01-02T15:04:05Z07:00", "Jan 2")
IDS: Final = (
    *(
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
        "6ba7b8109dad11d180b400c04fd430c8",
    ),
    *(
        "urn:uuid:f47ac10b-58cc-4372-0567-0e02b2c3d479",
        "000003e8-48b9-21ee-b200-325096b39f47",
        "no",
        "é" * 16,
        "x" * 36,
    ),
)
PATTERNS: Final = (
    *(
        "a",
        "(a)(b)?",
        "^a",
        "a*",
        "(?i)ß",
        r"\d+",
        r"\w+",
        r"\bx",
        "[^a]",
        "(?s).",
        r"\pL",
        r"\s",
        "(",
        "é+",
        "",
        "(?i)k",
    ),
)
GLOBS: Final = (
    "*",
    "**",
    "a*",
    "*.com",
    "a/**/c",
    "é*",
    "",
    "a?c",
    "[a-c]*",
    "[!a]bc",
    "{a,abc}",
    "{a.com,x.*}",
    r"\*",
)
LARGE: Final = (2**53 + 1, 2**53 + 2, -(2**53) - 1, 2**63 - 1, 2**63 - 2, 2**63, -(2**63), 2**64 - 1, 2**64 - 2)
NUMBERS: Final = (0, 1, -1, 2, 3, 7, 255, 2**40, 2**53 - 1, -(2**53), 0.5, -0.5, 2.5, -2.5, 1e-7, 1234567.5, *LARGE)
MOMENTS: Final = (0, 1_700_000_000_000_000_000, 1_672_531_199_000_000_000, -(2**63), 2**63 - 1, -1, 2**63)
AT_ONCE: Final = 1_000
OPERATORS: Final = ("==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "|", "&", "in")
PATHS: Final = ("a", "a/b", "/c", "a/0", "x/y", "a~1b", "", "b/1/a", "/")
PATTERN_FIRST: Final = frozenset({"regex.match", "regex.split", "regex.find_n", "regex.is_valid"}) | {
    "regex.find_all_string_submatch_n"
}
_SEQUENCES: Final = frozenset({"sum", "product", "max", "min", "sort"})
_SKIPPED: Final = CHANGING | {"walk", "io.jwt.encode_sign", "io.jwt.encode_sign_raw"}


_ENDLESS: Final = frozenset({"bits.lsh", "net.cidr_expand", "numbers.range", "numbers.range_step"})
"""OPA would list whole networks and ranges for some arguments, and shift as far as memory goes."""


class _Set(list[Any]):
    """The elements of a set."""


@dataclass
class Outcome:
    """How many were equal, how many an error here, and what was different: source, ours, OPA's."""

    equal: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    different: list[tuple[str, Any, Any]] = field(default_factory=list)


class Author:
    """Writes values and calls by chance."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)

    def pick(self, choices: Any) -> Any:
        return self.rnd.choice(choices)

    def number(self) -> Any:
        return self.pick(NUMBERS)

    def text(self) -> str:
        return str(self.pick(TEXTS))

    def value(self, depth: int = 2) -> Any:
        """Anything: scalars, and arrays, objects and sets of anything."""
        kind = self.rnd.randrange(8 if depth else 4)
        if kind < 4:
            return (self.text, self.number, lambda: self.pick((True, False, None)), lambda: self.pick((0, 1, "a")))[
                kind
            ]()
        size = self.rnd.randrange(4)
        if kind == 4:
            return {self.pick("abcx"): self.value(depth - 1) for _ in range(size)}
        items = [self.value(depth - 1) for _ in range(size)]
        return _Set(items) if kind == 5 else items

    def texts(self, most: int = 3) -> list[str]:
        return [self.text() for _ in range(self.rnd.randrange(most))]

    def arguments(self, name: str) -> list[Any]:
        """Arguments of a builtin, mostly of the right kinds; sometimes anything at all."""
        count = ARITY[name]
        if self.rnd.random() < 0.1 and name not in _ENDLESS:
            return [self.value() for _ in range(count)]
        special = self._special(name)
        return [self.text() for _ in range(count)] if special is None else special[:count]

    def _special(self, name: str) -> list[Any] | None:
        pick = self.pick
        if name.startswith("units."):
            return [pick(AMOUNTS) + pick(UNITS)]
        if name.startswith("uri."):
            return [pick(ADDRESSES)]
        if name == "uuid.parse":
            return [pick(IDS)]
        if name in PATTERN_FIRST:
            return [pick(PATTERNS), self.text() + self.text(), pick([-1, 0, 1, 5])]
        if name == "regex.replace":
            return [self.text() + self.text(), pick(PATTERNS), pick(["", "x", "$1", "${1}y", "$$", "$1y"])]
        if name == "regex.template_match":
            parts = ["a", "{.*}", "{[0-9]+}", "<a>", "{a{2}}", ".", "{", "}", "{(a)}"]
            return [
                "".join(pick(parts) for _ in range(3)),
                pick(["a.a", "a7.", "aaa", "<a>a"]),
                "{",
                pick(["}", "}", "{"]),
            ]
        if name == "strings.render_template":
            parts = ["{{.a}}", "{{ .b }}", "{{.c.d}}", "x", "{", "}", "{{.é}}", "{{/* */}}"]
            return ["".join(pick(parts) for _ in range(3)), {"a": self.value(0), "b": pick(["é<", 1, True, "x"])}]
        if name == "glob.match":
            return [
                pick(GLOBS),
                pick([None, [], ["/"], ["."]]),
                pick(["a", "abc", "a.com", "x.y.com", "a/b/c", "éa", "", "*"]),
            ]
        if name == "sprintf":
            verbs = ["%s", "%v", "%d", "%5d", "%02x", "%X", "%o", "%b", "%f", "%.2f", "%08.3f", "%%", "%q"]
            kinds = [pick(verbs) for _ in range(self.rnd.randrange(1, 4))]
            return ["x".join(kinds), [self.value() for _ in kinds]]
        if name in _SEQUENCES:
            return [[pick([1, 2, 3, -4, 2**20, pick(LARGE)]) for _ in range(self.rnd.randrange(5))]]
        if name.startswith("json.") and name[5:] in ("remove", "filter"):
            paths = [pick([*PATHS, ["a", "b"], ["b", "1"]]) for _ in range(self.rnd.randrange(4))]
            return [{key: self.value() for key in self.rnd.sample("abcx", 3)}, paths]
        if name == "json.verify_schema":
            return [self._schema()]
        if name == "json.match_schema":
            document = {key: self.value(1) for key in self.rnd.sample("abcx", 2)}
            return [pick([document, [document], json.dumps(document, default=list)]), self._schema()]
        if name == "json.patch":
            document = {key: self.value() for key in self.rnd.sample("abcx", 3)}
            return [pick([document, [document, 1]]), [self._patch() for _ in range(self.rnd.randrange(1, 4))]]
        if name == "json.marshal_with_options":
            choices = {"pretty": pick([True, False]), "indent": pick(["", "  ", "é"]), "prefix": pick(["", "> "])}
            return [
                self.value(),
                {key: choices[key] for key in self.rnd.sample(sorted(choices), self.rnd.randrange(4))},
            ]
        if name == "object.subset":
            whole = self.value()
            return [whole, pick([whole, self.value(), {}, [], _Set()])]
        if name.startswith("net.cidr_"):
            return self._networks(name)
        return self._by_kind(name)

    def _schema(self, depth: int = 2) -> dict[str, Any]:
        parts = {"type": self.pick(["object", "object", "array", "integer", "number", "string", "null", "x"])}
        if depth:
            parts["properties"] = {key: self._schema(depth - 1) for key in self.rnd.sample("abcx", 2)}
            parts |= {"items": self._schema(depth - 1), "required": self.rnd.sample("abcx", self.rnd.randrange(2))}
        return {key: parts[key] for key in self.rnd.sample(sorted(parts), self.rnd.randrange(len(parts) + 1))}

    def _patch(self) -> dict[str, Any]:
        pick = self.pick
        paths = [*PATHS, "a/0/b", "b/a", "0/a", "a/-", "c/1", "1", "-", ["a"], ["a", 0], ["b", "abc"], "x/a", "a/01"]
        patch = {"op": pick(["add", "add", "remove", "replace", "move", "copy", "test"]), "path": pick(paths)}
        return patch | {"from": pick(paths), "value": pick([self.value(1), pick(["a", "abc"])])}

    def _networks(self, name: str) -> list[Any]:
        rnd, pick = self.rnd, self.pick
        if name == "net.cidr_merge":
            v4 = [f"10.{rnd.randrange(2)}.{rnd.randrange(4)}.0/{pick([8, 15, 16, 23, 24, 25])}" for _ in range(4)]
            v6 = [f"fe80:{rnd.randrange(3):x}::/{pick([16, 31, 32, 33])}" for _ in range(3)]
            return [pick([v4, v6, v4 + v6, ["10.1.2.3"], ["192.0.2.1", "192.0.2.0/25"], ["::/0", "::1/128"]])]
        if name == "net.cidr_contains_matches":
            some = [pick(["10.0.0.0/8", "10.1.0.0/16", "fe80::/10", "192.0.2.0/24", "::/0"]) for _ in range(3)]
            return [pick([some, _Set(some), {"k": some[0]}, some[0]]), [pick(["10.1.2.3", "10.1.0.0/24", "fe80::1"])]]
        if name == "net.cidr_expand":
            return [
                pick(
                    [
                        "10.0.0.0/30",
                        "10.0.0.7/32",
                        "fe80::/126",
                        "::ffff:10.0.0.0/126",
                        "10.0.0.0",
                        "255.255.255.254/31",
                    ]
                )
            ]
        nets = ("10.0.0.0/8", "10.1.0.0/30", "fe80::/126", "::ffff:10.0.0.0/104", "::ffff:0:0/90", "10.1.0.1", "x")
        return [pick(nets), pick(nets)]

    def _by_kind(self, name: str) -> list[Any] | None:
        rnd, pick, number = self.rnd, self.pick, self.number
        if name.startswith("numbers."):
            base = pick([0, 0, 0, 2**53, 2**63 - 9, -(2**63) + 9])
            return [base + rnd.randrange(-5, 9), base + rnd.randrange(-5, 9), pick([1, 2, 0, -1, *LARGE])]
        if name == "time.parse_duration_ns":
            return [pick(DURATIONS)]
        if name == "time.parse_ns":
            return [pick(LAYOUTS), pick(TIMES)]
        if name == "time.add_date":
            return [pick(MOMENTS), *(pick([0, 1, -1, 13]) for _ in range(3))]
        if name.startswith("time.") and name != "time.parse_rfc3339_ns":
            return [pick(MOMENTS), pick(MOMENTS)]
        if name.startswith("bits."):
            return [
                pick([0, 1, 255, -8, 2**40, *LARGE]),
                pick([0, 1, 3, 12, -1, 60, *(() if name.endswith("sh") else LARGE)]),
            ]
        if name in ("abs", "ceil", "floor", "round"):
            return [pick([*NUMBERS, round(rnd.uniform(-3, 3), 6)])]
        if name == "format_int":
            return [number(), pick([2, 8, 10, 16, 3])]
        if name in ("substring", "strings.split_n"):
            return [
                self.text() + self.text(),
                pick([-1, 0, 1, 5]) if name == "substring" else pick(["", "a", ","]),
                pick([-1, 0, 1, 9]),
            ]
        if name == "array.slice":
            return [[1, 2, 3], rnd.randrange(-1, 5), rnd.randrange(-1, 5)]
        if name.startswith("array."):
            return [[self.text(), number(), [self.text()]], [self.value()]]
        if name == "strings.replace_n":
            return [{pick(["a", "b", "ab", "é"]): pick(["", "x", "ab"]) for _ in range(3)}, self.text() + "abba"]
        if name == "concat":
            return [self.text(), pick([self.texts(), _Set(self.texts())])]
        if name == "urlquery.encode_object":
            return [{self.text(): pick([self.text(), self.texts(), _Set(self.texts())]) for _ in range(2)}]
        if name.startswith("object."):
            some = {"a": {"b": self.value(1)}, "c": 2}
            second = {"object.union": {"a": {"d": 1}}, "object.get": pick(["a", ["a", "b"], "z"])}.get(name, ["a"])
            return [[some, {"c": 3}] if name == "object.union_n" else some, second, "no"]
        if name.startswith("graph."):
            return [{key: [pick("abcd") for _ in range(rnd.randrange(3))] for key in "abc"}, [pick("abcd")]]
        if name in ("union", "intersection"):
            return [_Set([_Set(self.texts()) for _ in range(2)])]
        if name.startswith("is_") or name in ("type_name", "json.marshal", "to_number", "count"):
            return [self.value()]
        return None


def written(value: Any) -> str:
    """A value as Rego writes it."""
    if isinstance(value, _Set):
        return "{" + ", ".join(map(written, value)) + "}" if value else "set()"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)}: {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def sources(seed: int, calls: int) -> list[str]:
    """That many calls of each builtin, and as many of each operator, as Rego."""
    author = Author(seed)

    def call(name: str) -> str:
        return f"{name}({', '.join(f'as_is({written(each)})' for each in author.arguments(name))})"

    def operation(operator: str) -> str:
        return f"as_is({written(author.value())}) {operator} as_is({written(author.value())})"

    names = [name for name in sorted(ARITY.keys() - _SKIPPED) for _ in range(calls)]
    return [*map(call, names), *(operation(each) for each in OPERATORS for _ in range(calls))]


def compare(opa: Path, expressions: list[str]) -> Outcome:
    """Evaluate all expressions in both engines."""
    outcome = Outcome()
    for at in range(0, len(expressions), AT_ONCE):
        _compare(opa, expressions[at : at + AT_ONCE], outcome)
    return outcome


def _compare(opa: Path, expressions: list[str], outcome: Outcome) -> None:
    head = "package t\n\nas_is(x) := x\n"
    text = head + "".join(f"r{place} := {each}\n" for place, each in enumerate(expressions))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "t.rego"
        file.write_text(text, encoding="utf-8")
        run = subprocess.run(
            [str(opa), "eval", "-f", "json", "-d", str(file), "data.t"], capture_output=True, check=True
        )
    wanted = json.loads(run.stdout)["result"][0]["expressions"][0]["value"]
    texts, problems = rewrite([parse("t.rego", text)], {})
    if problems:
        raise ValueError(problems[0])
    engine = build(make_bundle({file: each.encode() for file, each in texts.items()}))
    for place, expression in enumerate(expressions):
        try:
            got = json.loads(engine.clone().eval_rule_as_json(f"data.t.r{place}"))
        except RuntimeError:
            name = expression.partition("(")[0]
            outcome.errors[name] = outcome.errors.get(name, 0) + 1
            continue
        want = wanted.get(f"r{place}", "<undefined>")
        if plain(got) == plain(want):
            outcome.equal += 1
        else:
            outcome.different.append((expression, got, want))


def plain(value: Any) -> str:
    """A value as comparable text, in which true is not 1 and 1.0 is."""
    if isinstance(value, list):
        return "[" + ",".join(map(plain, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{plain(each)}" for key, each in sorted(value.items())) + "}"
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return json.dumps(value)
