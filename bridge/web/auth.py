"""Access to the viewer: sign-in with one password, a signed session, and a token in every form.

Without a password the viewer is off, unless the server is bound to loopback and is not known to be behind
a proxy. Then it answers only requests from this machine: see `is_from_this_machine`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from wsgiref.types import WSGIEnvironment

import structlog
from flask import Blueprint, Flask, Request, current_app, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.wrappers import Response

from bridge.errors import Rejected
from bridge.providers.proof import same
from bridge.settings import Settings, address
from bridge.storage.schema import StateKind
from bridge.web import current

log = structlog.get_logger()

SIGNED_IN_FOR = timedelta(days=7)
FREE_TRIES = 5
"""Wrong passwords that one address may try before it has to wait."""
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0
MOST_ADDRESSES = 10_000
PROXY_HEADERS = ("HTTP_FORWARDED", "HTTP_X_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
"""The beginnings of the headers that proxies add, in WSGI's spelling."""

routes = Blueprint("auth", __name__)


class CookieSessions(SecureCookieSessionInterface):
    """Flask's signed cookie, Secure over https. A request without a cookie, such as a webhook, reads none."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Returns the session of the request's cookie, or a new one."""
        return super().open_session(app, request) if "Cookie" in request.headers else self.session_class()

    def get_cookie_secure(self, app: Flask) -> bool:
        """Whether the cookie may go over https only."""
        return request.is_secure


@dataclass
class Throttle:
    """Slows down guessing: each wrong password doubles the wait."""

    clock: Callable[[], float] = time.monotonic
    tries: dict[str, tuple[int, float]] = field(default_factory=dict)
    """For each client the number of tries and the time of the next one allowed; the latest comes last."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, client: str) -> float:
        """Counts a try before its password is compared. Returns the seconds to wait if it is too soon."""
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
        """Forgets the tries of a client that has signed in."""
        with self.lock:
            self.tries.pop(client, None)


def set_up(app: Flask, settings: Settings) -> None:
    """Sets up the application's sessions."""
    app.secret_key = settings.secret_key or derived_key(settings)
    if settings.password and not settings.secret_key:
        log.info("SECRET_KEY is not set", so="sessions end when any other secret changes")
    app.session_interface = CookieSessions()
    app.config |= {
        "SESSION_COOKIE_NAME": "bridge_session",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": SIGNED_IN_FOR,
        "SESSION_REFRESH_EACH_REQUEST": False,
    }
    app.extensions["throttle"] = Throttle()


def derived_key(settings: Settings) -> str:
    """Derives a session key from the other secrets: the same in all processes, until one of them changes."""
    parts = [settings.password or "", settings.api_token or "", settings.database_url]
    parts += [settings.client_secret or ""]
    parts += [store.token for store in settings.stores.values()]
    parts += [secret for provider_secrets in settings.secrets.values() for secret in provider_secrets]
    return hashlib.sha256("\n".join(["bridge session", *parts]).encode()).hexdigest()


def require_sign_in() -> Response | None:
    """Requires a session, or a request from this machine if no password is set. Checks a form's token."""
    password = current.settings().password
    if password is None:
        require_this_machine("The viewer", "BRIDGE_PASSWORD")
    elif not is_signed_in(password):
        if request.method not in ("GET", "HEAD"):
            raise Rejected("unauthorized", 401, "Your session has ended. Sign in again.")
        return redirect(url_for("auth.sign_in", next=request.full_path.rstrip("?")), 303)
    if request.method == "POST":
        check_form_token()
    return None


def require_this_machine(what: str, variable: str) -> None:
    """Rejects requests from elsewhere. This protects everything whose secret's variable is not set."""
    if not current.settings().is_local:
        raise Rejected("not_found", 404, f"{what} is off: {variable} is not set.")
    if not is_from_this_machine(request.environ):
        message = f"{what} answers this machine only, and no proxy: {variable} is not set."
        raise Rejected("not_found", 404, message)


def is_from_this_machine(wsgi: WSGIEnvironment) -> bool:
    """Whether a program on this machine sent the request, to this machine's own name and without a proxy.

    The name matters because a web page can point a name of its own here (DNS rebinding). nginx up to
    version 1.29.6 speaks HTTP/1.0 to the server behind it, and nothing else tells it from a browser. The
    address is that of the connection: ProxyFix, which changes it, is only there if `Settings.is_local` is
    false. If a request also names the host in its target, both names must be this machine's.
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
    """Whether the browser says that a page of another site sent this request. Old browsers do not say."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")


def is_signed_in(password: str) -> bool:
    """Whether the session began with the current password, is not too old, and was not ended."""
    if not same(str(session.get("opened", "")), _password_digest(password)):
        return False
    shared_state = current.shared_state()
    age = shared_state.now() - session.get("opened_at", 0.0)
    return age < SIGNED_IN_FOR.total_seconds() and not shared_state.is_redeemed(
        StateKind.SESSION, session["id"]
    )


def _password_digest(password: str) -> str:
    """Returns what a session stores of the password, so that changing the password ends the session."""
    return hashlib.sha256(f"{current_app.secret_key!r}\n{password}".encode()).hexdigest()


def form_token() -> str:
    """Returns the token that every form of this session carries."""
    if "form" not in session:
        session["form"] = secrets.token_urlsafe(24)
    return str(session["form"])


def check_form_token() -> None:
    """Rejects a form that another site made."""
    given = request.form.get("form_token") or request.headers.get("X-Form-Token", "")
    if is_cross_site() or "form" not in session or not same(given, form_token()):
        raise Rejected("bad_request", 400, "This form has expired. Reload the page and try again.")


def local_path(wanted: str | None) -> str:
    """Returns the wanted path if it is one of this site, else the first page."""
    wanted = wanted or ""
    if wanted.startswith("/") and not wanted.startswith("//") and wanted.isprintable() and "\\" not in wanted:
        return wanted
    return url_for("overview.today")


@routes.before_request
def require_password_set() -> None:
    """Answers 404 if no password is set, since there is nothing to sign in to."""
    if current.settings().password is None:
        raise Rejected("not_found", 404, "Sign-in is off: BRIDGE_PASSWORD is not set.")


@routes.get("/sign-in")
def sign_in() -> Response | str:
    """Asks for the password."""
    onward = local_path(request.args.get("next"))
    if is_signed_in(current.settings().password or ""):
        return redirect(onward, 303)
    return render_template("sign_in.html", onward=onward, problem=None)


@routes.post("/sign-in")
def submit_password() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Checks the password and begins a session."""
    check_form_token()
    settings = current.settings()
    throttle: Throttle = current_app.extensions["throttle"]
    onward = local_path(request.form.get("next"))
    client = client_network(request.remote_addr)
    if wait := throttle.admit(client):
        problem = f"Too many wrong passwords. Try again in {wait:.0f} seconds."
        page = render_template("sign_in.html", onward=onward, problem=problem)
        return page, 429, {"Retry-After": f"{wait + 1:.0f}"}
    if not same(request.form.get("password", ""), settings.password or ""):
        return render_template("sign_in.html", onward=onward, problem="Wrong password."), 401
    throttle.forget(client)
    session.clear()
    session.permanent = True
    session["opened"] = _password_digest(settings.password or "")
    session["opened_at"] = current.shared_state().now()
    session["id"] = secrets.token_urlsafe(16)
    return redirect(onward, 303)


@routes.post("/sign-out")
def sign_out() -> Response:
    """Ends the session, also for anyone who has copied its cookie."""
    check_form_token()
    if "id" in session:
        shared_state = current.shared_state()
        shared_state.redeem_once(StateKind.SESSION, session["id"], SIGNED_IN_FOR.total_seconds())
    session.clear()
    return redirect(url_for("auth.sign_in"), 303)


def client_network(text: str | None) -> str:
    """Returns what counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    ip = address.client_ip(text)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip or "unknown")
