"""The distribution: two packages of ours, light to import, with imports that point one way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import eznas
import primitives

ROOT = Path(__file__).parents[1]


def test_both_packages_are_ours() -> None:
    """`primitives` is a generic name: another distribution must not shadow it."""
    for package in (primitives, eznas):
        assert Path(package.__file__ or "").parents[1] == ROOT


def test_the_version_is_that_of_the_project() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert version("eznas") == tomllib.load(file)["project"]["version"]


# A wheel --------------------------------------------------------------------------------------------------------------

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
TINY = """
[benchmark]
name = "net_mixers"
n_evolve = 10
n_select = 8
n_report = 8
[probe]
batch_size = 2
[evolution]
population_size = 6
initial_size = 6
n_generations = 1
[report]
bootstrap = 100
baselines = ["mac_count"]
simplify_seconds = 1.0
badge_networks = 0
front_size = 2
"""
RUN = """
import sys
from pathlib import Path
import eznas
from eznas.cli import main
assert Path(eznas.__file__).is_relative_to(sys.argv[1]), eznas.__file__
sys.exit(main(["evolve", "tiny.toml", "--quiet", "--run-dir", "run"]) or main(["gallery", "general"]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built in a copy of it."""
    folder = tmp_path_factory.mktemp("wheel")
    hidden = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("eznas", "primitives"):
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=hidden)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "tree")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=folder / "tree", capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    """Tables, cards, templates and families too, without which an installed release could not work."""
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {
        str(path.relative_to(ROOT))
        for name in ("eznas", "primitives")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert len({name for name in files if not name.endswith(".py")}) > 30
    assert files - held == set()


def test_the_wheel_runs_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    """Unpacked as an installation does it, in an empty folder, with nothing of the clone on the path."""
    installed, work = tmp_path / "installed", tmp_path / "work"
    zipfile.ZipFile(wheel).extractall(installed)
    work.mkdir()
    (work / "tiny.toml").write_text(TINY)
    environment = {**os.environ, "PYTHONPATH": str(installed), "EZNAS_CACHE": str(tmp_path / "cache"), "EZNAS_DATA": ""}
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, str(installed)], cwd=work, env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (work / "run" / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "mac_count" in done.stdout


# Imports --------------------------------------------------------------------------------------------------------------


def test_importing_the_package_is_free() -> None:
    heavy = ("torch", "numpy", "scipy", "sympy", "ray", "deap", "pydantic", "matplotlib")
    code = f"import sys, eznas, eznas.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_public_name_leads_somewhere() -> None:
    assert sorted(eznas.__all__) == dir(eznas)
    for name in eznas.__all__:
        assert getattr(eznas, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(eznas, "nothing_of_this_name")


def test_imports_point_one_way() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
