"""Networks of any search space are scored, whether or not a benchmark records their accuracies."""

from __future__ import annotations

import json

import pytest

from eznas.benchmarks import BENCHMARKS
from eznas.cli import main


def test_networks_of_a_space_that_no_benchmark_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert not any(source.space == "sss" for source in BENCHMARKS.values())
    assert main(["score", "parameter_count", "--networks", "sss:0,11", "--quiet", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = [(row["network"], row["parameter_count"]) for row in rows]
    assert found == [("8:8:8:8:8", 11_714), ("8:8:8:16:32", 49_202)]
