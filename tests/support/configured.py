"""Providers without code, as `bridge.toml` tells them: two of the documentation's examples and a form's.

What is promised of every provider is promised of them too: see `any_provider` in tests.support.fixtures.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from bridge.alert import Webhook
from bridge.providers.base import Item, Provider
from tests.support.configuring import blocks, load
from tests.support.documents import ROOT

DOCUMENT = (ROOT / "docs" / "configuration.md").read_text("utf-8")

FORM = """
[providers.paperless]
format = "form"
proof = { kind = "bearer" }
event_id = ["ref", "header:X-Delivery"]
event_type = "header:X-Event"
embedded = ["details"]
amount_unit = "minor"
deadlines = { "Inquiry*" = "3h" }
test = { path = "demo", value = true }
[providers.paperless.effects]
new = "open"
Inquiry_New = "inform"
over = "resolve"
gone = "withdraw"
[providers.paperless.fields]
case_number = "ref"
subtype = { path = "sort", values = { F = "fraud", D = "dispute" } }
network = { value = "cdrn" }
amount = "cents"
currency = "details.currency|currency"
order = "details.orders.0"
resolution = { path = "result", values = { WIN = "other", PAID = "issued_full_refund", OPEN = "", "*" = %s } }
message = "note"
refunded_by_gateway = "refunded"
withdrawn = { path = "state", values = { REVOKED = true, OPEN = false } }
""".replace("%s", '"could_not_find_order"')


@dataclass(frozen=True, eq=False)
class Example:
    """A provider's table and variables, and one webhook that opens a case."""

    name: str
    toml: str
    environ: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    answer: str
    dispute: Mapping[str, Any]

    @functools.cached_property
    def provider(self) -> Provider:
        return load(self.toml).providers[self.name]

    @property
    def secret(self) -> str:
        return self.environ[self.provider.secret_variable]

    def signed(self, body: bytes | None = None, secret: str | None = None) -> dict[str, str]:
        """The headers of a sender who knows the secret, or another one."""
        body = self.body if body is None else body
        return {**self.headers, **self.provider.proof.sign(body, secret or self.secret, datetime.now(UTC))}

    def item(self, **headers: str) -> Item:
        """The event of the webhook, with other headers where they are given."""
        lower = {name.lower(): value for name, value in {**self.headers, **headers}.items()}
        [item] = self.provider.read(Webhook(self.name, f"/webhooks/{self.name}", self.body, lower))
        return item


def documented(heading: str) -> Example:
    """Take an example out of the documentation, as its reader would."""
    section = re.split(r"\n##+ ", DOCUMENT.split(f"\n### {heading}\n")[1])[0]
    found = dict(blocks(section))
    head, _, body = found["http"].partition("\n\n")
    request, *headers = head.splitlines()
    answer = re.search(r"the bridge answers `([^`]*)`", section)
    assert answer is not None
    return Example(
        name=request.split()[1].removeprefix("/webhooks/"),
        toml=found["toml"],
        environ=dict(line.split("=", 1) for line in found["sh"].splitlines()),
        headers=dict(line.split(": ", 1) for line in headers),
        body=body.encode(),
        answer=answer[1],
        dispute=json.loads(found["json"]),
    )


ACME = documented("Example: JSON with a signature")
NORTHBANK = documented("Example: XML with HTTP Basic")
PAPERLESS = Example(
    name="paperless",
    toml=FORM,
    environ={"PAPERLESS_SECRET": "a-bearer-token-of-paperless"},
    headers={
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Event": "new",
        "X-Delivery": "77",
        "Authorization": "Bearer a-bearer-token-of-paperless",
    },
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
        "metadata": {"bridge_provider": "paperless", "bridge_network": "cdrn"},
    },
)

ALL = (ACME, NORTHBANK, PAPERLESS)
