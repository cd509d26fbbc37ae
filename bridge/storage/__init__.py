"""The inbox in SQLAlchemy Core: everything received, its queues and its history."""
