"""Two levels, one program: words look at layers and are kept in a bank; sentences of words are bred by the thousand.

Each generation has a vocabulary: words listed once for the run, the words of the population, and new ones varied from
those that the population uses. Words that fail, or say the same as another, are left out; with many samples, so are
those that do not say the same on most of them of what size leaves unexplained. Then sentences are bred on the numbers
of the words, and the best of them go the way of every program: assessed, journalled, selected.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from eznas.bank import BankEvaluator, Tree, nodes_of, sentence_of, words_of
from eznas.evolution.assessor import Assessor
from eznas.evolution.grammar import Grammar
from eznas.evolution.lexicon import lexicon
from eznas.evolution.listener import Listener, NoListener
from eznas.evolution.sentences import ADD, MULTIPLY, SentenceSearch, Vocabulary, few_digits, operators_of
from eznas.evolution.sums import LONGEST, RIDGE, Fit, Sum, kinds, left_out
from eznas.evolution.variation import Offspring, Variation
from eznas.evolution.worth import FEW, bounds, steady
from eznas.fitness import Labels
from eznas.programs import Node, Program, parse
from eznas.randomness import stream
from eznas.runs.candidate import Candidate
from eznas.runs.config import EvolutionSettings
from primitives import PRIMITIVES, PrimitiveSet

LOG: Final = PRIMITIVES["log"]
WORD_SIZE: Final = 9
"""Most nodes of a word that is bred."""
N_REHEARSED: Final = 1_000
"""Sentences that are bred to see how long that takes."""
LARGEST: Final = 1e25
"""Magnitude beyond which a word is left out: its square would leave no room for arithmetic."""
N_TUNED: Final = 12
"""Sentences of a generation whose constants are tuned."""
LAW_WORDS: Final = 20
"""Words that a law may take beside what counts: those that rank the networks of most samples best."""
LONGEST_LAW: Final = 6
LAW_RIDGES: Final = (RIDGE, 10 * RIDGE)
"""Laws are to hold elsewhere, and are held back more than sums."""
LEAST: Final = 1e-12
"""Magnitude below which a quantity has no logarithm worth the name."""
N_PATHS: Final = 4
"""Ways that sums begin: each without the first words of those before."""
RIDGES: Final = (0.3 * RIDGE, 3 * RIDGE)
"""Beside the usual one."""
OF_TOP: Final = ("top_tau", "ndcg")
"""First objectives of a run for which sums are fitted to the best networks."""
ALIKE: Final = 4
"""Digits of the correlations with the accuracies in which words that say the same agree."""


class TwoLevel:
    """Proposes the programs of each generation of a search at two levels.

    Args:
        settings: of the evolution.
        seed: of all its streams.
        grammar: the language and its limits.
        assessor: its evaluator knows the bank, its labels say what sentences are worth.
        listener: told of the steps of a generation (words, laws, sums, sentences) and of words that are left out.
    """

    def __init__(
        self,
        settings: EvolutionSettings,
        seed: int,
        grammar: Grammar,
        assessor: Assessor,
        listener: Listener | None = None,
    ) -> None:
        assert isinstance(assessor.evaluator, BankEvaluator)
        self._settings, self._seed, self._grammar, self._assessor = settings, seed, grammar, assessor
        self._listener = listener or NoListener()
        self._bank = assessor.evaluator
        limit = min(WORD_SIZE, grammar.max_size)
        self._word_grammar = Grammar(grammar.primitive_set, max_size=limit, max_height=min(6, grammar.max_height))
        self._listed = listed_words(grammar.primitive_set, settings.n_words, seed)

    def offspring(
        self, population: Sequence[Candidate], seeds: Sequence[Program], seen: Container[str], generation: int
    ) -> list[Offspring]:
        """The best sentences of a generation that were not evaluated before.

        Args:
            population: where to go on from.
            seeds: programs to start from beside.
            seen: ids of programs not to propose again.
            generation: names the streams.
        """
        settings = self._settings
        known = [sentence_of(program) for program in (*(c.program for c in population), *seeds)]
        vocabulary = self._vocabulary([word for tree in known for word in words_of(tree)], generation)
        place = vocabulary.place()
        search = SentenceSearch(
            vocabulary, self._assessor.labels, aggregate=self._assessor.aggregate, weights=self._assessor.weights,
            operators=operators_of(self._grammar.primitive_set.primitives), max_size=settings.max_size,
            may_turn=self._assessor.may_turn,
        )  # fmt: skip
        rng = stream(self._seed, "sentences", generation)
        laws, sums = self._laws(vocabulary, generation), self._sums(vocabulary, generation)
        starts = [tree for tree in known if all(word in place for word in words_of(tree))]
        n_sentences, advance = settings.n_sentences, self._listener.advance
        self._listener.step(f"Breeding sentences of {len(place):,} words", "sentences")
        trees = search.run([*starts, *laws, *sums], n_sentences, settings.population_size, rng, advance)
        tuned = []
        if n_sentences:
            best = trees[:N_TUNED]
            self._listener.step("Tuning the constants of the best sentences", "sentences")
            for number, tree in enumerate(best, start=1):
                tuned.append(search.tuned(tree, rng))
                advance(number, len(best))
        made: dict[str, Offspring] = {}
        named = {"law": laws, "sum": sums, "sentence": [*tuned, *trees]}
        for tree, operator in ((tree, operator) for operator, of in named.items() for tree in of):
            program = Program(nodes_of(tree, _nodes)).canonical
            if self._grammar.fits(program) and program.digest not in seen:
                made.setdefault(program.digest, Offspring(program, operator, ()))
        return list(made.values())

    def _sums(self, vocabulary: Vocabulary, generation: int) -> list[Tree]:
        """Fitted sums of words, the shortest first: one path for each word it begins with, and for each ridge."""
        values, labels = vocabulary.values.numpy(), self._assessor.labels
        longest = self._longest(values, labels) if generation == 0 else LONGEST
        fit = Fit(values, labels, of_top=self._settings.objectives[0] in OF_TOP)
        found: dict[Tree, None] = {}
        avoided: frozenset[int] = frozenset()
        n_paths = len(RIDGES) + N_PATHS
        self._listener.step(f"Fitting sums of up to {longest} words", "paths")
        for number, ridge in enumerate(RIDGES, start=1):
            for one in fit.path(longest, ridge):
                found[_tree(one, vocabulary.words)] = None
            self._listener.advance(number, n_paths)
        for number in range(len(RIDGES) + 1, n_paths + 1):
            for one in fit.path(longest, without=avoided):
                found[_tree(one, vocabulary.words)] = None
                if len(one.rows) == 1:
                    avoided |= {*one.rows}
            self._listener.advance(number, n_paths)
        return list(found)

    def _laws(self, vocabulary: Vocabulary, generation: int) -> list[Tree]:
        """Products of powers of few quantities, as sums of logarithms: what counts, and the words that rank best alone.

        A sum of any words is right in its own spaces only, since their scales differ from space to space. Powers of
        few quantities that are above zero know no scale, and a word must pay on most samples to be taken.
        """
        values, labels = vocabulary.values.numpy(), self._assessor.labels
        positive = np.flatnonzero((values > LEAST).all(axis=1) & (values < LARGEST).all(axis=1))
        if not positive.size:
            return []
        best = positive[np.argsort(-bounds(values[positive], labels), kind="stable")[:LAW_WORDS]].tolist()
        counts = [row for row in positive.tolist() if _is_count(vocabulary.words[row])]
        rows = list(dict.fromkeys((*best, *counts)))
        logarithms = np.log(values[rows])
        terms: list[Tree] = [(LOG, (vocabulary.words[row],)) for row in rows]
        longest = min(LONGEST_LAW, len(rows))
        if generation == 0:
            self._told("laws", logarithms, labels, longest, LAW_RIDGES[-1], is_cautious=True)
        fit = Fit(logarithms, labels)
        self._listener.step(f"Fitting laws of up to {longest} of {len(rows)} quantities", "paths")
        found = []
        for number, ridge in enumerate(LAW_RIDGES, start=1):
            found += [_tree(one, terms) for one in fit.path(longest, ridge, is_cautious=True)]
            self._listener.advance(number, len(LAW_RIDGES))
        return list(dict.fromkeys(found))

    def _longest(self, values: npt.NDArray[np.float64], labels: Sequence[Labels]) -> int:
        """Words of the longest sums worth proposing: of many samples as few as hold on those that are left out."""
        best = self._told("sums", values, labels, LONGEST, RIDGE, is_cautious=False)
        if best is None:
            return LONGEST
        self._listener.note(f"Sums of up to {best} words are proposed.")
        return best

    def _told(
        self,
        what: str,
        values: npt.NDArray[np.float64],
        labels: Sequence[Labels],
        longest: int,
        ridge: float,
        *,
        is_cautious: bool,
    ) -> int | None:
        """The fewest words that hold, within one standard error over the kinds, as well as the best number of them does
        where they were not fitted; None if there are too few samples to leave any out."""
        together = kinds(labels, FEW)
        if len(together) < FEW:
            return None
        self._listener.step(f"Leaving out kinds of samples in turn, for {what}", "kinds")
        advance = self._listener.advance
        found = left_out(values, labels, together, longest, ridge, is_cautious=is_cautious, progress=advance)
        taus = found.mean(axis=1)
        lengths = [n for n in (1, 2, 4, 6, 8, 16, 24) if n <= longest and np.isfinite(taus[n - 1])]
        shown = ", ".join(f"{taus[n - 1]:.3f} with {n}" for n in lengths)
        by = "kinds of samples" if len(together) < len({task.networks.tobytes() for task in labels}) else "samples"
        self._listener.note(f"On {by} left out in turn ({len(together)}), {what} of words have a mean tau of {shown}.")
        best = int(np.nanargmax(taus))
        error = float(found[best].std(ddof=1)) / len(together) ** 0.5
        return int(np.flatnonzero(taus >= taus[best] - error)[0]) + 1

    def _vocabulary(self, used: Sequence[str], generation: int) -> Vocabulary:
        bred = self._bred(used, generation)
        texts = list(dict.fromkeys((*self._listed, *used, *bred)))
        self._listener.step(f"Computing {len(texts):,} words")
        values, _ = self._bank.words(texts)
        self._listener.step("Choosing words")
        keep = _usable(values, self._assessor.labels)
        n_failing = int((~keep).sum())
        if generation == 0 and n_failing:
            self._listener.note(
                f"{n_failing:,} of {len(texts):,} words are left out: they fail on a network, or say the same of all."
            )
        rows = np.flatnonzero(keep)
        rows = rows[_distinct(values[rows], self._assessor.labels)]
        must = {texts.index(word) for word in used}
        chosen = steady(values[rows], self._assessor.labels, self._settings.vocabulary)
        rows = np.unique(np.concatenate([rows[chosen], np.array(sorted(must & set(rows.tolist())), dtype=np.int64)]))
        words = tuple(texts[row] for row in rows)
        sizes = np.array([parse(word).size for word in words], dtype=np.int64)
        return Vocabulary(words, sizes, torch.from_numpy(values[rows]))

    def _bred(self, used: Sequence[str], generation: int) -> list[str]:
        """New words: varied from those in use, and a few drawn from nothing; none in the first generation."""
        n = self._settings.n_new_words
        if generation == 0 or not n:
            return []
        rng = stream(self._seed, "words", generation)
        variation = Variation(self._word_grammar, crossover=0.3, mutation=0.7, initial_height=(2, 4))
        parents = [word for text in used if self._word_grammar.fits(word := parse(text))]
        if not parents:
            return [one.program.canonical.text for one in variation.initial(n, rng)]
        found, _ = variation.offspring(parents, n, rng, immigrants=self._settings.immigrants)
        words = (word for one in found for word in words_of(sentence_of(one.program.canonical)))
        return list(dict.fromkeys(words))


def listed_words(language: PrimitiveSet, n: int, seed: int) -> tuple[str, ...]:
    """The words that a run begins with: quantities of the network, and a draw of n of the lexicon, or all if n is 0."""
    every = lexicon(language)
    alone = [text for text in every if not text.startswith("(")]
    others = [text for text in every if text.startswith("(")]
    if 0 < n < len(others):
        chosen = stream(seed, "lexicon").permutation(len(others))[:n]
        others = [others[i] for i in np.sort(chosen)]
    return (*alone, *others)


def rehearse(
    settings: EvolutionSettings, seed: int, language: PrimitiveSet, labels: Sequence[Labels], n_words: int
) -> float:
    """Breed a share of the sentences of a generation from random words, to see how long that takes; the share.

    Args:
        settings, seed, language, labels: of the run.
        n_words: that the run begins with.
    """
    n = min(n_words, settings.vocabulary or n_words)
    n_networks = 1 + max(int(task.networks.max()) for task in labels)
    rng = stream(seed, "rehearsal")
    names = tuple(f"(sum_layers word{row})" for row in range(n))
    vocabulary = Vocabulary(names, np.full(n, 3), torch.from_numpy(rng.standard_normal((n, n_networks))))
    search = SentenceSearch(
        vocabulary, labels, aggregate=settings.aggregate, weights=None, operators=operators_of(language.primitives),
        max_size=settings.max_size,
    )  # fmt: skip
    n_tried = min(settings.n_sentences, N_REHEARSED)
    search.run((), n_tried, settings.population_size, rng)
    return max(1, search.n_tried - n) / max(1, settings.n_sentences)


def _is_count(word: str) -> bool:
    """Whether a word says how large a network is: a quantity of the whole network, or numbers of elements."""
    nodes = parse(word).nodes
    names = [getattr(node, "name", "") for node in nodes]
    return len(nodes) == 1 or (len(nodes) == 3 and names[0] in ("sum_layers", "mean_layers") and names[1] == "numel")


def _tree(one: Sum, words: Sequence[Tree]) -> Tree:
    """A sum as a sentence, its weights to few digits, the first word innermost."""
    tree: Tree | None = None
    for row, weight in zip(one.rows, one.weights, strict=True):
        term: Tree = (MULTIPLY, (few_digits(weight), words[row]))
        tree = term if tree is None else (ADD, (tree, term))
    assert tree is not None
    return words[one.rows[0]] if len(one.rows) == 1 else tree


def _nodes(word: str) -> tuple[Node, ...]:
    return parse(word).nodes


def _usable(values: npt.NDArray[np.float64], labels: Sequence[Labels]) -> npt.NDArray[np.bool_]:
    """(n_words,) whether a word has a value on every network of every sample, and not one for all of them."""
    columns = np.unique(np.concatenate([task.networks for task in labels]))
    shown = np.where(np.abs(values[:, columns]) < LARGEST, values[:, columns], np.nan)  # NaN is below nothing
    return np.isfinite(shown).all(axis=1) & (shown.max(axis=1) > shown.min(axis=1))


def _distinct(values: npt.NDArray[np.float64], labels: Sequence[Labels]) -> npt.NDArray[np.int64]:
    """Rows of words of which no two rank the networks alike, the first of each behaviour."""
    signatures = []
    for task in labels:
        ranks = np.argsort(np.argsort(values[:, task.networks], axis=1, kind="stable"), axis=1, kind="stable")
        weights = stream(0, "signature", task.task).standard_normal((len(task.networks), 2))
        signatures.append(np.abs(ranks @ weights).round(ALIKE))
    rows = np.concatenate(signatures, axis=1)
    _, first = np.unique(rows, axis=0, return_index=True)
    return np.sort(first)
