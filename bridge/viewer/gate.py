"""Who may look: sign-in with one password, a signed session, and a token in every form.

Without a password the viewer is off, unless the server itself is bound to loopback; then only
requests that name this machine are answered, so that no web page can reach it under another name.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
import typing
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Flask, current_app, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from bridge.errors import Rejected
from bridge.proof import same

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Request
    from werkzeug.wrappers import Response

    from bridge.settings import Settings

log = structlog.get_logger()

SIGNED_IN_FOR = timedelta(days=7)
FREE_TRIES = 5
"""Wrong passwords from one address before it has to wait."""
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0
MOST_ADDRESSES = 10_000

gate = Blueprint("gate", __name__)


class _Sessions(SecureCookieSessionInterface):
    """Flask's signed cookie, Secure when the request came by https; a webhook, which has none, costs none."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(app, request) if "Cookie" in request.headers else self.session_class()

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


@dataclass
class Throttle:
    """Makes those wait who guess: twice as long after every wrong password."""

    clock: Callable[[], float] = time.monotonic
    tries: dict[str, tuple[int, float]] = field(default_factory=dict)  # address -> (how many, not before)

    def wait(self, address: str) -> float:
        """Return the seconds that an address has to wait."""
        return max(self.tries.get(address, (0, 0.0))[1] - self.clock(), 0.0)

    def wrong(self, address: str) -> None:
        """Count a wrong password."""
        if len(self.tries) >= MOST_ADDRESSES:
            now = self.clock()
            self.tries = {one: pair for one, pair in self.tries.items() if pair[1] > now - LONGEST_WAIT}
        count = self.tries.get(address, (0, 0.0))[0] + 1
        wait = FIRST_WAIT * 2.0 ** min(count - FREE_TRIES, 10) if count >= FREE_TRIES else 0.0
        self.tries[address] = (count, self.clock() + min(wait, LONGEST_WAIT))

    def right(self, address: str) -> None:
        """Forget the wrong ones."""
        self.tries.pop(address, None)


def set_up(app: Flask, settings: Settings) -> None:
    """Give the application its sessions."""
    app.secret_key = settings.secret_key or derived_key(settings)
    if settings.password and not settings.secret_key:
        log.info("SECRET_KEY is not set", so="sessions end when any other secret changes")
    app.session_interface = _Sessions()
    app.config |= {
        "SESSION_COOKIE_NAME": "bridge_session",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": SIGNED_IN_FOR,
    }
    app.extensions["throttle"] = Throttle()


def derived_key(settings: Settings) -> str:
    """Make a key of the other secrets, the same in all processes; sessions end when one of them changes."""
    parts = [settings.password or "", settings.api_token or "", settings.database_url]
    parts += [settings.client_secret or ""]
    parts += [store.token for store in settings.stores.values()]
    parts += [secret for known in settings.secrets.values() for secret in known]
    return hashlib.sha256("\n".join(["bridge session", *parts]).encode()).hexdigest()


def guard() -> Response | None:
    """Let in who has signed in; everybody where the viewer needs no password."""
    settings: Settings = current_app.extensions["settings"]
    if not is_on(settings):
        raise Rejected("not_found", 404, "The viewer is off: BRIDGE_PASSWORD is not set.")
    if settings.password is None:
        only_this_machine()
    elif not signed_in(settings.password):
        if request.method != "GET":
            raise Rejected("unauthorized", 401, "You are not signed in any more.")
        return redirect(url_for("gate.sign_in", next=request.full_path.rstrip("?")), 303)
    if request.method == "POST":
        check_form()
    return None


def is_on(settings: Settings) -> bool:
    """Whether there is a viewer at all."""
    return settings.password is not None or settings.on_loopback


def only_this_machine() -> None:
    """Refuse a request that reached this machine under a name that is not its own."""
    host = urlsplit(f"//{request.host}").hostname or ""
    try:
        known = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        known = False
    if not known:
        raise Rejected("not_found", 404, "Without a password the viewer answers to 127.0.0.1 only.")


def signed_in(password: str) -> bool:
    """Whether the session was opened with the password that holds now."""
    return same(str(session.get("opened", "")), _mark(password))


def _mark(password: str) -> str:
    """Name a password in a session, so that changing it ends the session."""
    return hashlib.sha256(f"{current_app.secret_key!r}\n{password}".encode()).hexdigest()


def form_token() -> str:
    """Return the token that every form of this session carries."""
    if "form" not in session:
        session["form"] = secrets.token_urlsafe(24)
    return str(session["form"])


def check_form() -> None:
    """Refuse a form that another site has made."""
    given = request.form.get("form_token") or request.headers.get("X-Form-Token", "")
    foreign = request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
    if foreign or "form" not in session or not same(given, form_token()):
        raise Rejected(
            "bad_request", 400, "This form is too old, or not ours. Reload the page and try again."
        )


def local_path(wanted: str | None) -> str:
    """Return a path on this site to go on to, whatever was asked for."""
    home = url_for("overview.today")
    if not wanted or not wanted.isprintable() or "\\" in wanted or not wanted.startswith("/"):
        return home
    parts = urlsplit(wanted)
    if wanted.startswith("//") or parts.scheme or parts.netloc:
        return home
    return wanted


@gate.before_request
def only_where_it_is_on() -> None:
    """Know no sign-in where there is nothing to sign in to."""
    if current_app.extensions["settings"].password is None:
        raise Rejected("not_found", 404, "There is nothing to sign in to: BRIDGE_PASSWORD is not set.")


@gate.get("/sign-in")
def sign_in() -> Response | str:
    """Ask for the password."""
    onward = local_path(request.args.get("next"))
    if signed_in(current_app.extensions["settings"].password):
        return redirect(onward, 303)
    return render_template("sign_in.html", onward=onward, problem=None)


@gate.post("/sign-in")
def signing_in() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Take the password."""
    check_form()
    settings: Settings = current_app.extensions["settings"]
    throttle: Throttle = current_app.extensions["throttle"]
    onward = local_path(request.form.get("next"))
    address = network(request.remote_addr)
    if wait := throttle.wait(address):
        problem = f"Too many wrong passwords. Try again in {wait:.0f} seconds."
        page = render_template("sign_in.html", onward=onward, problem=problem)
        return page, 429, {"Retry-After": f"{wait + 1:.0f}"}
    if not same(request.form.get("password", ""), settings.password or ""):
        throttle.wrong(address)
        return render_template("sign_in.html", onward=onward, problem="That is not the password."), 401
    throttle.right(address)
    session.clear()
    session.permanent = True
    session["opened"] = _mark(settings.password or "")
    return redirect(onward, 303)


@gate.post("/sign-out")
def sign_out() -> Response:
    """End the session."""
    check_form()
    session.clear()
    return redirect(url_for("gate.sign_in"), 303)


def network(address: str | None) -> str:
    """Return what counts as one client: an address, or the /64 of an IPv6 one."""
    try:
        known = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(known, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)
