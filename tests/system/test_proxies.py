"""The samples for a proxy on the bridge's machine: it understands them, and the bridge sees who called."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.clock import eventually
from tests.support.commands import answer, procfile, running
from tests.support.documents import ROOT
from tests.support.processes import free_port

SAMPLES = ROOT / "docs/samples"


@contextmanager
def behind_a_proxy(folder: Path) -> Iterator[int]:
    """A web process as it is set up behind a proxy of its own machine; yields its port."""
    port = free_port()
    config = folder / "bridge.toml"
    config.write_text('[providers.ethoca]\nnetworks = ["203.0.113.0/24"]\n', "utf-8")
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATABASE_URL": f"sqlite:///{folder}/bridge.db",
        "BRIDGE_CONFIG": str(config),
        "BRIDGE_BIND": f"127.0.0.1:{port}",
        "BRIDGE_PUBLIC_URL": "https://alerts.example.com",
        "BRIDGE_PROXY_HOPS": "1",
        "BRIDGE_PASSWORD": "a-long-password-made-by-chance",
        "BRIDGE_API_TOKEN": "a-long-token-made-by-chance",
        "ETHOCA_SECRET": "ethoca:long-enough-to-be-one",
    }
    subprocess.run(shlex.split(procfile()["release"]), cwd=ROOT, env=environ, check=True, timeout=60)
    with running(shlex.split(procfile()["web"]), ROOT, environ, folder / "web.log"):
        eventually(lambda: answer(port, "/readyz") == 200, 60)
        yield port


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine's address, and its key."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl is not installed, which makes the certificate")
    made, key = folder / "fullchain.pem", folder / "privkey.pem"
    wanted = "-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command = [openssl, "req", *wanted.split(), "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return made, key


def is_open(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(bridge: int, folder: Path) -> Iterator[tuple[int, str]]:
    """The sample as nginx runs it, with other ports and files; yields its HTTPS port and its certificate."""
    program = shutil.which("nginx")
    if not program:
        pytest.skip("nginx is not installed")
    made, key = certificate(folder)
    port = free_port()
    site = (SAMPLES / "nginx.conf").read_text("utf-8")
    for theirs, here in {
        "listen [::]:443 ssl;": "",
        "listen [::]:80;": "",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen 80;": f"listen 127.0.0.1:{port + 1};",
        "/etc/letsencrypt/live/alerts.example.com/fullchain.pem": str(made),
        "/etc/letsencrypt/live/alerts.example.com/privkey.pem": str(key),
        "/var/log/nginx/error.log": str(folder / "error.log"),
        "http://127.0.0.1:8000": f"http://127.0.0.1:{bridge}",
    }.items():
        assert theirs in site
        site = site.replace(theirs, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    whole = folder / "nginx.conf"
    whole.write_text(
        f"pid {folder}/pid; daemon off; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log {folder}/access.log; {places}\n{site}}}\n",
        "utf-8",
    )
    command = [program, "-e", str(folder / "error.log"), "-c", str(whole), "-p", str(folder)]
    with running(command, folder, {"PATH": os.environ["PATH"]}, folder / "nginx.log"):
        eventually(lambda: is_open(port), 20)
        yield port, str(made)


def test_behind_nginx_the_bridge_sees_who_called_by_https_whatever_the_caller_says(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir(mode=0o755)
    with behind_a_proxy(tmp_path) as bridge, nginx(bridge, tmp_path / "files") as (port, made):
        url, lies = f"https://127.0.0.1:{port}", {"X-Forwarded-For": "203.0.113.9"}
        refused = requests.post(
            f"{url}/webhooks/ethoca?key=canary", b"{}", headers=lies, verify=made, timeout=30
        )
        assert refused.status_code == 401
        page = requests.get(url, verify=made, timeout=30, allow_redirects=False)
        assert "max-age" in page.headers["Strict-Transport-Security"]
        assert "Secure" in requests.get(f"{url}/sign-in", verify=made, timeout=30).headers["Set-Cookie"]
        assert requests.get(f"{url}/api/deliveries", verify=made, timeout=30).status_code == 401
        plain = f"http://127.0.0.1:{port + 1}/webhooks/ethoca?key=canary"
        moved = requests.get(plain, timeout=30, allow_redirects=False, headers={"Host": "evil.example"})
        assert moved.headers["Location"] == "https://alerts.example.com/webhooks/ethoca?key=canary"
    assert "The address 127.0.0.1 is not among" in refused.text
    for log in ("access.log", "error.log"):
        path = tmp_path / "files" / log
        assert not path.exists() or "canary" not in path.read_text("utf-8")


def test_caddy_understands_the_sample() -> None:
    caddy = shutil.which("caddy")
    if not caddy:
        pytest.skip("Caddy is not installed")
    command = [caddy, "adapt", "--adapter", "caddyfile", "--config", str(SAMPLES / "Caddyfile")]
    subprocess.run(command, check=True, timeout=60)


def test_the_samples_pass_on_to_where_the_documents_bind_the_bridge() -> None:
    bound = "127.0.0.1:8000"
    assert f"BRIDGE_BIND={bound}" in (ROOT / "docs/platforms.md").read_text("utf-8")
    assert f"proxy_pass http://{bound};" in (SAMPLES / "nginx.conf").read_text("utf-8")
    assert f"reverse_proxy {bound}\n" in (SAMPLES / "Caddyfile").read_text("utf-8")
