"""Every row of the table keeps its promises, and so does an objective of one's own."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from eznas.errors import BenchmarkError, ConfigError
from eznas.fitness import (
    OBJECTIVES,
    Covariates,
    Fitness,
    Labels,
    Objective,
    Unrankable,
    assess_population,
    kendall_standard_error,
    kendall_tau_b,
    objective_named,
    objectives_named,
    rank_agreement,
)
from eznas.fitness.labels import FloatArray
from eznas.fitness.objectives import kinds_needed
from eznas.programs import Program, cost, parse

N = 60
RANKING = [name for name, row in OBJECTIVES.items() if row.is_ranking]
PROGRAMS = {
    "parameter_count": (),
    "(mean_layers (mean weight))": (),
    "(mean_layers (mean activation_output.noise))": (),
    "(mean_layers (mean activation_output.perturbed))": ("images",),
    "(mean_layers (mean weight_grad.noise))": ("gradients",),
    "(mean_layers (mean weight_grad.data))": ("images", "gradients"),
    "(mean_layers (mean weight_grad.linearised))": ("gradients",),
    "(mean_layers (mean weight_grad.labelled))": ("images", "labels", "gradients"),
    "(mean_layers (mean convolution_output.labelled))": ("images", "labels"),
}


@pytest.fixture
def labels() -> list[Labels]:
    """Two tasks on the same networks."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=N)
    covariates = Covariates(size, size + 0.3 * rng.normal(size=N), np.digitize(size, [-0.5, 0.5]))
    networks = rng.permutation(N)
    return [Labels(name, 70 + 5 * size + 5 * rng.normal(size=N), networks, covariates) for name in ("a", "b")]


def population(labels: list[Labels], n: int = 12) -> FloatArray:
    """Scores in either direction, some with failures."""
    rng = np.random.default_rng(1)
    truth = np.empty(N)
    truth[labels[0].networks] = labels[0].accuracies
    scores = rng.choice([-1, 1], size=(n, 1)) * truth + rng.uniform(1, 10, size=(n, 1)) * rng.normal(size=(n, N))
    scores[: n // 2, 7] = np.nan
    return scores


def by_definition(objective: Objective, row: FloatArray, task: Labels, direction: int) -> float:
    """One program on one task."""
    assert objective.of is not None
    x = row[task.networks]
    values, _ = objective.of(np.where(np.isfinite(x), direction * x, -np.inf)[None, :], task)
    return float(values[0])


@pytest.mark.parametrize("row", OBJECTIVES.values(), ids=OBJECTIVES)
def test_every_row_says_what_it_is(row: Objective, labels: list[Labels]) -> None:
    assert OBJECTIVES[row.name] is objective_named(row.name) is row
    assert row.title
    assert row.summary.endswith(".")
    low, high = row.scale(max_size=25)
    if row.of is None:
        values = np.array([row.of_program(parse(text)) for text in PROGRAMS])  # type: ignore[misc]
        assert not row.higher_is_better
    else:
        values, errors = row.of(np.stack([labels[0].accuracies, np.ones(N)]), labels[0])
        assert np.isnan(values).tolist() == [False, True], "one score for all networks is worth nothing"
        assert errors.shape == (2,)
        values = values[:1]
        assert values == pytest.approx(high)
        if row.stand_in:
            assert OBJECTIVES[row.stand_in].is_ranking
    assert ((low <= values) & (values <= high + 1e-12)).all()


@pytest.mark.parametrize(("text", "kinds"), PROGRAMS.items())
def test_needs_counts_kinds_of_input(text: str, kinds: tuple[str, ...]) -> None:
    assert kinds_needed(parse(text)) == kinds
    assert OBJECTIVES["needs"].of_program(parse(text)) == -len(kinds)  # type: ignore[misc]


def test_the_bound_of_tau_is_one_sided(labels: list[Labels]) -> None:
    task = labels[0]
    scores = population(labels)[8:, task.networks]
    bounds, errors = OBJECTIVES["tau_bound"].of(scores, task)  # type: ignore[misc]
    z = NormalDist().inv_cdf(0.95)
    for row, bound, error in zip(scores, bounds, errors, strict=True):
        assert error == pytest.approx(kendall_standard_error(row, task.accuracies))
        assert bound == pytest.approx(max(kendall_tau_b(row, task.accuracies) - z * error, -1))


@pytest.mark.parametrize("aggregate", ["worst", "mean"])
@pytest.mark.parametrize("first", RANKING)
def test_a_run_may_select_by_any_of_them(labels: list[Labels], first: str, aggregate: str) -> None:
    """The first ranking objective chooses the direction; the others are given in that direction."""
    scores, programs = population(labels), [parse(text) for text in [*PROGRAMS, *list(PROGRAMS)[:3]]]
    names = [first, "needs", *(name for name in ("rho", "top_tau", "size") if name != first)]
    found = assess_population(scores, labels, programs, names, aggregate=aggregate)  # type: ignore[arg-type]
    combine = min if aggregate == "worst" else np.mean
    directions = set()
    for row, program, fitness in zip(scores, programs, found, strict=True):
        assert isinstance(fitness, Fitness)
        rows = [OBJECTIVES[name] for name in names]
        ways = {d: combine([by_definition(rows[0], row, task, d) for task in labels]) for d in (1, -1)}
        assert fitness.direction == max(ways, key=lambda d: ways[d])
        directions.add(fitness.direction)
        expected = [
            combine([by_definition(one, row, task, fitness.direction) for task in labels])
            if one.of_program is None else one.of_program(program)
            for one in rows
        ]  # fmt: skip
        assert fitness.values == pytest.approx(expected, abs=1e-12)
        assert fitness.correlation == fitness.values[0]
        assert Fitness.model_validate_json(fitness.model_dump_json()) == fitness
    assert directions == {1, -1}


def test_the_default_is_tau_size_and_cost(labels: list[Labels]) -> None:
    program = parse("(mean_layers (mean weight_grad.data))")
    (fitness,) = assess_population(population(labels)[-1:], labels, [program])
    assert isinstance(fitness, Fitness)
    assert fitness.values == (min(task.tau for task in fitness.tasks), -3.0, -cost(program))
    assert (fitness.size, fitness.cost) == (3, cost(program))


def test_weights_enter_the_mean_only(labels: list[Labels]) -> None:
    scores, programs = population(labels), [None] * 12
    options = {"objectives": ["tau", "rho"], "directions": [1] * 12}
    weighted = assess_population(scores, labels, programs, aggregate="mean", weights=[3, 1], **options)  # type: ignore[arg-type]
    for fitness in weighted:
        assert isinstance(fitness, Fitness)
        first, second = fitness.tasks
        assert fitness.values == pytest.approx(((3 * first.tau + second.tau) / 4, (3 * first.rho + second.rho) / 4))
    worst = [
        assess_population(scores, labels, programs, weights=weights, **options)  # type: ignore[arg-type]
        for weights in ([3, 1], None)
    ]
    assert worst[0] == worst[1]
    for weights in ([1], [1, 0], [1, np.nan]):
        with pytest.raises(ValueError, match="one positive weight for each of 2 tasks"):
            assess_population(scores, labels, programs, weights=weights, **options)  # type: ignore[arg-type]


def test_a_program_without_a_value_is_unrankable(labels: list[Labels]) -> None:
    scores = population(labels)[-2:]
    top = labels[1].accuracies >= np.quantile(labels[1].accuracies, 0.9)
    scores[0, labels[1].networks[top]] = 1e3
    lost, kept = assess_population(scores, labels, [None] * 2, ["tau", "top_tau"])
    assert isinstance(kept, Fitness)
    assert lost == Unrankable(
        "it has no tau in the top tenth on task 'b': the top tenth has fewer than five networks, or equal scores"
    )


OWN = Objective(
    name="pick", title="accuracy of the pick", summary="Accuracy of the network with the highest score.",
    of=lambda scores, labels: (labels.accuracies[scores.argmax(axis=1)] / 100, np.full(len(scores), np.nan)),
)  # fmt: skip
SHORT = Objective(
    name="short", title="letters", summary="Minus the letters of the formula.", higher_is_better=False,
    of_program=lambda program: -float(len(program.text)), span=(-500.0, 0.0),
)  # fmt: skip


def test_an_objective_of_ones_own_works_wherever_a_name_does(labels: list[Labels]) -> None:
    scores, programs = population(labels), [parse("parameter_count")] * 12
    found = assess_population(scores, labels, programs, [OWN, "tau", SHORT])
    for row, fitness in zip(scores, found, strict=True):
        assert isinstance(fitness, Fitness)
        picks = [task.accuracies[np.nanargmax(fitness.direction * row[task.networks])] / 100 for task in labels]
        assert fitness.values == pytest.approx((min(picks), min(t.tau for t in fitness.tasks), -15.0))
    assert rank_agreement(scores[6:], labels, objective=OWN).shape == (6,)
    assert objectives_named([OWN, SHORT, "cost"])[:2] == (OWN, SHORT)


def test_a_stand_in_is_the_objective_itself_where_there_is_none(labels: list[Labels]) -> None:
    scores = population(labels)[6:]
    for name in ("top_tau", "partial_tau", "ndcg"):
        row = OBJECTIVES[name]
        ways = [[min(by_definition(row, one, task, d) for task in labels) for one in scores] for d in (1, -1)]
        assert rank_agreement(scores, labels, objective=name) == pytest.approx(np.max(ways, axis=0))
        assert rank_agreement(scores, labels, objective=name, may_turn=False) == pytest.approx(ways[0])
    assert (rank_agreement(scores, labels) == rank_agreement(scores, labels, objective="rho")).all()


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (["taub"], "no objective 'taub'; did you mean 'tau'"),
        (["xyzzy"], "no objective 'xyzzy'; known are tau, rho"),
        (["size", "tau"], "first objective must be one that ranks networks, such as tau, .*, got size, tau"),
        ([], "first objective must be one that ranks networks, .*got none"),
        (["tau", "size", "tau"], "once only, got tau, size, tau"),
    ],
)
def test_bad_objectives_are_one_sentence(objectives: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        objectives_named(objectives)
    assert "\n" not in str(caught.value)


def test_bad_declarations_are_refused(labels: list[Labels]) -> None:
    with pytest.raises(ConfigError, match="'x' must be given either 'of' or 'of_program'"):
        Objective(name="x", title="x", summary="x.")
    with pytest.raises(ConfigError, match="span of objective 'x' must rise"):
        Objective(name="x", title="x", summary="x.", of=OWN.of, span=(1, 0))
    wrong = Objective(name="x", title="x", summary="x.", of=lambda scores, labels: (scores, scores))
    with pytest.raises(ValueError, match=r"'x' must return one value per program, shape \(12,\), got \(12, 60\)"):
        assess_population(population(labels), labels, [None] * 12, [wrong])
    with pytest.raises(ValueError, match="not a program's have no size, cost"):
        assess_population(population(labels), labels, [None] * 12)


@pytest.mark.parametrize("name", [name for name, row in OBJECTIVES.items() if row.needs_covariates])
def test_a_sample_without_covariates_is_refused(labels: list[Labels], name: str) -> None:
    bare = [labels[0], Labels("bare", labels[0].accuracies, labels[0].networks)]
    for call in (
        lambda: assess_population(population(labels), bare, [None] * 12, ["tau", name]),
        lambda: rank_agreement(population(labels), bare, objective=name),
    ):
        with pytest.raises(BenchmarkError, match=f"Objective '{name}' needs covariates .* task 'bare' lacks"):
            call()


def test_rows_that_need_no_covariates_do_without(labels: list[Labels]) -> None:
    bare = Labels("bare", labels[0].accuracies, labels[0].networks)
    for row in OBJECTIVES.values():
        if row.of is not None and not row.needs_covariates:
            assert np.isfinite(row.of(labels[0].accuracies[None, :], bare)[0]).all()


def test_programs_are_only_looked_at_by_their_own_objectives() -> None:
    program: Program = parse("parameter_count")
    assert {name: row.of_program(program) for name, row in OBJECTIVES.items() if row.of_program} == {
        "size": -1.0, "cost": 0.0, "needs": 0.0,
    }  # fmt: skip
