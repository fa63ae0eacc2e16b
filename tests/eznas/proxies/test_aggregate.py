"""Aggregates as proxies: scores of single networks among those of a reference, and recipes."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.conditions import Conditions
from eznas.errors import ConfigError, ScoreError
from eznas.estimators import PUBLISHED, by_name
from eznas.fitness.aggregation import Mode, sorted_reference
from eznas.programs import FailureKind, Invalid, parse
from eznas.proxies import (
    KNOWN_PROGRAMS,
    RECIPES,
    ProgramProxy,
    Proxy,
    RankAggregate,
    Reference,
    batch_size_for,
    published_proxy,
    recipe_for,
)
from eznas.proxies.aggregate import is_count, needs_no_pass
from eznas.spaces import nb201
from tests.eznas.estimators.small_networks import convolutional, labels, noise

CONDITIONS = Conditions(settings=nb201.Settings(), input_size=6, batch_size=5, estimator_batch_size=5)
IMAGES = noise(5, 3, 6, 6, seed=2)


def made(
    *members: Proxy, mode: Mode = "log_rank", scores: list[list[float]] | None = None, **conditions: object
) -> RankAggregate:
    """An aggregate whose reference has four networks."""
    scores = scores or [[-1e9, 0.0, 1.0, 1e9]] * len(members)
    return RankAggregate(
        name="mine",
        members=members,
        weights=tuple(1.0 + position for position in range(len(members))),
        mode=mode,
        reference=Reference(
            networks="nb201:random:4",
            space="nb201",
            digest="d",
            conditions=Conditions(**{**dict(CONDITIONS), **conditions}),
            scores=sorted_reference(scores),
        ),
    )


def pair() -> RankAggregate:
    small = ProgramProxy(name="m", direction=-1, program=parse("(log parameter_count)"))
    return made(published_proxy("jacob_cov"), small)


# ------------------------------------------------------------------------------------------------------------- scoring


def test_one_network_has_a_score() -> None:
    network = convolutional()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    n, kernel = by_name("parameter_count")(network, IMAGES), by_name("jacob_cov")(network, IMAGES)
    aggregate = made(
        published_proxy("jacob_cov"), published_proxy("parameter_count"),
        scores=[[kernel - 1, kernel, math.nan, kernel + 1], [n - 2, n - 1, n, n]],
    )  # fmt: skip
    assert aggregate.reference.n_failed == (1, 0)
    # jacob_cov: two below, one equal; parameters, which count twice: two below, two equal
    expected = math.log((2 + 1 / 2 + 1 / 2) / 5) + 2 * math.log((2 + 2 / 2 + 1 / 2) / 5)
    assert aggregate.score(network, IMAGES) == pytest.approx(expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_direction_turns_the_score_of_a_member() -> None:
    network, value = convolutional(), by_name("ntk")(convolutional(), IMAGES)
    assert published_proxy("ntk").score(network, IMAGES) == -value
    aggregate = made(published_proxy("ntk"), scores=[[-value - 2, -value - 1, -value + 1, -value + 2]])
    assert aggregate.score(network, IMAGES) == pytest.approx(math.log(2.5 / 5))


def test_a_program_is_probed_with_the_seed_of_the_reference() -> None:
    program = parse("(mean_layers (frobenius_norm activation_input.noise))")
    member = ProgramProxy(name="noisy", program=program)
    value = member.bound(CONDITIONS).score(convolutional(), IMAGES)
    assert value != member.score(convolutional(), IMAGES)
    aggregate = made(member, scores=[[value, value, value + 1, value + 2]])
    assert aggregate.score(convolutional(), IMAGES) == pytest.approx(math.log(1.5 / 5))
    said = replace(member, seed=8, units="all")
    value = said.score(convolutional(), IMAGES)
    aggregate = made(said, scores=[[value, value, value + 1, value + 2]])
    assert aggregate.score(convolutional(), IMAGES) == pytest.approx(math.log(1.5 / 5))


def test_a_program_reads_the_layers_of_the_reference() -> None:
    member = ProgramProxy(name="weights", program=parse("(sum_layers (frobenius_norm weight))"))
    value = replace(member, units="all").score(convolutional(), IMAGES)
    aggregate = made(member, scores=[[value - 2, value - 1, value - 1, value]], units="all")
    assert aggregate.score(convolutional(), IMAGES) == pytest.approx(math.log(4 / 5))


def test_classes_reach_the_members_that_look_at_them() -> None:
    aggregate = made(published_proxy("snip"), published_proxy("snip_program"))
    with pytest.raises(ConfigError, match=r"'snip' needs the class of each image"):
        aggregate.score(convolutional(), IMAGES)
    with pytest.raises(ConfigError, match=r"'snip_program' looks at classes"):
        made(published_proxy("snip_program")).score(convolutional(), IMAGES)
    assert math.isfinite(aggregate.score(convolutional(), IMAGES, labels(5)))


class Dead(nn.Module):
    """A network whose output does not depend on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.classifier = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.conv(images * 0).relu().mean(dim=(2, 3)) * 0)
        return logits


def test_a_member_that_fails_has_its_lowest_place() -> None:
    assert isinstance(published_proxy("jacob_cov").outcome(Dead(), IMAGES), Invalid)
    assert pair().score(Dead(), IMAGES) == pytest.approx(math.log(0.5 / 5) + 2 * math.log(1.5 / 5))
    outcome = made(published_proxy("jacob_cov")).outcome(Dead(), IMAGES)
    assert isinstance(outcome, Invalid)
    assert outcome.kind is FailureKind.MEMBERS
    with pytest.raises(ScoreError, match=r"'mine' has no score for Dead: mine: every member failed, the first: jacob"):
        made(published_proxy("jacob_cov")).score(Dead(), IMAGES)


@pytest.mark.parametrize("shape", [(4, 3, 6, 6), (5, 3, 8, 8)])
def test_a_batch_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="'jacob_cov' of 'mine' ranks among scores on 5 images of 6 x 6"):
        pair().score(convolutional(), noise(*shape))
    counts = made(published_proxy("parameter_count"), scores=[[1.0, 2.0, 1e9, 1e9]])
    assert counts.score(convolutional(), noise(*shape)) == pytest.approx(math.log(2.5 / 5))


def test_what_does_not_belong_together_is_refused() -> None:
    aggregate = pair()
    for changed, message in (
        ({"weights": (1.0,)}, "one positive weight for each of 2 members"),
        ({"weights": (1.0, math.nan)}, "one positive weight"),
        ({"members": aggregate.members[:1]}, "got 1 members and scores of 2"),
        ({"members": aggregate.members[:1] * 2}, "occurs twice"),
        ({"mode": "vote"}, "one of log_rank, rank_sum, got 'vote'"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(aggregate, **changed)  # type: ignore[arg-type]
    for scores in ([[2.0, 1.0]], [[1.0]], [[1.0, math.nan]], [[1.0, math.inf]], [1.0, 2.0]):
        with pytest.raises(ConfigError, match="one ascending row per member"):
            replace(aggregate.reference, scores=np.array(scores))


# ------------------------------------------------------------------------------------------------------------- recipes


def test_published_aggregates_have_members_and_sources() -> None:
    assert set(RECIPES) == {"az_nas", "vkdnw_agg", "te_nas"}
    assert not set(RECIPES) & ({*KNOWN_PROGRAMS} | {row.name for row in PUBLISHED})
    for name, recipe in RECIPES.items():
        assert recipe_for(name) == recipe
        assert "https://" in recipe.source
    assert RECIPES["te_nas"].mode == "rank_sum"
    assert [published_proxy(name).direction for name, _ in RECIPES["te_nas"].terms] == [-1, 1]


def test_a_sum_may_hold_a_published_aggregate() -> None:
    found = recipe_for("2*az_nas+synflow")
    assert dict(found.terms) == {
        "az_expressivity": 2.0, "az_progressivity": 2.0, "az_trainability": 2.0, "mac_count": 2.0, "synflow": 1.0,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="'mac_count' occurs twice"):
        recipe_for("az_nas+mac_count")
    with pytest.raises(ConfigError, match=r"'te_nas' sums otherwise \(rank_sum\)"):
        recipe_for("te_nas+naswot")
    assert recipe_for("te_nas+naswot", "rank_sum").mode == "rank_sum"
    assert recipe_for("te_nas", "log_rank").mode == "log_rank"


def test_an_unknown_member_is_named() -> None:
    with pytest.raises(ConfigError, match="naswott"):
        published_proxy("naswott")


# ---------------------------------------------------------------------------------------------------------- as a proxy


def test_an_aggregate_is_a_proxy() -> None:
    aggregate = made(published_proxy("snip"), published_proxy("parameter_count"))
    assert isinstance(aggregate, Proxy)
    assert aggregate.needs == published_proxy("snip").needs
    assert aggregate.cost == published_proxy("snip").cost
    assert aggregate.direction == 1
    assert aggregate.conditions == CONDITIONS


def test_it_travels_by_pickle() -> None:
    there = pickle.loads(pickle.dumps(pair()))
    assert there.score(convolutional(), IMAGES) == pair().score(convolutional(), IMAGES)


def test_arrays_will_do() -> None:
    aggregate = made(published_proxy("snip_program"))
    expected = aggregate.score(convolutional(), IMAGES, labels(5))
    assert aggregate.score(convolutional(), IMAGES.numpy(), labels(5).tolist()) == expected


def test_programs_and_estimators_have_batches_of_their_own() -> None:
    conditions = Conditions(settings=nb201.Settings(), batch_size=3, estimator_batch_size=7)
    assert batch_size_for(published_proxy("naswot_units"), conditions) == 3
    assert batch_size_for(published_proxy("naswot"), conditions) == 7


@pytest.mark.parametrize(
    ("text", "counts", "is_passless"),
    [
        ("parameter_count", True, True), ("trainable_layers", True, True), ("mac_count", False, False),
        ("naswot", False, False), ("naswot_units", False, False), ("relu_count", False, False),
    ],
)  # fmt: skip
def test_what_only_counts(text: str, counts: bool, is_passless: bool) -> None:
    assert is_count(published_proxy(text)) is counts
    assert needs_no_pass(published_proxy(text)) is is_passless


def test_an_aggregate_of_counts_needs_no_pass() -> None:
    units = ProgramProxy(name="units", program=parse("unit_count"))
    assert is_count(units)
    assert not needs_no_pass(units)
    assert needs_no_pass(made(published_proxy("parameter_count")))
    assert not needs_no_pass(made(published_proxy("parameter_count"), units))
