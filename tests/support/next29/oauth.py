"""The stand-in's OAuth 2: merchants who answer at once, codes that work once, and the tokens for them.

Documented by 29next: the two addresses, the scopes, `store` in the query, the exchange as a form (and, in
their example app, `store` beside the code). The rest is RFC 6749's authorization code grant.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.support.next29.replies import Reply

CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-client-secret"
ASKED = ("client_id", "redirect_uri", "response_type", "scope", "store")


@dataclass
class OAuth:
    """What merchants were asked, and the codes that were given for it."""

    grant: Callable[[str, str, list[str]], None]  # a token, its store and scopes
    consents: bool = True  # what every merchant answers
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    granted: dict[str, str] = field(default_factory=dict)  # store → its newest token

    def answer(self, method: str, path: str, given: Mapping[str, str]) -> Reply:
        """The answer to a call below /oauth2/."""
        steps = {("GET", "/oauth2/authorize/"): self._authorize, ("POST", "/oauth2/token/"): self._exchange}
        step = steps.get((method, path))
        return step(given) if step else Reply(404, {"detail": "Not found."})

    def _authorize(self, given: Mapping[str, str]) -> Reply:
        missing = [name for name in ASKED if not given.get(name)]
        if missing or given["client_id"] != CLIENT_ID or given["response_type"] != "code":
            return Reply(400, {"error": "invalid_request", "missing": missing})
        back = {"store": given["store"], "state": given.get("state", "")}
        if self.consents:
            code = secrets.token_urlsafe(24)
            self.codes[code] = dict(given)
            back["code"] = code
        else:
            back["error"] = "access_denied"
        return Reply(302, None, {"Location": f"{given['redirect_uri']}?{urlencode(back)}"})

    def _exchange(self, given: Mapping[str, str]) -> Reply:
        if (given.get("client_id"), given.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return Reply(401, {"error": "invalid_client"})
        asked = self.codes.pop(given.get("code", ""), None)
        if given.get("grant_type") != "authorization_code" or asked is None:
            return Reply(400, {"error": "invalid_grant"})
        if given.get("redirect_uri") != asked["redirect_uri"]:
            return Reply(400, {"error": "invalid_grant"})
        token, store = secrets.token_urlsafe(24), asked["store"].partition(".")[0]
        self.grant(token, store, asked["scope"].split())
        self.granted[store] = token
        return Reply(200, {"access_token": token, "token_type": "Bearer", "scope": asked["scope"]})
