"""What a mutation is: a rule that matters, how it is broken, and who has to notice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FILES = {
    "api": "tests/web/test_api.py",
    "backfill": "tests/system/test_backfill.py",
    "batches": "tests/system/test_outcome_batches.py",
    "case": "tests/unit/test_case.py",
    "cases": "tests/providers/test_cases.py",
    "choices": "tests/system/test_outcome_choices.py",
    "cli": "tests/system/test_cli.py",
    "configured": "tests/unit/test_configured.py",
    "contract": "tests/system/test_outcome_contract.py",
    "crash": "tests/system/test_crash.py",
    "database": "tests/storage/test_database.py",
    "database_trouble": "tests/system/test_database_trouble.py",
    "dismiss": "tests/web/test_dismiss.py",
    "dispute": "tests/unit/test_dispute.py",
    "doctor": "tests/system/test_doctor.py",
    "end_to_end": "tests/system/test_end_to_end.py",
    "faults": "tests/system/test_faults.py",
    "fields": "tests/unit/test_fields.py",
    "forwarded": "tests/providers/test_forwarded.py",
    "hostile": "tests/system/test_hostile.py",
    "inbox": "tests/storage/test_inbox.py",
    "logs": "tests/unit/test_logs.py",
    "match": "tests/unit/test_match.py",
    "matching": "tests/storage/test_matching.py",
    "meanwhile": "tests/system/test_concurrent_changes.py",
    "metrics": "tests/web/test_metrics.py",
    "migrate": "tests/storage/test_migrate.py",
    "networks": "tests/unit/test_networks.py",
    "next_api": "tests/unit/test_next_api.py",
    "next_webhooks": "tests/system/test_next_webhooks.py",
    "notify": "tests/system/test_notify.py",
    "oauth": "tests/unit/test_oauth.py",
    "orders": "tests/system/test_orders.py",
    "outcomes": "tests/providers/test_provider_outcomes.py",
    "pace": "tests/system/test_pace.py",
    "promises": "tests/system/test_promises.py",
    "proof": "tests/unit/test_proof.py",
    "proofs": "tests/providers/test_provider_proofs.py",
    "provider_fields": "tests/providers/test_provider_fields.py",
    "providers": "tests/providers/test_providers.py",
    "pull": "tests/system/test_pull.py",
    "receive": "tests/web/test_receive.py",
    "reconcile": "tests/system/test_reconcile.py",
    "redact": "tests/unit/test_redact.py",
    "retry": "tests/unit/test_retry.py",
    "rules": "tests/system/test_rules.py",
    "security": "tests/web/test_security.py",
    "senders": "tests/system/test_promises_to_senders.py",
    "tell": "tests/system/test_outcomes.py",
    "this_machine": "tests/web/test_this_machine.py",
    "values": "tests/providers/test_provider_values.py",
    "viewer": "tests/web/test_viewer.py",
    "way_back": "tests/system/test_next_events.py",
    "words": "tests/system/test_outcome_words.py",
    "worker": "tests/unit/test_worker.py",
}
"""The files of tests by a short name: one that is moved is told here, and nowhere else."""


@dataclass(frozen=True)
class Mutation:
    """A broken rule. Each text that is replaced has to stand in the file exactly once."""

    name: str
    promise: str  # what is broken, in a sentence
    file: str
    changes: Sequence[tuple[str, str]]  # old text, new text
    tests: Sequence[str]  # `file: name`, the file by its short name, the test without its `test_`
    on_postgres: bool = False  # else tests that come twice run on SQLite alone

    @property
    def selection(self) -> tuple[str, ...]:
        """The tests that are expected to notice, as pytest names them."""
        named = (test.partition(": ") for test in self.tests)
        return tuple(f"{FILES[file]}::test_{name}" for file, _, name in named)

    def problems(self, root: Path) -> Iterator[str]:
        """Say why it cannot be tried: its list is older than the code."""
        path = root / self.file
        if not path.exists():
            yield f"there is no {self.file}"
            return
        text = path.read_text(encoding="utf-8")
        for old, new in self.changes:
            if (times := text.count(old)) != 1:
                yield f"{self.file} has this {times} times, not once: {old.strip().splitlines()[0]!r}"
            if old == new:
                yield "it changes nothing"
        for test in self.selection:
            file, _, name = test.partition("::")
            if not (root / file).exists():
                yield f"there is no {file}: say in FILES where it is now"
            elif f"def {name}(" not in (root / file).read_text(encoding="utf-8"):
                yield f"{file} has no {name}"

    def broken(self, text: str) -> str:
        """The text of its file with the rule broken."""
        for old, new in self.changes:
            text = text.replace(old, new)
        return text


def one(
    name: str, promise: str, file: str, old: str, new: str, *tests: str, postgres: bool = False
) -> Mutation:
    """A mutation of one place."""
    return Mutation(name, promise, file, ((old, new),), tests, postgres)
