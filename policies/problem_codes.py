"""Every code of a finding about a bundle: what it means, what to do, and the least Rego that has it.

`cordon errors CODE` and the reference are written from this table; a test holds it against the code of this package,
and has each example examined.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

_AS_OPA: Final = "What the embedded engine would evaluate otherwise than OPA is refused, and never decided otherwise."


class Known(NamedTuple):
    """What a code means and what to do. `rego`: rules of a module that has it, where it is one about Rego."""

    meaning: str
    remedy: str
    rego: str = ""


PROBLEMS: Final[Mapping[str, Known]] = {
    "archive": Known(
        "The archive is no plain `.tar.gz`: damaged, of a kind that is not read, or with a name that leads out of it.",
        "Make it with `opa build` or `tar -czf`, of plain files under plain relative names.",
    ),
    "broken": Known(
        "The process that examines the bundle, or the one that tries it in shadow, ran out of time or memory on it, or "
        "ended. The step that it was in is told.",
        "Simplify what the step was about; or raise `policy.admission_seconds` where it is only slow.",
    ),
    "builtin": Known(
        f"The builtin function is not evaluated by the embedded engine. {_AS_OPA}",
        "Use what the message names in its place, or `engine: opa`. `docs/reference/policy.md` lists them all.",
        'decision := {"allow": http.send({"method": "get", "url": "http://a"}).status_code == 200}',
    ),
    "call": Known(
        "A function gets too few or too many arguments, a rule is called as if it were a function, or vice versa.",
        "Correct the call; write `x := f(a)`, not `f(a, x)`.",
        'decision := {"allow": startswith(input.tenant.id)}',
    ),
    "changing": Known(
        "A note: the builtin gives another result at another time or each time (the clock, chance). Decisions of such "
        "a rule are not remembered, and a replay may find another one.",
        "Nothing, where that is meant. For a window of time, compare it in one rule that few others need.",
        'decision := {"allow": time.now_ns() > 0}',
    ),
    "compile": Known(
        "Each file can be read, but the engine makes no policy of them together.",
        "Correct it where the message points; `opa check` on the folder says the same in other words.",
    ),
    "conflict": Known(
        "One name stands for two things: a rule and a value of the data, a rule and what lies below it, two defaults, "
        "or functions with different numbers of arguments.",
        "Rename one of them.",
        'decision := {"allow": true}\n\npart := 1\n\npart.of.it := 2',
    ),
    "cost": Known(
        "A decision takes longer on likely input than `policy.decision_ms` allows, or a file takes long to read.",
        "Look values up by key instead of searching for them (`cordon policy bench` shows the slowest rules), or raise "
        "`policy.decision_ms`.",
    ),
    "data": Known(
        "A data file cannot be taken: it is no JSON or YAML, has the same key twice, a number that is not exact, or "
        "sets what another file sets too.",
        "Correct the file at the line that is told.",
    ),
    "default": Known(
        f"A default value that is computed, or the default of a function with a dotted name. {_AS_OPA}",
        "Write the value out; end a function's chain with `else`.",
        "default decision := [x | some x in [1]]",
    ),
    "delta": Known(
        "The bundle is a delta (`patch.json`), which never counts: nobody signs what it leads to.",
        "Serve snapshots.",
    ),
    "division": Known(
        f"A time in nanoseconds is divided, and the quotient is no exact number. {_AS_OPA}",
        "Multiply the other side of the comparison instead.",
        'decision := {"allow": time.now_ns() / 1000 > input.at}',
    ),
    "download": Known(
        "The bundle server did not give the bundle: no answer, another status than 200 or 304, or no bundle.",
        "See that the server runs, and `policy.bundle` and `policy.download` in the configuration.",
    ),
    "empty": Known("There is no `.rego` file in the bundle.", "Let `policy.bundle` point to Rego files."),
    "encoding": Known("The file is not UTF-8.", "Save it as UTF-8."),
    "entry": Known(
        "A rule that is asked for decisions is not there.",
        "Add it, or name yours in `policy.request_rule` and `policy.response_rule`.",
        'other := {"allow": true}',
    ),
    "every": Known(
        f"`=` with a variable of `every`. {_AS_OPA}",
        "Write `==` to compare, or `:=` to name a value.",
        'decision := {"allow": true} if {\n\tevery x in input.tenant.residency { x = "EU" }\n}',
    ),
    "files": Known("More files than may be tried at once in the playground.", "Leave some out."),
    "format": Known(
        f"`sprintf` with a verb that is not evaluated here, such as `%c` or `%t`. {_AS_OPA}",
        "Use `%v`.",
        'decision := {"allow": sprintf("%c", [65]) == "A"}',
    ),
    "fraction": Known(
        f"Arithmetic on a fraction. {_AS_OPA}",
        "Count in smaller units, as whole numbers.",
        'decision := {"allow": input.content.bytes * 1.5 > 2}',
    ),
    "glob": Known(
        f"A pattern of `glob.match` beyond text, `*`, `**`, `?`, classes and alternatives. {_AS_OPA}",
        "Use `regex.match`.",
        'decision := {"allow": glob.match("{a,{b,c}}", [], "a")}',
    ),
    "head": Known(
        f"A head has a computed argument, or a variable in its middle beside rules that do not fit. {_AS_OPA}",
        "Put the variable last; name the argument by a variable, and compare in the body.",
        'decision := {"allow": f("A")}\n\nf(upper("a")) := true',
    ),
    "hidden": Known(
        "An archive has a hidden file, which OPA would read.",
        "Take it out, or rename it.",
    ),
    "import": Known(
        "An import that is not supported, that imports its own package, or a name that an import hides.",
        "Leave the import out, or give it another name by `as`.",
        'import data.cordon.request\n\ndecision := {"allow": true}',
    ),
    "keyword": Known(
        "A rule is called like a keyword, and is read in two ways.",
        "Rename the rule.",
    ),
    "link": Known("A symbolic link leads out of the bundle.", "Copy the file."),
    "machine": Known(
        "The machine, not the bundle: the process that examines it could not be started. It is tried again.",
        "`cordon doctor` says what is scarce: memory, processes, files.",
    ),
    "missing": Known(
        "There is no such folder or archive, or a roll-out's bundle is not in the bundle store.",
        "Correct `policy.bundle`; propose the bundle again.",
    ),
    "name": Known("This is no name that a file of a bundle can have.", "Name it `….rego`, `data.json` or `data.yaml`."),
    "negation": Known(
        "A negation of a constant, or with `_` in it, which OPA calls unsafe.",
        "Name what is looked for: `some x in …`, or `every`.",
        'decision := {"allow": true} if not input.tenant.residency[_] == "US"',
    ),
    "nesting": Known(
        "Brackets are nested so deeply, or are so many, that reading the file could take for ever.",
        "Nest less, or split the file.",
    ),
    "no_tests": Known(
        "A note: the bundle has no tests, so nothing shows that a change keeps what it should.",
        "Write rules named `test_…` in files named `…_test.rego`.",
    ),
    "number": Known(
        f"A number that cannot be compared exactly, or is written in a way that OPA keeps (1.0, 1e3). {_AS_OPA}",
        "Keep whole numbers within 64 bits, and write numbers plainly.",
        'decision := {"allow": true, "labels": {"share": 1.0}}',
    ),
    "opa": Known(
        "The OPA server does not take the bundle, or holds policies of somebody else.",
        "Correct what it names; give Cordon an OPA server of its own.",
    ),
    "order": Known(
        f"Sets are compared by `<` or `>`. {_AS_OPA}",
        "Compare what is in them, or count them.",
        'decision := {"allow": {1} < {2}}',
    ),
    "package": Known(
        f"A package is read as a value. {_AS_OPA}",
        "Name the rules one by one.",
    ),
    "parse": Known(
        "The file is no Rego.",
        "Correct it where the message points.",
        'decision := {"allow": true',
    ),
    "recursion": Known(
        "Rules depend on themselves.",
        "Break the circle that is named.",
        'decision := {"allow": one}\n\none := other\n\nother := one',
    ),
    "regex": Known(
        "RE2, the language of patterns that cannot run away, does not accept the pattern.",
        "Correct it; lookarounds and `\\C` do not exist.",
        'decision := {"allow": regex.match("(?=a)", input.tenant.id)}',
    ),
    "rego_version": Known(
        "The manifest says that the Rego is not of version 1.", "Write Rego v1 (`opa fmt --rego-v1`)."
    ),
    "reserved": Known(
        "The package `cordon_exact`, and what Cordon makes of heads with a variable in the middle, are Cordon's own.",
        "Do not read, replace or declare what has such a name.",
    ),
    "revision": Known(
        "The archive in the bundle store is of another revision than was proposed.", "Propose the bundle again."
    ),
    "rewrite": Known(
        "An expression cannot be made to mean exactly what it means to OPA.",
        "Write it more simply near the line that is told, or use `engine: opa`.",
    ),
    "shadowed": Known(
        "A warning: a body, an `else` or a default that can never matter, because another always does.",
        "Take it out.",
        'default decision := {"allow": false}\n\ndecision := {"allow": true}',
    ),
    "signature": Known(
        "The bundle is not signed, by another key, or is not what was signed.",
        "Sign it as it is (`cordon policy sign`); `cordon policy verify` tries the key.",
    ),
    "size": Known("A file, or the bundle, is larger than is read.", "Split it."),
    "store": Known(
        "The bundle store could not be read. Calls that the roll-out decides are refused until it can be.",
        "`cordon doctor` says why.",
    ),
    "test": Known(
        "A test of the bundle fails, so it cannot be proposed.",
        "Mend the rule, or the test (`cordon policy test`).",
    ),
    "unchecked": Known(
        "A warning: so much is nested in an expression that what it reads of the input was not looked at.",
        "Divide it.",
    ),
    "unknown_data": Known(
        "The bundle has nothing there, neither a rule nor data, so the reference is always undefined. Names that are "
        "close are told. In a rule that decides it is an error, elsewhere a warning.",
        "Correct the name, or add the data.",
        'decision := {"allow": true} if not data.cordon.response.denied',
    ),
    "unknown_input": Known(
        "The input never has what is read here, so the reference is always undefined. Names that are close are told.",
        "Correct the name; `docs/reference/policy.md` has all of the input.",
        'decision := {"allow": input.principle.id == "acme/ci"}',
    ),
    "unlike_calls": Known(
        "A note: the rule reads what is another in each call (its id, the time), so no two decisions are alike and "
        "none is remembered.",
        "Nothing, where that is meant.",
        'decision := {"allow": input.call.id != ""}',
    ),
    "unreachable": Known(
        "A warning: neither a decision nor a test reaches the rule.",
        "Use it, or take it out.",
        'decision := {"allow": true}\n\nleft_over := 1',
    ),
    "unreadable": Known(
        "A file of the bundle cannot be read, or is none.", "See its permissions; take out what is no file."
    ),
    "unsafe": Known(
        "Nothing gives a variable a value: as a rule its name is misspelt. The rule would never have a value.",
        "Correct the name, or bind it in the body.",
        'decision := {"allow": count(deny) == 0}\n\ndeny contains mesage if message := "never said"',
    ),
    "untested": Known(
        "A note: the bundle has tests, and none of them reaches the rule.",
        "Write a rule named `test_…` that evaluates it.",
    ),
    "version": Known("This is Rego v0.", "Write it in Rego v1 (`opa fmt --rego-v1`)."),
    "whole_input": Known(
        "A note: any part of the input may be read, or very many are, so decisions are not remembered.",
        "Name the parts that are meant.",
        'decision := {"allow": count(input) > 0}',
    ),
    "with": Known(
        f"`with` replaces a function by something that cannot be guarded here. {_AS_OPA}",
        "Give it a constant, or a function of the bundle that does not call the replaced one.",
    ),
    "with_data": Known(
        f"`with` replaces the bundle's own data. {_AS_OPA}",
        "Give the rule what it needs as an argument.",
    ),
}
