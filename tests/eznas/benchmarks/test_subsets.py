"""Subsets and partitions: sizes, seeding, strata, and no function on two sides."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from eznas.benchmarks import Benchmark, Partition, Split, Strategy, folds, partition, stratified, uniform
from eznas.benchmarks.subsets import FEW, function_of, is_frequent
from eznas.errors import BenchmarkError
from eznas.spaces import Architecture, nb101, nb201

POOL = tuple(Architecture("toy", f"{i:02d}") for i in range(40))
ACCURACIES = np.arange(40.0)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_uniform() -> None:
    drawn = uniform(POOL, 12, _rng())
    assert len(set(drawn)) == 12
    assert set(drawn) <= set(POOL)
    assert list(drawn) == sorted(drawn, key=POOL.index)
    assert drawn == uniform(POOL, 12, _rng())
    assert drawn != uniform(POOL, 12, _rng(1))
    assert uniform(POOL, 40, _rng()) == POOL
    assert uniform(POOL, 0, _rng()) == ()


def test_uniform_reaches_every_architecture_equally() -> None:
    rng = _rng()
    counts = np.zeros(40)
    for _ in range(2_000):
        for arch in uniform(POOL, 10, rng):
            counts[POOL.index(arch)] += 1
    # binomial(2000, 1/4): sd 19.4
    assert abs(counts - 500).max() < 5 * 19.4


@pytest.mark.parametrize(("n", "n_strata"), list(itertools.product((0, 1, 7, 10, 23, 39, 40), (1, 3, 10, 40, 100))))
def test_stratified_sizes(n: int, n_strata: int) -> None:
    drawn = stratified(POOL, ACCURACIES, n, _rng(), n_strata=n_strata)
    assert len(drawn) == len(set(drawn)) == n
    parts = np.array_split(np.arange(40), min(n_strata, max(n, 1)))
    per_part = [sum(POOL[i] in drawn for i in part) for part in parts]
    assert max(per_part) - min(per_part) <= 1


def test_stratified_spreads_over_ranks_not_values() -> None:
    """One extreme accuracy moves nothing: strata hold equal numbers of architectures."""
    stretched = np.exp(ACCURACIES)
    assert stratified(POOL, stretched, 20, _rng()) == stratified(POOL, ACCURACIES, 20, _rng())


def test_stratified_follows_the_accuracies_not_the_order() -> None:
    shuffled = _rng(5).permutation(ACCURACIES)
    drawn = stratified(POOL, shuffled, 10, _rng())
    deciles = sorted(int(shuffled[POOL.index(arch)] // 4) for arch in drawn)
    assert deciles == list(range(10))


def test_stratified_breaks_ties_at_random() -> None:
    """Among equal accuracies the strata are random, so two draws may come from the same half of the pool."""
    draws = [stratified(POOL, np.zeros(40), 2, _rng(seed), n_strata=2) for seed in range(40)]
    n_same_half = sum(POOL.index(one) // 20 == POOL.index(other) // 20 for one, other in draws)
    assert 8 <= n_same_half <= 31  # 19.5 expected, sd 3.2; none if ties keep the order of the pool


def test_stratified_bad_input() -> None:
    with pytest.raises(BenchmarkError, match="got 39 accuracies for 40 architectures"):
        stratified(POOL, ACCURACIES[:39], 5, _rng())
    with pytest.raises(BenchmarkError, match="n_strata=0"):
        stratified(POOL, ACCURACIES, 5, _rng(), n_strata=0)


@pytest.mark.parametrize("n", [-1, 41])
def test_impossible_sizes(n: int) -> None:
    with pytest.raises(BenchmarkError, match=f"0 to 40 architectures.*asks for {n}"):
        uniform(POOL, n, _rng())
    with pytest.raises(BenchmarkError, match=f"0 to 40 architectures.*asks for {n}"):
        stratified(POOL, ACCURACIES, n, _rng())


# Partition ------------------------------------------------------------------------------------------------------------


def _partition(benchmark: Benchmark, **changes: object) -> Partition:
    settings = {"sizes": (300, 200, 600), "seed": 3}
    return partition(benchmark, **{**settings, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["uniform", "stratified"])
def test_parts_share_no_function(synthetic: Benchmark, strategy: Strategy) -> None:
    parts = _partition(synthetic, strategy=strategy)
    assert (len(parts.evolve), len(parts.select), len(parts.report)) == (300, 200, 600)
    n_cells = Counter(function_of(arch) for arch in synthetic.architectures)
    for one, other in itertools.combinations((parts.evolve, parts.select, parts.report), 2):
        assert not set(one) & set(other)
        for shared in {function_of(arch) for arch in one} & {function_of(arch) for arch in other}:
            assert is_frequent(n_cells[shared], len(synthetic.architectures))


@pytest.mark.parametrize("part", ["evolve", "select", "report"])
def test_every_part_looks_like_the_benchmark(synthetic: Benchmark, part: str) -> None:
    """Constant networks and convolutions occur in proportion: a part without them would be judged on another kind."""
    seeds = range(12)
    cells = [arch for seed in seeds for arch in getattr(_partition(synthetic, seed=seed), part)]
    everything = synthetic.architectures

    def share(sample: Sequence[Architecture], operation: str) -> float:
        return float(np.mean([nb201.operations(arch).count(operation) for arch in sample]))

    zeros = np.mean([nb201.is_zero(arch) for arch in cells])
    assert zeros == pytest.approx(341 / 15_625, abs=0.008)
    for operation in nb201.OPERATIONS:
        assert share(cells, operation) == pytest.approx(share(everything, operation), rel=0.1)


def test_parts_depend_on_the_seed_only(synthetic: Benchmark) -> None:
    assert _partition(synthetic) == _partition(synthetic)
    other = _partition(synthetic, seed=4)
    parts = _partition(synthetic)
    assert parts.evolve != other.evolve
    assert parts.select != other.select
    assert parts.report != other.report


def test_report_is_unmoved_by_the_other_parts(synthetic: Benchmark) -> None:
    reference = _partition(synthetic)
    changed = _partition(synthetic, sizes=(50, 10, 600), strategy="stratified")
    assert changed.report == reference.report
    assert _partition(synthetic, sizes=(50, 200, 600)).select == reference.select


def test_report_is_an_unbiased_sample(synthetic: Benchmark) -> None:
    """Cells of the largest class (460 of 15,625) appear in the report in proportion."""
    big = "(0)@nor_conv_3x3"
    reports = [_partition(synthetic, seed=seed, sizes=(1, 1, 2_000)).report for seed in range(3)]
    share = np.mean([nb201.reduced_function(arch) == big for report in reports for arch in report])
    assert share == pytest.approx(460 / 15_625, rel=0.3)


def test_stratified_evolve_covers_the_accuracies(synthetic: Benchmark) -> None:
    parts = _partition(synthetic, strategy="stratified", sizes=(100, 200, 600))
    accuracies = synthetic.accuracies(parts.evolve, "cifar10", Split.VALIDATION)
    counts, _ = np.histogram(accuracies, bins=10, range=(0, 100))
    # strata are deciles of what is left, so decile borders move a little; a uniform draw has a spread of 3 per bin
    assert counts.min() >= 8
    assert counts.max() <= 12


def test_architectures_of_any_space_can_be_divided() -> None:
    benchmark = Benchmark("toy", "Made up.", POOL, {("cifar10", Split.VALIDATION, 200): ACCURACIES})
    parts = partition(benchmark, (8, 4, 12), seed=0)
    chosen = [*parts.evolve, *parts.select, *parts.report]
    assert len(set(chosen)) == 24
    assert set(chosen) <= set(POOL)


@pytest.mark.parametrize(
    ("strategy", "seed", "expected"),
    [
        ("uniform", 0, "fc5a3b0ea20794a9"),
        ("stratified", 0, "19496b65aabc7195"),
        ("uniform", 3, "cb7f840e9bc3ce9a"),
        ("stratified", 3, "53b62cb81cb7d12a"),
    ],
)
def test_parts_of_nas_bench_201_are_those_of_earlier_runs(
    official: Benchmark, strategy: Strategy, seed: int, expected: str
) -> None:
    parts = _partition(official, strategy=strategy, seed=seed)
    cells = "\n".join(arch.spec for part in (parts.evolve, parts.select, parts.report) for arch in part)
    assert hashlib.sha256(cells.encode()).hexdigest()[:16] == expected


# Few architectures ----------------------------------------------------------------------------------------------------


def _parts(parts: Partition) -> tuple[tuple[Architecture, ...], ...]:
    return (parts.evolve, parts.select, parts.report)


def _few(n: int = 40, archs: tuple[Architecture, ...] | None = None) -> Benchmark:
    pool = archs or tuple(Architecture("toy", str(number)) for number in range(n))
    return Benchmark("few", "Made up.", pool, {("cifar10", Split.TEST, None): np.linspace(10.0, 90.0, len(pool))})


@pytest.mark.parametrize(("n", "expected"), [(10, (4, 2, 4)), (40, (16, 8, 16)), (499, (200, 100, 199))])
def test_all_of_few_are_dealt_by_count(n: int, expected: tuple[int, int, int]) -> None:
    for seed in range(3):
        parts = partition(_few(n), seed=seed)
        assert (len(parts.evolve), len(parts.select), len(parts.report)) == expected
        assert len({*parts.evolve, *parts.select, *parts.report}) == n
    assert parts != partition(_few(n), seed=4)
    assert parts == partition(_few(n), seed=2)


def test_all_of_many_are_dealt_in_shares() -> None:
    parts = partition(_few(FEW), seed=0)
    sizes = (len(parts.evolve), len(parts.select), len(parts.report))
    assert sum(sizes) == FEW
    np.testing.assert_allclose(np.array(sizes) / FEW, (0.3, 0.2, 0.5), atol=0.07)
    assert partition(_few(FEW), (None, 10, None), seed=0).report == parts.report


def test_few_of_one_function_stay_together() -> None:
    """Vertices on no path from the input to the output change nothing."""
    names = nb101.OPERATIONS
    cells = ["01.00:", *(f"010.001.000:{name}" for name in names)]
    variants = [f"0101.0000.0000.0000:{one},{other}" for one in names for other in names]  # as 01.00
    pool = tuple(nb101.architecture(text) for text in (*cells, *variants))
    assert (len(pool), len({function_of(arch) for arch in pool})) == (13, 4)
    parts = partition(_few(archs=pool), seed=0)
    for dealt in ((parts.evolve, parts.select, parts.report), folds(_few(archs=pool), 3, seed=0)):
        functions = [{function_of(arch) for arch in part} for part in dealt]
        assert sum(map(len, functions)) == 4
        assert all(functions)


def test_functions_that_a_benchmark_records_are_taken() -> None:
    few = _few(12)
    recorded = replace(few, functions=tuple("ffffgggghhhh"))
    for dealt in (folds(recorded, 3, seed=0), _parts(partition(recorded, seed=0))):
        assert sorted(len(part) for part in dealt) == [4, 4, 4]
        assert {tuple(part) for part in dealt} == {few.architectures[i : i + 4] for i in (0, 4, 8)}


def test_too_few_functions() -> None:
    pool = tuple(nb101.architecture(f"0101.0000.0000.0000:conv3x3,{name}") for name in nb101.OPERATIONS)
    with pytest.raises(BenchmarkError, match="The 3 networks of benchmark 'few' compute too few different functions"):
        partition(_few(archs=pool), seed=0)


def test_sizes_of_few() -> None:
    parts = partition(_few(), (10, 5, None), seed=0)
    assert (len(parts.evolve), len(parts.select), len(parts.report)) == (10, 5, 16)
    message = (
        r"benchmark.n_select must be 0 to 8, as many of the 40 networks of benchmark 'few' as were dealt to that part, "
        "but it is 9; the largest sizes are benchmark.n_evolve = 16, benchmark.n_select = 8, benchmark.n_report = 16"
    )
    with pytest.raises(BenchmarkError, match=message):
        partition(_few(), (10, 9, 25), seed=0)
    with pytest.raises(BenchmarkError, match=message):
        partition(_few(), (10, 9, None), seed=0)
    with pytest.raises(BenchmarkError, match=r"benchmark\.n_report must be 0 to 16"):
        partition(_few(), (10, 8, -1), seed=0)


def test_sizes_of_few_that_fit_are_dealt_in_their_proportions() -> None:
    parts = partition(_few(), (30, 6, 4), seed=0)
    assert (len(parts.evolve), len(parts.select), len(parts.report)) == (30, 6, 4)
    assert len({*parts.evolve, *parts.select, *parts.report}) == 40


def test_stratified_by_what_there_is() -> None:
    parts = partition(_few(), (8, None, None), seed=0, strategy="stratified")
    assert len(parts.evolve) == 8


# Folds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 5, 40])
def test_folds_cover_all_and_are_alike(k: int) -> None:
    tables = {("cifar10", Split.TEST, None): _rng(7).permutation(np.linspace(10.0, 90.0, 40))}
    benchmark = replace(_few(), tables=tables)
    divided = folds(benchmark, k, seed=1)
    assert len(divided) == k
    dealt = [arch for fold in divided for arch in fold]
    assert len(dealt) == len(set(dealt)) == 40
    assert set(dealt) == set(benchmark.architectures)
    sizes = [len(fold) for fold in divided]
    assert max(sizes) - min(sizes) <= 1
    if k <= 5:  # one of every k neighbours in accuracy
        means = [benchmark.accuracies(fold, "cifar10", Split.TEST).mean() for fold in divided]
        assert max(means) - min(means) < k * 80 / 39
    assert divided == folds(benchmark, k, seed=1)
    assert k == 40 or divided != folds(benchmark, k, seed=2)
    assert all(list(fold) == sorted(fold, key=benchmark.architectures.index) for fold in divided)


def test_no_function_is_in_two_folds(embedded: Benchmark) -> None:
    pool = embedded.architectures[:2_000]
    values = embedded.accuracies(pool, "cifar10", Split.TEST)
    benchmark = Benchmark("part", "Made up.", pool, {("cifar10", Split.TEST, None): values})
    divided = folds(benchmark, 4, seed=0)
    functions = [{function_of(arch) for arch in fold} for fold in divided]
    n_cells = Counter(function_of(arch) for arch in pool)
    for one, other in itertools.combinations(functions, 2):
        assert all(is_frequent(n_cells[shared], len(pool)) for shared in one & other)
    sizes = [len(fold) for fold in divided]
    assert sum(sizes) == 2_000
    assert max(sizes) - min(sizes) <= 10
    means = [benchmark.accuracies(fold, "cifar10", Split.TEST).mean() for fold in divided]
    assert max(means) - min(means) < 1.5


@pytest.mark.parametrize("k", [1, 0, -1, 41])
def test_impossible_folds(k: int) -> None:
    with pytest.raises(BenchmarkError, match=f"'few' can be divided into 2 to 40 folds, .* but {k} are asked for"):
        folds(_few(), k, seed=0)


def test_stratified_needs_its_labels(synthetic: Benchmark) -> None:
    with pytest.raises(BenchmarkError, match=r"has no cifar100 test \(200 epochs\) accuracies"):
        _partition(synthetic, strategy="stratified", dataset="cifar100", split=Split.TEST)


def test_unknown_strategy(synthetic: Benchmark) -> None:
    with pytest.raises(BenchmarkError, match="must be one of uniform, stratified, but it is 'best'"):
        _partition(synthetic, strategy="best")


def test_too_few_left(synthetic: Benchmark) -> None:
    message = (
        r"benchmark.n_evolve must be 0 to (\d+), as many of the 15625 networks of benchmark 'synthetic' as were dealt "
        r"to that part, but it is 15000; the largest sizes are benchmark.n_evolve = \1, benchmark.n_select = \d+, "
    )
    with pytest.raises(BenchmarkError, match=message):
        _partition(synthetic, sizes=(15_000, 200, 600))
