"""The figures of the bench: each function measures one question and gives rows ``{id, value, unit, note}``."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.stats
import torch

from benchmark import half, ways
from benchmark.ways import OperatorTime, Population, Timed, require_equal
from benchmark.workload import Settings, Workload, make_workload, random_start, run_config
from eznas.bank import Bank, fill
from eznas.evaluation import make_plan
from eznas.evolution.lexicon import lexicon
from eznas.evolution.sentences import SentenceSearch, Vocabulary, operators_of
from eznas.fitness import Labels
from eznas.fitness.ranks import kendall_tau_b_batch
from eznas.programs import parse
from eznas.randomness import stream
from eznas.statistics import capture
from eznas.study import Problem
from eznas.workers import Pool, open_pool
from primitives import GENERAL

T = TypeVar("T")
Row = dict[str, Any]


@dataclass
class Bench:
    """What figures are measured on, and what plots and the profile need of them afterwards.

    Attributes:
        settings: sizes.
        small: S, the network set of the run.
        large: L, more networks and a larger batch.
        generations: programs evaluated in each generation of the run.
        trees: random programs beyond the limits of a run.
        growth: by what is doubled, sizes with seconds.
        profile: operators of generation 10 over L, slowest first.
        profiled_seconds: of all of it.
        memory: seconds and MiB of an evaluation of L in a fraction of its memory.
    """

    settings: Settings
    small: Workload
    large: Workload
    generations: Sequence[Population]
    trees: Population
    growth: dict[str, dict[int, float]] = field(default_factory=dict)
    profile: list[OperatorTime] = field(default_factory=list)
    profiled_seconds: float = 0.0
    memory: list[tuple[float, float]] = field(default_factory=list)

    @property
    def middle(self) -> int:
        """The generation that most figures are about."""
        return int(self.settings["middle"])

    @property
    def repeats(self) -> int:
        """Of which medians are quoted."""
        return int(self.settings["repeats"])

    def alone(self, way: Callable[..., T], *arguments: Any) -> tuple[T, float]:
        """What a function gives in a process of its own, and the MiB it needed; in this one, at once, for tests."""
        run = ways.in_fresh_process if self.settings["isolated"] else ways.in_this_process
        return run(way, *arguments)


def row(id_: str, value: float, unit: str, note: str) -> Row:
    """One figure."""
    return {"id": id_, "value": float(f"{value:.4g}"), "unit": unit, "note": note}


# --------------------------------------------------------------------------------------------------------- workers


def two_workers(bench: Bench, pool: Pool) -> list[Row]:
    """Programs per second of two workers over a run's generations, and what two are worth beside one core."""
    shown = [bench.generations[g] for g in bench.settings["generations"]]
    texts = [text for population in shown for text in population]
    assert len({parse(text).digest for text in texts}) == len(texts), "programs must be distinct"
    timed = ways.with_pool(pool, bench.small.folder, shown, bench.repeats)
    seconds = statistics.median(sum(of_one) for of_one in zip(*(t.clock for t in timed), strict=True))
    each = ", ".join(f"{len(t.scores) / t.elapsed:.0f}" for t in timed)
    generation = bench.settings["workers_generation"]
    population = bench.generations[generation]
    (alone,), _ = bench.alone(ways.shared, bench.large.folder, [population], bench.repeats)
    (together,) = ways.with_pool(pool, bench.large.folder, [population], bench.repeats)
    require_equal(alone, together)
    note = f"two workers, by the clock, start-up excluded; S, generations {bench.settings['generations']}: {each}"
    return [
        row("s_rate_2", len(texts) / seconds, "programs/s", note),
        row("workers_2", alone.elapsed / together.elapsed, "times",
            f"two workers against one core, by the clock; L, generation {generation}, nothing kept"),
    ]  # fmt: skip


# --------------------------------------------------------------------------------------- shared against plain


def small_store(bench: Bench) -> list[Row]:
    """S: rates of the two ways over generations and larger trees, peak memory, and what keeping results adds."""
    named = {str(g): bench.generations[g] for g in bench.settings["generations"]} | {"large": bench.trees}
    folder, populations = bench.small.folder, list(named.values())
    expected, plain_peak = bench.alone(ways.plain, folder, populations, bench.settings["plain_repeats"])
    found, shared_peak = bench.alone(ways.shared, folder, populations, bench.repeats)
    rows = []
    for name, plain, shared in zip(named, expected, found, strict=True):
        require_equal(plain, shared)
        size = statistics.median(parse(text).size for text in named[name])
        note = f"S, {'larger trees' if name == 'large' else f'generation {name}'}, median size {size:.0f}, one core"
        rows += [
            row(f"plain_rate_{name}", plain.rate, "programs/s", note),
            row(f"shared_rate_{name}", shared.rate, "programs/s", f"{note}, nothing kept"),
        ]
    middle = list(named).index(str(bench.middle))
    rows += _kept(bench, bench.small, expected[middle], found[middle], "s")
    note = "S, above the idle process, mapped statistics included; highest of these populations"
    return [*rows, row("plain_peak", plain_peak, "MiB", note), row("shared_peak", shared_peak, "MiB", note)]


def large_store(bench: Bench) -> list[Row]:
    """L: the two ways, tiles against whole groups, and the share of the bandwidth bound."""
    folder, population = bench.large.folder, bench.generations[bench.middle]
    (plain,), _ = bench.alone(ways.plain, folder, [population], bench.settings["plain_repeats"])
    shown = [population, bench.generations[0], bench.trees]
    tiled_all, _ = bench.alone(ways.shared, folder, shown, bench.repeats)
    whole_all, _ = bench.alone(ways.whole, folder, shown, bench.repeats)
    for one, other in zip(tiled_all, whole_all, strict=True):
        require_equal(one, other)
    tiled, whole = tiled_all[0], whole_all[0]
    require_equal(plain, tiled)
    note = f"L, generation {bench.middle}, one core, nothing kept"
    others = ", ".join(
        f"{name} {b.seconds / a.seconds:.2g}"
        for name, a, b in zip(("generation 0", "larger trees"), tiled_all[1:], whole_all[1:], strict=True)
    )
    return [
        *_kept(bench, bench.large, plain, tiled, "l"),
        row("l_tiled", whole.seconds / tiled.seconds, "times",
            f"{note}: tiles ({tiled.seconds:.3g} s) against whole shape groups of all networks "
            f"({whole.seconds:.3g} s); {others}"),
        _bandwidth(bench, tiled, note),
    ]  # fmt: skip


def _kept(bench: Bench, workload: Workload, plain: Timed, cold: Timed, name: str) -> list[Row]:
    earlier, population = bench.generations[: bench.middle], bench.generations[bench.middle]
    warm, _ = bench.alone(ways.kept, workload.folder, earlier, population, bench.repeats)
    require_equal(plain, warm)
    note = f"{name.upper()}, generation {bench.middle}, one core, shared against plain ({plain.seconds:.3g} s)"
    return [
        row(f"{name}_plain", plain.seconds / warm.seconds, "times",
            f"{note}, results of generations 0 to {bench.middle - 1} kept"),
        row(f"{name}_plain_cold", plain.seconds / cold.seconds, "times", f"{note}, nothing kept"),
    ]  # fmt: skip


def _bandwidth(bench: Bench, tiled: Timed, note: str) -> Row:
    n_bytes = _bytes_read(bench.large.folder, bench.generations[bench.middle])
    speed, _ = bench.alone(ways.read_speed, bench.settings["bandwidth_mb"] * 10**6)
    return row(
        "bandwidth", n_bytes / speed / tiled.seconds, "share",
        f"{note}: {n_bytes / 1e9:.2f} GB of distinct statistics at {speed / 1e9:.1f} GB/s of reading, "
        f"over {tiled.seconds:.3g} s",
    )  # fmt: skip


def _bytes_read(folder: str, population: Population) -> int:
    names = make_plan([parse(text) for text in population]).statistics
    return sum(group.tensors[name].nbytes for s in ways.shards_of(folder) for group in s.groups for name in names)


# ---------------------------------------------------------------------------------------------------------- growth


def growth(bench: Bench) -> list[Row]:
    """How the time of a shared evaluation, nothing kept, grows with programs, networks and depth."""
    jobs = [(name, *job) for name, make in _DOUBLED.items() for job in make(bench)]
    timed, _ = bench.alone(ways.shared_each, [(folder, programs) for _, _, folder, programs in jobs], bench.repeats)
    for (name, size, _, _), one in zip(jobs, timed, strict=True):
        bench.growth.setdefault(name, {})[size] = one.seconds
    rows = []
    for name, seconds in bench.growth.items():
        exponent = np.polyfit(np.log2(list(seconds)), np.log2(list(seconds.values())), 1)[0]
        each = ", ".join(f"{size}: {spent:.3g} s" for size, spent in seconds.items())
        rows.append(row(f"growth_{name}", float(exponent), "exponent", f"S, generation 0; {_WHAT[name]} {each}"))
    return rows


Job = tuple[int, str, Population]
"""Size, folder of a store, programs."""


def _growth_population(bench: Bench) -> Iterator[Job]:
    for n in bench.settings["growth_populations"]:
        yield n, bench.small.folder, random_start(bench.small.problem.config, n)


def _growth_networks(bench: Bench) -> Iterator[Job]:
    for n in bench.settings["growth_networks"]:
        yield n, make_workload(bench.small.problem.config, n).folder, bench.generations[0]


def _growth_depth(bench: Bench) -> Iterator[Job]:
    for cells in bench.settings["growth_depths"]:
        config = run_config(bench.settings, n_networks=10, batch_size=1, cells_per_stage=cells)
        folder = make_workload(config, bench.settings["growth_depth_networks"]).folder
        yield sum(shard.n_layers for shard in ways.shards_of(folder)), folder, bench.generations[0]


_DOUBLED: Mapping[str, Callable[[Bench], Iterator[Job]]] = {
    "population": _growth_population, "networks": _growth_networks, "depth": _growth_depth,
}  # fmt: skip
_WHAT = {
    "population": "programs", "networks": "networks", "depth": "layers of ten networks with 1 and 2 cells per stage",
}  # fmt: skip


# -------------------------------------------------------------------------------------------------- the other parts


def ranking(bench: Bench) -> list[Row]:
    """Batched tau-b against scipy in a loop, over scores with and without ties."""
    n_programs, n = bench.settings["tau_programs"], bench.settings["tau_networks"]
    rng = stream(bench.settings["seed"], "bench", "tau")
    tasks = np.round(rng.normal(90, 3, (3, n)), 2)
    scores = tasks[:1] + rng.normal(0, 5, (n_programs, n))
    scores[::3] = np.round(scores[::3])
    scores[::10, : n // 20] = -np.inf

    def loop() -> np.ndarray:
        return np.array([[scipy.stats.kendalltau(s, task).statistic for s in scores] for task in tasks])

    def batched() -> np.ndarray:
        return kendall_tau_b_batch(scores, tasks)

    slow = [ways.stopwatch(loop) for _ in range(bench.repeats)]
    fast = [ways.stopwatch(batched) for _ in range(bench.repeats)]
    np.testing.assert_allclose(fast[0][2], slow[0][2], rtol=0, atol=1e-12)
    before, after = (statistics.median(run[0] for run in runs) for runs in (slow, fast))
    note = f"{n_programs} programs, {n} networks, 3 tasks, a third tied: {after:.3g} s against {before:.3g} s of scipy"
    return [row("tau", before / after, "times", note)]


def capturing(bench: Bench) -> list[Row]:
    """Three recorded probes against three plain forward and backward passes."""
    n_networks = bench.settings["capture_networks"]
    ratio = _capture_ratio(bench.large.problem, n_networks, bench.repeats)
    note = f"{n_networks} networks of L, one core: three probes against three plain forward and backward passes"
    return [row("capture_ratio", ratio, "times", note)]


def _capture_ratio(problem: Problem, n_networks: int, repeats: int) -> float:
    (family,) = problem.families
    conditions = family.conditions
    inputs, _ = conditions.batch(conditions.batch_size)
    networks = [conditions.network(arch) for arch in family.parts.evolve[:n_networks]]

    def passes() -> None:
        for network in networks:
            network.train()
            for _ in range(3):
                network.zero_grad()
                network(inputs.clone().requires_grad_()).sum().backward()

    def probes() -> None:
        for network in networks:
            capture(network, inputs, seed=conditions.network_seed)

    return _median_seconds(probes, repeats) / _median_seconds(passes, repeats)


def _processor_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _median_seconds(work: Callable[[], None], repeats: int) -> float:
    spent = []
    for _ in range(repeats + 1):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return statistics.median(spent[1:])


def sentences(bench: Bench) -> list[Row]:
    """Sentences tried by the search at two levels: bred, evaluated on the numbers of words, and ranked."""
    n_words, n = bench.settings["sentence_words"], bench.settings["tau_networks"]
    rng = stream(bench.settings["seed"], "bench", "sentences")
    causes = rng.normal(size=(20, n))
    values = np.exp(0.3 * (rng.normal(size=(n_words, 20)) @ causes * 0.3 + rng.normal(size=(n_words, n))))
    labels = [Labels(f"task {i}", causes[:5].sum(axis=0) + rng.normal(size=n), np.arange(n)) for i in range(3)]
    words = Vocabulary(
        tuple(f"(sum_layers word{i})" for i in range(n_words)), np.full(n_words, 4), torch.from_numpy(values)
    )
    operators = operators_of(GENERAL.primitives)
    rates = []
    for _ in range(bench.repeats):
        search = SentenceSearch(words, labels, aggregate="worst", weights=None, operators=operators, max_size=60)
        draws = stream(bench.settings["seed"], "bench", "sentences", "run")
        seconds = _processor_seconds(partial(search.run, [], bench.settings["n_sentences"], 200, draws))
        rates.append(search.n_tried / seconds)
    note = f"{search.n_tried:,} sentences over {n_words:,} words, {n:,} networks, 3 tasks, one core"
    return [row("sentences", statistics.median(rates), "sentences/s", note)]


def banking(bench: Bench) -> list[Row]:
    """What words of a bank cost on networks that it does not know, and a second time."""
    texts = list(lexicon(GENERAL))[:: bench.settings["bank_every"]]
    (family,) = bench.small.problem.families
    networks = family.networks("evolve")[: bench.settings["bank_networks"]]
    with tempfile.TemporaryDirectory() as folder:
        bank, pool = Bank.open(Path(folder), family.conditions), open_pool(0)
        first, again = (_processor_seconds(partial(fill, bank, texts, networks, pool)) for _ in range(2))
        pool.close()
    n_values = len(texts) * len(networks)
    note = f"{len(texts):,} words of {len(networks)} networks of S, a network at {1e3 * first / len(networks):.0f} ms"
    return [
        row("bank_rate", n_values / first, "values/s", f"{note}, one core, capture included"),
        row("bank_again", first / again, "times", f"{note}: asked for again, nothing is computed"),
    ]


def out_of_core(bench: Bench) -> list[Row]:
    """L in a fraction of the memory it takes: the most that a process needs above what it needs for nothing."""
    budget, folder = bench.settings["memory_mib"], bench.large.folder
    bench.memory, _ = bench.alone(ways.traced, folder, bench.generations[: bench.middle + 1], budget * 2**20)
    needed = bench.large.store.nbytes / 2**20
    note = f"L, generations 0 to {bench.middle}, evaluation.memory_mib = {budget} for {needed:.0f} MiB of statistics"
    return [row("memory_peak", max((mib for _, mib in bench.memory), default=0.0) / budget, "of the budget", note)]


def half_precision(bench: Bench) -> list[Row]:
    """What is lost if statistics are stored in half precision."""
    population, rows = bench.generations[bench.middle], []
    for name, dtype in (("half", torch.float16), ("bfloat16", torch.bfloat16)):
        effect = half.half_effect(ways.shards_of(bench.small.folder), population, bench.small.accuracies, dtype)
        note = f"S, generation {bench.middle}, statistics stored as {dtype}, computed with in single precision"
        rho = effect.rho
        rows += [
            row(f"{name}_storage", float(np.median(rho)), "Spearman",
                f"{note}: scores before and after, median over {len(rho)} programs, least {rho.min():.3f}; "
                f"{effect.newly_failed} newly fail"),
            row(f"{name}_change", float(np.nanmedian(effect.change)), "share",
                f"{note}: largest change of a score, of the program's largest score, median over programs"),
            row(f"{name}_moved", effect.moved, "share",
                f"{note}: programs whose tau moves by more than {half.MOVED}"),
        ]  # fmt: skip
    return rows


def profile(bench: Bench) -> list[Row]:
    """Where the time of a shared evaluation of L goes."""
    population = bench.generations[bench.middle]
    (total, operators), _ = bench.alone(ways.profiled, bench.large.folder, population)
    bench.profile, bench.profiled_seconds = operators, total
    rows = []
    for number, one in enumerate(operators[:10], start=1):
        shapes, seconds, n_calls = one.shapes[0]
        most = f"{seconds:.2f} s for {n_calls} of {shapes}"
        note = f"{one.name}: {one.seconds / total:.0%}, {one.n_calls} calls, most of it {most}"
        rows.append(row(f"profile_{number}", one.seconds, "s", note))
    outside = total - sum(one.seconds for one in operators)
    n_calls = sum(one.n_calls for one in operators)
    note = f"L, generation {bench.middle}, {total:.3g} s and {n_calls} calls in all: book-keeping and watching"
    return [*rows, row("profile_outside", outside, "s", note)]


FIGURES: Sequence[Callable[[Bench], list[Row]]] = (
    small_store, large_store, growth, ranking, sentences, banking, capturing, out_of_core, half_precision, profile,
)  # fmt: skip
"""One-core figures in the order of the table."""
