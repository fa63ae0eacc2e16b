"""One tiny run, shared by every test that reads one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.eznas.tiny import evolve, simplify_once


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of official data; skips where there is none."""
    folder = os.environ.get("EZNAS_DATA")
    if not folder:
        pytest.skip("EZNAS_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the statistics of tiny runs: captured once for all of them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def embedded_data(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing but the packages."""
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    monkeypatch.setenv("EZNAS_CACHE", str(cache))


@pytest.fixture(scope="session")
def tiny_run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; to be read only."""
    run_dir = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EZNAS_DATA", raising=False)
        patch.setenv("EZNAS_CACHE", str(cache))
        patch.setattr("eznas.study.measure.simplify", simplify_once)
        assert evolve(run_dir) == 0
    return run_dir


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the report, which is drawn from what the tests compare, and simplifying nothing a second time."""
    monkeypatch.setattr("eznas.study.measure.simplify", simplify_once)
    monkeypatch.setattr("eznas.reporting.write_report", lambda *_: None)
    monkeypatch.setattr("eznas.reporting.write_figures", lambda *_: None, raising=False)
