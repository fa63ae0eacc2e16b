"""The distribution: two packages of ours, light to import, with imports that point one way."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

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
