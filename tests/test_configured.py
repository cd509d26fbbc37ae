"""Providers without code, and built-in ones with changes: what the file says is what they do."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from bridge import dispute, providers, settings
from bridge.alert import Alert, DisputeType, Effect, Reason, Webhook
from bridge.app import create_app
from bridge.database import Database
from bridge.errors import SettingsError, UnknownEvent, Untranslatable
from bridge.forward import Forwarder
from bridge.provider import HEADER, Provider, Reading
from bridge.sandbox import Sandbox
from bridge.sources import FIELDS
from bridge.tree import pick, render
from tests.conftest import MakeDatabase
from tests.fake_next import ROOT
from tests.fixtures import put

DOCUMENT = (ROOT / "docs" / "configuration.md").read_text("utf-8")
NOW = datetime(2026, 3, 7, 12, 0, tzinfo=UTC)

DESIGNED = """
[providers.acme]
format = "json"
type = "alert"
items = "data.cases"
proof = { kind = "hmac", header = "X-Acme-Signature", algorithm = "sha256", encoding = "hex" }
event_id = "id"
event_type = "kind"
deadline = "24h"
[providers.acme.effects]
"alert.created" = "open"
"alert.closed" = "resolve"
[providers.acme.fields]
case_number = "data.case"
amount = { path = "data.cents", unit = "minor" }
currency = "data.currency"
happened_at = { path = "data.at", zone = "US/Eastern" }
card = "data.card"
resolution = { path = "data.outcome", values = { refunded = "issued_full_refund" } }
[providers.acme.acknowledgement]
body = '{"ok": true}'
"""

FORM = """
[providers.paperless]
format = "form"
proof = { kind = "bearer" }
event_id = ["ref", "header:X-Delivery"]
event_type = "header:X-Event"
embedded = ["details"]
amount_unit = "minor"
deadlines = { "inquiry*" = "3h" }
test = { path = "demo", value = true }
[providers.paperless.effects]
new = "open"
Inquiry_New = "inform"
over = "resolve"
"*" = "ignore"
[providers.paperless.fields]
case_number = "ref"
subtype = { path = "sort", values = { F = "fraud", D = "dispute" } }
network = { value = "verifi" }
amount = "cents"
currency = "details.currency|currency"
order = "details.orders.0"
resolution = { path = "result", values = { WIN = "other", OPEN = "", "*" = "could_not_find_order" } }
message = "note"
refunded_by_gateway = "refunded"
withdrawn = { path = "state", values = { REVOKED = true, OPEN = false } }
"""


# --- three providers without code: two of the documentation, and a form -------------------------


@dataclass(frozen=True)
class Example:
    """A provider's table, its secret, and one webhook that opens a case."""

    name: str
    toml: str
    environ: Mapping[str, str]
    headers: Mapping[str, str]  # all but the proof's are enough
    body: bytes
    answer: str
    dispute: Mapping[str, Any]

    @property
    def secret(self) -> str:
        return self.environ[f"{self.name.upper()}_SECRET"]

    @property
    def provider(self) -> Provider:
        return load(self.toml).providers[self.name]

    def signed(self, body: bytes | None = None, secret: str | None = None) -> dict[str, str]:
        """The headers of a sender who knows the secret, or another one."""
        made = self.provider.proof.sign(self.body if body is None else body, secret or self.secret, NOW)
        return {**self.headers, **made}

    def webhook(self, body: bytes | None = None, **headers: str) -> Webhook:
        """The webhook as it is stored, but for its proof."""
        lower = {name.lower(): value for name, value in {**self.headers, **headers}.items()}
        return Webhook(self.name, f"/webhooks/{self.name}", self.body if body is None else body, lower)


def documented(heading: str) -> Example:
    """Take an example out of the documentation, as its reader would."""
    section = re.split(r"\n##+ ", DOCUMENT.split(f"\n### {heading}\n")[1])[0]
    blocks = {kind: text for kind, text in re.findall(r"```(\w+)\n(.*?)\n```", section, re.DOTALL)}
    head, _, body = blocks["http"].partition("\n\n")
    request, *headers = head.splitlines()
    path = request.split()[1]
    answer = re.search(r"is answered with `([^`]*)`", section)
    assert answer is not None
    return Example(
        name=path.rpartition("/")[2],
        toml=blocks["toml"],
        environ=dict(line.split("=", 1) for line in blocks["sh"].splitlines()),
        headers=dict(line.split(": ", 1) for line in headers),
        body=body.encode(),
        answer=answer[1],
        dispute=json.loads(blocks["json"]),
    )


ACME = documented("Example: JSON with a signature")
NORTHBANK = documented("Example: XML with HTTP Basic")
PAPERLESS = Example(
    name="paperless",
    toml=FORM,
    environ={"PAPERLESS_SECRET": "a-bearer-token-of-paperless"},
    headers={"Content-Type": "application/x-www-form-urlencoded", "X-Event": "new", "X-Delivery": "77"},
    body=urlencode(
        {
            "ref": "P-9",
            "sort": "F",
            "cents": "1999",
            "details": json.dumps({"currency": "jpy", "orders": ["5511"]}),
            "state": "OPEN",
            "result": "UNHEARD-OF",
        }
    ).encode(),
    answer="",
    dispute={
        "type": "alert",
        "case_number": "P-9",
        "amount": "1999.00",  # yen have no minor unit
        "currency": "JPY",
        "metadata": {"bridge_provider": "paperless", "bridge_network": "verifi"},
    },
)
EXAMPLES = pytest.mark.parametrize("example", [ACME, NORTHBANK, PAPERLESS], ids=lambda one: one.name)


def load(toml: str, **environ: str) -> settings.Settings:
    """Read the settings with this as bridge.toml."""
    return settings.load({"BRIDGE_CONFIG": "given.toml", **environ}, _Root(toml))


def _Root(toml: str) -> Path:  # noqa: N802  stands for a folder with one file
    class Folder(type(Path())):  # type: ignore[misc]
        def __truediv__(self, key: Any) -> Any:
            return self

        def read_bytes(self) -> bytes:
            return toml.encode()

    return Folder()  # type: ignore[no-any-return]


def problems(toml: str, **environ: str) -> list[str]:
    """What is said of a file that does not work, without the file's name."""
    with pytest.raises(SettingsError) as caught:
        load(toml, **environ)
    return [problem.removeprefix("given.toml: ") for problem in caught.value.problems]
