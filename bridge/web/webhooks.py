"""Receives webhooks: size, raw bytes, proof, cutting, commit, and only then the answer."""

from __future__ import annotations

import contextlib
import json
import re
import typing
from datetime import UTC, datetime
from functools import partial

import structlog
from flask import Blueprint, Response, current_app
from flask.globals import request_ctx
from werkzeug.exceptions import RequestEntityTooLarge

from bridge.alert import Webhook
from bridge.errors import Rejected, Unavailable
from bridge.providers.batches import MOST_ITEMS
from bridge.redact import cut_text
from bridge.settings.address import client_ip
from bridge.storage.deliveries import NO_NAME
from bridge.storage.intake import store_webhook, without_secrets
from bridge.tree import printable

if typing.TYPE_CHECKING:
    from flask import Request

    from bridge.providers.base import Provider
    from bridge.settings import Settings
    from bridge.storage.inbox import Inbox

log = structlog.get_logger()

LARGEST = 256 * 1024
"""Bytes of a webhook's body, at most."""
PIECE = 64 * 1024
RETRY_SECONDS = 5

PREFIX = "/webhooks"
LONGEST_NAME = 40
"""How much is said of a URL that names a wrong provider."""

routes = Blueprint("receive", __name__)


@routes.post("/webhooks")
@routes.post("/webhooks/<provider>")
@routes.post("/webhooks/<provider>/<store>")
@routes.post("/webhooks/<path:rest>")
def receive(provider: str = "", store: str = "", rest: str = "") -> Response:
    """Take one webhook in."""
    rest = rest or "/".join(filter(None, (provider, store)))  # Flask's `path` holds no line breaks
    inbox: Inbox = current_app.extensions["inbox"]
    settings: Settings = current_app.extensions["settings"]
    arrived = request_ctx.request  # not through Flask's proxy, where each look costs
    provider, _, store = rest.partition("/")
    try:
        known, webhook = _prove(settings, arrived, provider, store or None)
        return _keep(inbox, settings, known, webhook)
    except Rejected as error:
        is_known = provider in settings.providers
        name = provider if is_known else printable(cut_text(rest))[:LONGEST_NAME] or NO_NAME
        log.warning("webhook refused", provider=name, reason=error.word)
        if error.word != "unavailable":
            with contextlib.suppress(Unavailable):
                inbox.deliveries.count_refusal(name, error.word, str(error), known=is_known)
        raise


def plainly(path: str) -> str:
    """Return the path of a webhook as it is routed: letters' case and further slashes do not matter.

    Any other path is returned as it is.
    """
    plain = re.sub("/{2,}", "/", path.encode("latin-1", "replace").lower().decode("latin-1")).rstrip("/")
    return plain if plain == PREFIX or plain.startswith(f"{PREFIX}/") else path


def _prove(settings: Settings, arrived: Request, name: str, store: str | None) -> tuple[Provider, Webhook]:
    """Read the request and have its sender proven."""
    provider = settings.providers.get(name)
    if provider is None:
        raise Rejected("unknown_provider", 404, "There is no such provider.")
    if not settings.secrets.get(name):
        raise Rejected("unknown_provider", 404, "This provider is not enabled: no secret is configured.")
    if not provider.may_call_from(arrived.remote_addr):
        client = client_ip(arrived.remote_addr) or "unknown"
        raise Rejected("bad_proof", 401, f"The address {client} is not among the provider's networks.")
    if arrived.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise Rejected("unsupported_encoding", 415, "Send the body as it is, without Content-Encoding.")
    called = str(arrived.environ.get("RAW_URI", ""))
    if not called.startswith("/"):
        called = arrived.full_path.rstrip("?")
    webhook = Webhook(
        provider=name,
        path=called.partition("?")[0],
        body=_body(arrived),
        headers={key.lower(): value for key, value in arrived.headers.items()},
        query=arrived.args.to_dict(),
        store=store,
        method=arrived.method,
        url=f"{settings.base_url}{called}",
    )
    provider.proof.verify(webhook, settings.secrets_of(name, store), datetime.now(UTC))
    return provider, webhook


def _body(arrived: Request) -> bytes:
    """Read the raw body, whole, before anything else is held."""
    too_large = Rejected("too_large", 413, f"A webhook has at most {LARGEST // 1024} kB.")
    if (arrived.content_length or 0) > LARGEST:
        raise too_large
    try:
        body = b"".join(iter(partial(arrived.stream.read, PIECE), b""))
    except RequestEntityTooLarge:
        raise too_large from None
    except Exception:  # noqa: BLE001  the server's own errors hold the sender's bytes: none is shown
        raise Rejected("bad_request", 400, "The body is incomplete.") from None
    if len(body) < (arrived.content_length or 0):
        raise Rejected("bad_request", 400, "The body is incomplete.")
    if len(body) > LARGEST:
        raise too_large
    return body


def _keep(inbox: Inbox, settings: Settings, provider: Provider, webhook: Webhook) -> Response:
    """Store what is owed, cut, and acknowledge it in the provider's own way."""
    path = plainly(printable(cut_text(webhook.path)))
    kept, items = without_secrets(provider, webhook, path, settings.secrets[provider.name])
    if len(items) > MOST_ITEMS:
        raise Rejected("too_large", 413, f"A webhook has at most {MOST_ITEMS:,} alerts.")
    try:
        delivery = store_webhook(inbox.deliveries, provider, kept, items)
    except Unavailable as error:
        log.error("webhook not stored", provider=provider.name, why=str(error))
        raise Rejected("unavailable", 503, "The alert could not be stored. Send it again.") from None
    if own := provider.acknowledgement(items[0]):
        acknowledgement, text = own
        return Response(text, acknowledgement.status, content_type=acknowledgement.content_type)
    return Response(json.dumps({"id": delivery, "status": "received"}), content_type="application/json")
