"""Runs for commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run to be damaged."""
    return Path(shutil.copytree(tiny_run, tmp_path / "copy"))
