"""Tests of the HTTP surface: webhooks, JSON API, pages, access."""
