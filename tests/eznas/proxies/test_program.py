"""A program as a proxy: what determines its score, what it needs, and how it fails."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from eznas.conditions import Conditions
from eznas.errors import ConfigError, ScoreError
from eznas.evaluation import evaluate
from eznas.programs import FailureKind, Invalid, parse
from eznas.proxies import KNOWN_PROGRAMS, ProgramProxy, Proxy, statistics_for
from eznas.spaces import nb201
from eznas.statistics import capture
from tests.eznas.estimators.small_networks import Apply, convolutional, labels, noise

IMAGES = noise(5, 3, 6, 6, seed=2)
NOISY = ProgramProxy(name="noisy", program=parse("(sum_layers (frobenius_norm activation_output.noise))"), seed=7)
WEIGHTS = ProgramProxy(name="weights", program=parse("(sum_layers (frobenius_norm weight))"))
LABELLED = ProgramProxy(name="labelled", program=parse("(sum_layers (sum (abs weight_grad.labelled)))"), units="all")


def test_a_program_is_a_proxy() -> None:
    assert isinstance(NOISY, Proxy)
    assert NOISY.id == NOISY.program.digest
    assert NOISY.needs == frozenset()
    assert LABELLED.needs == {"images", "labels", "gradients"}
    assert LABELLED.cost > WEIGHTS.cost
    assert WEIGHTS.reads_images
    assert not KNOWN_PROGRAMS["parameter_count"].reads_images


def test_the_score_is_the_value_in_its_direction() -> None:
    shown = capture(convolutional(), IMAGES, seed=7, statistics=NOISY.program.captured_statistics)
    value = evaluate(NOISY.program, shown)
    assert isinstance(value, float)
    assert NOISY.score(convolutional(), IMAGES) == value
    assert replace(NOISY, direction=-1).score(convolutional(), IMAGES) == -value


def test_units_and_seed_determine_the_score() -> None:
    network = convolutional()
    assert NOISY.score(network, IMAGES) != replace(NOISY, seed=8).score(network, IMAGES)
    assert WEIGHTS.score(network, IMAGES) == replace(WEIGHTS, seed=8, units="layers").score(network, IMAGES)
    everything = replace(WEIGHTS, units="all").score(network, IMAGES)
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert everything == pytest.approx(sum(float(weight.detach().norm()) for weight in weights), rel=1e-6)
    assert replace(WEIGHTS, units="convolutional").score(network, IMAGES) < everything


def test_what_is_not_said_is_taken_from_the_conditions() -> None:
    conditions = Conditions(settings=nb201.Settings(), seed=5, units="all")
    bound = WEIGHTS.bound(conditions)
    assert (bound.units, bound.seed) == ("all", conditions.network_seed)
    assert bound.bound(Conditions(settings=nb201.Settings())) == bound
    said = replace(WEIGHTS, units="convolutional", seed=0)
    assert said.bound(conditions) == said


def test_the_network_and_every_generator_are_left_as_they_were() -> None:
    network = convolutional().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, again = (LABELLED.score(network, IMAGES, labels(5)) for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_arrays_and_lists_will_do() -> None:
    expected = LABELLED.score(convolutional(), IMAGES, labels(5))
    assert LABELLED.score(convolutional(), IMAGES.numpy(), labels(5).tolist()) == expected
    assert LABELLED.score(convolutional(), IMAGES.double().numpy(), np.arange(5) % 4) == expected


def test_it_travels_by_pickle() -> None:
    there = pickle.loads(pickle.dumps(NOISY))
    assert there == NOISY
    assert there.score(convolutional(), IMAGES) == NOISY.score(convolutional(), IMAGES)


def test_what_is_only_counted_needs_no_pass() -> None:
    broken = nn.Sequential(nn.Linear(2, 3), Apply(lambda x: 1 / 0))
    counts = KNOWN_PROGRAMS["parameter_count"]
    assert counts.score(broken, IMAGES) == 9.0
    outcome = ProgramProxy(name="units", program=parse("unit_count")).outcome(broken, IMAGES)
    assert isinstance(outcome, Invalid)
    assert outcome.kind is FailureKind.NETWORK


@pytest.mark.parametrize("text", ["unit_count", "mac_count", "(add unit_count parameter_count)"])
def test_words_for_the_whole_network_are_programs(text: str) -> None:
    network = convolutional()
    score = ProgramProxy(name=text, program=parse(text), units="all").score(network, IMAGES)
    n_parameters = sum(p.numel() for p in network.parameters())
    n_macs = 3 * 6 * 9 * 36 + 6 * 36 + 6 * 5 * 9 * 16 + 5 * 16 + 5 * 4 + 4
    assert score == {"unit_count": 3, "mac_count": n_macs}.get(text, 3 + n_parameters)


@pytest.mark.parametrize(
    ("text", "by_hand"), [("layer_count", 3), ("(sum_layers depth)", 6), ("(max_layers fan_in)", 1)]
)
def test_words_of_the_graph_need_a_pass_and_no_image(text: str, by_hand: int) -> None:
    """A chain of three layers."""
    proxy = ProgramProxy(name=text, program=parse(text), units="all")
    assert (proxy.needs, proxy.cost, proxy.reads_images) == (frozenset(), 0.0, False)
    assert proxy.score(convolutional(), IMAGES) == proxy.score(convolutional(), IMAGES[:2] + 1) == by_hand
    both = replace(proxy, program=parse(f"(add {text} (sum_layers (frobenius_norm weight_grad.data)))"))
    assert both.reads_images


def test_several_of_one_kind_share_a_capture() -> None:
    other = replace(NOISY, program=parse("(mean_layers (mean_abs activation_output.data))"))
    shown = statistics_for([NOISY, other], convolutional(), IMAGES, None)
    assert NOISY.of(shown) == NOISY.score(convolutional(), IMAGES)
    assert other.of(shown) == other.score(convolutional(), IMAGES)


def test_failures_are_values_and_sentences() -> None:
    def fails(text: str, network: nn.Module, targets: torch.Tensor | None = None) -> Invalid:
        proxy = ProgramProxy(name="mine", program=parse(text), units="all")
        outcome = proxy.outcome(network, IMAGES, targets)
        assert isinstance(outcome, Invalid)
        with pytest.raises(ScoreError, match=r"^Proxy 'mine' has no score for \w+: ") as caught:
            proxy.score(network, IMAGES, targets)
        assert "\n" not in str(caught.value)
        return outcome

    infinite = fails("(exp (square (add mac_count 1000.0)))", convolutional())
    assert infinite.kind is FailureKind.NON_FINITE
    assert fails("(sum_layers (mean weight))", nn.Sequential(nn.ReLU())).kind is FailureKind.UNFIT
    assert fails("(sum_layers (mean weight))", Apply(lambda x: 1 / 0)).kind is FailureKind.NETWORK
    unfit = fails("(sum_layers (sum (abs weight_grad.labelled)))", convolutional(n_classes=2), labels(5))
    assert unfit.kind is FailureKind.UNFIT
    assert "Class 2 is none of a network with 2 logits" in unfit.detail


def test_what_it_needs_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"'labelled' looks at classes; pass targets of shape \(n,\)"):
        LABELLED.score(convolutional(), IMAGES)
    with pytest.raises(ConfigError, match="tensor"):
        WEIGHTS.score(convolutional(), "images")
    with pytest.raises(ScoreError, match=r"one number per network, but \(mean weight\) gives Scalar@layer; aggregate"):
        ProgramProxy(name="mine", program=parse("(mean weight)"))
    with pytest.raises(ScoreError, match="direction of a proxy is 1 or -1, got 0"):
        replace(NOISY, direction=0)
    assert math.isfinite(WEIGHTS.score(convolutional(), IMAGES, labels(5)))
