"""Proxies on networks: the scores are those of each proxy by itself, and whoever fails fails alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from eznas.conditions import Conditions
from eznas.estimators import by_name
from eznas.fitness.aggregation import sorted_reference
from eznas.programs import FailureKind, Invalid, parse
from eznas.proxies import KNOWN_PROGRAMS, ProgramProxy, Proxy, RankAggregate, Reference, batch_size_for
from eznas.scoring import Scores, score_networks
from eznas.spaces import Architecture, nb201, networks_named, own
from eznas.workers import LocalPool, Pool, open_pool
from tests.eznas.scoring.conftest import Zoo
from tests.eznas.scoring.proxies_of_ones_own import Mine

CELLS = networks_named("nb201:0,11,284,1462,6111,8000,15624")
CONDITIONS = Conditions(settings=nb201.Settings(channels=4), seed=3, input_size=8, batch_size=3, estimator_batch_size=5)
NOISY = ProgramProxy(name="noisy", program=parse("(sum_layers (frobenius_norm activation_output.noise))"), direction=-1)
LABELLED = KNOWN_PROGRAMS["snip_program"]
EVERY_LAYER = KNOWN_PROGRAMS["l2_norm_program"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def workers() -> Iterator[Pool]:
    pool = open_pool(2)
    yield pool
    pool.close()


def aggregate(*members: Proxy) -> RankAggregate:
    reference = Reference(
        networks="n", space="nb201", digest="d", conditions=CONDITIONS,
        scores=sorted_reference([[-1e9, 0.0, 50.0, 1e9]] * len(members)),
    )  # fmt: skip
    return RankAggregate(
        name="both", members=members, weights=(1.0,) * len(members), mode="log_rank", reference=reference
    )


def scored(proxies: Sequence[Proxy], architectures: Sequence[Architecture] = CELLS, **options: object) -> Scores:
    options = {"conditions": CONDITIONS, "pool": LocalPool()} | options
    return score_networks(proxies, architectures, **options)  # type: ignore[arg-type]


def test_scores_are_those_of_each_proxy_by_itself() -> None:
    proxies = (NOISY, LABELLED, by_name("naswot"), EVERY_LAYER, by_name("snip"), KNOWN_PROGRAMS["parameter_count"])
    found = scored(proxies)
    assert found.failures == found.member_failures == {}
    for row, proxy in enumerate(proxies):
        bound = proxy.bound(CONDITIONS) if isinstance(proxy, ProgramProxy) else proxy
        batch = CONDITIONS.batch(batch_size_for(proxy, CONDITIONS))
        expected = [bound.score(CONDITIONS.network(arch), *batch) for arch in CELLS]
        np.testing.assert_allclose(found.scores[row], expected, rtol=1e-6)
    assert found.seconds.shape == (6,)
    assert np.all(found.seconds > 0)
    assert found.kinds(0) == [None] * len(CELLS)


def test_estimators_share_their_passes_and_have_the_scores_they_have_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = [Mine(), *(by_name(name) for name in ("snip", "naswot", "fisher", "jacob_cov", "linear_regions", "zico"))]
    expected = [scored([proxy]).scores[0] for proxy in proxies]
    n_passes = 0
    real = torch.autograd.grad

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_passes
        n_passes += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", count)
    found = scored(proxies)
    np.testing.assert_array_equal(found.scores, expected)
    assert found.failures == {}
    assert n_passes == 4 * len(CELLS)  # of the loss, of the logits, and of two halves of the batch


def test_the_time_of_shared_passes_is_that_of_each_and_is_spent_once() -> None:
    fisher, naswot, snip = (by_name(name) for name in ("fisher", "naswot", "snip"))
    found = scored([snip, naswot, fisher, aggregate(fisher, snip), aggregate(naswot, snip), NOISY, LABELLED])
    of_gradients, of_patterns, *_, noisy, labelled = found.seconds
    assert found.seconds[2] == found.seconds[3] == of_gradients
    assert found.seconds[4] == pytest.approx(of_gradients + of_patterns)
    assert found.spent == pytest.approx(of_gradients + of_patterns + noisy + labelled)


def test_an_aggregate_is_scored_from_its_members() -> None:
    whole = aggregate(by_name("naswot"), NOISY)
    found = scored([by_name("naswot"), whole, NOISY])
    np.testing.assert_array_equal(found.scores[1], whole.scores(found.scores[[0, 2]]))
    assert found.seconds[1] == pytest.approx(found.seconds[0] + found.seconds[2])


def test_a_member_that_fails_ranks_last_and_is_told() -> None:
    whole = aggregate(Mine(fails="x"), by_name("naswot"))
    found = scored([whole])
    assert np.isfinite(found.scores).all()
    assert {key[:2] for key in found.member_failures} == {(0, "mine")}
    assert len(found.member_failures) == len(CELLS)
    lost = scored([aggregate(Mine(fails="x"))])
    assert np.isnan(lost.scores).all()
    assert lost.kinds(0) == ["members"] * len(CELLS)


def test_scores_do_not_depend_on_who_is_scored_beside() -> None:
    everyone = (NOISY, LABELLED, EVERY_LAYER, by_name("snip"), KNOWN_PROGRAMS["naswot_units"])
    together = scored(everyone)
    for row, proxy in enumerate(everyone):
        np.testing.assert_allclose(scored([proxy]).scores[0], together.scores[row], rtol=1e-6)
    for place, arch in enumerate(CELLS):
        np.testing.assert_array_equal(scored(everyone, [arch]).scores[:, 0], together.scores[:, place])


def test_each_network_is_given_in_order_as_it_is_done() -> None:
    given: list[tuple[int, Scores]] = []
    progress: list[tuple[int, int]] = []
    proxies = (NOISY, aggregate(by_name("naswot"), NOISY), Mine(fails="x"))
    whole = scored(proxies, each=lambda *row: given.append(row), progress=lambda *done: progress.append(done))
    assert [place for place, _ in given] == list(range(len(CELLS)))
    np.testing.assert_array_equal(np.concatenate([scores.scores for _, scores in given], axis=1), whole.scores)
    assert all(list(scores.failures) == [(2, 0)] for _, scores in given)
    assert progress == [(n, len(CELLS)) for n in range(1, len(CELLS) + 1)]


def test_workers_give_the_same_scores_in_the_same_order(workers: Pool) -> None:
    """Networks take different times, so that later ones are ready before earlier ones."""
    proxies = (Mine(slow=True), NOISY, LABELLED, Mine("lost", fails="x"))
    here = scored(proxies)
    given: list[int] = []
    there = scored(proxies, pool=workers, each=lambda place, _: given.append(place))
    assert given == list(range(len(CELLS)))
    np.testing.assert_array_equal(there.scores, here.scores)
    assert there.failures == here.failures
    together = scored(proxies, pool=workers)
    np.testing.assert_array_equal(together.scores, here.scores)


def test_no_networks_have_no_scores() -> None:
    found = scored([NOISY, by_name("naswot")], [])
    assert found.scores.shape == (2, 0)
    assert found.failures == {}


# Failures -------------------------------------------------------------------------------------------------------------


def own_networks(spec: str) -> tuple[tuple[Architecture, ...], Conditions]:
    conditions = Conditions(settings=own.Settings(), seed=3, input_size=8, batch_size=8, estimator_batch_size=8)
    return networks_named(spec), conditions


def test_an_estimator_that_fails_costs_its_family_no_score(zoo: Zoo) -> None:
    """One network has fewer classes than the images, the other no forward pass."""
    proxies = [by_name(name) for name in ("snip", "jacob_cov", "fisher")]
    architectures, conditions = own_networks(zoo("{'few': Net(n_classes=1), 'none': Raises()}"))
    found = scored(proxies, architectures, conditions=conditions)
    assert np.isfinite(found.scores).tolist() == [[False, False], [True, False], [False, False]]
    for (row, network), failure in found.failures.items():
        assert failure == scored([proxies[row]], architectures, conditions=conditions).failures[0, network]


def test_a_network_that_cannot_be_scored_is_a_failure_of_its_own(zoo: Zoo) -> None:
    spec = zoo(
        "{'good': Net, 'tuple': Tuple, 'raises': Raises, 'broken': broken, 'number': lambda: 3, "
        "'no layer': lambda: nn.ReLU(), 'large': lambda: Net(8)}"
    )
    architectures, conditions = own_networks(spec)
    proxies = (by_name("naswot"), NOISY, KNOWN_PROGRAMS["parameter_count"], LABELLED, Mine())
    found = scored(proxies, architectures, conditions=conditions)
    alone = scored(proxies, [architectures[0], architectures[-1]], conditions=conditions)
    np.testing.assert_array_equal(found.scores[:, [0, -1]], alone.scores)
    assert np.isfinite(alone.scores).all()
    by_network = zip(*(found.kinds(row) for row in range(5)), strict=True)
    names = [own.short_name(arch) for arch in architectures]
    kinds = {name: [*found_for] for name, found_for in zip(names, by_network, strict=True)}
    unbuilt = ["network"] * 5
    assert kinds == {
        "good": [None] * 5,
        "tuple": ["unfit", "unfit", None, "unfit", None],  # what only counts runs no pass
        "raises": ["network", "network", None, "network", None],
        "broken": unbuilt,
        "number": unbuilt,
        "no layer": [None, "unfit", None, "unfit", None],
        "large": [None] * 5,
    }
    for failure in found.failures.values():
        assert failure.detail.isprintable()
        assert len(failure.detail) < 500
    reasons = {names[n]: f.detail for (row, n), f in found.failures.items() if row == 1}
    assert "must return one tensor of logits but returned a tuple" in reasons["tuple"]
    assert "the checkpoint is gone" in reasons["broken"]
    assert "gave int" in reasons["number"]


def test_a_program_that_fails_takes_no_other_with_it(zoo: Zoo) -> None:
    """They share what the network shows; classes of the images that it lacks are the matter of one alone."""
    architectures, conditions = own_networks(zoo("{'two classes': lambda: Net(4, 2), 'ten': Net}"))
    found = scored([LABELLED, EVERY_LAYER], architectures, conditions=conditions)
    assert found.kinds(0) == ["unfit", None]
    assert "none of a network with 2 logits" in found.failures[0, 0].detail
    assert np.isfinite(found.scores[1]).all()
    alone = scored([EVERY_LAYER], architectures, conditions=conditions)
    np.testing.assert_array_equal(alone.scores[0], found.scores[1])


def test_a_proxy_of_ones_own_may_raise_anything() -> None:
    found = scored([Mine("a", fails="x\n\x1b[2J"), Mine("b", fails="unfit"), Mine("c")])
    assert found.kinds(0) == ["network"] * len(CELLS)
    assert found.kinds(1) == ["unfit"] * len(CELLS)
    assert found.failures[0, 0].detail.startswith("a raised KeyError: ")
    assert found.failures[1, 0] == Invalid(FailureKind.UNFIT, "b: this network has no such layer")
    assert np.isfinite(found.scores[2]).all()


def test_a_value_that_is_not_finite_is_a_failure_that_names_the_step() -> None:
    endless = ProgramProxy(name="endless", program=parse("(exp (square (sum_layers (sum (abs weight)))))"))
    found = scored([endless, NOISY], CELLS[1:2])
    assert found.kinds(0) == ["non-finite"]
    assert "exp" in found.failures[0, 0].detail
    assert np.isfinite(found.scores[1]).all()
