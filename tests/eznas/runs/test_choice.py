"""Choosing from a front: rules, what a proxy may need and how large it may be, gains per node."""

from __future__ import annotations

import pytest

from eznas.errors import ConfigError
from eznas.fitness import Criterion, kendall_standard_error
from eznas.programs import parse
from eznas.runs import PICK_RULES, Choice, Entry, Front, load_front
from eznas.runs.choice import Standing, gains_per_node, largest_error, needs_of, picked
from tests.eznas.reporting.conftest import make_run


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Front:
    return load_front(make_run(tmp_path_factory.mktemp("runs") / "synthetic", ["cifar10"]))


def _with(front: Front, error: float | None, *rows: tuple[float, int]) -> Front:
    """The front with formulas of such taus on the selection networks and sizes alone."""
    template = front.discovered[0]
    entries = []
    for tau, size in rows:
        text = "parameter_count"
        for _ in range(size - 1):
            text = f"(sqrt {text})"
        selected = template.select["cifar10"].model_copy(
            update={"tau": Criterion(value=tau), "standard_error": error, "n": 200}
        )
        entries.append(
            Entry(
                id=parse(text).digest, kind="discovered", program=text, direction=1, cost=10.0 - size,
                is_pick=not entries, select={"cifar10": selected},
            )
        )  # fmt: skip
    return Front(run=front.run, samples=front.samples, entries=tuple(entries))


@pytest.mark.parametrize(
    ("rule", "size"), [("best", 8), ("simplest-within-se", 4), ("cheapest-within-se", 8), (None, 8)]
)
def test_a_rule_moves_the_pick(front: Front, rule: str | None, size: int) -> None:
    some = _with(front, 0.05, (0.70, 8), (0.68, 6), (0.66, 4), (0.60, 2))
    pick = Choice(rule=rule).of(some).pick  # type: ignore[arg-type]
    assert pick is not None
    assert pick.size == size


def test_without_a_standard_error_the_largest_possible_one_counts(front: Front) -> None:
    some = _with(front, None, (0.70, 8), (0.635, 4), (0.62, 2))  # sqrt(2 (1 - .49) / 200) is .0714
    pick = Choice(rule="simplest-within-se").of(some).pick
    assert pick is not None
    assert pick.size == 4
    x, y = [float(i) for i in range(40)], [float((7 * i) % 40 + i) for i in range(40)]
    assert kendall_standard_error(x, y) <= largest_error(0.3, 40) == pytest.approx((2 * 0.91 / 40) ** 0.5)


def test_held_out_figures_never_choose(front: Front) -> None:
    """Equal on the selection networks, the smaller one is the best, whatever was measured on held-out networks."""
    standings = {"a": Standing(0.7, 0.0, 5, 1.0, "a"), "b": Standing(0.7, 0.0, 3, 1.0, "b")}
    for rule in PICK_RULES:
        assert picked([*standings], standings.__getitem__, rule) == "b"
    turned = front.model_copy(
        update={
            "entries": tuple(
                one.model_copy(update={"report": front.entries[-1 - place].report})
                for place, one in enumerate(front.entries)
            )
        }
    )
    for rule in PICK_RULES:
        one, other = Choice(rule=rule, max_size=20).of(front).pick, Choice(rule=rule, max_size=20).of(turned).pick
        assert one is not None
        assert other is not None
        assert one.id == other.id


def test_formulas_are_left_out_by_size_and_by_what_they_need(front: Front) -> None:
    small = Choice(max_size=5).of(front)
    assert {entry.id for entry in small.discovered} == {e.id for e in front.discovered if e.size and e.size <= 5}
    assert small.published == front.published[:0] + tuple(
        entry.model_copy(update={"versus_pick": {}}) for entry in front.published
    )
    assert small.pick is not None
    assert small.pick.is_pick
    assert sum(entry.is_pick for entry in small.entries) == 1
    forward = Choice(forward_only=True).of(front)
    assert 0 < len(forward.discovered) < len(front.discovered)
    assert all("_grad" not in (entry.program or "") for entry in forward.discovered)
    assert front.pick is not None
    assert Choice().of(front) is front


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("parameter_count", set()),
        ("(mean_layers (mean weight))", set()),
        ("(mean_layers (mean weight_grad.noise))", {"gradients"}),
        ("(mean_layers (mean weight_grad.labelled))", {"gradients", "labels"}),
    ],
)
def test_what_a_formula_needs(front: Front, text: str, needs: set[str]) -> None:
    entry = front.discovered[0].model_copy(update={"program": text})
    entry = Entry(**{**entry.model_dump(), "id": parse(text).digest})
    assert needs_of(entry) == needs


def test_the_pick_of_the_run_stays_where_nothing_else_is_asked(front: Front) -> None:
    same = Choice(rule=front.run.pick).of(front)
    assert front.pick is not None
    assert same.pick is not None
    assert same.pick.id == front.pick.id
    assert [entry.versus_pick for entry in same.entries] == [entry.versus_pick for entry in front.entries]


def test_nothing_left_is_one_sentence(front: Front) -> None:
    with pytest.raises(ConfigError, match=r"has no formula of at most 1 node, without labels; its 7 have 3 to \d+ nod"):
        Choice(max_size=1, no_labels=True).of(front)


def test_gain_is_over_the_best_smaller_formula(front: Front) -> None:
    some = _with(front, 0.0, (0.70, 8), (0.68, 6), (0.69, 4), (0.60, 2))
    by_size = {entry.size: gains_per_node(some).get(entry.id) for entry in some.discovered}
    assert by_size == pytest.approx({8: 0.01 / 4, 6: -0.01 / 2, 4: 0.09 / 2, 2: None})
