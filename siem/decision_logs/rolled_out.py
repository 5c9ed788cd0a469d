"""The masks of bundles that are rolled out: what one of them decided goes out as it asks, beside the configured one.

A record names the bundles that decided by their revisions. Of a roll-out that is known, whatever its stage is by now,
the bundle is had from the bundle store as a worker has it. Where it cannot be, input and result are erased.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from lineage.errors import SideError
from lineage.rollouts import Rollout
from policies.errors import BundleError
from policies.reloading import examine
from policies.settings import Policy
from policies.stored import Fetch, stored_bundle
from policies.verdicts import Verdicts
from siem.decision_logs.event import Record
from siem.decision_logs.rules import LogRules

MOST: Final = 8
"""Bundles whose rules are held at once."""
_DECIDED: Final = ("policy", "tenant_policy")

_log = structlog.get_logger("cordon.decision_logs")


class RolledOutRules:
    """The rules of roll-outs' bundles, by revision. It belongs to the thread that made it, as engines do.

    `rollouts` reads those that are known now, `fetch` an archive of the bundle store by its digest.
    """

    def __init__(
        self,
        settings: Policy,
        run_dir: Path,
        rollouts: Callable[[], Mapping[str, Rollout]],
        fetch: Fetch,
    ) -> None:
        self._settings = settings
        self._verdicts = Verdicts(run_dir / "admitted")
        self._rollouts = rollouts
        self._fetch = fetch
        self._known: dict[str, Rollout] | None = None
        self._rules: dict[str, LogRules] = {}
        self._missing: set[str] = set()

    def refresh(self) -> None:
        """Look anew, once there is something to look for: there may be other roll-outs, or what was missing."""
        self._known = None
        self._missing.clear()

    def close(self) -> None:
        """Let go of the engines, in the thread that they belong to."""
        self._rules.clear()

    def of(self, record: Record, configured: str) -> list[LogRules | None]:
        """The rules of the roll-outs that decided, but for a bundle that is the `configured` one; None: not known."""
        revisions = {str(record[name]) for name in _DECIDED if record.get(name)} - {configured}
        return [self._of(revision) for revision in sorted(revisions) if revision in self._now()]

    def _now(self) -> Mapping[str, Rollout]:
        if self._known is None:
            self._known = {each.revision: each for each in self._rollouts().values()}
        return self._known

    def _of(self, revision: str) -> LogRules | None:
        if revision not in self._rules and revision not in self._missing:
            try:
                rules = self._load(self._now()[revision])
            except (BundleError, SideError) as error:
                self._missing.add(revision)
                _log.warning("log_rules_unknown", problem=str(error).partition("\n")[0], erased=True)
            else:
                if len(self._rules) >= MOST:
                    self._rules.clear()
                self._rules[revision] = rules
        return self._rules.get(revision)

    def _load(self, rollout: Rollout) -> LogRules:
        bundle = stored_bundle(self._fetch, rollout, self._settings.verification)
        return LogRules(examine(bundle, self._settings, self._verdicts), self._settings)
