"""Who may look: sign-in with one password, a signed session, and a token in every form.

Without a password the viewer is off, unless the server is bound to loopback and no proxy is known to
stand before it. Then only this machine's own requests are answered: see `is_from_this_machine`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
import time
import typing
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Flask, current_app, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from bridge.errors import Rejected
from bridge.providers.proof import same
from bridge.settings import address
from bridge.storage.schema import StateKind

if typing.TYPE_CHECKING:
    from collections.abc import Callable
    from wsgiref.types import WSGIEnvironment

    from flask import Request
    from werkzeug.wrappers import Response

    from bridge.settings import Settings
    from bridge.storage.shared_state import SharedState

log = structlog.get_logger()

SIGNED_IN_FOR = timedelta(days=7)
FREE_TRIES = 5
"""Wrong passwords from one address before it has to wait."""
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0
MOST_ADDRESSES = 10_000
PROXY_HEADERS = ("HTTP_FORWARDED", "HTTP_X_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
"""How the headers that proxies add begin, as WSGI names them."""

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
    tries: dict[str, tuple[int, float]] = field(default_factory=dict)
    """For each client how many, and not before when again; the latest comes last."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, client: str) -> float:
        """Count a try before its password is compared; returns the seconds to wait if it comes too soon."""
        with self.lock:
            now = self.clock()
            count, not_before = self.tries.get(client, (0, now))
            if now < not_before:
                return not_before - now
            count += 1
            wait = FIRST_WAIT * 2.0 ** min(count - FREE_TRIES, 10) if count >= FREE_TRIES else 0.0
            self.tries.pop(client, None)
            if len(self.tries) >= MOST_ADDRESSES:
                del self.tries[next(iter(self.tries))]
            self.tries[client] = (count, now + min(wait, LONGEST_WAIT))
            return 0.0

    def forget(self, client: str) -> None:
        """Forget the tries of a client that knew the password."""
        with self.lock:
            self.tries.pop(client, None)


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
        "SESSION_REFRESH_EACH_REQUEST": False,
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
    """Let in who has signed in; where no password is set, this machine alone."""
    settings: Settings = current_app.extensions["settings"]
    if settings.password is None:
        require_this_machine("The viewer", "BRIDGE_PASSWORD")
    elif not signed_in(settings.password):
        if request.method not in ("GET", "HEAD"):
            raise Rejected("unauthorized", 401, "Your session has ended. Sign in again.")
        return redirect(url_for("gate.sign_in", next=request.full_path.rstrip("?")), 303)
    if request.method == "POST":
        check_form()
    return None


def require_this_machine(what: str, variable: str) -> None:
    """Refuse whatever comes from elsewhere: the door of all that has no secret set in its variable."""
    settings: Settings = current_app.extensions["settings"]
    if not settings.is_local:
        raise Rejected("not_found", 404, f"{what} is off: {variable} is not set.")
    if not is_from_this_machine(request.environ):
        said = f"{what} answers this machine only, and no proxy: {variable} is not set."
        raise Rejected("not_found", 404, said)


def is_from_this_machine(wsgi: WSGIEnvironment) -> bool:
    """Whether a program here has sent a request, to this machine's own name and through no proxy.

    By the name, for a web page may lead another one here (DNS rebinding). HTTP/1.0 is what nginx spoke
    to the server behind it up to version 1.29.6, and nothing else told it from a browser. The address is
    that of the connection: ProxyFix, which changes it, stands only where `Settings.is_local` is false.
    A request may name the host in its target as well, which then goes before the header.
    """
    hosts = [wsgi.get("HTTP_HOST", "")]
    target = str(wsgi.get("RAW_URI") or "/")
    if not target.startswith("/"):
        hosts.append(target.partition("://")[2].partition("/")[0])
    return (
        address.is_loopback(wsgi.get("REMOTE_ADDR", ""))
        and all(map(address.names_this_machine, hosts))
        and wsgi.get("SERVER_PROTOCOL") != "HTTP/1.0"
        and not any(name.startswith(PROXY_HEADERS) for name in wsgi)
    )


def is_cross_site() -> bool:
    """Whether a browser says that a page of another site makes it send this; old ones do not say."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")


def signed_in(password: str) -> bool:
    """Whether the session was opened with the password that holds now, not too long ago, and goes on."""
    if not same(str(session.get("opened", "")), _mark(password)):
        return False
    shared_state: SharedState = current_app.extensions["shared_state"]
    age = shared_state.now() - session.get("opened_at", 0.0)
    return age < SIGNED_IN_FOR.total_seconds() and not shared_state.is_redeemed(
        StateKind.SESSION, session["id"]
    )


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
    if is_cross_site() or "form" not in session or not same(given, form_token()):
        raise Rejected("bad_request", 400, "This form has expired. Reload the page and try again.")


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
        raise Rejected("not_found", 404, "Sign-in is off: BRIDGE_PASSWORD is not set.")


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
    client = network(request.remote_addr)
    if wait := throttle.admit(client):
        problem = f"Too many wrong passwords. Try again in {wait:.0f} seconds."
        page = render_template("sign_in.html", onward=onward, problem=problem)
        return page, 429, {"Retry-After": f"{wait + 1:.0f}"}
    if not same(request.form.get("password", ""), settings.password or ""):
        return render_template("sign_in.html", onward=onward, problem="Wrong password."), 401
    throttle.forget(client)
    session.clear()
    session.permanent = True
    session["opened"] = _mark(settings.password or "")
    session["opened_at"] = current_app.extensions["shared_state"].now()
    session["id"] = secrets.token_urlsafe(16)
    return redirect(onward, 303)


@gate.post("/sign-out")
def sign_out() -> Response:
    """End the session, also for whoever has copied its cookie."""
    check_form()
    if "id" in session:
        shared_state: SharedState = current_app.extensions["shared_state"]
        shared_state.redeem_once(StateKind.SESSION, session["id"], SIGNED_IN_FOR.total_seconds())
    session.clear()
    return redirect(url_for("gate.sign_in"), 303)


def network(given: str | None) -> str:
    """Return what counts as one client: an address, or the /64 of an IPv6 one."""
    known = address.client_ip(given)
    if isinstance(known, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((known, 64), strict=False))
    return str(known or "unknown")
