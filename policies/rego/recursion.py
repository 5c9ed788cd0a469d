"""Finds rules and functions that depend on themselves. OPA refuses them; the engine would end the process."""

from __future__ import annotations

from policies.errors import Problem
from policies.rego.names import Names
from policies.rego.tree import references

Step = tuple[str, ...]


def check_recursion(names: Names) -> list[Problem]:
    """One problem for each group of rules that depend on each other, at the first of them."""
    problems = []
    for group in _cycles(dependencies(names)):
        module, rule = min(
            (names.rules[path][0] for path in group), key=lambda found: (found[0].file, found[0].place(found[1].node))
        )
        chain = ", ".join(sorted(".".join(path) for path in group))
        problems.append(
            module.problem(rule.node, "recursion", f"these depend on themselves: {chain}", "break the circle")
        )
    return problems


def dependencies(names: Names) -> dict[Step, set[Step]]:
    """Which rules each rule reads or calls, by path."""
    graph: dict[Step, set[Step]] = {path: set() for path in names.rules}
    for path, found in names.rules.items():
        for module, rule in found:
            for reference, _ in references(parts(rule.node)):
                graph[path].update(names.reached(names.resolve(module, reference)))
    return graph


def parts(node: object) -> list[object]:
    """A rule without the reference of its own head."""
    assert isinstance(node, dict)
    if "head" not in node:
        return [node["value"]]
    head = next(iter(node["head"].values()))
    parts = [value for name, value in head.items() if name != "refr"]
    refr = next(iter(head["refr"].values()))
    return [*parts, refr.get("index"), node["bodies"]]


def _cycles(graph: dict[Step, set[Step]]) -> list[list[Step]]:
    """Strongly connected components that hold a circle (Tarjan's algorithm, without recursion)."""
    index: dict[Step, int] = {}
    low: dict[Step, int] = {}
    stack: list[Step] = []
    on_stack: set[Step] = set()
    found: list[list[Step]] = []
    for root, reached in graph.items():
        if root in index:
            continue
        work = [(root, iter(reached))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, edges = work[-1]
            for following in edges:
                if following not in index:
                    index[following] = low[following] = len(index)
                    stack.append(following)
                    on_stack.add(following)
                    work.append((following, iter(graph[following])))
                    break
                if following in on_stack:
                    low[node] = min(low[node], index[following])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = stack[stack.index(node) :]
                    del stack[-len(group) :]
                    on_stack.difference_update(group)
                    if len(group) > 1 or node in graph[node]:
                        found.append(group)
    return found
