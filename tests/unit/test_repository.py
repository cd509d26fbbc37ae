"""What contributors find around the code says the same as the code's own settings."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.documents import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
FIELDS = {"textarea", "input", "dropdown", "checkboxes"}


def read(path: str | Path) -> Any:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_editors_use_the_line_length_of_the_formatter() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text("utf-8"))
    assert parser["top"]["root"] == "true"
    assert int(parser["*.py"]["max_line_length"]) == PROJECT["tool"]["ruff"]["line-length"]


def test_pre_commit_runs_the_projects_own_versions_of_what_make_check_runs() -> None:
    repos = read(".pre-commit-config.yaml")["repos"]
    assert [one["repo"] for one in repos] == ["local"]
    check = (ROOT / "Makefile").read_text("utf-8").partition("\ncheck: ")[2].partition("\n\n")[0]
    assert [hook["id"] for hook in repos[0]["hooks"]] == ["ruff", "ruff-format", "mypy"]
    for hook in repos[0]["hooks"]:
        assert hook["language"] == "system"
        command = hook["entry"].removesuffix(" --force-exclude")
        assert command.startswith(".venv/bin/")
        assert command.replace(".venv/bin/", "$(BIN)/") in check


def test_ci_runs_the_projects_own_script_on_the_oldest_python_and_the_newest() -> None:
    job = read(".github/workflows/ci.yml")["jobs"]["ci"]
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert job["strategy"]["matrix"]["python"] == [oldest, "3.x"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_ci_may_only_read() -> None:
    assert read(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_something_and_warns_of_card_data_and_secrets(form: Path) -> None:
    read_form = read(form)
    assert read_form["name"]
    assert read_form["description"]
    first, *rest = read_form["body"]
    assert first["type"] == "markdown"
    assert re.search(r"Never paste card numbers, secrets", first["attributes"]["value"])
    questions = [one for one in rest if one["type"] in FIELDS]
    assert questions == rest
    assert len({one["id"] for one in questions}) == len(questions)
    assert all(one["attributes"]["label"] for one in questions)
    assert any(one.get("validations", {}).get("required") for one in questions)


def test_issues_come_by_a_form_only_and_there_is_one_for_each_kind() -> None:
    assert read(".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"] is False
    assert [path.stem for path in FORMS] == ["bug", "misread_alert", "new_provider"]


def test_a_pull_request_is_warned_of_card_data_and_secrets() -> None:
    assert "Never paste card numbers, secrets" in (ROOT / ".github/pull_request_template.md").read_text(
        "utf-8"
    )


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "bridge/py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["bridge"]


def test_what_developers_need_is_a_group_and_no_extra() -> None:
    assert "optional-dependencies" not in PROJECT["project"]
    assert {"include-group": "test"} in PROJECT["dependency-groups"]["dev"]
    assert {"include-group": "check"} in PROJECT["dependency-groups"]["dev"]
