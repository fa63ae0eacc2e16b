"""What proxies do not mind, held to what is known of them by definition; over the table of badges."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from eznas.assessment import BADGES, Badge, Reading, read_badges
from eznas.assessment.badges import reading
from eznas.conditions import Conditions
from eznas.estimators import by_name
from eznas.proxies import Proxy, proxy_named
from eznas.spaces import nb201, networks_named

CONDITIONS = Conditions(
    settings=nb201.Settings(channels=4), input_size=8, batch_size=4, estimator_batch_size=4, images="digits"
)
NETWORKS = networks_named("nb201:random:8:3")

SIZE = {"width", "depth", "classes"}
DRAWS = {"initialisation", "images", "retest"}
SAME = {
    # counts of parameters mind the shape of a network alone
    "parameter_count": set(BADGES) - SIZE,
    "mac_count": set(BADGES) - SIZE - {"input_size"},
    # the weights are read and nothing else; doubled, so are the norms
    "(sum_layers (frobenius_norm weight))": {"batch_size", "input_scale", "input_size", "images"},
    # behind a normalisation no scale of the images is left; the shortcuts of these cells have none, so weights count
    "(mean_layers (share_positive activation_input.data))": {"input_scale", "classes"},
    # signs of the same activations
    "naswot": {"input_scale", "classes"},
    # images of noise have the scale of noise; gradients change with all else
    "(mean_layers (mean_abs weight_grad.noise))": {"input_scale", "images"},
    # the first weights, drawn first of all
    "(first_layer (mean_abs weight))": {"batch_size", "input_scale", "input_size", "images", "classes", "depth"},
}
"""By proxy the badges for which its scores must be the same; for all others they must differ."""


def proxy(text: str) -> Proxy:
    return by_name(text) if text == "naswot" else proxy_named(text).proxy


@cache
def readings() -> dict[str, dict[str, Reading]]:
    found = read_badges([proxy(text) for text in SAME], NETWORKS, CONDITIONS)
    return dict(zip(SAME, found, strict=True))


@pytest.mark.parametrize("badge", BADGES)
@pytest.mark.parametrize("text", SAME)
def test_scores_are_the_same_where_they_must_be_and_nowhere_else(text: str, badge: str) -> None:
    found = readings()[text][badge]
    assert found.is_exact == (badge in SAME[text]), found
    assert found.is_won or not found.is_exact


def test_a_doubled_norm_ranks_alike() -> None:
    found = readings()["(sum_layers (frobenius_norm weight))"]["weight_scale"]
    assert found.change is not None
    assert found.change > 1
    assert found.tau == pytest.approx(1)
    assert found.is_won


def test_shared_passes_change_no_reading() -> None:
    texts = ("(mean_layers (mean_abs weight_grad.noise))", "(mean_layers (share_positive activation_input.data))")
    badges = [BADGES["batch_size"], BADGES["retest"]]
    for text in texts:
        (alone,) = read_badges([proxy(text)], NETWORKS, CONDITIONS, badges=badges)
        assert alone == {badge.name: readings()[text][badge.name] for badge in badges}


def test_a_badge_of_ones_own_and_networks_it_cannot_change() -> None:
    nothing = Badge(name="nothing", title="nothing")
    impossible = Badge(name="impossible", title="nothing that these networks have", built=lambda conditions: None)
    told: list[tuple[int, int]] = []
    (found,) = read_badges(
        [proxy("parameter_count")], NETWORKS, CONDITIONS, badges=[nothing, impossible],
        progress=lambda done, n_all: told.append((done, n_all)),
    )  # fmt: skip
    assert found == {"nothing": Reading(
        badge="nothing", n=8, tau=1.0, low=1.0, high=1.0, change=0.0, largest=0.0,
    )}
    assert told == [(n, 16) for n in range(1, 17)]
    with pytest.raises(ValueError, match="at least 5 networks, got 2"):
        read_badges([proxy("parameter_count")], NETWORKS[:2], CONDITIONS)


def test_a_reading_is_of_networks_with_both_scores() -> None:
    before = np.array([1.0, 2, 3, 4, 5, np.nan, 7])
    found = reading("x", before, np.array([2.0, 1, 3, 4, np.inf, 6, 8]))
    assert (found.n, found.change, found.largest) == (5, 0.5, 0.5)  # the quartiles of 1, 2, 3, 4, 7 are 2 and 4
    assert found.tau == pytest.approx(0.8)
    assert not found.is_won
    assert replace(found, tau=0.9).is_won
    assert reading("x", before, np.full(7, np.nan)) == Reading(badge="x", n=0, tau=None, change=None, largest=None)
    assert reading("x", np.ones(6), np.ones(6)).is_exact
    assert reading("x", np.ones(6), np.full(6, 3.0)).change == 2
    large = 1e9 + np.arange(6.0)  # what is common to all scores is no excuse
    assert not reading("x", large, large + 0.1 * (large == 1e9)).is_exact
