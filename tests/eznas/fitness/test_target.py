"""Targets: a text that states conditions, read by a grammar of our own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eznas.fitness import Fitness, TaskFitness, parse_target, plain_values

NEAR = {"tau": 0.8, "size": 9.0, "cost": 1.0}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("tau > .8", False),
        ("tau>=.8", True),
        ("tau > .7 and size < 10", True),
        ("TAU > 7e-1 AND size<=9", True),
        ("tau > .7 and size < 9", False),
        ("tau > .9 or size < 10", True),
        ("tau > .9 or tau > .7 and size < 5 or cost <= 1.", True),
        ("size < 5 and tau > .7 or tau > .9", False),
        ("cost > -1", True),
    ],
)
def test_a_target_holds_where_its_comparisons_do(text: str, holds: bool) -> None:
    assert parse_target(text).holds(NEAR) == holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a comparison such as tau > .8 or size < 10 at character 1, got ''"),
        ("tau", "expected a comparison"),
        ("tau > .8 and", "expected a comparison such as tau > .8 or size < 10 at character 13"),
        ("tau > .8 size < 10", "expected 'and', 'or' or the end at character 10, got 'size < 10'"),
        ("tau == .8", "expected a comparison"),
        ("tau > nan", "expected a comparison"),
        ("tau > inf", "expected a comparison"),
        ("tau > 1e999", "expected 'and', 'or' or the end at character 11"),
        ("(tau > .8)", "expected a comparison"),
        ("tau > .8 android < 3", "expected 'and', 'or' or the end"),
        ("taub > .8", "Unknown objective of this run 'taub'; did you mean 'tau'?"),
        ("__import__('os') > 1", "expected a comparison"),
        ("tau > .1 " * 60, "a target has at most 400 characters, got 540"),
    ],
)
def test_any_other_text_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_target(text)


def test_a_target_speaks_of_objectives_of_the_run_size_and_cost() -> None:
    assert parse_target("ndcg > .9 and size < 5 and cost < 2", ("ndcg",)).names == ("ndcg", "size", "cost")
    with pytest.raises(ValueError, match="known are ndcg, size, cost"):
        parse_target("tau > .9", ("ndcg",))


def test_values_are_those_of_the_titles() -> None:
    task = TaskFitness(task="a", tau=0.5, rho=0.6, n=9, n_failed=0, standard_error=0.1, share_tied=0.0)
    fitness = Fitness(tasks=(task,), direction=1, correlation=0.6, size=7, cost=1.5, values=(0.6, -7.0, -2.0))
    assert plain_values(fitness, ("rho", "size", "needs")) == {"rho": 0.6, "size": 7.0, "needs": 2.0, "cost": 1.5}


@given(st.text(alphabet="tausizeornd ><=.-0123456789e()_", max_size=60))
def test_a_text_is_a_target_or_one_sentence(text: str) -> None:
    try:
        target = parse_target(text)
    except ValueError:
        return
    assert set(target.names) <= {"tau", "size", "rho", "cost", "needs"}
    assert target.holds({"tau": 0.1, "size": 1.0, "cost": 1.0, "rho": 0.0, "needs": 0.0}) in (True, False)
