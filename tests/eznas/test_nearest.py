"""A hint names what was meant, and nothing that was not."""

from __future__ import annotations

import pytest

from eznas.names import nearest
from primitives import PRIMITIVES, STATISTICS

KEYS = (
    "name", "seed", "benchmark", "networks", "probe", "evolution", "evaluation", "report", "datasets", "strategy",
    "scheme", "n_classes", "units", "primitive_set", "population_size", "initial_size", "n_generations", "seconds",
    "mutation", "max_size", "likeness", "n_report", "images",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sed", "seed"), ("seeds", "seed"), ("eed", "seed"), ("esed", "seed"), ("evoluton", "evolution"),
        ("popsize", "population_size"), ("ngen", "n_generations"), ("generations", "n_generations"),
        ("primitives", "primitive_set"), ("Population-Size", "population_size"), ("size", "max_size"),
        ("classes", "n_classes"), ("dataset", "datasets"), ("data", "datasets"), ("initial", "initial_size"),
        ("net", "networks"), ("reports", "report"), ("maxsize", "max_size"),
    ],
)  # fmt: skip
def test_a_slip_an_abbreviation_and_a_part_are_understood(name: str, meant: str) -> None:
    assert nearest(name, KEYS) == meant


@pytest.mark.parametrize(
    "name",
    ["operators", "own_operators", "statistics", "language", "words", "functions", "constants", "plugins", "space",
     "start", "include", "initial_programs", "seed_programs", "na", "x", "", "...", "é"],
)  # fmt: skip
def test_what_is_no_setting_is_not_taken_for_one(name: str) -> None:
    assert nearest(name, KEYS) is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("maen", "mean"), ("abs_mean", "mean_abs"), ("meanabs", "mean_abs"), ("frobenius", "frobenius_norm"),
        ("ABS", "abs"), ("logabsdet", "log_abs_determinant"), ("entropy", "spectral_entropy"), ("max", "maximum"),
    ],
)  # fmt: skip
def test_operators_are_found(name: str, meant: str) -> None:
    assert nearest(name, PRIMITIVES) == meant


@pytest.mark.parametrize("name", ["gelu", "softplus", "variance", "clip", "swish", "l1_norm", "logsumexp"])
def test_an_operator_of_ones_own_is_not_taken_for_another(name: str) -> None:
    assert nearest(name, PRIMITIVES) is None


@pytest.mark.parametrize("name", [*PRIMITIVES, *STATISTICS])
def test_every_name_with_two_letters_swapped_is_found(name: str) -> None:
    known = [*PRIMITIVES, *STATISTICS]
    middle = len(name) // 2
    slip = name[: middle - 1] + name[middle] + name[middle - 1] + name[middle + 1 :]
    assert nearest(slip, known) == name or len(name) < 4 or slip in known


def test_of_a_long_name_only_the_beginning_is_looked_at() -> None:
    assert nearest("mean_abs" + 60 * " " + "a" * 10**6, PRIMITIVES) == "mean_abs"
