"""The table of a search, and the neighbours of NAS-Bench-201 cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eznas.benchmarks import Benchmark, Split
from eznas.errors import BenchmarkError, ConfigError
from eznas.nas import SearchTable, nearest, search_table
from eznas.nas.table import N_NEAREST
from eznas.randomness import stream
from eznas.spaces import Architecture, nb201

CELL = nb201.from_index(6111)


def n_edits(one: nb201.Architecture, other: nb201.Architecture) -> int:
    return sum(a != b for a, b in zip(nb201.operations(one), nb201.operations(other), strict=True))


def test_neighbours_differ_in_exactly_one_edge() -> None:
    near = nb201.neighbours(CELL)
    assert len(set(near)) == nb201.N_NEIGHBOURS == 24
    assert all(n_edits(CELL, other) == 1 for other in near)


def test_the_table_of_neighbours_is_that_of_each_cell() -> None:
    table = nb201.neighbour_indices()
    assert table.shape == (nb201.N_CELLS, 24)
    for index in (0, 857, 6111, 9930, 15_624):
        assert [nb201.from_index(i) for i in table[index]] == list(nb201.neighbours(nb201.from_index(index)))
    # being a neighbour is mutual
    assert all(index in table[other] for index in (0, 857) for other in table[index])
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 1


def test_mutation_reaches_every_neighbour_and_each_node_equally_often() -> None:
    rng = stream(0, "test", "mutation")
    drawn = [nb201.mutate(CELL, rng) for _ in range(6_000)]
    assert set(drawn) == set(nb201.neighbours(CELL))
    nodes = [target for other in drawn for (_, target), a, b in
             zip(nb201.EDGES, nb201.operations(CELL), nb201.operations(other), strict=True) if a != b]  # fmt: skip
    counts = np.bincount(nodes)[1:]
    assert counts.sum() == len(drawn)
    expected = len(drawn) / 3
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # chi-square, 2 degrees of freedom, p = .001
    assert sum(nb201.MUTATION_PROBABILITIES) == pytest.approx(1.0)


def test_short_trainings_drive_where_they_are_recorded(made_up_nb201: SearchTable, small: SearchTable) -> None:
    assert made_up_nb201.fitness("short")[0] == 100.0
    assert made_up_nb201.fitness("full")[0] == 0.0
    assert made_up_nb201.describe_fitness("short") == "cifar10 validation, 12 epochs"
    assert small.fitness("short") is small.fitness("full")
    assert small.describe_fitness("short") == "made up validation, full training"


def test_test_accuracies_drive_where_there_are_no_others() -> None:
    tables = {("cifar10", Split.TEST, 200): np.linspace(0.0, 100.0, nb201.N_CELLS)}
    table = search_table(Benchmark("b", "Made up.", nb201.all_architectures(), tables))
    assert table.split is Split.TEST
    assert table.describe_fitness("short") == "cifar10 test, full training"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "cifar10"}, r"needs them among the reported ones"),
        ({"short": np.zeros(3)}, r"The short accuracies .* must be 625 percentages .* shape \(3,\)"),
        ({"reported": {("made up", Split.VALIDATION): np.full(625, np.nan)}}, "percentages in 0..100"),
        ({"seconds": {"short": np.zeros(625)}}, "The short training times .* 625 positive numbers of seconds"),
        ({"seconds": {"full": np.full(625, np.inf)}}, "625 positive numbers of seconds"),
        ({"seconds": {"full": np.ones(3)}}, r"shape \(3,\)"),
        ({"neighbours": np.full((625, 16), 625)}, r"positions in 0\.\.624"),
        ({"neighbours": np.zeros((3, 16), dtype=int)}, "one row for each of 625 architectures"),
        ({"mutation_probabilities": np.ones(16)}, "sum to 1"),
        ({"mutation_probabilities": np.full(4, 0.25)}, "16 numbers"),
    ],
)
def test_a_table_that_contradicts_itself_is_one_sentence(
    make_small: Callable[..., SearchTable], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(BenchmarkError, match=message):
        make_small(**changes)


def test_a_benchmark_that_lists_few_has_the_nearest_as_neighbours() -> None:
    cells = nb201.all_architectures()[:400]
    few = Benchmark("few", "Made up.", cells, {("cifar10", Split.TEST, 200): np.zeros(400)})
    table = search_table(few)
    assert not table.is_whole
    neighbours, chances = table.moves
    assert neighbours.shape == (400, N_NEAREST)
    assert chances.sum() == pytest.approx(1)
    for row in (0, 7, 399):  # the plain definition: sorted by edits, ties as in a ring
        others = sorted((n_edits(cells[row], cells[at]), (at - row) % 400, at) for at in range(400) if at != row)
        assert neighbours[row].tolist() == [at for _, _, at in others[:N_NEAREST]]
    assert np.array_equal(nearest(cells, N_NEAREST, block=7), neighbours)
    assert search_table(few, with_neighbours=False).neighbours is None
    with pytest.raises(ConfigError, match="needs neighbours"):
        _ = search_table(few, with_neighbours=False).moves
    with pytest.raises(BenchmarkError, match="two or more"):
        nearest(cells[:1], 3)


def test_networks_without_places_are_near_by_their_texts() -> None:
    texts = ["32x14/|none~0|", "32x14/|none~1|", "48x10/|conv~0|", "32x14/|none~0|none~1|"]
    found = nearest([Architecture("net", text) for text in texts], 2)
    assert found[:2].tolist() == [[1, 3], [0, 3]]  # one word differs; one word and one number more


def test_an_unknown_data_set_is_refused(official: Benchmark) -> None:
    with pytest.raises(BenchmarkError, match="svhn"):
        search_table(official, "svhn")
