"""Tests that every provider's table inherits, and the fixtures they read."""
