"""Which words earn their place: each group is taken out of the lexicon, and the same formulas are fitted without it.

On every space of `experiments/campaign/every_space.toml` the networks are halved at random, one draw for each seed.
In-space: a sum of four words is fitted on one half of a space, and the other half ranked. Out of space: a word is
chosen, and a law of four words fitted, on the first halves of all kinds of spaces but one, and the second halves of it
are ranked, every kind in turn. The budget is the same with all words and without a group: the vocabulary and the
number of words of a formula. What a word says is read from the banks of the cache folder, where campaigns have left it;
nothing is computed. Needs EZNAS_DATA.

    python -m experiments.campaign.word_ablation [--seeds 0,1,2,3,4] [--n 200] --into FILE.json
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from experiments.campaign.leave_one_out import networks_of, settings
from eznas.bank import Bank
from eznas.benchmarks import load_benchmark, reporting_split
from eznas.errors import EznasError
from eznas.evolution.lexicon import words
from eznas.evolution.sums import Fit
from eznas.evolution.worth import correlations
from eznas.files import write_output
from eznas.fitness import Covariates, Labels
from eznas.fitness.ranks import kendall_tau_b
from eznas.randomness import stream
from eznas.runs.config import config_from
from eznas.scoring import covariates_of, resolved_conditions
from eznas.study import Machine
from primitives import GENERAL

GROUPS: Final = {
    "participation ratio": r"participation_ratio",
    "entropy of the spectrum": r"spectral_entropy",
    "stable rank, condition": r"stable_rank|condition",
    "determinant, mean log eigenvalue": r"log_abs_determinant|mean_log_eigenvalue|spectral_score",
    "trace, off-diagonal": r"\(trace |off_diagonal",
    "kernels between images": r"gram_kernel|agreement_kernel|correlation_kernel",
    "covariance between channels": r"channel_covariance|filter_correlation",
    "means, norms, shares": r"\((mean|mean_abs|standard_deviation|frobenius_norm|largest|share_\w+|row_share_\w+) ",
    "angles and products": r"\((cosine|sum) ",
    "gradients": r"_grad",
    "noise and perturbation": r"\.(noise|perturbed)",
    "weighted by size": r"weighted_mean_layers .*\(numel ",
    "weighted by depth, windows, slope": r"depth_weighted|early_mean|late_mean|slope_layers",
    "quantiles, extremes, ends": r"quartile|median|min_layers|max_layers|first_layer|last_layer",
    "graph and roles": r"is_|distance_to|paths|path_share|fan_|depth\)|stage|path_count|_path|bypassed",
    "logarithms of a layer": r"\((\w+_layers|first_layer|last_layer) \(log ",
    "counts": r"^(parameter_count|mac_count|layer_count|unit_count)$|^\(\w+ \(numel \S+\)\)$",
}
"""By name: the words in whose text this is found."""
VOCABULARY: Final = 3_000
N_WORDS: Final = 4
N_LAW_WORDS: Final = 20
LEAST: Final = 1e-12

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Space:
    """What the words say of the networks of a space.

    Attributes:
        name: of the benchmark.
        kind: of spaces.
        values: (n_words, n_networks).
        labels: of all its networks.
    """

    name: str
    kind: str
    values: Floats
    labels: Labels

    def half(self, seed: int, which: int) -> npt.NDArray[np.int64]:
        """Columns of one of two halves."""
        order = stream(seed, "word ablation", self.name).permutation(len(self.labels.accuracies))
        return np.sort(order[which::2])


def load(n: int) -> tuple[list[str], list[Space]]:
    """The words, and of every space the networks of which the banks know all but a few of them."""
    texts = list(dict.fromkeys(word.canonical.text for word in words(GENERAL)))
    config = config_from(settings())
    found = []
    for sample in config.all_samples:
        benchmark = load_benchmark(sample.name)
        archs = networks_of(sample.name)[:n]
        conditions, _ = resolved_conditions(config, sample, archs[:5], datasets=benchmark.datasets[:1])
        bank = Bank.open(Machine().banks, conditions.drawn())
        unknown = {bank.column_of(arch) for missed, of in bank.missing(texts, archs) if len(missed) > 5 for arch in of}
        archs = tuple(arch for arch in archs if bank.column_of(arch) not in unknown)
        dataset = benchmark.datasets[0]
        accuracies = np.asarray(benchmark.accuracies(archs, dataset, reporting_split(benchmark, (dataset,))))
        labels = Labels(sample.name, accuracies, np.arange(len(archs)), covariates_of(archs, conditions))
        found.append(Space(sample.name, sample.group or sample.name, bank.values(texts, archs).values, labels))
        print(f"{sample.name}: {len(archs)} networks", file=sys.stderr, flush=True)
    return texts, found


def on(space: Space, columns: npt.NDArray[np.int64], start: int) -> Labels:
    """The labels of some networks, as columns from `start` on."""
    labels, all_of = space.labels, space.labels.covariates
    assert all_of is not None
    covariates = Covariates(all_of.log_parameters[columns], all_of.log_macs[columns], all_of.levels[columns])
    return Labels(space.name, labels.accuracies[columns], np.arange(len(columns)) + start, covariates)


def tau(scores: Floats, labels: Labels) -> float:
    """Tau-b; 0 where all scores are equal."""
    found = kendall_tau_b(scores, labels.accuracies)
    return 0.0 if not np.isfinite(found) else float(found)


@dataclass(frozen=True, slots=True)
class Known:
    """Rank correlations of all words with the accuracies of the first halves: (n_words, n_spaces) each.

    Attributes:
        alone: of the words.
        beyond: of what size leaves of words and accuracies.
        is_usable: whether a word has values, and not all the same.
    """

    alone: Floats
    beyond: Floats
    is_usable: npt.NDArray[np.bool_]


@np.errstate(invalid="ignore")  # what failed is not usable
def known(spaces: Sequence[Space], seed: int) -> Known:
    """What every group shares: no group changes what the words left say."""
    alone, beyond, usable = [], [], []
    for space in spaces:
        first = space.half(seed, 0)
        one, other = correlations(space.values[:, first], [on(space, first, 0)])
        alone.append(one[:, 0])
        beyond.append(other[:, 0])
        usable.append(np.isfinite(space.values).all(axis=1) & (np.ptp(space.values[:, first], axis=1) > 0))
    return Known(np.stack(alone, 1), np.stack(beyond, 1), np.stack(usable, 1))


def in_space(spaces: Sequence[Space], of: Known, rows: npt.NDArray[np.int64], seed: int) -> float:
    """Mean tau over the spaces on one half of the networks of a sum of words fitted on the other half."""
    taus = []
    for index, space in enumerate(spaces):
        kept = rows[of.is_usable[rows, index]]
        vocabulary = {
            row for merits in (of.alone, of.beyond)
            for row in kept[np.argsort(-np.abs(merits[kept, index]), kind="stable")[: VOCABULARY // 2]].tolist()
        }  # fmt: skip
        chosen = np.array(sorted(vocabulary))
        first, second = space.half(seed, 0), space.half(seed, 1)
        *_, last = Fit(space.values[np.ix_(chosen, first)], [on(space, first, 0)]).path(N_WORDS)
        scores = np.asarray(last.weights) @ space.values[np.ix_(chosen[list(last.rows)], second)]
        taus.append(tau(scores, on(space, second, 0)))
    return float(np.mean(taus))


def out_of_space(
    spaces: Sequence[Space], of: Known, rows: npt.NDArray[np.int64], counts: set[int], seed: int
) -> dict[str, float]:
    """Mean tau over the kinds of spaces of what was chosen on the others: one word, and a law of some."""
    taus: dict[str, list[float]] = {"word": [], "law": []}
    for kind in dict.fromkeys(space.kind for space in spaces):
        seen = [index for index, space in enumerate(spaces) if space.kind != kind]
        usable = rows[of.is_usable[rows][:, seen].all(axis=1)]
        alone = of.alone[np.ix_(usable, seen)]
        merits = np.abs(alone.mean(axis=1)) - alone.std(axis=1) / len(seen) ** 0.5
        ranked = usable[np.argsort(-merits, kind="stable")]
        best, sign = int(ranked[0]), float(np.sign(of.alone[ranked[0], seen].mean()))
        halves = [spaces[index].half(seed, 0) for index in seen]
        labels, values, start = [], [], 0
        candidates = [*ranked[:200].tolist(), *(row for row in usable.tolist() if row in counts)]
        for index, half in zip(seen, halves, strict=True):
            labels.append(on(spaces[index], half, start))
            values.append(spaces[index].values[np.ix_(candidates, half)])
            start += len(half)
        table = np.concatenate(values, axis=1)
        is_positive = (table > LEAST).all(axis=1) & (table < 1e12).all(axis=1)
        positive = [row for row, is_so in zip(candidates, is_positive, strict=True) if is_so]
        chosen = list(dict.fromkeys([*positive[:N_LAW_WORDS], *(row for row in positive if row in counts)]))
        logarithms = np.log(table[[candidates.index(row) for row in chosen]])
        *_, law = Fit(logarithms, labels).path(N_WORDS, 10.0, is_cautious=True)
        of_kind: dict[str, list[float]] = {"word": [], "law": []}
        for space in (space for space in spaces if space.kind == kind):
            half = space.half(seed, 1)
            task = on(space, half, 0)
            of_kind["word"].append(tau(sign * space.values[best, half], task))
            terms = np.log(np.maximum(space.values[np.ix_([chosen[row] for row in law.rows], half)], LEAST))
            of_kind["law"].append(tau(np.asarray(law.weights) @ terms, task))
        for name, values_of in of_kind.items():
            taus[name].append(float(np.mean(values_of)))
    return {name: float(np.mean(of_name)) for name, of_name in taus.items()}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--n", type=int, default=200, help="most networks of a space")
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        texts, spaces = load(given.n)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    counts = {row for row, text in enumerate(texts) if re.search(GROUPS["counts"], text)}
    seeds = {seed: known(spaces, seed) for seed in map(int, given.seeds.split(","))}
    found: dict[str, Any] = {"networks": {space.name: len(space.labels.accuracies) for space in spaces}, "groups": {}}
    for group, pattern in {"": "^$", **GROUPS}.items():
        rows = np.array([row for row, text in enumerate(texts) if not re.search(pattern, text)])
        by_seed = [
            {"in_space": in_space(spaces, of, rows, seed), **out_of_space(spaces, of, rows, counts, seed)}
            for seed, of in seeds.items()
        ]
        found["groups"][group] = {"n_words": len(texts) - len(rows), "seeds": by_seed}
        write_output(given.into, json.dumps(found, indent=1) + "\n")
        means = {name: np.mean([one[name] for one in by_seed]).round(4) for name in by_seed[0]}
        print(f"without {group or 'nothing'} ({len(texts) - len(rows):,} words): {means}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
