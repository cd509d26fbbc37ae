"""The sandbox is meant where nothing is configured; what `bridge run` starts ends together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import cli, settings
from bridge.cli import run, serve
from bridge.providers.custom import PROOFS
from tests.support.clock import eventually
from tests.support.commands import answer, running
from tests.support.documents import ROOT
from tests.support.processes import free_port

ACME = """
[providers.acme]
proof = { kind = "hmac" }
event_id = "id"
effects = { "*" = "open" }
fields = { case_number = "case", amount = "amount", currency = "currency" }
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with an empty configuration."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "bridge.toml").touch()
    return tmp_path


def configure(root: Path, toml: str) -> None:
    (root / "config" / "bridge.toml").write_text(toml, "utf-8")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NEXT_STORE": "", "ETHOCA_SECRET": " "},
        {"PORT": "8123", "DATABASE_URL": "sqlite:///other.db", "NEXT_RATE": "2", "BRIDGE_PASSWORD": "x"},
        {"ACME_SECRET": "of nobody that is configured"},
    ],
)
def test_the_sandbox_is_meant_where_neither_store_nor_secret_is_set(
    root: Path, environ: dict[str, str]
) -> None:
    assert run.is_unconfigured(environ, root)


@pytest.mark.parametrize(
    ("environ", "toml"),
    [
        ({"NEXT_STORE": "shop", "NEXT_ACCESS_TOKEN": "token"}, ""),
        ({"NEXT_STORE": "shop"}, ""),
        ({"NEXT_ACCESS_TOKEN": "token"}, ""),
        ({"ETHOCA_SECRET": "a:b"}, ""),
        ({"ETHOCA_SECRET_PREVIOUS": "a:b"}, ""),
        ({"ETHOCA_SECRET": "unfit"}, ""),
        ({"NEXT_WEBHOOK_SECRET": "secret"}, ""),
        ({"ACME_SECRET": "secret"}, ACME),
        ({"T": "token"}, '[stores.shop]\ntoken_env = "T"'),
        ({"T": "token"}, '[stores."shop"]\ntoken_env = "T"'),
        ({"T": "token"}, 'stores = { shop = { token_env = "T" } }'),
        ({"PORT": "abc"}, ""),
        ({"BRIDGE_CONFIG": "config"}, ""),
        ({}, "not toml"),
        ({"DYNO": "web.1"}, ""),
        ({"RENDER": "true"}, ""),
    ],
)
def test_the_sandbox_is_not_meant_where_anything_is_set_or_wrong(
    root: Path, environ: dict[str, str], toml: str
) -> None:
    configure(root, toml)
    assert not run.is_unconfigured(environ, root)


def test_the_sandbox_has_a_fitting_secret_for_every_provider_and_listens_to_this_machine_only(
    root: Path,
) -> None:
    kinds = {f"p{n}": f'kind = "{kind}"' for n, kind in enumerate(PROOFS)} | {
        "named": 'kind = "header", header = "X-Key"'
    }
    configure(
        root,
        "[providers.ethoca]\nproof = { kind = 'bearer' }\n"
        + "".join(
            ACME.replace("acme", name).replace('kind = "hmac"', proof) for name, proof in kinds.items()
        ),
    )
    made = run.sandbox_environ({"PORT": "8200"}, root)
    chosen = settings.load(made, root)
    assert set(chosen.secrets) >= {*kinds, "ethoca", "adyen", "next"}
    assert all(chosen.secrets.values())
    assert chosen.on_loopback
    assert chosen.stores["sandbox"].base_url == "http://127.0.0.1:8201/api/admin/"


def test_the_sandbox_finds_a_port_beside_the_last_one_too(root: Path) -> None:
    made = run.sandbox_environ({"PORT": "65535"}, root)
    assert settings.load(made, root).stores["sandbox"].base_url == "http://127.0.0.1:65534/api/admin/"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "abc", "PORT: expected a whole number"),
        ("BRIDGE_CONFIG", "/", "BRIDGE_CONFIG: / cannot be read"),
        ("NEXT_ACCESS_TOKEN", "token", "NEXT_STORE: missing"),
    ],
)
@pytest.mark.parametrize("command", ["run", "worker", "deliveries", "doctor", "send ethoca"])
def test_settings_that_do_not_work_are_named_by_every_command(
    command: str,
    variable: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert cli.main(command.split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("platform", ["DYNO", "RENDER"])
def test_no_platform_is_given_a_sandbox(
    platform: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(platform, "1")
    monkeypatch.setenv("DATABASE_URL", "postgres://user:password@127.0.0.1:9/name")
    assert cli.main(["run"]) == 2
    assert capsys.readouterr().err.startswith("NEXT_STORE: missing")


@pytest.mark.parametrize(("installed", "command"), [(True, ".venv/bin/bridge"), (False, "python -m bridge")])
def test_the_sandbox_is_tried_with_a_command_that_is_there(
    installed: bool,
    command: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An image has no .venv."""
    if installed:
        (root / ".venv/bin").mkdir(parents=True)
        (root / ".venv/bin/bridge").touch()
    monkeypatch.setattr(serve, "ROOT", root)
    monkeypatch.setattr(serve, "run_processes", lambda *_, **__: None)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{root}/bridge.db")
    cli.main(["run"])
    assert f"{command} send ethoca && {command} deliveries" in capsys.readouterr().out


def test_when_one_process_ends_the_rest_do_and_it_is_said_which(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "PORT": str(free_port()),
        "DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db",
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "bridge", "run"], cwd=ROOT, env=environ, stdout=out, stderr=out
        )
    try:
        eventually(lambda: "worker started" in log.read_text("utf-8"), 30)
        children = [int(pid) for pid in children_of(running.pid)]
        assert len(children) == 3
        worker = next(pid for pid in children if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(worker, signal.SIGKILL)
        assert running.wait(30) == 1
    finally:
        running.terminate()
        running.wait(30)
    assert "bridge: worker ended unexpectedly" in log.read_text("utf-8")
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_from_another_folder_all_processes_open_one_file_and_leave_it_whole(tmp_path: Path) -> None:
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PORT": str(port),
        "DATABASE_URL": "sqlite:///here.db",
    }
    with running([sys.executable, "-m", "bridge", "run"], tmp_path, environ, tmp_path / "log") as process:
        eventually(lambda: answer(port, "/readyz") == 200, 30)
        assert (tmp_path / "here.db-wal").exists()
        process.terminate()
        assert process.wait(30) == 0
    assert [one.name for one in tmp_path.glob("here.db*")] == ["here.db"]  # which is whole by itself
    assert not (ROOT / "here.db").exists()


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
