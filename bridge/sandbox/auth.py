"""Access to the sandbox: tokens with their scopes, the rate limit, and installation by OAuth 2."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlencode

from flask import Blueprint, abort, current_app, g, redirect, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Forbidden, TooManyRequests, Unauthorized
from werkzeug.wrappers import Response

from bridge.sandbox.bodies import Sale
from bridge.sandbox.forms import Json
from bridge.sandbox.samples import SAMPLE_SALES
from bridge.sandbox.store import Store

API = "/api/admin"
VERSIONS = ("2023-02-10", "2024-04-01")
STORE, TOKEN = "sandbox", "sandbox-token"
CLIENT_ID, CLIENT_SECRET = "sandbox-client", "sandbox-client-secret"

oauth = Blueprint("oauth", __name__, url_prefix="/oauth2")


@dataclass
class Access:
    """The store and scopes of a token, and the times of its calls in the last second."""

    store: Store
    scopes: frozenset[str] | None  # None: all of them
    calls: deque[float] = field(default_factory=deque)


@dataclass
class Stores:
    """All stores of this 29next, their tokens, and the codes that apps may trade for a token."""

    by_name: dict[str, Store] = field(default_factory=dict)
    by_token: dict[str, Access] = field(default_factory=dict)
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def named(self, name: str) -> Store:
        """Returns a store. A new one has the sample sales."""
        if name not in self.by_name:
            self.by_name[name] = store = Store()
            for sale in SAMPLE_SALES:
                store.sell(Sale().load(sale))
        return self.by_name[name]

    def open(self, token: str, name: str, scopes: frozenset[str] | None = None) -> None:
        """Gives a token access to a store, with these scopes only."""
        self.by_token[token] = Access(self.named(name), scopes)


def stores() -> Stores:
    """Returns the stores of the running app."""
    return cast("Stores", current_app.extensions["sandbox"])


def store() -> Store:
    """Returns the store of this call's token."""
    return cast("Store", g.store)


def admit() -> None:
    """Checks the token, rate, version and scope of a call, in the order that is assumed of 29next."""
    if not request.path.startswith(f"{API}/"):
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    access = stores().by_token.get(token)
    if access is None or scheme.lower() != "bearer":
        raise Unauthorized("Invalid token.", www_authenticate=WWWAuthenticate("bearer"))
    now, rate = time.monotonic(), current_app.config["RATE"]
    while access.calls and now - access.calls[0] >= 1.0:
        access.calls.popleft()
    if rate and len(access.calls) >= rate:
        raise TooManyRequests("Request was throttled.", retry_after=1)
    access.calls.append(now)
    if request.headers.get("X-29next-API-Version") not in VERSIONS:
        raise BadRequest("X-29next-API-Version is missing or unknown.")
    resource = request.path.removeprefix(f"{API}/").partition("/")[0].replace("-", "_")
    right = "read" if request.method == "GET" else "write"
    if access.scopes is not None and access.scopes.isdisjoint((f"{resource}:{right}", f"admin:{right}")):
        raise Forbidden("You do not have permission to perform this action.")
    g.store = access.store


@oauth.get("/authorize/")
def authorize() -> Response:
    """Redirects the merchant, who always agrees, to the app with a code."""
    query = request.args.to_dict()
    expected = {"client_id": CLIENT_ID, "response_type": "code"}
    if not all(map(query.get, ("redirect_uri", "scope", "store"))) or not expected.items() <= query.items():
        abort(400, "A client_id, redirect_uri, response_type, scope and store are needed.")
    code = secrets.token_urlsafe(24)
    stores().codes[code] = query
    answer = {"store": query["store"], "state": query.get("state", ""), "code": code}
    return redirect(f"{query['redirect_uri']}?{urlencode(answer)}")


@oauth.post("/token/")
def trade_code() -> tuple[Json, int]:
    """Trades a code for a token, once."""
    form = request.form
    if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
        return {"error": "invalid_client"}, 401
    grant = stores().codes.pop(form.get("code", ""), None)
    same_uri = grant is not None and grant["redirect_uri"] == form.get("redirect_uri")
    if grant is None or not same_uri or form.get("grant_type") != "authorization_code":
        return {"error": "invalid_grant"}, 400
    token = secrets.token_urlsafe(24)
    stores().open(token, grant["store"].partition(".")[0], frozenset(grant["scope"].split()))
    return {"access_token": token, "token_type": "Bearer", "scope": grant["scope"]}, 200
