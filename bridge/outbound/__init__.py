"""Calls to other services over HTTP: the one client for all of them."""
