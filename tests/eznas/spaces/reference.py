"""Rows of the published tables, where they are at hand."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import pytest


def rows(name: str) -> list[dict[str, str]]:
    """All rows of a table in the data folder; skips the test without it."""
    folder = os.environ.get("EZNAS_DATA")
    if not folder:
        pytest.skip("EZNAS_DATA is not set")
    with gzip.open(Path(folder) / name, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
