"""The inbox in SQLAlchemy Core: what was received, what is owed, and what became of it."""
