"""What a bridge in this process and one in processes of its own have in common: what has become of alerts."""

from __future__ import annotations

from typing import Any

from bridge.storage.search import Page, Search
from tests.support.webhooks import Sent

Json = dict[str, Any]


class AnyBridge:
    """A bridge that tests post to and look at."""

    search: Search

    def deliveries(self, **filters: str) -> list[Json]:
        """All deliveries that fit, newest first; with a limit, no more than that."""
        rows: list[Json] = []
        cursor: str | None = ""
        while cursor is not None:
            page: Page = self.search.deliveries(
                {"limit": "500", **filters, **({"cursor": cursor} if cursor else {})}
            )
            rows += page.results
            cursor = None if "limit" in filters else page.next
        return rows

    def delivery(self, which: Sent | str) -> Json:
        """A delivery by its id, or the newest of a webhook; empty if there is none."""
        if isinstance(which, str):
            return self.search.delivery(which) or {}
        rows = self.deliveries(provider=which.provider)
        return next((row for row in rows if row["event_id"] == which.event_id), {})

    def case(self, which: Sent | str, kind: str = "alert") -> Json:
        """The case of an alert, or of a case number, whole."""
        number, kind = (which, kind) if isinstance(which, str) else which.opens or ("", kind)
        (row,) = self.search.cases({"case_number": number, "type": kind}).results
        case = self.search.case(row["id"])
        assert case
        return case
