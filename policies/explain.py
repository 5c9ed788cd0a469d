"""Why a bundle decides on a document as it does: which rules hold, which almost do, and what would have to change.

Everything said here is found by evaluation and not by reading: a rule that almost holds is one whose body holds
without one of its conditions; a change that would allow a call was tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from regorus import Engine

from policies.bundle import Bundle
from policies.changes import Change, Search
from policies.embedded import build
from policies.errors import BundleError
from policies.rego.names import Names
from policies.rego.recursion import parts
from policies.rego.rewriting import rewrite
from policies.rego.tree import Module, Node, Rule, bodies, expressions, parse, references
from policies.testing import Evaluation

MOST_PROBES: Final = 2_000
_PROBE: Final = "cordon_probe"
_UNDEFINED: Final = "<undefined>"


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that is defined for the document, and its value."""

    rule: str
    file: str
    line: int
    value: object


@dataclass(frozen=True, slots=True)
class Almost:
    """A body that fails by one condition alone. `seen` are the values that the condition looks at, by reference."""

    rule: str
    file: str
    line: int
    condition: str
    seen: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `explain` found. `changes`: each alone (one or two steps) would have allowed the call; empty if it was."""

    fired: tuple[Fired, ...]
    almost: tuple[Almost, ...]
    changes: tuple[tuple[Change, ...], ...]


def explain(bundle: Bundle, rule: str, document: Mapping[str, Any], *, allowed: bool) -> Explanation:
    """Explain what `rule` (`data.….name`) says of `document`, the value of `input`.

    `bundle` is one as it was read, whose rewritten form was admitted.
    """
    modules = [parse(file, text) for file, text in bundle.modules.items()]
    names = Names(modules)
    reached = _reached(names, rule)
    engine = _engine(modules, bundle)
    engine.set_input_json(json.dumps(document))
    fired = tuple(_fired(engine, reached))
    holding = {(found.file, found.line) for found in fired}
    almost = tuple(_almost(engine, names, reached, bundle.data, document, holding))
    changes: tuple[tuple[Change, ...], ...] = ()
    if not allowed:
        paths, literals = _read(names, reached)
        changes = tuple(Search(engine, rule, document, bundle.data, paths, literals).run())
    return Explanation(fired, almost, changes)


def told(evaluated: Evaluation, found: Explanation) -> dict[str, object]:
    """A decision and its explanation as a JSON value."""
    decision = evaluated.decision
    return {
        "allow": decision.allow,
        "reasons": [reason.as_dict() for reason in decision.reasons],
        "rule": evaluated.rule,
        "revision": evaluated.revision,
        "fired": [asdict(fired) for fired in found.fired],
        "almost": [asdict(almost) for almost in found.almost],
        "changes": [[asdict(change) | {"text": str(change)} for change in changes] for changes in found.changes],
    }


def _engine(modules: Sequence[Module], bundle: Bundle) -> Engine:
    texts, problems = rewrite(list(modules), bundle.data)
    if problems:
        raise BundleError(problems)
    return build(replace(bundle, modules=texts))


def _reached(names: Names, rule: str) -> list[tuple[Module, Rule]]:
    """The rules that a rule can reach, itself first, each once."""
    seen: set[tuple[str, ...]] = set()
    ahead = [tuple(rule.split("."))]
    found: list[tuple[Module, Rule]] = []
    while ahead:
        path = ahead.pop(0)
        if path in seen:
            continue
        seen.add(path)
        for module, one in names.rules.get(path, []):
            found.append((module, one))
            for reference, _ in references(parts(one.node)):
                ahead.extend(names.reached(names.resolve(module, reference)))
    return found


def _fired(engine: Engine, reached: Sequence[tuple[Module, Rule]]) -> Iterator[Fired]:
    """The rules with a value. One of several definitions of a name stands for all: the engine tells only the value."""
    seen = set()
    for module, rule in reached:
        if rule.function or rule.open or rule.path in seen:
            continue
        seen.add(rule.path)
        value = _value(engine, ".".join(rule.path))
        if value not in (_UNDEFINED, [], {}, False):
            yield Fired(".".join(rule.path), module.file, module.place(rule.node)[0], value)


def _almost(
    engine: Engine,
    names: Names,
    reached: Sequence[tuple[Module, Rule]],
    data: Mapping[str, Any],
    document: Mapping[str, Any],
    holding: set[tuple[str, int]],
) -> Iterator[Almost]:
    probes = 0
    for module, rule in reached:
        if rule.function or rule.default or rule.kind == "Default":
            continue
        for body in rule.node.get("bodies", ()):
            statements = body["query"]["stmts"]
            if probes + len(statements) > MOST_PROBES:
                return
            probes += len(statements) + 1
            texts = [module.source(statement) for statement in statements]
            if _holds(engine, module, texts):
                continue
            for at, statement in enumerate(statements):
                rest = texts[:at] + texts[at + 1 :]
                if rest and not _holds(engine, module, rest):
                    continue
                if not rest and (module.file, module.place(rule.node)[0]) in holding:
                    continue
                line = module.place(statement)[0]
                seen = dict(_seen(names, module, statement, data, document))
                yield Almost(".".join(rule.path), module.file, line, texts[at], seen)


def _holds(engine: Engine, module: Module, texts: Sequence[str]) -> bool:
    """Whether these conditions hold together, in the place of their module; not where they make no query."""
    imports = "\n".join(module.source(node) for node in module.tree["imports"])
    package = ".".join(module.package[1:])
    text = f"package {package}\n\n{imports}\n\n{_PROBE} if {{\n" + "\n".join(texts) + "\n}\n"
    probe = engine.clone()
    try:
        rewritten, problems = rewrite([parse("probe.rego", text)], {})
        if problems:
            return False
        probe.add_policy("probe.rego", rewritten["probe.rego"])
        return bool(json.loads(probe.eval_rule_as_json(f"data.{package}.{_PROBE}")) is True)
    except Exception:
        return False


def _value(engine: Engine, rule: str) -> object:
    try:
        return json.loads(engine.clone().eval_rule_as_json(rule))
    except Exception:
        return _UNDEFINED


def _seen(
    names: Names, module: Module, statement: Node, data: Mapping[str, Any], document: Mapping[str, Any]
) -> Iterator[tuple[str, object]]:
    """The values of the references in a condition that stand for a place in the input or in the data."""
    for reference, _ in references(statement["literal"]):
        path = names.resolve(module, reference)
        if len(path) < 2 or path[0] not in ("input", "data") or None in path or any(names.reached(path)):
            continue
        value: object = document if path[0] == "input" else data
        for step in path[1:]:
            value = value.get(step, _UNDEFINED) if isinstance(value, Mapping) else _UNDEFINED
        yield ".".join(str(step) for step in path), value


def _read(names: Names, reached: Sequence[tuple[Module, Rule]]) -> tuple[set[tuple[str, ...]], list[object]]:
    """What of the input the rules name, and the literals in them: where to change what, and into what."""
    paths: set[tuple[str, ...]] = set()
    literals: dict[str, object] = {}
    for module, rule in reached:
        for reference, _ in references(parts(rule.node)):
            path = names.resolve(module, reference)
            if path[:1] == ("input",):
                static = []
                for step in path[1:]:
                    if step is None:
                        break
                    static.append(step)
                paths.add(tuple(static))
        for kind, node in expressions(list(bodies(rule.node))):
            if kind in ("String", "RawString", "Number", "Bool"):
                literals[json.dumps(node["value"])] = node["value"]
    return paths, list(literals.values())
