"""Receives webhooks: checks size and proof, cuts card numbers, commits, and only then answers."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from functools import partial

import structlog
from flask import Blueprint, Request, Response
from flask.globals import request_ctx
from werkzeug.exceptions import RequestEntityTooLarge

from bridge.alert import Webhook
from bridge.errors import Rejected, Unavailable
from bridge.providers.base import Provider
from bridge.providers.batches import MOST_ITEMS
from bridge.redact import cut_text
from bridge.settings import Settings
from bridge.settings.address import client_ip
from bridge.storage.deliveries import NO_NAME
from bridge.storage.inbox import Inbox
from bridge.storage.intake import store_webhook, without_secrets
from bridge.tree import printable
from bridge.web import current

log = structlog.get_logger()

LARGEST = 256 * 1024
"""Bytes of a webhook's body, at most."""
CHUNK = 64 * 1024
RETRY_SECONDS = 5

PREFIX = "/webhooks"
LONGEST_NAME = 40
"""Characters that are kept of a URL that names an unknown provider."""

routes = Blueprint("receive", __name__)


@routes.post("/webhooks")
@routes.post("/webhooks/<provider>")
@routes.post("/webhooks/<provider>/<store>")
@routes.post("/webhooks/<path:rest>")
def receive(provider: str = "", store: str = "", rest: str = "") -> Response:
    """Receives one webhook."""
    rest = rest or "/".join(filter(None, (provider, store)))  # Flask's `path` holds no line breaks
    inbox, settings = current.inbox(), current.settings()
    request = request_ctx.request  # not through Flask's proxy, where each access costs
    provider, _, store = rest.partition("/")
    try:
        sender, webhook = _verified(settings, request, provider, store or None)
        return _store(inbox, settings, sender, webhook)
    except Rejected as error:
        is_known = provider in settings.providers
        name = provider if is_known else printable(cut_text(rest))[:LONGEST_NAME] or NO_NAME
        log.warning("webhook refused", provider=name, reason=error.word)
        if error.word != "unavailable":
            with contextlib.suppress(Unavailable):
                inbox.deliveries.count_refusal(name, error.word, str(error), known=is_known)
        raise


def normalized_path(path: str) -> str:
    """Returns the path of a webhook in lower case and without extra slashes; any other path as it is."""
    lower = path.encode("latin-1", "replace").lower().decode("latin-1")
    normalized = re.sub("/{2,}", "/", lower).rstrip("/")
    return normalized if normalized == PREFIX or normalized.startswith(f"{PREFIX}/") else path


def _verified(settings: Settings, request: Request, name: str, store: str | None) -> tuple[Provider, Webhook]:
    """Reads a request and verifies its sender; raises Rejected."""
    provider = settings.providers.get(name)
    if provider is None:
        raise Rejected("unknown_provider", 404, "There is no such provider.")
    if not settings.secrets.get(name):
        raise Rejected("unknown_provider", 404, "This provider is not enabled: no secret is configured.")
    if not provider.may_call_from(request.remote_addr):
        client = client_ip(request.remote_addr) or "unknown"
        raise Rejected("bad_proof", 401, f"The address {client} is not among the provider's networks.")
    if request.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise Rejected("unsupported_encoding", 415, "Send the body as it is, without Content-Encoding.")
    target = str(request.environ.get("RAW_URI", ""))
    if not target.startswith("/"):
        target = request.full_path.rstrip("?")
    webhook = Webhook(
        provider=name,
        path=target.partition("?")[0],
        body=_body(request),
        headers={key.lower(): value for key, value in request.headers.items()},
        query=request.args.to_dict(),
        store=store,
        method=request.method,
        url=f"{settings.base_url}{target}",
    )
    provider.proof.verify(webhook, settings.secrets_of(name, store), datetime.now(UTC))
    return provider, webhook


def _body(request: Request) -> bytes:
    """Reads the whole raw body; raises Rejected if it is too large or incomplete."""
    too_large = Rejected("too_large", 413, f"A webhook has at most {LARGEST // 1024} kB.")
    if (request.content_length or 0) > LARGEST:
        raise too_large
    try:
        body = b"".join(iter(partial(request.stream.read, CHUNK), b""))
    except RequestEntityTooLarge:
        raise too_large from None
    except Exception:  # noqa: BLE001  gunicorn's own errors quote the sender's bytes
        raise Rejected("bad_request", 400, "The body is incomplete.") from None
    if len(body) < (request.content_length or 0):
        raise Rejected("bad_request", 400, "The body is incomplete.")
    if len(body) > LARGEST:
        raise too_large
    return body


def _store(inbox: Inbox, settings: Settings, provider: Provider, webhook: Webhook) -> Response:
    """Stores a webhook without its secrets and card numbers. Returns the provider's acknowledgement."""
    path = normalized_path(printable(cut_text(webhook.path)))
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
