"""Which part of a formula carries its ranking, on networks of which only counts and scores of estimators are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from eznas.assessment import ablate
from eznas.assessment.ablation import parts_of, replaced
from eznas.evaluation import evaluate
from eznas.fitness import Labels, kendall_tau_b
from eznas.fitness.labels import FloatArray
from eznas.programs import Invalid, Program, parse
from eznas.proxies import KNOWN_PROGRAMS
from eznas.statistics import NetworkStatistics
from tests.eznas.assessment.samples import labels_of

N = 60
LABELS = labels_of(N, n_values=0)
rng = np.random.default_rng(3)
SHOWN = [
    NetworkStatistics(
        (),
        {
            "parameter_count": float(np.exp(10 + a / 10)), "mac_count": float(np.exp(15 + rng.normal() / 3)),
            "metric.jacob_cov": float(-abs(a - 110) + rng.normal()), "metric.zen": float(abs(a)),
            "metric.plain": float(rng.normal() / 50),
        },
    )
    for a in LABELS.accuracies
]  # fmt: skip


def score(programs: Sequence[Program]) -> FloatArray:
    """One program after the other, one network after the other, by the definition."""
    rows = []
    for program in programs:
        outcomes = [evaluate(program, shown) for shown in SHOWN]
        rows.append([np.nan if isinstance(outcome, Invalid) else outcome for outcome in outcomes])
    return np.array(rows, dtype=np.float64)


def tau(program: Program, labels: Labels = LABELS) -> float:
    return kendall_tau_b(score([program])[0], labels.accuracies)


def test_each_loss_is_that_of_the_formula_without_the_part() -> None:
    program = parse("(add (log parameter_count) (multiply 0.5 (log mac_count)))")
    found = ablate(program, score, [LABELS])
    assert found.tau == pytest.approx(tau(program))
    assert [part.program.text for part in found.parts] == [
        "(log parameter_count)", "parameter_count", "(multiply 0.5 (log mac_count))", "(log mac_count)", "mac_count",
    ]  # fmt: skip
    for part in found.parts:
        median = float(np.median(score([part.program])[0]))
        assert part.value == pytest.approx(median)
        assert part.loss == pytest.approx(found.tau - tau(replaced(program, part.index, median)))
    first, _, second, *_ = found.parts
    assert first.loss > second.loss  # the accuracies follow the parameters
    assert first.bypass == pytest.approx(found.tau - tau(parse("(add parameter_count (multiply 0.5 (log mac_count)))")))


def test_losses_are_means_over_samples_and_in_the_direction_of_the_formula() -> None:
    program = parse("(multiply -1.0 (log parameter_count))")
    halves = [
        Labels("a", LABELS.accuracies[:30], np.arange(30)), Labels("b", LABELS.accuracies[30:], np.arange(30, N)),
    ]  # fmt: skip
    found = ablate(program, score, halves, direction=-1)
    expected = np.mean([kendall_tau_b(-score([program])[0][h.networks], h.accuracies) for h in halves])
    assert found.tau == pytest.approx(expected)
    assert found.tau > 0.3
    assert [part.loss for part in found.parts] == pytest.approx([found.tau, found.tau])


def test_a_branch_that_is_constant_on_the_data_is_told() -> None:
    """As of SR-2024, a fifth of whose tree a protected logarithm of a negative score had made a constant."""
    branch = "(multiply (heaviside metric.jacob_cov) (sqrt (add metric.plain metric.zen)))"
    program = parse(f"(add {KNOWN_PROGRAMS['sr_2024'].program.text} {branch})")
    assert max(shown.quantities["metric.jacob_cov"] for shown in SHOWN) < 0
    found = ablate(program, score, [LABELS])
    assert [part.program.text for part in found.idle] == [branch]
    (idle,) = found.idle
    assert idle.is_constant
    assert idle.loss == 0
    assert found.share_idle == pytest.approx(7 / program.size)


def test_what_changes_values_but_no_rank_is_idle_and_not_constant() -> None:
    program = parse("(add (log parameter_count) (multiply 1e-12 mac_count))")
    found = {part.program.text: part for part in ablate(program, score, [LABELS]).parts}
    assert found["(multiply 1e-12 mac_count)"].is_idle
    assert not found["(multiply 1e-12 mac_count)"].is_constant
    assert not found["(log parameter_count)"].is_idle


def test_parts_are_numbers_of_the_network() -> None:
    program = parse("(add 1.0 (mean_layers (mean weight)))")
    assert [program.subprogram(index).text for index in parts_of(program)] == ["(mean_layers (mean weight))"]
    assert ablate(parse("mac_count"), score, [LABELS]).parts == ()
    with pytest.raises(ValueError, match="at least one sample"):
        ablate(parse("mac_count"), score, [])
