"""Installing: a merchant lets the bridge into a store, by 29next's OAuth 2 authorization code flow.

29next opens `/install?store=example.29next.store` (their example app); the store asks its merchant and
sends the answer to `/authorize`. Anybody may come here, so that a store which is installed gets nothing
by it: only a route or its name in a webhook's path brings alerts to it.
"""

from __future__ import annotations

import re
import secrets
import threading
import typing
from urllib.parse import urlencode, urljoin

import structlog
from flask import redirect, render_template, request, session, url_for

from bridge.errors import BridgeError, PermanentError, Rejected
from bridge.next29.client import fetch_token
from bridge.providers.proof import same
from bridge.settings import address
from bridge.storage.schema import StateKind
from bridge.web import viewer
from bridge.worker.client import client_of
from bridge.worker.subscriptions import events_of, subscribe

if typing.TYPE_CHECKING:
    from bridge.settings import Store
    from bridge.storage.installations import AllStores

log = structlog.get_logger()

SCOPES = (
    *("disputes:read", "disputes:write", "transactions:read", "transactions:write"),
    *("orders:read", "webhooks:read", "webhooks:write"),
)
ANSWER_SECONDS = 600.0
"""How long a merchant may take to answer."""
TOKEN_SECONDS = 10.0
AT_ONCE = threading.BoundedSemaphore(4)
"""Tokens that are fetched at the same time: the other threads are there to receive alerts."""
WORD = re.compile(r"[a-z_]{1,40}")


def only_where_it_is_on() -> None:
    """Know nothing of installing where the bridge has no name at 29next."""
    if not viewer.settings().installs:
        raise Rejected("not_found", 404, "Nothing can be installed here: NEXT_CLIENT_ID is not set.")


routes = viewer.blueprint("install", guard=only_where_it_is_on)


@routes.get("/install")
def install() -> viewer.View:
    """Send the merchant to the store, which asks whether the bridge may."""
    settings = viewer.settings()
    name = address.store_of(request.args.get("store", ""))
    if name is None:
        raise Rejected(
            "bad_request", 400, "Name the store by its domain: /install?store=example.29next.store"
        )
    state = secrets.token_urlsafe(32)
    session["install"] = [state, name, viewer.inbox().now()]
    asked = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": _back(),
        "scope": " ".join(SCOPES),
        "state": state,
        "store": f"{name}.29next.store",
    }
    return redirect(f"{_oauth(name)}authorize/?{urlencode(asked)}", 302)


@routes.get("/authorize")
def authorize() -> viewer.View:
    """Take the merchant's answer, and fetch the store's token with it."""
    name = _asked()
    if "error" in request.args:
        word = request.args["error"]
        said = word if WORD.fullmatch(word) else "an error"
        raise Rejected("not_installed", 403, f"{name}.29next.store declined ({said}). Nothing was changed.")
    if not AT_ONCE.acquire(blocking=False):
        raise Rejected("unavailable", 503, "Too many stores are being installed. Start again in a minute.")
    try:
        token = fetch_token(f"{_oauth(name)}token/", _proof(), timeout=TOKEN_SECONDS)
    except BridgeError as error:
        log.warning("store not installed", store=name, why=str(error))
        status = 502 if isinstance(error, PermanentError) else 503
        raise Rejected("not_installed", status, f"{error} Start again from your store.") from None
    finally:
        AT_ONCE.release()
    store = _keep(name, token)
    return render_template("installed.html", store=store, back=urljoin(_oauth(name), "/dashboard/apps/"))


def _asked() -> str:
    """Return the store whose merchant this browser was sent to, once, and only with its own state."""
    state, name, at = session.get("install", ("", "", 0.0))
    given, age = request.args, viewer.inbox().now() - at
    known = bool(state) and same(given.get("state", ""), state) and age <= ANSWER_SECONDS
    if not known or given.get("store", f"{name}.29next.store").lower() != f"{name}.29next.store":
        raise Rejected("bad_request", 400, "This request is unknown or has expired. Start again.")
    del session["install"]
    if not viewer.shared_state().redeem_once(StateKind.INSTALL, state, ANSWER_SECONDS):
        raise Rejected("bad_request", 400, "This request was used already. Start again from your store.")
    return str(name)


def _proof() -> dict[str, str]:
    settings = viewer.settings()
    return {
        "grant_type": "authorization_code",
        "code": request.args.get("code", ""),
        "redirect_uri": _back(),
        "client_id": settings.client_id or "",
        "client_secret": settings.client_secret or "",
    }


def _keep(name: str, token: str) -> Store:
    """Keep the token, let what waited for it go on, and have 29next tell of the store."""
    settings, inbox = viewer.settings(), viewer.inbox()
    stores = typing.cast("AllStores", settings.stores)
    store = stores.opened(name, token)
    inbox.stores.register([store])  # before its token is there, so that no worker misses it
    stores.install(name, token)
    inbox.stores.resume(name, by_hand=False)
    log.info("store installed", store=name)
    if secret := settings.signing_secret(store):
        api = client_of(store, inbox, settings, timeout=TOKEN_SECONDS)
        try:
            target = f"{settings.url_of('next')}/{name}"
            subscribe(api, target, secret, settings.api_version, events=events_of(store))
        except BridgeError as error:  # the store works without; `bridge doctor` tells what is missing
            log.warning("store not subscribed", store=name, why=str(error))
        finally:
            api.close()
    return store


def _oauth(name: str) -> str:
    return urljoin(viewer.settings().base_url_of(name), "/oauth2/")


def _back() -> str:
    """Return where the store sends its merchant back to: never by what the request says of the host."""
    return (viewer.settings().public_url or "").rstrip("/") + url_for("install.authorize")
