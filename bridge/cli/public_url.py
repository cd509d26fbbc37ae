"""The doctor's check that the bridge's public URL reaches it, through the internet."""

from __future__ import annotations

import json
import typing
import urllib.error
import urllib.request

from bridge.settings import Settings
from bridge.worker.checks import Check, make_check

REACH_SECONDS = 10.0


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, as providers follow none."""

    def redirect_request(self, *_: typing.Any) -> None:
        """Return None, so that the redirect is an error."""


def check_public_url(settings: Settings) -> Check:
    """Request the bridge's `/healthz` at its public URL, from this machine and through the internet."""
    what = "public URL"
    if settings.public_url is None:
        fix = "Set BRIDGE_PUBLIC_URL, so that doctor can check it and printed URLs are complete."
        return Check(what, good=True, message="unknown: BRIDGE_PUBLIC_URL is not set", fix=fix)
    url = f"{settings.public_url.rstrip('/')}/healthz"
    try:
        opener = urllib.request.build_opener(NoRedirect)
        with opener.open(url, timeout=REACH_SECONDS) as answer:
            healthy = json.loads(answer.read(1000)) == {"status": "ok"}
            said = "the bridge answers" if healthy else "something else answers"
    except urllib.error.HTTPError as error:
        with error:
            healthy, said = False, f"answered with {error.code}"
    except (OSError, ValueError) as error:
        healthy, said = False, f"no answer: {getattr(error, 'reason', None) or type(error).__name__}"
    fix = "Make this address reach the web process over HTTPS, without a redirect or a sign-in."
    return make_check(what, healthy, f"{url}: {said}", fix)
