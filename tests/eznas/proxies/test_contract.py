"""What every published estimator promises, over the whole table, on networks that make it hard to keep."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.errors import CaptureError, ConfigError
from eznas.proxies import PUBLISHED, Estimator, by_name, score
from tests.eznas.proxies.small_networks import labels

EACH = pytest.mark.parametrize("estimator", PUBLISHED, ids=lambda estimator: estimator.name)
LABELLED = pytest.mark.parametrize(
    "estimator", [row for row in PUBLISHED if row.needs_targets], ids=lambda estimator: estimator.name
)
TARGETS = labels(6, 2)
"""Classes of the six images, twice three of each, so that every estimator has pairs to compare."""
NO_FORWARD_PASS = tuple(row.name for row in PUBLISHED if row.passes == "none")
AZ_NAS = ("az_expressivity", "az_progressivity", "az_trainability")
LOWER_IS_BETTER = {"ntk"}


class Awkward(nn.Module):
    """In-place and functional activations, a shortcut around a normalisation, dropout, and a weight that is unused."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.in_place = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.unused = nn.Conv2d(8, 8, 1)
        self.classifier = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = x + self.conv(self.in_place(self.norm(x)))
        x = self.dropout(F.relu(x))
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def draw(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network


@pytest.fixture
def network() -> nn.Module:
    return draw(Awkward())


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_names_are_distinct_and_found() -> None:
    assert len({estimator.name for estimator in PUBLISHED}) == len(PUBLISHED)
    assert all(by_name(estimator.name) is estimator for estimator in PUBLISHED)
    assert {estimator.name for estimator in PUBLISHED if estimator.direction != 1} == LOWER_IS_BETTER
    assert {estimator.direction for estimator in PUBLISHED} == {1, -1}


@EACH
def test_every_row_says_where_it_comes_from(estimator: Estimator) -> None:
    assert estimator.source == "baseline" or "https://" in estimator.source
    documentation = estimator.function.__doc__ or ""
    assert "Source: " in documentation or estimator.name in ("parameter_count", "mac_count")


@EACH
def test_one_call_scores_a_network_by_name(estimator: Estimator, network: nn.Module, images: Tensor) -> None:
    assert score(estimator.name, network, images, TARGETS) == estimator(network, images, TARGETS)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"No published estimator is called 'synflo': .* did you mean 'synflow'\?"):
        by_name("synflo")


@EACH
def test_a_score_is_a_finite_number_and_the_same_each_time(
    estimator: Estimator, network: nn.Module, images: Tensor
) -> None:
    value = estimator(network, images, TARGETS)
    assert type(value) is float
    assert math.isfinite(value)
    assert estimator(network, images, TARGETS) == value  # although the network has dropout


@EACH
def test_the_network_is_left_as_it_was_found(estimator: Estimator, network: nn.Module, images: Tensor) -> None:
    network.eval()
    network.get_submodule("dropout").train()
    network.get_submodule("conv").requires_grad_(False)
    network.get_parameter("stem.weight").grad = torch.ones(8, 3, 3, 3)
    parts = {name: (id(t), t.clone()) for name, t in network.state_dict(keep_vars=True).items()}
    modes = [module.training for module in network.modules()]
    given = images.clone()

    estimator(network, images, TARGETS)

    for name, tensor in network.state_dict(keep_vars=True).items():
        identity, value = parts[name]
        assert id(tensor) == identity
        assert torch.equal(tensor, value)
        assert tensor.requires_grad == (isinstance(tensor, nn.Parameter) and not name.startswith("conv."))
    assert [module.training for module in network.modules()] == modes
    assert [n for n, p in network.named_parameters() if p.grad is not None] == ["stem.weight"]
    assert str(network.get_parameter("stem.weight").grad) == str(torch.ones(8, 3, 3, 3))
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert torch.equal(images, given)
    assert not images.requires_grad


@EACH
def test_the_mode_of_the_network_and_the_callers_gradient_mode_do_not_matter(
    estimator: Estimator, network: nn.Module, images: Tensor
) -> None:
    value = estimator(network.train(), images, TARGETS)
    with torch.no_grad():
        assert estimator(network.eval(), images, TARGETS) == value


@EACH
def test_no_global_generator_is_used(estimator: Estimator, network: nn.Module, images: Tensor) -> None:
    before = torch.get_rng_state()
    estimator(network, images, TARGETS)
    assert torch.equal(torch.get_rng_state(), before)


@EACH
def test_layers_that_draw_draw_the_same_each_time(estimator: Estimator, images: Tensor) -> None:
    """Dropout is the identity, but a random slope is part of what its layer does."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.RReLU(), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    draw(network.append(nn.Linear(4, 5)))
    before = torch.get_rng_state()
    value = estimator(network, images, TARGETS)
    torch.rand(3)
    assert estimator(network, images, TARGETS) == value
    torch.set_rng_state(before)
    estimator(network, images, TARGETS)
    assert torch.equal(torch.get_rng_state(), before)


WITHOUT: dict[str, nn.Module] = {
    "normalisation": nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    ),
    "relu": nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.SiLU(), nn.Conv2d(6, 4, 3), nn.GELU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    ),
    "convolution": nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.ReLU(), nn.Linear(7, 5)),
    "global pooling": nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 5)),
}
NEEDS_64_PIXELS = {("meco", "convolution"), ("meco", "global pooling")}
FEWER_THAN_TWO_BLOCKS = ("convolution", "global pooling")


@EACH
@pytest.mark.parametrize("part", WITHOUT)
def test_a_network_may_lack_any_kind_of_layer(estimator: Estimator, part: str, images: Tensor) -> None:
    network = draw(WITHOUT[part])
    if (estimator.name, part) in NEEDS_64_PIXELS:
        with pytest.raises(CaptureError, match="could not be scored"):
            estimator(network, images, TARGETS)
        return
    if estimator.name in AZ_NAS and part in FEWER_THAN_TWO_BLOCKS:
        with pytest.raises(CaptureError, match=r"shows [01] feature map\(s\) .* feature_blocks\(\)"):
            estimator(network, images, TARGETS)
        return
    value = estimator(network, images, TARGETS)
    assert type(value) is float
    no_pattern = {("naswot", "relu"): -math.inf, ("swap", "relu"): 0.0, ("linear_regions", "relu"): 1.0}
    no_pattern |= {("swap_regularised", "relu"): 0.0, ("relu_count", "relu"): 0.0}
    assert value == no_pattern.get((estimator.name, part), value)
    assert math.isfinite(value) or (estimator.name, part) in no_pattern


@EACH
def test_a_batch_of_one_has_a_value_or_a_readable_error(
    estimator: Estimator, network: nn.Module, images: Tensor
) -> None:
    """With one image the normalisation still has its 8x8 places; only `zico` needs two images."""
    if estimator.name == "zico":
        with pytest.raises(ConfigError, match="pass at least 2"):
            estimator(network, images[:1], TARGETS[:1])
        return
    assert type(estimator(network, images[:1], TARGETS[:1])) is float


@LABELLED
def test_a_class_that_the_network_does_not_have_is_a_readable_error(
    estimator: Estimator, network: nn.Module, images: Tensor
) -> None:
    for wrong in (-1, 5):
        with pytest.raises(
            ConfigError, match=rf"Target {wrong} is not a class of Awkward, which has 5 logits: .* 0 to"
        ):
            estimator(network, images, torch.full((6,), wrong))


@EACH
def test_a_network_that_cannot_be_scored_is_a_readable_error(estimator: Estimator, images: Tensor) -> None:
    if estimator.name in NO_FORWARD_PASS:
        assert estimator(nn.Conv2d(4, 2, 1), images) > 0
        return
    with pytest.raises(CaptureError, match=r"could not be scored.*channels"):
        estimator(nn.Conv2d(4, 2, 1), images, TARGETS)


@EACH
def test_a_zero_network_is_a_value_not_an_error(estimator: Estimator, images: Tensor) -> None:
    class Zero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return (F.relu(self.conv(self.stem(x))) * 0).mean(dim=(2, 3))

    value = estimator(draw(Zero()), images, TARGETS)
    assert type(value) is float
    if estimator.name in ("synflow", "synflow_bn", "jacob_cov", "epe_nas", "epe_nas_as_released", "zen", "ntk"):
        assert not math.isfinite(value)
    if estimator.name in ("grad_norm", "plain", "snip", "grasp", "fisher", "zico", "gradsign", "logsynflow"):
        assert value == 0


def test_two_outputs_are_refused(images: Tensor) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(CaptureError, match="Two must return one tensor of logits but returned a tuple"):
        by_name("naswot")(Two(), images)


def test_missing_targets_are_refused(network: nn.Module, images: Tensor) -> None:
    estimator = Estimator(
        name="labelled",
        title="labelled",
        direction=1,
        needs_targets=True,
        needs_gradients=False,
        needs_images=True,
        passes="none",
        function=lambda network, inputs, targets: float(len(inputs)),
        source="",
    )
    with pytest.raises(ConfigError, match="'labelled' needs the class of each image"):
        estimator(network, images)
    assert estimator(network, images, torch.zeros(6, dtype=torch.int64)) == 6
