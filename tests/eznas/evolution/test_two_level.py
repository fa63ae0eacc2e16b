"""Words and sentences: what is listed, what sums are fitted, what is worth its place, and that a seed decides all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from eznas.bank import value_of, words_of
from eznas.evolution.lexicon import layer_numbers, words
from eznas.evolution.sentences import ADD, MULTIPLY, SentenceSearch, Vocabulary, operators_of
from eznas.evolution.sums import Fit, kinds, left_out
from eznas.evolution.worth import correlations, steady
from eznas.fitness import Covariates, Labels
from eznas.fitness.fitness import aggregated
from eznas.fitness.ranks import kendall_tau_b
from eznas.programs import Program
from primitives import EXTENDED, GENERAL, LAYER_SCALAR

N_SPACES, N_NETWORKS = 6, 30
RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(2, N_SPACES * N_NETWORKS))
ACCURACIES = TRUTH[0] + 0.7 * TRUTH[1] + 0.2 * RNG.normal(size=TRUTH.shape[1])
NOISE = RNG.normal(size=(200, TRUTH.shape[1]))
VALUES = np.concatenate([NOISE, 5.0 * TRUTH[:1] + 3.0, 0.01 * TRUTH[1:], np.exp(TRUTH[:1] + TRUTH[1:])])
"""Words 200 and 201 make the accuracies; word 202 holds both."""
NAMES = tuple(f"(sum_layers word{row})" for row in range(len(VALUES)))


def labels(n: int = N_SPACES) -> list[Labels]:
    found = []
    for space in range(n):
        columns = np.arange(N_NETWORKS) + space * N_NETWORKS
        sizes = np.random.default_rng(space).normal(size=N_NETWORKS)
        covariates = Covariates(sizes, sizes + 0.1, np.zeros(N_NETWORKS, dtype=np.int64))
        found.append(Labels(f"space {space}", ACCURACIES[columns], columns, covariates))
    return found


# Lexicon --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", [EXTENDED, GENERAL], ids=lambda s: s.name)
def test_the_lexicon_has_complete_words_of_its_language_each_once(language: object) -> None:
    found = list(words(language))  # type: ignore[arg-type]
    assert len({word.canonical.text for word in found}) > 0.95 * len(found)
    assert all(word.is_complete for word in found[::97])
    known = {p.name for p in language.primitives} | {s.name for s in language.statistics}  # type: ignore[attr-defined]
    assert all(node.name in known for word in found[::97] for node in word.nodes)
    assert all(Program(nodes).type == LAYER_SCALAR for nodes in layer_numbers(language))  # type: ignore[arg-type]


def test_the_lexicon_has_what_was_found_to_travel() -> None:
    texts = {word.canonical.text for word in words(GENERAL)}
    assert "(depth_weighted_mean_layers (participation_ratio (channel_covariance activation_output.data)))" in texts
    assert "(sum_layers (participation_ratio (filter_correlation weight_grad.noise)))" in texts


# Sums -----------------------------------------------------------------------------------------------------------------


def test_a_sum_finds_the_words_that_make_the_accuracies() -> None:
    path = list(Fit(VALUES[:202], labels()).path(4))
    assert {*path[1].rows} == {200, 201}
    weights = dict(zip(path[1].rows, path[1].weights, strict=True))
    assert weights[200] * 5.0 > weights[201] * 0.01 > 0, "by their share in the accuracies"
    assert [len(one.rows) for one in path] == [1, 2, 3, 4]


def test_a_sum_is_least_squares_on_ranks() -> None:
    (one,) = [labels(1)]
    fit = Fit(VALUES[200:202], one)
    found = list(fit.path(2, ridge=0.0))[1]
    ranks = np.argsort(np.argsort(one[0].accuracies)).astype(float)
    design = VALUES[200:202, :N_NETWORKS].T
    expected, *_ = np.linalg.lstsq(design - design.mean(0), (ranks - ranks.mean()) / ranks.std(), rcond=None)
    weights = dict(zip(found.rows, found.weights, strict=True))
    np.testing.assert_allclose([weights[0], weights[1]], expected, rtol=1e-6)


def test_sums_for_the_top_look_at_the_best_networks() -> None:
    truth = np.linspace(0.0, 1.0, 200)
    noise = np.random.default_rng(1).normal(size=200)
    knows_the_top = np.where(truth > 0.8, truth, 0.4 + 0.2 * noise)
    knows_the_rest = np.where(truth > 0.8, 0.8 + 0.3 * noise, truth)
    both, task = np.stack([knows_the_top, knows_the_rest]), [Labels("task", truth, np.arange(200))]
    assert next(Fit(both, task).path(1)).rows == (1,)
    assert next(Fit(both, task, of_top=True).path(1)).rows == (0,)


def test_one_network_far_out_keeps_a_word_out_of_sums() -> None:
    spoilt = VALUES[:202].copy()
    spoilt[200, 0] = 1e9
    assert all(200 not in one.rows for one in Fit(spoilt, labels()).path(5))
    assert all(201 not in one.rows for one in Fit(VALUES[:202], labels()).path(5, without=frozenset({201})))


def test_what_is_left_out_is_not_fitted() -> None:
    taus = left_out(VALUES[:202], labels(), kinds(labels(), 4), 3)
    assert taus.shape == (3, N_SPACES)
    assert (taus[1] > 0.7).all()
    luck = left_out(NOISE, labels(), kinds(labels(), 4), 3)
    assert abs(luck.mean()) < 0.15, "noise fits what it was fitted on, and no other space"
    in_sample = kendall_tau_b(
        np.asarray((best := list(Fit(NOISE, labels()).path(3))[2]).weights) @ NOISE[list(best.rows)], ACCURACIES
    )
    assert in_sample > 0.15


def grouped(*groups: str) -> list[Labels]:
    return [dataclasses.replace(task, group=group) for task, group in zip(labels(), groups, strict=True)]


def test_kinds_are_left_out_together_where_there_are_enough_of_them() -> None:
    assert kinds(grouped("a", "b", "a", "c", "d", "b"), 4) == [[0, 2], [1, 5], [3], [4]]
    assert kinds(grouped("a", "b", "a", "b", "a", "b"), 4) == [[index] for index in range(6)]
    assert kinds(labels(), 4) == [[index] for index in range(6)]


def test_a_word_of_one_kind_of_samples_is_found_out_when_the_kind_is_left_out() -> None:
    """A word that speaks in the first half of the spaces alone: left out one by one, the others vouch for it."""
    half = N_SPACES * N_NETWORKS // 2
    local = np.concatenate([ACCURACIES[:half], RNG.normal(size=half)])[None]
    of_kinds = grouped("a", "a", "a", "b", "c", "d")
    one_by_one = left_out(local, of_kinds, [[index] for index in range(6)], 1)[0]
    together = left_out(local, of_kinds, kinds(of_kinds, 4), 1)[0]
    assert one_by_one[:3].min() > 0.8
    assert len(together) == 4
    assert abs(together[1:].mean()) < 0.2


def test_a_cautious_path_takes_what_pays_on_most_samples() -> None:
    loud = np.zeros(ACCURACIES.shape)
    loud[:N_NETWORKS] = 20.0 * ACCURACIES[:N_NETWORKS]  # all there is to say on one sample, nothing on the others
    quiet = ACCURACIES + 3.0 * RNG.normal(size=ACCURACIES.shape)
    table = np.stack([loud + 0.01 * RNG.normal(size=loud.shape), quiet])
    assert next(Fit(table, labels()).path(1)).rows != next(Fit(table, labels()).path(1, is_cautious=True)).rows == (1,)


# Worth ----------------------------------------------------------------------------------------------------------------


def test_steady_words_say_the_same_everywhere() -> None:
    fickle = TRUTH[0] * np.repeat([1, -1] * (N_SPACES // 2), N_NETWORKS)
    table = np.concatenate([VALUES[:202], fickle[None]])
    chosen = steady(table, labels(), 4).tolist()
    assert {200, 201} <= {*chosen}
    assert 202 not in chosen
    assert steady(table, labels(), 0).tolist() == list(range(203))


def test_what_size_says_is_taken_away() -> None:
    tasks = labels()
    size = np.concatenate([task.covariates.log_parameters for task in tasks if task.covariates])
    alone, beyond = correlations(np.stack([size, size + 1e-9 * size, TRUTH[0]]), tasks)
    assert (beyond[:2] == 0).all(), "size in other words"
    assert beyond[2].mean() > 0.6
    assert alone.shape == beyond.shape == (3, N_SPACES)


def test_the_bound_asks_for_agreement() -> None:
    values = np.array([[0.5, 0.9], [0.5, 0.1], [0.5, 0.5]])
    assert aggregated(values, "mean").tolist() == pytest.approx([0.5, 0.5])
    bound = aggregated(values, "bound")
    assert bound[0] == pytest.approx(0.5)
    assert bound[1] == pytest.approx(0.5 - np.std([0.9, 0.1, 0.5]) / 3**0.5)


# Sentences ------------------------------------------------------------------------------------------------------------


def search(n_words: int = 202) -> SentenceSearch:
    vocabulary = Vocabulary(NAMES[:n_words], np.full(n_words, 2), torch.from_numpy(VALUES[:n_words]))
    return SentenceSearch(
        vocabulary, labels(), aggregate="mean", weights=None, operators=operators_of(GENERAL.primitives), max_size=20
    )


def tau(tree: object) -> float:
    values = value_of(tree, lambda word: torch.from_numpy(VALUES)[NAMES.index(word)])  # type: ignore[arg-type]
    return float(np.mean([abs(kendall_tau_b(values[task.networks].numpy(), task.accuracies)) for task in labels()]))


def test_sentences_find_what_words_do_not_say_alone() -> None:
    found = search().run([], 6_000, 40, np.random.default_rng(1))
    alone = max(tau(name) for name in NAMES[:202])
    assert tau(found[0]) > alone + 0.15
    assert {NAMES[200], NAMES[201]} <= {*words_of(found[0])}
    assert all(search().size(tree) <= 20 for tree in found)


def test_a_seed_decides_the_sentences() -> None:
    runs = [search().run([], 2_000, 20, np.random.default_rng(7)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0] != search().run([], 2_000, 20, np.random.default_rng(8))


def test_tuned_constants_rank_better() -> None:
    tree = (ADD, (NAMES[200], (MULTIPLY, (60.0, NAMES[201]))))
    tuned = search().tuned(tree, np.random.default_rng(0), n_rounds=9)
    assert tau(tuned) > tau(tree) + 0.05
