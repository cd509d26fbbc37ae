"""29next's Admin API as somebody who works there by hand would call it."""

from __future__ import annotations

from bridge.next_api import Json, NextApi


class ByName(NextApi):
    """The client, with a method for each thing that tests do beside the bridge."""

    def create_dispute(self, body: Json) -> Json:
        """Create a dispute; never call it twice for one case without looking."""
        return self.call("POST", "disputes/", body=body)

    def list_disputes(self, **filters: str) -> list[Json]:
        """Return the disputes that fit the filters."""
        return self.rows("disputes/", filters)

    def retrieve_dispute(self, dispute_id: int) -> Json:
        """Return one dispute."""
        return self.call("GET", f"disputes/{dispute_id}/")

    def update_dispute(self, dispute_id: int, body: Json) -> Json:
        """Change some fields of a dispute, such as its transaction."""
        return self.call("PATCH", f"disputes/{dispute_id}/", body=body)

    def resolve_dispute(self, dispute_id: int, body: Json) -> Json:
        """Resolve a dispute."""
        return self.call("POST", f"disputes/{dispute_id}/resolve/", body=body)

    def add_note(self, dispute_id: int, message: str) -> Json:
        """Add a note to a dispute."""
        return self.call("POST", f"disputes/{dispute_id}/notes/", body={"message": message})

    def list_notes(self, dispute_id: int) -> list[Json]:
        """Return the notes of a dispute."""
        return self.rows(f"disputes/{dispute_id}/notes/", {})

    def list_transactions(self, **filters: str) -> list[Json]:
        """Return the transactions that fit the filters."""
        return self.rows("transactions/", filters)

    def retrieve_transaction(self, transaction_id: int) -> Json:
        """Return one transaction."""
        return self.call("GET", f"transactions/{transaction_id}/")
