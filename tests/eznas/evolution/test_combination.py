"""Combination joins programs whose whole promises most, and knows what the whole will score."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eznas.evolution import Combiner, Grammar, Variation
from eznas.evolution.combination import MAX_PARTNER_SIZE
from eznas.fitness import Fitness, TaskFitness
from eznas.programs import Program, parse
from eznas.randomness import stream
from eznas.runs import Candidate
from eznas.runs.records import ProgramRecord
from primitives import EXTENDED, PAPER, Statistic

N_NETWORKS = 40
TARGET = np.linspace(0.0, 1.0, N_NETWORKS)
GRAMMAR = Grammar(EXTENDED, max_size=25, max_height=8)


def candidate(text: str, scores: np.ndarray, correlation: float = 0.5) -> Candidate:
    program = parse(text).canonical
    task = TaskFitness(
        task="cifar10", tau=correlation, rho=correlation, n=40, n_failed=0, standard_error=0.1, share_tied=0.0
    )
    values = (correlation, -float(program.size), -1.0)
    fitness = Fitness(tasks=(task,), direction=1, correlation=correlation, size=program.size, cost=1.0, values=values)
    return Candidate(
        program=program,
        fitness=fitness,
        generation=0,
        operator="random",
        parents=(),
        scores=scores.astype(np.float32),
    )


def promise(scores: np.ndarray) -> np.ndarray:
    """Pearson's correlation with the target."""
    found = np.array(
        [np.corrcoef(row, TARGET)[0, 1] if np.isfinite(row).all() and np.ptp(row) else -9 for row in scores]
    )
    return np.where(found == -9, -np.inf, found)


def evaluated(program: Program, leaves: dict[str, np.ndarray]) -> np.ndarray:
    """What a program of network quantities scores, node by node."""
    stack: list[torch.Tensor] = []
    for node in reversed(program.nodes):
        if isinstance(node, Statistic):
            stack.append(torch.tensor(leaves[node.name], dtype=torch.float32))
        else:
            stack.append(node(*(stack.pop() for _ in range(node.arity))))  # type: ignore[union-attr]
    return stack.pop().numpy()


@pytest.fixture
def leaves() -> dict[str, np.ndarray]:
    """Two halves of the target: neither says much, their product says all."""
    noise = np.exp(stream(1, "noise").normal(size=N_NETWORKS) * 3)
    return {
        "parameter_count": np.exp(TARGET) * noise,
        "mac_count": 1 / noise,
        "unit_count": stream(2, "noise").random(N_NETWORKS) + 0.5,
    }


def test_the_complement_of_a_program_is_found(leaves: dict[str, np.ndarray]) -> None:
    combiner = Combiner(GRAMMAR, promise)
    pool = [candidate(name, values) for name, values in leaves.items()]
    combiner.learn(pool)
    (nodes, partner), *_ = combiner.joined(pool[0].id, stream(3))
    assert partner == pool[1].id
    assert Program(nodes).canonical == parse("(multiply parameter_count mac_count)").canonical


def test_the_most_promising_wholes_come_first(leaves: dict[str, np.ndarray]) -> None:
    combiner = Combiner(GRAMMAR, promise)
    pool = [candidate(name, values) for name, values in leaves.items()]
    combiner.learn(pool)
    wholes = [Program(nodes) for nodes, _ in combiner.joined(pool[1].id, stream(4))]
    promises = promise(np.stack([evaluated(whole, leaves) for whole in wholes]))
    assert len(wholes) > 30
    assert (np.diff(promises) <= 1e-6).all()  # the scores it judged by are those of the wholes it proposes
    assert any("sqrt" in whole.text or "square" in whole.text for whole in wholes)


def test_large_poor_and_failed_programs_are_no_partners(leaves: dict[str, np.ndarray]) -> None:
    combiner = Combiner(GRAMMAR, promise)
    first = candidate("parameter_count", leaves["parameter_count"])
    large = "mac_count"
    while parse(large).size <= MAX_PARTNER_SIZE:
        large = f"(negate {large})"
    failed = leaves["mac_count"].copy()
    failed[3] = np.nan
    unknown = candidate("(abs mac_count)", np.empty(0))
    others = [
        candidate(large, leaves["mac_count"]),
        candidate("mac_count", leaves["mac_count"], correlation=0.01),
        candidate("(log mac_count)", failed),
        unknown,
    ]
    combiner.learn([first, *others])
    assert {partner for _, partner in combiner.joined(first.id, stream(1))} == {first.id}
    assert list(combiner.joined(unknown.id, stream(1))) == []
    assert list(combiner.joined("0" * 16, stream(1))) == []


def test_wholes_keep_the_limit_of_size(leaves: dict[str, np.ndarray]) -> None:
    combiner = Combiner(Grammar(EXTENDED, max_size=4, max_height=8), promise)
    pool = [candidate(name, values) for name, values in leaves.items()]
    pool.append(candidate("(log (abs mac_count))", leaves["mac_count"]))
    combiner.learn(pool)
    assert {len(nodes) for nodes, _ in combiner.joined(pool[0].id, stream(1))} == {3, 4}
    assert list(combiner.joined(pool[-1].id, stream(1))) == []


def test_a_partner_may_first_pass_through_a_power_that_changes_it(leaves: dict[str, np.ndarray]) -> None:
    combiner = Combiner(GRAMMAR, promise)
    pool = [candidate(name, values) for name, values in leaves.items()]
    combiner.learn(pool)
    names = {node.name for nodes, _ in combiner.joined(pool[0].id, stream(1)) for node in nodes}
    joints = {p.operator.name for p in GRAMMAR.productions if p.operator.arity == 2}
    assert names - joints - set(leaves) == {"sqrt", "square"}


def test_an_untyped_language_has_no_wholes() -> None:
    grammar = Grammar(PAPER, max_size=25, max_height=8)
    program = Variation(grammar).initial(1, stream(1))[0].program
    combiner = Combiner(grammar, promise)
    combiner.learn([candidate(program.text, TARGET)])
    assert list(combiner.joined(program.digest, stream(1))) == []


def test_variation_proposes_combinations_with_both_parents(leaves: dict[str, np.ndarray]) -> None:
    combiner = Combiner(GRAMMAR, promise)
    pool = [candidate(name, values) for name, values in leaves.items()]
    combiner.learn(pool)
    variation = Variation(GRAMMAR, crossover=0.0, mutation=0.0, combination=1.0)
    offspring, _ = variation.offspring([pool[0].program], 3, stream(2), combiner=combiner)
    combined = [one for one in offspring if one.operator == "combination"]
    assert len(combined) >= 2
    assert len({one.program.digest for one in combined}) == len(combined)
    for one in combined:
        assert one.parents[0] == pool[0].id
        assert one.parents[1] in {c.id for c in pool}
        assert one.program.size <= 25


def test_a_candidate_keeps_its_scores_on_disk() -> None:
    scores = stream(5).normal(size=N_NETWORKS).astype(np.float32)
    scores[2] = np.nan
    before = candidate("mac_count", scores)
    after = Candidate.of_record(ProgramRecord.model_validate_json(before.record().model_dump_json()))
    assert after == before
    np.testing.assert_array_equal(after.scores, scores)
