"""Checks the addresses in the settings: stores, the bridge itself, its database. Pure: it resolves no name.

A store's token goes to its address, so an odd address is rejected, never interpreted.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import parse_qs

SERVER = r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
URL = re.compile(SERVER + r"(?P<path>(?:/[A-Za-z0-9_~-]+)*/?)")
"""A plain URL: no user, query, fragment, escapes or dots in its path."""
HOOK = re.compile(SERVER + r"(?:[/?][!-~]*)?")
HOST_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
STORE = re.compile(r"(?!xn--)([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.29next\.store")
INSIDE = ("internal", "local", "localhost", "localdomain", "lan", "intranet", "corp", "home")
"""Last labels of names inside a private network."""
POSTGRES = re.compile(
    r"(?:[^@]*@)?(?P<host>\[[^\]]+\]|[^/:?@]*)(?::(?P<port>[0-9]{1,5}))?(?:/[^?@]*)?(?:\?(?P<query>.*))?"
)
"""What follows postgres://, as SQLAlchemy parses it. The password may hold anything but an @."""
LAST_PORT = 65535
A_BASE_URL = "https://HOST/api/admin/ (http:// only to this machine), without user, query or fragment"
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DATABASE_FORMS = "expected sqlite:///FILE or postgres://USER:PASSWORD@HOST/NAME"


def is_base_url(url: str) -> bool:
    """Whether a URL may be the base of an Admin API: a service's, with the right path."""
    return is_service(url) and url.endswith("/api/admin/")


def is_service(url: str) -> bool:
    """Whether a plain URL is one of a host's name over HTTPS, or of this machine."""
    return _is_trusted(URL.fullmatch(url))


def is_url(url: str) -> bool:
    """Whether a URL is plain."""
    return URL.fullmatch(url) is not None


def is_hook(url: str) -> bool:
    """Whether a URL, with any path and query, is one of a host's name over HTTPS, or of this machine."""
    return _is_trusted(HOOK.fullmatch(url))


def store_of(domain: str) -> str | None:
    """Returns the store of a domain such as `example.29next.store`, or None for any other text."""
    match = STORE.fullmatch(domain.lower()) if domain.isascii() else None
    return match[1] if match else None


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_local_url(url: str) -> bool:
    """Whether a plain URL is one of this machine."""
    match = URL.fullmatch(url)
    return match is not None and is_loopback(match["host"])


def names_this_machine(host: str) -> bool:
    """Whether a Host header, a name with or without a port, is this machine's own."""
    match = URL.fullmatch(f"http://{host}")
    return match is not None and not match["path"] and is_loopback(match["host"])


def is_bind(given: str) -> bool:
    """Whether a server can be bound to an address: a name or an IP address and a port, or a socket."""
    if given.startswith(("unix:", "fd://")):
        return True
    host, colon, port = given.rpartition(":")
    return bool(colon and host) and port.isascii() and port.isdecimal() and 0 <= int(port[:6]) <= LAST_PORT


def client_ip(given: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Returns a client's IP address without an IPv6 zone, which may be any text; None if it is not one."""
    try:
        return ipaddress.ip_address((given or "").partition("%")[0])
    except ValueError:
        return None


def _is_trusted(match: re.Match[str] | None) -> bool:
    """Whether a secret may go to a URL."""
    if match is None or int(match["port"] or 443) > LAST_PORT:
        return False
    host = match["host"].lower()
    if is_loopback(host):
        return True
    is_public_name = HOST_NAME.fullmatch(host) and host.rpartition(".")[2] not in INSIDE
    return match["scheme"] == "https" and bool(is_public_name)


def database_url(given: str) -> str:
    """Returns a database's URL as SQLAlchemy takes it; raises ValueError with what is expected."""
    scheme, _, rest = given.partition("://")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        _postgres(rest)
        return f"postgresql+psycopg://{rest}"
    file = rest.partition("?")[0]
    in_memory = ":memory:" in rest or "mode=memory" in rest
    if scheme == "sqlite" and file.startswith("/") and file.strip("/") and not in_memory:
        return given
    raise ValueError(DATABASE_FORMS)


def with_tls(url: str) -> str:
    """Returns a database's URL that requires TLS, unless it has an `sslmode` or is on this machine.

    By default the driver would connect without TLS if the server refuses it (`sslmode=prefer`).
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return url
    host, mode, separator = _postgres(rest)
    is_here = not host or host.startswith("/") or is_loopback(host)
    return url if mode or is_here else f"{url}{separator}sslmode=require"


def _postgres(rest: str) -> tuple[str, str, str]:
    """Returns the host, the `sslmode`, and the separator before a further option."""
    match = POSTGRES.fullmatch(rest)
    if not rest or not match or not rest.isprintable() or int(match["port"] or 5432) > LAST_PORT:
        raise ValueError(f"{DATABASE_FORMS} (with @, : and / in the password written as %40, %3A, %2F)")
    query = parse_qs(match["query"] or "", keep_blank_values=True)
    mode = query.get("sslmode", [""])[-1]
    if "sslmode" in query and mode not in SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(SSL_MODES)}")
    separator = "&" if match["query"] else "" if rest.endswith("?") else "?"
    return query.get("host", [match["host"]])[-1], mode, separator


def sqlite_file(url: str) -> Path:
    """Returns the file of an SQLite URL."""
    return Path(url.removeprefix("sqlite:///").partition("?")[0])


def absolute(url: str) -> str:
    """Returns a database's URL that is valid from every folder: the path of SQLite's file made absolute."""
    if not url.startswith("sqlite:"):
        return url
    _, mark, query = url.partition("?")
    return f"sqlite:///{sqlite_file(url).resolve()}{mark}{query}"
