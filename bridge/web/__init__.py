"""The HTTP side of the bridge: webhooks come in here, and people and programs look at what became of them."""
