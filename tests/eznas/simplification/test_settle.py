"""Branches that say nothing on the data are found by values, and what remains has the same values."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eznas.evaluation import evaluate
from eznas.programs import Invalid, Program, parse
from eznas.proxies import KNOWN_PROGRAMS
from eznas.simplification import certify, settle
from eznas.statistics import NetworkStatistics

SR_2024 = KNOWN_PROGRAMS["sr_2024"].program


def shown(seed: int, n: int = 30) -> list[NetworkStatistics]:
    """Networks of which counts and scores of estimators are known; jacob_cov is negative, as it is."""
    rng = np.random.default_rng(seed)
    return [
        NetworkStatistics(
            (),
            {
                "parameter_count": float(np.exp(rng.normal(11, 1))), "mac_count": float(np.exp(rng.normal(15, 1))),
                "metric.jacob_cov": float(-np.exp(rng.normal())), "metric.zen": float(np.exp(rng.normal(3, 0.3))),
                "metric.plain": float(rng.normal() / 50),
            },
        )
        for _ in range(n)
    ]  # fmt: skip


def scorer(networks: Sequence[NetworkStatistics]) -> object:
    def score(programs: Sequence[Program]) -> np.ndarray:
        rows = [[evaluate(program, network) for network in networks] for program in programs]
        return np.array([[np.nan if isinstance(v, Invalid) else v for v in row] for row in rows], dtype=np.float64)

    return score


LEARNT = scorer(shown(0))
OTHER = scorer(shown(1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(add {0} (multiply (heaviside metric.jacob_cov) metric.zen))", "{0}"),  # 0 for what is negative
        ("(multiply {0} (heaviside metric.zen))", "{0}"),
        ("(maximum metric.jacob_cov {1})", "{1}"),
        ("(add {0} (multiply 1e-14 metric.plain))", "{0}"),
        ("(subtract {0} (heaviside metric.zen))", "(subtract {0} 1.0)"),
        ("(log (add mac_count (subtract metric.zen metric.zen)))", "(log mac_count)"),
    ],
)
def test_a_silent_branch_goes_and_the_scores_stay(text: str, expected: str) -> None:
    names = (SR_2024.text, "(log mac_count)")
    program = parse(text.format(*names))
    found = settle(program, LEARNT)  # type: ignore[arg-type]
    assert found == parse(expected.format(*names))
    assert found is not None
    assert certify(program, found, lambda p: OTHER([p])[0])  # type: ignore[operator]


def test_what_speaks_stays() -> None:
    assert settle(SR_2024, LEARNT) is None  # type: ignore[arg-type]
    assert settle(parse("(heaviside metric.zen)"), LEARNT) is None  # type: ignore[arg-type]  # the whole is constant
    assert settle(parse("(log_sum_layers (mean weight))"), lambda ps: np.full((len(ps), 3), np.nan)) is None


def test_what_was_silent_by_chance_is_not_certified() -> None:
    """Constant on the networks looked at, and not on others."""
    program = parse("(add (log mac_count) (heaviside metric.plain))")
    of_positive = scorer([n for n in shown(0) if n.quantities["metric.plain"] > 0])
    found = settle(program, of_positive)  # type: ignore[arg-type]
    assert found == parse("(add (log mac_count) 1.0)")
    assert found is not None
    assert not certify(program, found, lambda p: OTHER([p])[0])  # type: ignore[operator]


def test_the_silent_fifth_of_sr_2024_on_recorded_scores() -> None:
    """A logarithm that is protected against negative values says one thing of all cells: their jacob_cov is negative.

    Found on some of the cells of NAS-Bench-Suite-Zero, certified on the others.
    """
    folder = os.environ.get("EZNAS_DATA")
    if not folder:
        pytest.skip("EZNAS_DATA is not set")
    with gzip.open(Path(folder) / "nb201_reference_scores.csv.gz", "rt", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["dataset"] == "cifar10"]
    with gzip.open(Path(folder) / "nb201_reference_zen.csv.gz", "rt", newline="") as stream:
        zen = {row["arch_str"]: row["zen_cifar10"] for row in csv.DictReader(stream)}
    networks = [
        NetworkStatistics(
            (),
            {
                "mac_count": 1e6 * float(row["flops"]), "metric.jacob_cov": float(row["jacov"]),
                "metric.plain": float(row["plain"]), "metric.zen": float(zen[row["arch_str"]]),
            },
        )
        for row in rows if zen.get(row["arch_str"])
    ]  # fmt: skip
    assert len(networks) == 337
    silent = "(multiply (log (add (maximum metric.jacob_cov 0.0) 1.0)) (sqrt metric.zen))"
    program = parse(f"(add {SR_2024.text} {silent})")
    found = settle(program, scorer(networks[:100]))  # type: ignore[arg-type]
    assert found == SR_2024
    assert (program.size - found.size) / program.size > 0.25
    others = scorer(networks[100:])
    assert certify(program, found, lambda p: others([p])[0])  # type: ignore[operator]
