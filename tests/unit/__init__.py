"""Tests of single parts by their public names, without a database."""
