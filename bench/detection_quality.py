"""How well the scanner finds what is labelled, on evaluation data that is not part of the project.

    python bench/detection_quality.py [FOLDER]        or CORDON_EVAL_DATA=FOLDER

Prints precision, recall and F1 by type (a finding counts when it has the type and covers at least half of the label
and is at most twice as long; `exact` counts equal spans), detection of secrets by kind, and findings in benign text.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.content.patterns import PatternScanner

LABELS = {
    "EMAIL": "email",
    "PHONE": "phone",
    "CREDIT_CARD": "payment_card",
    "IBAN": "iban",
    "US_SSN": "us_ssn",
    "IP": "ip_address",
}
BENIGN = ("notinject_339.jsonl", "wildguard_benign.jsonl", "deepset_662.jsonl", "bipia_indirect_train.jsonl")
VERBOSE = "-v" in sys.argv


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def spans(folder: Path, scanner: PatternScanner) -> None:
    total: dict[str, Counter[str]] = {kind: Counter() for kind in LABELS.values()}
    for path in sorted((folder / "pii").glob("*.jsonl")):
        counts: dict[str, Counter[str]] = {kind: Counter() for kind in LABELS.values()}
        number = 0
        for row in rows(path):
            number += 1
            _compare(row, scanner, counts)
        print(f"\n{path.name}: {number} rows")
        _table(counts)
        for kind, counter in counts.items():
            total[kind] += counter
    print("\nall")
    _table(total)


def _compare(row: dict[str, Any], scanner: PatternScanner, counts: dict[str, Counter[str]]) -> None:
    labels = [(LABELS[s["type"]], s["start"], s["end"]) for s in row["spans"] if s["type"] in LABELS]
    matches = [match for match in scanner.scan(row["text"]) if match.type in counts]
    for kind, start, end in labels:
        counts[kind]["labels"] += 1
        hit = [m for m in matches if m.type == kind and _agrees(m.start, m.end, start, end)]
        counts[kind]["found"] += bool(hit)
        counts[kind]["exact"] += any((m.start, m.end) == (start, end) for m in hit)
        if not hit and VERBOSE:
            print("MISSED", kind, repr(row["text"][max(0, start - 40) : start]), "|", repr(row["text"][start:end]), "|",
                  repr(row["text"][end : end + 20]))  # fmt: skip
    for match in matches:
        right = any(kind == match.type and _agrees(match.start, match.end, s, e) for kind, s, e in labels)
        counts[match.type]["matches"] += 1
        counts[match.type]["right"] += right
        if not right and VERBOSE:
            print("WRONG", match, repr(row["text"][max(0, match.start - 40) : match.end + 10]))


def _agrees(start: int, end: int, label_start: int, label_end: int) -> bool:
    common = min(end, label_end) - max(start, label_start)
    return 2 * common >= label_end - label_start and end - start <= 2 * (label_end - label_start)


def _table(counts: dict[str, Counter[str]]) -> None:
    print(f"  {'type':14}{'labels':>8}{'found':>8}{'matches':>9}{'P':>7}{'R':>7}{'F1':>7}{'exact':>7}")
    for kind, counter in counts.items():
        precision = counter["right"] / counter["matches"] if counter["matches"] else 0.0
        recall = counter["found"] / counter["labels"] if counter["labels"] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        exact = counter["exact"] / counter["labels"] if counter["labels"] else 0.0
        print(
            f"  {kind:14}{counter['labels']:8}{counter['found']:8}{counter['matches']:9}"
            f"{precision:7.3f}{recall:7.3f}{f1:7.3f}{exact:7.3f}"
        )


def secrets(folder: Path, scanner: PatternScanner) -> None:
    for path in sorted((folder / "secrets").glob("*.jsonl")):
        counts: Counter[tuple[bool, bool]] = Counter()
        missed: Counter[str] = Counter()
        for row in rows(path):
            found = any(match.type == "api_key" for match in scanner.scan(row["text"]))
            counts[row["is_secret"], found] += 1
            if row["is_secret"] and not found:
                missed[row["kind"]] += 1
                if VERBOSE:
                    print("MISSED", row["kind"], repr(row["text"][:200]))
            elif found and not row["is_secret"] and VERBOSE:
                print("WRONG", row["kind"], repr(row["text"][:200]))
        right, wrong = counts[True, True], counts[False, True]
        precision = right / (right + wrong) if right + wrong else 0.0
        recall = right / (right + counts[True, False]) if right + counts[True, False] else 0.0
        print(
            f"\n{path.name}: {counts.total()} rows; api_key precision {precision:.3f}, recall {recall:.3f}; "
            f"{wrong} of {wrong + counts[False, False]} non-secrets flagged"
        )
        print("  missed most: " + ", ".join(f"{kind} {number}" for kind, number in missed.most_common(12)))


def benign(folder: Path, scanner: PatternScanner) -> None:
    print("\nfindings in benign text (not labelled for personal data: some are real)")
    for name in BENIGN:
        path = folder / "prompt_injection" / name
        if not path.is_file():
            print(f"  {name}: skipped, not there")
            continue
        number, characters = 0, 0
        counts: Counter[str] = Counter()
        for row in rows(path):
            if row["label"] != 0:
                continue
            number += 1
            characters += len(row["text"])
            for match in scanner.scan(row["text"]):
                counts[match.type] += 1
                if VERBOSE:
                    print(
                        "BENIGN",
                        match.type,
                        match.confidence,
                        repr(row["text"][max(0, match.start - 30) : match.end + 10]),
                    )
        print(f"  {name}: {number} rows, {characters} characters: {dict(counts)}")


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    folder = Path(arguments[0] if arguments else os.environ.get("CORDON_EVAL_DATA", "../shared/data"))
    if not (folder / "pii").is_dir():
        print(f"skipped: no evaluation data at {folder} (give the folder as an argument or in CORDON_EVAL_DATA)")
        return 0
    scanner = PatternScanner()
    spans(folder, scanner)
    secrets(folder, scanner)
    benign(folder, scanner)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
