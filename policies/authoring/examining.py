"""All that `cordon policy check` says of a bundle's source, beside admission."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

from policies.admission import Admission, asked_rules
from policies.authoring.data_names import CODE as UNKNOWN_DATA
from policies.authoring.data_names import unknown_data
from policies.authoring.inputs import CODE, UNCHECKED, Inputs
from policies.authoring.layout import Layout, document
from policies.authoring.mocks import check_mocks
from policies.authoring.rules import Reach, entries, shadowed, unreached
from policies.bundle import Bundle
from policies.errors import BundleError, Problem
from policies.rego.names import Names
from policies.rego.parsing import parsed
from policies.rego.recursion import check_recursion
from policies.schemas import load
from policies.settings import Policy

CODES: Final = (CODE, UNCHECKED, UNKNOWN_DATA, "unreachable", "shadowed", "untested", "no_tests")
"""The stable codes of what is found here; those of admission are its own."""

_UNREADABLE: Final = frozenset({"parse", "nesting", "broken", "recursion"})
"""Codes of admission with which the source had better not be looked into any further."""

_ANY: Final[Mapping[str, Any]] = {}
_ENVOY: Final = (
    "version", "truncated_body", "attributes.destination", "attributes.metadataContext", "attributes.metadata_context",
    "attributes.contextExtensions", "attributes.context_extensions", "attributes.routeMetadataContext",
    "attributes.tlsSession", "attributes.request.time", "attributes.request.http.scheme",
    "attributes.request.http.protocol", "attributes.request.http.query", "attributes.request.http.fragment",
    "attributes.request.http.body", "attributes.request.http.raw_body", "attributes.request.http.rawBody",
    "attributes.request.http.size", "attributes.source.principal", "attributes.source.service",
    "attributes.source.labels", "attributes.source.certificate", "attributes.source.address.socketAddress.portValue",
    "attributes.source.address.socketAddress.protocol",
)  # fmt: skip
"""What opa-envoy-plugin's input has besides (from Envoy's `service.auth.v3.AttributeContext`); it is never here."""


def examine(bundle: Bundle, admission: Admission, settings: Policy) -> list[Problem]:
    """What admission found, and what is found in the source, in order of place."""
    problems = list(admission.problems)
    if any(problem.code in _UNREADABLE for problem in problems):
        return sorted(problems)
    try:
        modules = parsed({**bundle.modules, **bundle.tests})
    except BundleError as error:
        return sorted({*problems, *error.problems})
    names = Names(modules)
    circles = check_recursion(names)
    if circles:
        return sorted({*problems, *circles})
    reach = Reach(names)
    problems += _inputs(names, reach, settings)
    problems += unreached(names, reach, asked_rules(settings), bundle.modules)
    problems += shadowed(names)
    problems += unknown_data(names, bundle.data, reach.all(entries(names, asked_rules(settings))))
    return sorted(set(problems))


def _inputs(names: Names, reach: Reach, settings: Policy) -> list[Problem]:
    """References to `input`, by what it looks like when each rule is asked."""
    request, response = dict(load("input.request")), dict(load("input.response"))
    asked = [(settings.request_rule, request)]
    if not settings.unsafe_pass_answers:
        asked.append((settings.response_rule, response))
    reached = [(reach.plain([tuple(rule.split("."))]), schema) for rule, schema in asked]
    live = frozenset(path for paths, _ in reached for path in paths)
    elsewhere = reach.mocked(reach.all(entries(names, asked_rules(settings)))) | reach.all(entries(names, ()))
    whole = document(request, response)
    if settings.result_style == "opa-envoy":
        whole = document(*(_with_envoy(schema) for schema in (request, response)))
    inputs: dict[tuple[str, ...], Layout | None] = {}
    for path in names.rules:
        schemas = [schema for paths, schema in reached if path in paths]
        inputs[path] = None if path in elsewhere else document(*schemas) if schemas else whole
    found = Inputs(names, inputs, live, document(request, response)).problems()
    if settings.result_style == "opa-envoy":
        found = list(_lenient(found))
    return [*found, *check_mocks(names, whole)]


def _with_envoy(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with what opa-envoy-plugin's input has besides."""
    wider = copy.deepcopy(dict(schema))
    for path in _ENVOY:
        *way, last = path.split(".")
        at: Any = wider
        for step in way:
            at = at.get("properties", {}).get(step)
            if at is None:
                break
        else:
            at.setdefault("properties", {}).setdefault(last, _ANY)
    return wider


def _lenient(problems: Iterable[Problem]) -> Iterable[Problem]:
    """With a bundle that was written for the plugin, what only the plugin's input has is a warning that says so."""
    for problem in problems:
        plugin = next((path for path in _ENVOY if f"no input.{path} in" in problem.message), None)
        if plugin is None:
            yield problem
        else:
            message = f"opa-envoy-plugin has input.{plugin}, which is not given here and is always undefined"
            remedy = "do without it"
            yield Problem(problem.file, problem.line, problem.column, problem.code, message, remedy, "warning")
