"""The web application over a database, without any process, to which webhooks are posted."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from bridge.storage.database import Database
from tests.support.apps import lent_app
from tests.support.configuring import load
from tests.support.inside import rows, translator

PASSWORD, OLD, TOKEN = "hunter22-now", "hunter11-before", "secret-access-token"
SECRETS = {
    "ETHOCA_SECRET": f"ethoca:{PASSWORD}",
    "ETHOCA_SECRET_PREVIOUS": f"ethoca:{OLD}",
    "VERIFI_SECRET": f"verifi:{PASSWORD}",
    "MIDIGATOR_SECRET": f"midigator:{PASSWORD}",
    "NEXT_STORE": "alpha",
    "NEXT_ACCESS_TOKEN": TOKEN,
}


class Door:
    """The web application over a database, without any process."""

    def __init__(self, database: Database, app: Flask) -> None:
        self.database = database
        self.app = app
        self.inbox = self.app.extensions["inbox"].deliveries
        self.client: FlaskClient = self.app.test_client()
        self.translate = translator(self.app)

    def post(self, body: bytes | Any, path: str = "/webhooks/ethoca", **options: Any) -> Any:
        """Post a webhook with the right credentials, unless the options say otherwise."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": basic("ethoca", PASSWORD)} | options.pop("headers", {})
        return self.client.post(path, data=content, headers=headers, **options)

    def rows(self, table: str) -> list[Any]:
        return rows(self.database, table)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextlib.contextmanager
def opened(url: str, **environ: str) -> Iterator[Door]:
    settings = load(**{**SECRETS, "DATABASE_URL": url, **environ})
    with contextlib.closing(Database(url)) as database, lent_app(settings, database, watch=True) as app:
        yield Door(database, app)
