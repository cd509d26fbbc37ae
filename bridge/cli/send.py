"""Posts samples for `bridge send`, as a provider would: with a plain HTTP client, not the bridge's own."""

from __future__ import annotations

import json
import re
import typing
import urllib.error
import urllib.request

from bridge.errors import BridgeError


def post(url: str, body: typing.Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Post bytes, or a value as JSON. Returns the status and the text of the answer.

    Raises BridgeError for an invalid URL, OSError if nobody answers.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if not re.match(r"https?://[^/]", url):
        raise BridgeError(f"{url!r} is not a URL such as https://alerts.example.com/webhooks/ethoca.")
    request = urllib.request.Request(  # noqa: S310  the URL is the operator's own
        url, content, {"Content-Type": "application/json"} | (headers or {}), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read(4000).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(4000).decode("utf-8", "replace")
