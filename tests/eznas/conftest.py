"""One tiny run, shared by every test that reads one, in whichever process it runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import filelock
import pytest

from tests.eznas.tiny import (
    evolve,
    keep_simplified,
    leave_out_reports,
    simplify_nothing,
    simplify_once,
    take_simplified,
)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of official data; skips where there is none."""
    folder = os.environ.get("EZNAS_DATA")
    if not folder:
        pytest.skip("EZNAS_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the statistics of this process: captured once for all of its tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def embedded_data(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing but the packages."""
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    monkeypatch.setenv("EZNAS_CACHE", str(cache))


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the session share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_run(session_folder: Path, cache: Path) -> Path:
    """A finished run; to be read only. Its statistics are in the cache of every process, its formulas simplified."""
    run_dir, statistics, simplified = (session_folder / name for name in ("tiny", "cache", "simplified.json"))
    with filelock.FileLock(session_folder / "tiny.lock"):
        if not simplified.is_file():  # the last to be written
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("EZNAS_DATA", raising=False)
                patch.setenv("EZNAS_CACHE", str(statistics))
                patch.setattr("eznas.study.measure.simplify", simplify_once)
                assert evolve(run_dir) == 0
            keep_simplified(simplified)
    take_simplified(simplified)
    shutil.copytree(statistics, cache, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock"))
    return run_dir


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without a report, simplifying nothing a second time."""
    monkeypatch.setattr("eznas.study.measure.simplify", simplify_once)
    leave_out_reports(monkeypatch)


@pytest.fixture
def nothing_simplified(no_report: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without a report and without simplification, whose process takes seconds to start."""
    monkeypatch.setattr("eznas.study.measure.simplify", simplify_nothing)
