"""Copies of the checkout in which tests are run, with and without a broken rule."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.mutants.mutation import Mutation

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 900.0
"""After which a run of tests counts as one that does not end."""
PLUGINS = ("pytest_timeout", "xdist.plugin", "_hypothesis_pytestplugin")
"""Those of pytest's that these tests need: a run is short, and to load all of them takes longer."""

PYTEST = (
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    *(word for plugin in PLUGINS for word in ("-p", plugin)),
)

KILLED, SURVIVED, INVALID = "killed", "survived", "invalid"


@dataclass(frozen=True)
class Verdict:
    """What became of a mutation, by which test or why, and how long that took."""

    word: str
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """One run of tests: pytest's exit status, and which passed, failed or could not even begin."""

    status: int
    said: str
    passed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()


class Copy:
    """The files of the checkout in a folder of their own, where they may be broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # what is imported twice is compiled once, also where that is not usual
        usual = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environ = {**usual, "PYTHONPATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        for name in _files():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)

    def run(self, tests: Sequence[str], *options: str) -> Run:
        """Run tests of this copy: its own folder comes first wherever Python looks for modules."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        words = ["--timeout=120", "--tb=line", f"--junitxml={report}", *options, *tests]
        process = subprocess.Popen(
            [*PYTEST, *words],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            return Run(-1, f"It did not end within {MOST_SECONDS:g} s.")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return Run(process.returncode, said, **_read(report))

    def try_out(self, mutation: Mutation, tests: Sequence[str], *options: str) -> Verdict:
        """Break a rule, run tests, and mend it; only a test that failed counts."""
        started = time.monotonic()
        with self.broken(mutation) as problem:
            if problem:
                return Verdict(INVALID, problem)
            run = self.run(tests, "-x", *options)
        seconds = time.monotonic() - started
        if run.status == 0 and run.passed:
            return Verdict(SURVIVED, seconds=seconds)
        if run.status == 1 and run.failed:
            return Verdict(KILLED, f"by {min(run.failed)}", seconds)
        why = ", ".join(run.broken) or (run.said.strip().splitlines() or ["nothing was said"])[-1]
        return Verdict(INVALID, f"pytest ended with {run.status}: {why}", seconds)

    @contextmanager
    def broken(self, mutation: Mutation) -> Iterator[str | None]:
        """Have a rule broken meanwhile; gives what is wrong with it as a program, if anything."""
        path = self.folder / mutation.file
        before = path.read_text(encoding="utf-8")
        try:
            text = mutation.broken(before)
            self._write(path, text)
            yield _problem(text)
        finally:
            self._write(path, before)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """Write a module anew: what was compiled of it goes by whole seconds, and could be taken for it."""
        path.write_text(text, encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink(missing_ok=True)

    def check(self) -> str | None:
        """Say why tests of this copy would not test what is in it; None where they would."""
        package = self.folder / "bridge" / "__init__.py"
        before = package.read_text(encoding="utf-8")
        try:
            self._write(package, before + '\nraise RuntimeError("the copy is read")\n')
            done = subprocess.run(
                [*PYTEST, "--collect-only", "tests/unit"],
                cwd=self.folder,
                env=self.environ,
                capture_output=True,
                text=True,
                check=False,
            )
            found = "the copy is read" in done.stdout + done.stderr
            return None if found else "Tests of a copy import the bridge from elsewhere."
        finally:
            self._write(package, before)


@contextmanager
def copies(count: int) -> Iterator[list[Copy]]:
    """Several copies, gone in the end."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        yield [Copy(Path(folder) / str(number)) for number in range(count)]


def options_of(mutation: Mutation) -> tuple[str, ...]:
    """Return pytest's options for the tests of a mutation."""
    return () if mutation.on_postgres else ("-k", "not postgres")


def _files() -> Iterable[str]:
    """The files that git knows, and new ones that it does not ignore."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return (name for name in listed.split("\0") if name and (ROOT / name).is_file())


def _problem(text: str) -> str | None:
    """Say what keeps a text from being a program that can run: a failure by that would prove nothing."""
    words = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "--select", "E9,F821,F823"]
    words += ["--target-version", "py311", "--output-format", "concise", "-"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no program: {done.stdout.strip()[:200]}"


def _read(report: Path) -> dict[str, frozenset[str]]:
    """Return which tests passed, failed, and could not begin or be read; all that one is given are one."""
    found: dict[str, set[str]] = {"passed": set(), "failed": set(), "broken": set()}
    for case in ET.parse(report).iter("testcase") if report.exists() else ():  # noqa: S314 - our own file
        file = case.get("classname", "").replace(".", "/")
        name = f"{file}.py::{case.get('name', '').partition('[')[0]}"
        if case.find("failure") is not None:
            found["failed"].add(name)
        elif case.find("error") is not None:
            found["broken"].add(name)
        elif case.find("skipped") is None:
            found["passed"].add(name)
    return {word: frozenset(names) for word, names in found.items()}
