"""Policy: Rego bundles loaded, admitted, evaluated, tested and explained.

What comes in: a folder of Rego and data (`settings.Policy.bundle`), and for each moment of a call a document, the
JSON text of `input` (`schemas/input.*.json`). What goes out: a `RequestDecision` or an `AnswerDecision`.

The files in the order in which a bundle passes them:

    bundle.py       reads the folder into memory (datafiles.py: its data, strictly)
    admission.py    has it examined in a disposable process (admission_worker.py) before anything serves it
    rego/           what is examined there: inspection.py refuses, rewriting.py makes the rest mean what OPA means
    embedded.py     evaluates it; engine.py is the seam that every engine keeps
    result.py       reads results strictly (envoy.py: those of opa-envoy-plugin bundles; shapes.py: patterns, schemas)
    reloading.py    watches the folder and swaps engines (verdicts.py: what was admitted before)
    rollouts.py     chooses the bundles of each call: canary.py its share, combine.py two bundles as one
    shadow/         tries a bundle beside the one that decides; watched.py hands it what was decided
    authoring/      checks a bundle's source, runs its tests, measures it
    testing.py      tries a bundle out on one document
    replay.py       decides recorded calls anew by a candidate
    explain.py      which rules hold or almost do; changes.py: what would have to be otherwise

`bundles/starter` is the bundle that a new installation begins with.
"""
