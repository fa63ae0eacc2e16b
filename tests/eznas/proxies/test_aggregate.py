"""Aggregates as proxies: scores of single networks, recipes, and their files."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eznas.proxies.aggregate_file import MAX_BYTES
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import eznas
from eznas.errors import ConfigError, ProgramError
from eznas.estimators import PUBLISHED, by_name
from eznas.fitness.aggregation import MODES, Mode, sorted_reference
from eznas.programs import Program, parse, to_json
from eznas.proxies import (
    KNOWN_PROGRAMS,
    RECIPES,
    Member,
    RankAggregate,
    Reference,
    ReferenceConditions,
    aggregate_from_json,
    aggregate_to_json,
    is_aggregate_file,
    load_aggregate,
    member_named,
    recipe_for,
)
from tests.eznas.estimators.small_networks import convolutional, labels, noise
from tests.strategies import any_programs

CONDITIONS = ReferenceConditions(
    networks={"cells_per_stage": 1, "channels": 16, "n_classes": 10, "scheme": "eznas"},
    seed=0,
    probe_seed=7,
    images="digits",
    input_size=6,
    batch_size=5,
    images_digest="0" * 32,
    estimator_batch_size=5,
    estimator_images_digest="1" * 32,
)
IMAGES = noise(5, 3, 6, 6, seed=2)


def made(
    *members: Member, mode: Mode = "log_rank", scores: list[list[float]] | None = None, **conditions: int
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
            conditions=replace(CONDITIONS, **conditions),
            scores=sorted_reference(scores),
        ),
    )


def pair() -> RankAggregate:
    return made(member_named("jacob_cov"), Member(name="m", direction=-1, program=parse("(log parameter_count)")))


# ------------------------------------------------------------------------------------------------------------- scoring


def test_one_network_has_a_score() -> None:
    network = convolutional()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    n, kernel = by_name("parameter_count")(network, IMAGES), by_name("jacob_cov")(network, IMAGES)
    aggregate = made(
        member_named("jacob_cov"), member_named("parameter_count"),
        scores=[[kernel - 1, kernel, math.nan, kernel + 1], [n - 2, n - 1, n, n]],
    )  # fmt: skip
    assert aggregate.reference.n_failed == (1, 0)
    # jacob_cov: two below, one equal; parameters, which count twice: two below, two equal
    expected = math.log((2 + 1 / 2 + 1 / 2) / 5) + 2 * math.log((2 + 2 / 2 + 1 / 2) / 5)
    assert aggregate.score(network, IMAGES) == pytest.approx(expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_direction_turns_the_score_of_a_member() -> None:
    network, value = convolutional(), by_name("ntk")(convolutional(), IMAGES)
    assert member_named("ntk").score(network, IMAGES) == -value
    aggregate = made(member_named("ntk"), scores=[[-value - 2, -value - 1, -value + 1, -value + 2]])
    assert aggregate.score(network, IMAGES) == pytest.approx(math.log(2.5 / 5))


def test_a_program_is_probed_with_the_seed_of_the_reference() -> None:
    program = parse("(mean_layers (frobenius_norm activation_input.noise))")
    member = Member(name="noisy", direction=1, program=program)
    value = member.score(convolutional(), IMAGES, seed=7)
    assert value != member.score(convolutional(), IMAGES, seed=8)
    aggregate = made(member, scores=[[value, value, value + 1, value + 2]])
    assert aggregate.score(convolutional(), IMAGES) == pytest.approx(math.log(1.5 / 5))


def test_classes_reach_the_members_that_look_at_them() -> None:
    aggregate = made(member_named("snip"), member_named("snip_program"))
    with pytest.raises(ConfigError, match=r"'snip' needs the class of each image"):
        aggregate.score(convolutional(), IMAGES)
    with pytest.raises(ConfigError, match=r"'snip_program' looks at classes"):
        made(member_named("snip_program")).score(convolutional(), IMAGES)
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
    assert math.isnan(member_named("jacob_cov").score(Dead(), IMAGES))
    assert pair().score(Dead(), IMAGES) == pytest.approx(math.log(0.5 / 5) + 2 * math.log(1.5 / 5))
    assert math.isnan(made(member_named("jacob_cov")).score(Dead(), IMAGES))


@pytest.mark.parametrize("shape", [(4, 3, 6, 6), (5, 3, 8, 8)])
def test_a_batch_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="'jacob_cov' of 'mine' ranks among scores on 5 images of 6 x 6"):
        pair().score(convolutional(), noise(*shape))
    counts = made(member_named("parameter_count"), scores=[[1.0, 2.0, 1e9, 1e9]])
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
    assert [member_named(name).direction for name, _ in RECIPES["te_nas"].terms] == [-1, 1]


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
        member_named("naswott")


# --------------------------------------------------------------------------------------------------------------- files


def equal(one: RankAggregate, other: RankAggregate) -> bool:
    def plain(aggregate: RankAggregate) -> tuple[object, ...]:
        r = aggregate.reference
        return (
            aggregate.name, aggregate.members, aggregate.weights, aggregate.mode, r.networks, r.space, r.digest,
            r.conditions, r.scores.tolist(),
        )  # fmt: skip

    return plain(one) == plain(other)


@given(
    program=any_programs(),
    mode=st.sampled_from(MODES),
    direction=st.sampled_from([1, -1]),
    scores=st.lists(st.floats(allow_nan=True), min_size=2, max_size=30),
)
def test_a_file_gives_the_aggregate_back(program: Program, mode: Mode, direction: int, scores: list[float]) -> None:
    members = (member_named("ntk"), Member(name="new", direction=direction, program=program, units="all"))
    aggregate = made(*members, mode=mode, scores=[scores, scores[::-1]])
    assert equal(aggregate_from_json(aggregate_to_json(aggregate)), aggregate)


def test_a_proxy_is_loaded_from_either_file(tmp_path: Path) -> None:
    network, path = convolutional(), tmp_path / "pair.json"
    path.write_text(aggregate_to_json(pair()))
    assert is_aggregate_file(path)
    loaded = eznas.load_proxy(path)
    assert loaded.score(network, IMAGES, labels(5)) == pair().score(network, IMAGES)
    path.write_text(to_json(parse("(log parameter_count)"), direction=-1))
    assert not is_aggregate_file(path)
    program = eznas.load_proxy(str(path))
    assert isinstance(program, Member)
    assert program.program == parse("(log parameter_count)")
    assert program.score(network, IMAGES, None) == pytest.approx(
        -math.log(by_name("parameter_count")(network, IMAGES)), rel=1e-6
    )
    with pytest.raises(ProgramError, match=r"missing.json: No such file"):
        eznas.load_proxy(tmp_path / "missing.json")


Change = Callable[[dict[str, Any]], object]
HOSTILE: dict[str, tuple[Change, str]] = {
    "another format": (lambda d: d.update(format="pickle"), "Not an aggregate file: expected an object"),
    "another version": (lambda d: d.update(version=2), "version 2; this release reads version 1: make it anew"),
    "version true": (lambda d: d.update(version=True), "version True"),
    "unknown key": (lambda d: d.update(code="x"), "The keys of an aggregate file are .* got code, format"),
    "no members": (lambda d: d.update(members=[]), r"a list of 1 to 16, got \[\]"),
    "many members": (lambda d: d.update(members=d["members"] * 9), "a list of 1 to 16"),
    "mode": (lambda d: d.update(mode=["log_rank"]), "mode of an aggregate is one of log_rank, rank_sum"),
    "name": (lambda d: d.update(name="x\n"), "name of an aggregate is a line"),
    "long name": (lambda d: d.update(name="x" * 5_000), r"name of an aggregate is a line .{,200}$"),
    "no member": (lambda d: d["members"].__setitem__(0, "naswot"), "keys of a member of an aggregate are"),
    "unknown estimator": (lambda d: d["members"][0].update(name="naswott"), "Unknown published estimator"),
    "member twice": (lambda d: d["members"][1].update(name="jacob_cov"), "occurs twice"),
    "turned": (lambda d: d["members"][0].update(direction=-1), "direction of 'jacob_cov' is 1, as published"),
    "direction": (lambda d: d["members"][1].update(direction=0), "direction of a member is 1 or -1, got 0"),
    "direction true": (lambda d: d["members"][1].update(direction=True), "got True"),
    "weight": (lambda d: d["members"][0].update(weight=0), "one positive weight"),
    "weight nan": (lambda d: d["members"][0].update(weight=math.nan), "weight of a member is a finite number, got nan"),
    "weight huge": (lambda d: d["members"][0].update(weight=10**400), "weight of a member is a finite number"),
    "code": (
        lambda d: d["members"][1].update(program={"leaf": "__import__('this')"}),
        "Unknown statistic",
    ),
    "incomplete": (lambda d: d["members"][1].update(program={"leaf": "weight"}), "one number per network"),
    "units": (lambda d: d["members"][1].update(units="some"), "units of a program are one of convolutional, all"),
    "reference": (lambda d: d.update(reference=None), "keys of the reference are .* got None"),
    "n": (lambda d: d["reference"].update(n=3), "3 scores on the reference, 0 of them failures; the list differs"),
    "n huge": (lambda d: d["reference"].update(n=10**9), "whole number from 2 to 100000, got 1000000000"),
    "n one": (lambda d: d["reference"].update(n=1), "whole number from 2"),
    "scores": (lambda d: d["reference"]["scores"].pop(), "one list of scores for each of 2 members"),
    "no scores": (lambda d: d["reference"].update(scores=[1, 2]), "keys of the scores of a member"),
    "failed": (lambda d: d["reference"]["scores"][0].update(failed=5), "whole number from 0 to 4, got 5"),
    "failed negative": (lambda d: d["reference"]["scores"][0].update(failed=-1), "got -1"),
    "descending": (lambda d: d["reference"]["scores"][0]["finite"].reverse(), "must ascend"),
    "nan": (lambda d: d["reference"]["scores"][0]["finite"].__setitem__(1, math.nan), "finite number, got nan"),
    "text": (lambda d: d["reference"]["scores"][0]["finite"].__setitem__(1, "1"), "finite number, got '1'"),
    "nested": (lambda d: d["reference"]["scores"][0]["finite"].__setitem__(1, [0]), "finite number"),
    "conditions": (lambda d: d["reference"]["conditions"].pop("images"), "keys of the conditions of a reference are"),
    "batch": (lambda d: d["reference"]["conditions"].update(batch_size=0), "batch_size is a whole number from 1"),
    "seed": (lambda d: d["reference"]["conditions"].update(seed=-1), "seed is a whole number from 0"),
    "networks": (lambda d: d["reference"]["conditions"].update(networks={}), "have 1 to 50 settings"),
    "wide": (lambda d: d["reference"]["conditions"]["networks"].update(channels=10**6), "from 0 to 2000"),
    "heavy": (
        lambda d: d["reference"]["conditions"].update(input_size=10_000, batch_size=1_500),
        "at most 268,435,456 values, but these conditions ask for 450,000,000,000",
    ),
    "setting": (lambda d: d["reference"]["conditions"]["networks"].update(channels=[1]), "whole number"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_not_what_it_must_be_is_refused(change: Change, message: str) -> None:
    document = json.loads(aggregate_to_json(pair()))
    before = set(sys.modules)
    change(document)
    with pytest.raises(ProgramError, match=message) as caught:
        aggregate_from_json(json.dumps(document))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 900
    assert "this" not in set(sys.modules) - before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Not an aggregate file: invalid JSON"),
        (b"[]", "Not an aggregate file: expected an object"),
        (b"[" * 200_000, "nested too deeply"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b" " * (MAX_BYTES + 1), "more than 48000000 bytes"),
    ],
)
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pair.json"
    path.write_bytes(content)
    assert not is_aggregate_file(path)
    with pytest.raises(ProgramError, match=message) as caught:
        load_aggregate(path)
    assert "pair.json" in str(caught.value)
