"""Tests of the database: what is kept, found and converted, on SQLite and Postgres."""
