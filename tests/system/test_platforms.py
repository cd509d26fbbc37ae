"""The platforms' files say what the platforms understand, and what they start takes alerts.

The schemas are ours, as strict as the platforms' own where these files touch them: a key that a
platform does not know is an error there too.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from jsonschema import Draft202012Validator

from bridge import providers
from bridge.cli.serve import worker_pool
from bridge.web.app import WEB_POOL
from tests.conftest import MakeDatabase
from tests.support.clock import eventually
from tests.support.commands import answer, procfile, running
from tests.support.documents import ROOT
from tests.support.next29.process import StandInProcess, stand_in_process
from tests.support.processes import free_port
from tests.support.webhooks import Senders, basic

Json = dict[str, Any]

DOCUMENTED = set(re.findall(r"`([A-Z][A-Z_]+)`", (ROOT / "docs/configuration.md").read_text("utf-8")))
SECRETS = {provider.secret_variable for provider in providers.built_in().values()}
SMALLEST_DATABASE = 20  # connections of heroku-postgresql:essential-0
STOP_SECONDS = 25  # platforms kill after thirty


# --- what the platforms understand ---------------------------------------------------------------


def closed(required: str = "", /, **properties: Json) -> Json:
    """The schema of an object that has these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


TEXT: Json = {"type": "string", "minLength": 1}
TRUE: Json = {"const": True}
NUMBER: Json = {"type": "integer", "minimum": 1}

APP_JSON = closed(
    "name env formation addons",
    name={"type": "string", "pattern": "^[a-zA-Z-_.]+", "maxLength": 30},
    description={"type": "string", "maxLength": 140},
    keywords={"type": "array", "items": TEXT},
    success_url=TEXT,
    stack={"enum": ["heroku-22", "heroku-24"]},
    buildpacks={"type": "array", "items": closed("url", url=TEXT)},
    addons={"type": "array", "items": closed("plan", plan=TEXT)},
    formation={
        "type": "object",
        "additionalProperties": closed(
            "quantity size", quantity=NUMBER, size={"enum": ["basic", "standard-1x", "standard-2x"]}
        ),
    },
    env={
        "type": "object",
        "propertyNames": {"pattern": "^[A-Z][A-Z0-9_]*$"},
        "additionalProperties": closed(
            "description",
            description=TEXT,
            value=TEXT,
            required={"type": "boolean"},
            generator={"const": "secret"},
        ),
    },
)

SERVICE = {
    "type": {"enum": ["web", "worker"]},
    "name": TEXT,
    "runtime": {"const": "python"},
    "plan": {"enum": ["starter", "standard", "pro"]},
    "buildCommand": TEXT,
    "preDeployCommand": TEXT,
    "startCommand": TEXT,
    "healthCheckPath": {"type": "string", "pattern": "^/"},
    "maxShutdownDelaySeconds": NUMBER | {"maximum": 300},
    "disk": closed(
        "name mountPath", name=TEXT, mountPath={"type": "string", "pattern": "^/."}, sizeGB=NUMBER
    ),
    "envVars": {
        "type": "array",
        "items": {
            "oneOf": [
                closed("key value", key=TEXT, value=TEXT),
                closed("key generateValue", key=TEXT, generateValue=TRUE),
                closed("key sync", key=TEXT, sync={"const": False}),
                closed(
                    "key fromDatabase",
                    key=TEXT,
                    fromDatabase=closed("name property", name=TEXT, property={"const": "connectionString"}),
                ),
                closed(
                    "key fromService",
                    key=TEXT,
                    fromService=closed("type name envVarKey", type=TEXT, name=TEXT, envVarKey=TEXT),
                ),
            ]
        },
    },
}
RENDER_YAML = closed(
    "services",
    databases={
        "type": "array",
        "items": closed(
            "name",
            name=TEXT,
            plan={"enum": ["basic-256mb", "basic-1gb", "basic-4gb"]},
            postgresMajorVersion={"enum": ["15", "16", "17"]},  # text: a number is refused
            ipAllowList={"type": "array", "maxItems": 0},
        ),
    },
    services={
        "type": "array",
        "items": closed("type name runtime plan buildCommand startCommand envVars", **SERVICE),
    },
)


def app_json() -> Json:
    return dict(json.loads((ROOT / "app.json").read_text("utf-8")))


def blueprint(name: str) -> Json:
    return dict(yaml.safe_load((ROOT / name).read_text("utf-8")))


def dockerfile() -> dict[str, list[str]]:
    """The instructions of the Dockerfile, by name, lines that go on joined."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            found.setdefault(name, []).append(rest.strip())
    return found


BLUEPRINTS = ["render.yaml", "docs/render-disk.yaml"]
SAMPLES = ROOT / "docs/samples"
PLACE, SETTINGS = "/opt/dispute-bridge", "/etc/dispute-bridge.env"
"""Where the units of systemd expect the checkout and its variables."""


def compose() -> Json:
    file: Json = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    return file


def unit(name: str) -> Json:
    """What a unit of systemd says, without its sections."""
    text = (SAMPLES / f"bridge-{name}.service").read_text("utf-8")
    return dict(re.findall(r"(?m)^(\w+)=(.*)$", text))


def executable(command: str) -> str:
    """The command of a unit, with the programs that the tests run on."""
    return command.replace(f"{PLACE}/.venv/bin", str(Path(sys.executable).parent))


# --- the files -----------------------------------------------------------------------------------


def test_app_json_has_only_what_heroku_knows() -> None:
    Draft202012Validator(APP_JSON).validate(app_json())


def test_the_heroku_button_starts_every_process_and_a_database() -> None:
    assert set(app_json()["formation"]) == set(procfile()) - {"release"}
    assert [one["plan"].partition(":")[0] for one in app_json()["addons"]] == ["heroku-postgresql"]


def test_the_heroku_button_asks_for_documented_variables_and_for_every_providers_secret() -> None:
    asked = set(app_json()["env"])
    assert asked - SECRETS <= DOCUMENTED
    assert asked >= SECRETS


def test_old_and_new_processes_and_a_command_fit_into_a_small_database() -> None:
    web = int(app_json()["env"]["WEB_CONCURRENCY"]["value"]) * WEB_POOL
    assert 2 * (web + worker_pool(1)) + 2 <= SMALLEST_DATABASE


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_has_only_what_render_knows(name: str) -> None:
    Draft202012Validator(RENDER_YAML).validate(blueprint(name))


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_sets_documented_variables_and_refers_to_what_is_there(name: str) -> None:
    file = blueprint(name)
    databases = {one["name"] for one in file.get("databases", ())}
    variables = {
        (service["type"], service["name"]): {one["key"] for one in service["envVars"]}
        for service in file["services"]
    }
    for service in file["services"]:
        for one in service["envVars"]:
            assert one["key"] in DOCUMENTED
            if "fromDatabase" in one:
                assert one["fromDatabase"]["name"] in databases
            if "fromService" in one:
                there = one["fromService"]
                assert there["envVarKey"] in variables[there["type"], there["name"]]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_service_with_a_disk_is_alone_and_keeps_its_inbox_there(name: str) -> None:
    for service in blueprint(name)["services"]:
        if disk := service.get("disk"):
            values = {one["key"]: one.get("value", "") for one in service["envVars"]}
            assert values["DATABASE_URL"].startswith(f"sqlite:///{disk['mountPath']}/")
            # Render refuses the one, and runs the other where the disk is not
            assert not {"maxShutdownDelaySeconds", "preDeployCommand"} & set(service)
            assert len(blueprint(name)["services"]) == 1
        else:
            assert service["maxShutdownDelaySeconds"] >= STOP_SECONDS


def test_render_starts_what_the_procfile_says() -> None:
    services = {one["type"]: one for one in blueprint("render.yaml")["services"]}
    assert services["web"]["preDeployCommand"] == procfile()["release"]
    assert {kind: one["startCommand"] for kind, one in services.items()} == {
        kind: procfile()[kind] for kind in ("web", "worker")
    }


def test_compose_runs_what_the_procfile_says_over_postgres() -> None:
    services = compose()["services"]
    assert {name: shlex.join(services[name]["command"]) for name in ("web", "worker")} == {
        name: shlex.join(shlex.split(procfile()[name])) for name in ("web", "worker")
    }
    assert shlex.join(services["migrate"]["command"]) == procfile()["release"]
    for name in ("migrate", "web", "worker"):
        service = services[name]
        assert set(service["environment"]) <= DOCUMENTED
        assert service["stop_grace_period"] == "30s"
        assert service["environment"]["DATABASE_URL"] == "postgres://{0}:{1}@db/{0}?sslmode=disable".format(
            services["db"]["environment"]["POSTGRES_USER"], services["db"]["environment"]["POSTGRES_PASSWORD"]
        )
    for name in ("web", "worker"):
        assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_compose_lets_nobody_but_this_machine_reach_it_and_starts_the_trial_only_when_it_is_named() -> None:
    services = compose()["services"]
    ports = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert ports == {"web": ["127.0.0.1:8000:8000"]}
    assert [name for name, one in services.items() if "profiles" in one] == ["try"]
    assert services["try"]["network_mode"] == "host"
    assert not {"env_file", "environment", "command"} & set(services["try"]), "nothing is configured"


def test_docker_understands_the_compose_file() -> None:
    docker = shutil.which("docker")
    if (
        not docker
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("Docker Compose is not installed")
    command = [docker, "compose", "--file", "compose.yaml", "--profile", "try", "config", "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


def test_systemd_runs_what_the_procfile_says_and_leaves_it_time_to_end() -> None:
    units = {name: unit(name) for name in ("migrate", "web", "worker")}
    for name, said in units.items():
        assert said["WorkingDirectory"] == PLACE
        assert said["EnvironmentFile"] == SETTINGS
        assert said["User"] == "bridge"
        command = said["ExecStart"].removeprefix(f"{PLACE}/.venv/bin/")
        assert command == procfile()["release" if name == "migrate" else name]
    for name in ("web", "worker"):
        assert units[name]["Wants"] == units[name]["After"] == "bridge-migrate.service"
        assert int(units[name]["TimeoutStopSec"]) > STOP_SECONDS


def test_systemd_understands_its_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd is not installed")
    for path in SAMPLES.glob("*.service"):
        (tmp_path / path.name).write_text(executable(path.read_text("utf-8")), "utf-8")
    command = [analyze, "verify", "--man=no", *map(str, tmp_path.glob("*.service"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_platform_runs_the_python_that_the_project_says() -> None:
    version = (ROOT / ".python-version").read_text("utf-8").strip()
    assert re.fullmatch(r"3\.\d+", version), "without a patch level, so that platforms keep it current"
    assert dockerfile()["FROM"] == [f"python:{version}-slim"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == f">={version}"


def pins(name: str) -> dict[str, set[str]]:
    """What a requirements file pins, as `name==version`, with the hashes of each."""
    lines = (ROOT / name).read_text("utf-8").partition("\n")[2]
    parts = re.split(r"(?m)^(?=[\w.-]+==)", lines)[1:]
    return {part.split()[0]: set(re.findall(r"--hash=(sha256:\w+)", part)) for part in parts}


def locked() -> dict[str, set[str]]:
    """The same of uv.lock, without the bridge itself."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    return {
        f"{one['name']}=={one['version']}": {
            file["hash"] for file in [*one.get("wheels", ()), *filter(None, [one.get("sdist")])]
        }
        for one in packages
        if "registry" in one["source"]
    }


def test_both_requirements_files_are_what_the_lock_says_with_a_hash_for_everything() -> None:
    assert pins("requirements-dev.txt") == locked(), "run `make lock`"
    assert pins("requirements.txt").items() < locked().items(), "run `make lock`"
    assert all(locked().values())


def test_no_lock_names_another_index_than_pypi() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert "://" not in (ROOT / name).read_text("utf-8")
    addresses = re.findall(r"\w+://[^/\"]*", (ROOT / "uv.lock").read_text("utf-8"))
    assert set(addresses) == {"https://pypi.org", "https://files.pythonhosted.org"}


def test_herokus_buildpack_finds_one_lock() -> None:
    """It builds nothing where it finds several, and .slugignore takes files away before it looks."""
    known = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile", "Pipfile.lock", "setup.py")
    taken_away = (ROOT / ".slugignore").read_text("utf-8").splitlines()
    found = [name for name in known if (ROOT / name).exists() and f"/{name}" not in taken_away]
    assert found == ["requirements.txt"]


def test_the_image_is_built_of_what_it_may_hold_and_runs_as_nobody_special() -> None:
    said = dockerfile()
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert ignored[[line.startswith("#") for line in ignored].index(False)] == "*"
    assert {one.split()[0] for one in said["COPY"]} == allowed
    assert all((ROOT / name).exists() for name in allowed)
    assert said["USER"] == ["bridge"]
    assert "root" not in said["USER"]


# --- what they start -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Started:
    """What a platform runs: once before all, and then at the same time."""

    before: str | None
    processes: Sequence[str]
    variables: Mapping[str, str]
    folder: Path = ROOT


@contextmanager
def heroku(make_database: MakeDatabase) -> Iterator[Started]:
    with make_database("postgres", migrated=False) as url:
        commands = procfile()
        variables = {"DYNO": "web.1", "DATABASE_URL": url.replace("postgresql+psycopg://", "postgres://")}
        set_there = {name: one["value"] for name, one in app_json()["env"].items() if "value" in one}
        yield Started(commands["release"], [commands["web"], commands["worker"]], {**set_there, **variables})


@contextmanager
def render(make_database: MakeDatabase) -> Iterator[Started]:
    with make_database("postgres", migrated=False) as url:
        services = blueprint("render.yaml")["services"]
        commands = [one["startCommand"] for one in services]
        variables = {
            "RENDER": "true",
            "DATABASE_URL": url.replace("postgresql+psycopg://", "postgresql://"),
        }
        yield Started(services[0]["preDeployCommand"], commands, variables)


@contextmanager
def render_disk(_: MakeDatabase) -> Iterator[Started]:
    service = blueprint("docs/render-disk.yaml")["services"][0]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        variables = {"RENDER": "true", "DATABASE_URL": f"sqlite:///{disk}/bridge.db"}
        yield Started(None, [service["startCommand"]], variables)


@contextmanager
def container(_: MakeDatabase) -> Iterator[Started]:
    """The image without Docker: what the Dockerfile copies, and its command."""
    said = dockerfile()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "app"
        image.mkdir()
        for one in said["COPY"]:
            source, target = one.split()
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, image / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, image / target)
        variables = {"DATABASE_URL": f"sqlite:///{folder}/bridge.db"}
        yield Started(None, [shlex.join(json.loads(said["CMD"][0]))], variables, image)


@contextmanager
def compose_file(make_database: MakeDatabase) -> Iterator[Started]:
    """The containers without Docker: their commands and variables, over another Postgres."""
    services = compose()["services"]
    with make_database("postgres", migrated=False) as url:
        variables = {"DATABASE_URL": url.replace("postgresql+psycopg://", "postgres://")}
        commands = [shlex.join(services[name]["command"]) for name in ("web", "worker")]
        yield Started(shlex.join(services["migrate"]["command"]), commands, variables)


@contextmanager
def systemd(_: MakeDatabase) -> Iterator[Started]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        variables = {"DATABASE_URL": f"sqlite:///{folder}/bridge.db"}
        commands = [executable(unit(name)["ExecStart"]) for name in ("web", "worker")]
        yield Started(executable(unit("migrate")["ExecStart"]), commands, variables)


@pytest.fixture(scope="module")
def next_store() -> Iterator[StandInProcess]:
    """29next, for all platforms."""
    with stand_in_process("--rate", "0") as next29:
        yield next29


@pytest.mark.parametrize("platform", [heroku, render, render_disk, container, compose_file, systemd])
def test_what_a_platform_starts_takes_an_alert_and_ends_in_time(
    platform: Callable[[MakeDatabase], Any],
    make_database: MakeDatabase,
    next_store: StandInProcess,
    tmp_path: Path,
) -> None:
    name = platform.__name__.replace("_", "-")
    sent = Senders(prefix=name).prevention()
    port = free_port()
    with platform(make_database) as started, ExitStack() as ends:
        variables = {
            "PORT": str(port),
            "NEXT_STORE": "example",
            "NEXT_ACCESS_TOKEN": next_store.token,
            "NEXT_BASE_URL": next_store.base_url,
            "MIDIGATOR_SECRET": "midigator:long-enough-to-be-one",
            **started.variables,
        }
        assert set(variables) - SECRETS <= DOCUMENTED
        environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}
        if started.before:
            subprocess.run(
                shlex.split(started.before), cwd=started.folder, env=environ, check=True, timeout=60
            )
        processes = [
            ends.enter_context(running(shlex.split(command), started.folder, environ, tmp_path / f"{n}.log"))
            for n, command in enumerate(started.processes)
        ]
        eventually(lambda: answer(port, "/readyz") == 200, 60, every=0.1)
        assert answer(port, "/healthz") == 200
        headers = {**sent.headers, "Authorization": basic("midigator", "long-enough-to-be-one")}
        assert requests.post(f"http://127.0.0.1:{port}{sent.path}", sent.body, headers=headers, timeout=30).ok
        eventually(lambda: f"{name}-00001" in numbers(next_store), 20, every=0.1)
        check = json.loads(dockerfile()["HEALTHCHECK"][0].partition("CMD")[2])
        assert subprocess.run(check, env=environ, check=False, timeout=30).returncode == 0
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(STOP_SECONDS) for process in processes] == [0] * len(processes)
        assert (
            subprocess.run(check, env=environ, check=False, timeout=30, stderr=subprocess.DEVNULL).returncode
            != 0
        )


def numbers(store: StandInProcess) -> set[str]:
    return {one["case_number"] for one in store.disputes()}


def test_heroku_refuses_a_release_that_would_lose_alerts() -> None:
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DYNO": "release.1"}
    command = shlex.split(procfile()["release"])
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "DATABASE_URL: this platform deletes the disk" in done.stderr


def test_a_web_process_with_wrong_settings_names_all_of_them_without_a_traceback() -> None:
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PORT": str(free_port())}
    wrong = {"NEXT_STORE": "shop", "NEXT_TIMEOUT": "soon", "WEB_CONCURRENCY": "abc"}
    done = subprocess.run(
        shlex.split(procfile()["web"]),
        cwd=ROOT,
        env=environ | wrong,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "NEXT_ACCESS_TOKEN: missing" in done.stderr
    assert "NEXT_TIMEOUT: expected a number" in done.stderr
    assert "WEB_CONCURRENCY: expected a whole number from 1 to 1000, not 'abc'\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_web_process_starts_where_the_number_of_processes_is_left_empty(tmp_path: Path) -> None:
    port = free_port()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db",
        "WEB_CONCURRENCY": "",
    }
    with running(shlex.split(procfile()["web"]), ROOT, environ, tmp_path / "web.log"):
        eventually(lambda: answer(port, "/healthz") == 200, 60, every=0.1)
