"""Installs the bridge in a store, by 29next's OAuth 2 authorization code flow.

29next opens `/install?store=example.29next.store` (their example app). The store asks its merchant and
sends the answer to `/authorize`. Anyone may install, so an installation alone brings a store no alerts:
that takes a route, or the store's name in a webhook's path.
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
from bridge.settings import Store, address
from bridge.storage.installations import AllStores
from bridge.storage.schema import StateKind
from bridge.web import current, viewer
from bridge.worker.client import client_of
from bridge.worker.subscriptions import events_of, subscribe

log = structlog.get_logger()

SCOPES = (
    *("disputes:read", "disputes:write", "transactions:read", "transactions:write"),
    *("orders:read", "webhooks:read", "webhooks:write"),
)
ANSWER_SECONDS = 600.0
"""How long a merchant may take to answer."""
TOKEN_SECONDS = 10.0
FETCHING = threading.BoundedSemaphore(4)
"""Limits how many tokens are fetched at the same time, so that threads are left to receive alerts."""
ERROR_WORD = re.compile(r"[a-z_]{1,40}")


def require_client_id() -> None:
    """Answers 404 unless the bridge is an app at 29next."""
    if not current.settings().installs:
        raise Rejected("not_found", 404, "Nothing can be installed here: NEXT_CLIENT_ID is not set.")


routes = viewer.blueprint("install", guard=require_client_id)


@routes.get("/install")
def install() -> viewer.View:
    """Sends the merchant to the store, which asks them to allow the installation."""
    settings = current.settings()
    name = address.store_of(request.args.get("store", ""))
    if name is None:
        raise Rejected(
            "bad_request", 400, "Name the store by its domain: /install?store=example.29next.store"
        )
    state = secrets.token_urlsafe(32)
    session["install"] = [state, name, current.inbox().now()]
    query = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": _redirect_uri(),
        "scope": " ".join(SCOPES),
        "state": state,
        "store": f"{name}.29next.store",
    }
    return redirect(f"{_oauth_url(name)}authorize/?{urlencode(query)}", 302)


@routes.get("/authorize")
def authorize() -> viewer.View:
    """Takes the merchant's answer, and trades its code for the store's token."""
    name = _redeem_request()
    if "error" in request.args:
        word = request.args["error"]
        reason = word if ERROR_WORD.fullmatch(word) else "an error"
        raise Rejected("not_installed", 403, f"{name}.29next.store declined ({reason}). Nothing was changed.")
    if not FETCHING.acquire(blocking=False):
        raise Rejected("unavailable", 503, "Too many stores are being installed. Start again in a minute.")
    try:
        token = fetch_token(f"{_oauth_url(name)}token/", _token_request(), timeout=TOKEN_SECONDS)
    except BridgeError as error:
        log.warning("store not installed", store=name, why=str(error))
        status = 502 if isinstance(error, PermanentError) else 503
        raise Rejected("not_installed", status, f"{error} Start again from your store.") from None
    finally:
        FETCHING.release()
    store = _install(name, token)
    return render_template("installed.html", store=store, back=urljoin(_oauth_url(name), "/dashboard/apps/"))


def _redeem_request() -> str:
    """Returns the name of the store that this browser's request to install is for, and redeems the request.

    Raises Rejected if there is no such request, if it has expired or was redeemed, or if the state differs.
    """
    state, name, at = session.get("install", ("", "", 0.0))
    answer, age = request.args, current.inbox().now() - at
    is_valid = bool(state) and same(answer.get("state", ""), state) and age <= ANSWER_SECONDS
    domain = f"{name}.29next.store"
    if not is_valid or answer.get("store", domain).lower() != domain:
        raise Rejected("bad_request", 400, "This request is unknown or has expired. Start again.")
    del session["install"]
    if not current.shared_state().redeem_once(StateKind.INSTALL, state, ANSWER_SECONDS):
        raise Rejected("bad_request", 400, "This request was used already. Start again from your store.")
    return str(name)


def _token_request() -> dict[str, str]:
    settings = current.settings()
    return {
        "grant_type": "authorization_code",
        "code": request.args.get("code", ""),
        "redirect_uri": _redirect_uri(),
        "client_id": settings.client_id or "",
        "client_secret": settings.client_secret or "",
    }


def _install(name: str, token: str) -> Store:
    """Stores the token, resumes the store, and subscribes to its webhooks."""
    settings, inbox = current.settings(), current.inbox()
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
        except BridgeError as error:  # the store works without webhooks; `bridge doctor` reports it
            log.warning("store not subscribed", store=name, why=str(error))
        finally:
            api.close()
    return store


def _oauth_url(name: str) -> str:
    return urljoin(current.settings().base_url_of(name), "/oauth2/")


def _redirect_uri() -> str:
    """Returns the URL that the store sends its merchant back to. It never depends on the request's host."""
    return (current.settings().public_url or "").rstrip("/") + url_for("install.authorize")
