"""Tests of the whole bridge: its promises, through webhooks, commands and the ledger of 29next."""
