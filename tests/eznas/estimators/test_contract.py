"""What every published estimator promises, over the whole table, on networks that make it hard to keep."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from eznas.errors import CaptureError, ConfigError, UnfitError
from eznas.estimators import PUBLISHED, Estimator, by_name, estimators_table, score
from eznas.programs import FailureKind, Invalid
from eznas.spaces import build_network, nb201
from eznas.statistics.running import called_with
from tests.eznas.estimators.small_networks import labels

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
    with pytest.raises(ConfigError, match=r"Unknown published estimator 'synflo'; did you mean 'synflow'\?"):
        by_name("synflo")


@EACH
def test_a_score_is_a_finite_number(estimator: Estimator, network: nn.Module, images: Tensor) -> None:
    value = estimator(network, images, TARGETS)
    assert type(value) is float
    assert math.isfinite(value)


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
FEWER_THAN_TWO_BLOCKS = ("convolution", "global pooling")


@EACH
@pytest.mark.parametrize("part", WITHOUT)
def test_a_network_may_lack_any_kind_of_layer(estimator: Estimator, part: str, images: Tensor) -> None:
    network = draw(WITHOUT[part])
    if estimator.name in AZ_NAS and part in FEWER_THAN_TWO_BLOCKS:
        with pytest.raises(UnfitError, match=r"shows [01] feature map\(s\) .* feature_blocks\(\)"):
            estimator(network, images, TARGETS)
        return
    if (estimator.name, part) == ("meco", "convolution"):
        with pytest.raises(UnfitError, match="No module of Sequential returns features with more places than channels"):
            estimator(network, images, TARGETS)
        return
    value = estimator(network, images, TARGETS)
    assert type(value) is float
    assert math.isfinite(value)
    assert (value == 0) == ((estimator.name, part) == ("relu_count", "relu"))


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
        with pytest.raises(UnfitError, match=rf"Target {wrong} is not a class of Awkward, which has 5 logits: .* 0 to"):
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


class Sharing(nn.Module):
    """A block that is held in two places, one convolution's weight that another has, and a buffer of both."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.stem, self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), block, block
        self.third, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)
        self.third.weight = block[1].weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.third(self.second(self.first(self.stem(x))))
        out: Tensor = self.head(x.relu().mean((2, 3)))
        return out


@EACH
def test_what_a_network_shares_is_seen_once_and_left_as_found(estimator: Estimator, images: Tensor) -> None:
    network = draw(Sharing())
    held = [(module, dict(module._parameters), dict(module._buffers)) for module in network.modules()]
    values = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = estimator.outcome(network, images, TARGETS)
    for module, parameters, buffers in held:
        assert all(module._parameters[name] is parameter for name, parameter in parameters.items())
        assert all(module._buffers[name] is buffer for name, buffer in buffers.items())
    assert all(torch.equal(value, values[name]) for name, value in network.state_dict().items())
    assert isinstance(first, float)


def test_weights_in_place_of_shared_ones_are_used_wherever_they_are_shared(images: Tensor) -> None:
    """One flow through all absolute weights, as a copy without sharing has it."""
    network, apart = draw(Sharing()), draw(Sharing())
    apart.second = copy.deepcopy(apart.first)
    apart.third.weight = nn.Parameter(apart.first[1].weight.detach().clone())
    apart.load_state_dict(network.state_dict())
    state = {name: tensor.detach().abs() for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    with torch.no_grad():
        for tensor in apart.state_dict().values():
            tensor.abs_()
        torch.testing.assert_close(called_with(network, state, images), apart(images))


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
        cost=0.0,
        function=lambda network, inputs, targets: float(len(inputs)),
        source="",
    )
    with pytest.raises(ConfigError, match="'labelled' needs the class of each image"):
        estimator(network, images)
    assert estimator(network, images, torch.zeros(6, dtype=torch.int64)) == 6


# -------------------------------------------------------------------------------------------------- what the table says


@EACH
def test_values_of_images_that_are_needed_matter(estimator: Estimator, network: nn.Module, images: Tensor) -> None:
    values = {estimator(network, batch, TARGETS) for batch in (images, images.flip(2) * 3 + 1)}
    if estimator.name not in ("linear_regions", "swap", "swap_regularised"):  # counts, which may be equal
        assert len(values) == 1 + estimator.needs_images


@EACH
def test_passes_and_gradients_are_those_that_the_table_says(
    estimator: Estimator, network: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts calls of the network, and calls of autograd."""
    n_backward, gradient = 0, torch.autograd.grad

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_backward
        n_backward += 1
        return gradient(*args, **kwargs)

    monkeypatch.setattr("torch.autograd.grad", counted)
    n_forward = []
    handle = network.register_forward_pre_hook(lambda module, arguments: n_forward.append(len(arguments[0])))
    estimator(network, images, TARGETS)
    handle.remove()
    n_images, n_classes = len(images), 5
    per_image = {"gradsign": (n_images, n_images), "ntk": (1, n_images), "vkdnw": (1, n_classes)}
    said = {
        kind: int(found[1]) if (found := re.search(rf"(\d+) {kind}", estimator.passes)) else 0
        for kind in ("forward", "backward")
    }
    expected = per_image.get(estimator.name, (said["forward"], said["backward"]))
    assert (len(n_forward), n_backward) == expected
    assert (n_backward > 0) == estimator.needs_gradients
    assert estimator.documentation.splitlines()[0].endswith((".", ":", ":,", "**."))


def test_the_table_for_people_has_a_row_each() -> None:
    rows = estimators_table()
    assert [row["name"] for row in rows] == [estimator.name for estimator in PUBLISHED]
    assert {row["better"] for row in rows if row["name"] == "ntk"} == {"lower"}
    assert {(row["labels"], row["images"]) for row in rows if row["name"] == "snip"} == {("yes", "values")}


# --------------------------------------------------------------------------------------- bad input, degenerate networks


def outcome(estimator: Estimator, network: nn.Module, images: Tensor, targets: Tensor | None = TARGETS) -> float | str:
    """The score, or the sentence in which it is refused; anything else fails."""
    found: float | str
    try:
        found = estimator(network, images, targets)
        assert type(found) is float
    except (CaptureError, ConfigError) as error:
        found = str(error)
        assert found[0].isupper() or found.split()[0] == estimator.name
        assert "\n" not in found.strip()
    return found


def small(*, activation: type[nn.Module] = nn.ReLU, normalised: bool = True, **second: Any) -> nn.Sequential:
    """Two convolutions, the second as asked, each with its normalisation and activation, and a classifier."""
    norms = [nn.BatchNorm2d(6), nn.BatchNorm2d(6)] if normalised else [nn.Identity(), nn.Identity()]
    second = {"kernel_size": 3, "padding": 1} | second
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), norms[0], activation(), nn.Conv2d(6, 6, **second), norms[1], activation()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
    )


class Transformer(nn.Module):
    """Patches by a strided convolution, a class token, one layer of attention, layer normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.zeros(1, 1, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.norm, self.classifier = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.layer(torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1))
        logits: Tensor = self.classifier(self.norm(tokens[:, 0]))
        return logits


UNUSUAL: dict[str, Callable[[], nn.Module]] = {
    "wide kernel": lambda: small(kernel_size=(1, 7), padding=(0, 3)),
    "no padding": lambda: small(kernel_size=(1, 7), padding=0),
    "grouped": lambda: small(groups=3),
    "depthwise": lambda: small(groups=6),
    "dilated": lambda: small(dilation=2, padding=2),
    "strided": lambda: small(stride=(1, 2)),
    "GELU": lambda: small(activation=nn.GELU),
    "GELU, no normalisation": lambda: small(activation=nn.GELU, normalised=False),
    "no normalisation": lambda: small(normalised=False),
}


@EACH
@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_convolutions_and_activations_are_scored(estimator: Estimator, kind: str, images: Tensor) -> None:
    value = outcome(estimator, draw(UNUSUAL[kind]()), images)
    assert isinstance(value, float), value
    assert math.isfinite(value)


@EACH
def test_a_transformer_is_scored_or_refused(estimator: Estimator, images: Tensor) -> None:
    """The features of AZ-NAS have four axes; those of a transformer have three."""
    found = outcome(estimator, draw(Transformer()), images)
    if estimator.name in AZ_NAS:
        assert "at least 2 are needed, a stem and a block" in str(found)
    else:
        assert isinstance(found, float), found


@EACH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_or_refused(estimator: Estimator, dtype: torch.dtype, images: Tensor) -> None:
    found = outcome(estimator, draw(small()).to(dtype), images.to(dtype))
    if isinstance(found, float):  # as in single precision, but for the rounding of activations near zero
        expected = estimator(draw(small()), images, TARGETS)
        assert found == pytest.approx(expected, rel=0.1, abs=0.02)
    else:
        assert "BFloat16" in found or "Half" in found or str(dtype) in found


@EACH
def test_images_of_another_precision_are_a_readable_error(
    estimator: Estimator, network: nn.Module, images: Tensor
) -> None:
    for batch in (images.double(), (images * 100).to(torch.int32)):
        found = outcome(estimator, network, batch)
        if estimator.passes == "none" or "synflow" in estimator.name:  # which make their own image
            assert found == estimator(network, images, TARGETS)
        else:
            assert re.search("could not be scored|could not score|needs floating point inputs", str(found))
    for pixels in ((images * 100).to(torch.uint8), images > 0):
        with pytest.raises(ConfigError, match=r"must be floating point .* got torch\.\w+; pass \(images / 255"):
            estimator(network, pixels, TARGETS)


@EACH
def test_another_device_is_a_readable_error(estimator: Estimator, images: Tensor) -> None:
    """The device 'meta' stands for any other; it holds no values."""
    for network, batch in ((small().to("meta"), images), (small(), images.to("meta"))):
        with pytest.raises(ConfigError, match=r"Sequential has tensors on \w+, but the images are on \w+; move both"):
            estimator(network, batch, TARGETS)
    with pytest.raises(ConfigError, match="'meta', which holds no values"):
        estimator(small().to("meta"), images.to("meta"), TARGETS)


@EACH
def test_no_images_are_a_readable_error(estimator: Estimator, network: nn.Module, images: Tensor) -> None:
    for batch in (images[:0], images[0, 0, 0]):
        with pytest.raises(ConfigError, match="Expected a batch of at least one image"):
            estimator(network, batch, TARGETS[: len(batch)])


@EACH
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30, 0.0])
def test_weights_and_images_that_are_not_finite_are_a_value(estimator: Estimator, value: float, images: Tensor) -> None:
    spoilt = draw(small())
    with torch.no_grad():
        spoilt.get_parameter("3.weight").view(-1)[:9] = value
    assert isinstance(outcome(estimator, spoilt, images), float)
    batch = images.clone()
    batch[0, 0] = value
    assert isinstance(outcome(estimator, draw(small()), batch), float)
    whole = draw(small(normalised=False))
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.fill_(value)
    found = outcome(estimator, whole, torch.full_like(images, value))
    assert isinstance(found, float) or (estimator.name == "fisher" and "last layer of Sequential is zero" in found)


NO_LABELS = {
    "float": TARGETS.float(),
    "boolean": TARGETS > 0,
    "too few": TARGETS[:5],
    "two axes": TARGETS[:, None],
    "one": torch.tensor(1),
    "beyond": TARGETS + 5,
    "negative": TARGETS - 1,
    "some beyond": TARGETS * 9,
}


@LABELLED
@pytest.mark.parametrize("kind", NO_LABELS)
def test_labels_that_are_none_are_a_readable_error(
    estimator: Estimator, kind: str, network: nn.Module, images: Tensor
) -> None:
    sentence = str(outcome(estimator, network, images, NO_LABELS[kind]))
    assert re.match(r"Expected targets to be \(6,\) integers|Target -?\d+ is not a class", sentence)


@LABELLED
def test_labels_of_any_width_and_classes_of_one_image_are_fine(
    estimator: Estimator, network: nn.Module, images: Tensor
) -> None:
    value = estimator(network, images, TARGETS)
    assert estimator(network, images, TARGETS.to(torch.uint8)) == value
    assert estimator(network, images, TARGETS.to(torch.int32)) == value
    assert isinstance(outcome(estimator, network, images[:5], torch.arange(5)), float)


@EACH
def test_a_network_whose_output_hears_no_image_is_a_value(estimator: Estimator, images: Tensor) -> None:
    """Its Jacobian is zero, although neither its weights nor its logits are."""
    deaf = draw(small())
    with torch.no_grad():
        deaf.get_parameter("0.weight").zero_()
    value = outcome(estimator, deaf, images)
    assert isinstance(value, float)
    if estimator.name in ("jacob_cov", "epe_nas", "epe_nas_as_released"):
        assert math.isnan(value)


@EACH
def test_one_image_of_one_class_is_a_value_or_a_sentence(estimator: Estimator, images: Tensor) -> None:
    for network in (small(), small(normalised=False), Transformer()):
        outcome(estimator, draw(network), images[:1], TARGETS[:1])


@EACH
@pytest.mark.parametrize("index", [1651, 1, 11])
def test_cells_without_a_path_are_a_value(estimator: Estimator, index: int, images: Tensor) -> None:
    network = build_network(nb201.from_index(index), nb201.Settings(channels=4), seed=0)
    assert isinstance(outcome(estimator, network, images), float)


USE_THE_OUTPUT = ("synflow", "synflow_bn", "logsynflow", "jacob_cov", "epe_nas", "epe_nas_as_released", "ntk", "vkdnw")


@EACH
@pytest.mark.parametrize("last", [nn.Identity(), nn.Flatten(2)], ids=["four axes", "three axes"])
def test_an_output_that_is_no_logits_is_refused_by_whoever_uses_it(
    estimator: Estimator, last: nn.Module, images: Tensor
) -> None:
    network = draw(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3), last))
    found = estimator.outcome(network, images, TARGETS)
    if estimator.name in USE_THE_OUTPUT or estimator.needs_targets:
        assert isinstance(found, Invalid)
        assert found.kind is FailureKind.UNFIT
        assert "Sequential must return logits of shape (batch, n_classes)" in found.detail
    elif estimator.name != "zen":  # which looks before the last pooling or linear layer, and there is none
        assert isinstance(found, float), found


CONSTANT_BEFORE_A_ZERO_LAYER = ("jacob_cov", "epe_nas", "epe_nas_as_released")
EMPTY_BEFORE_A_ZERO_LAYER = (
    *("grad_norm", "plain", "snip", "grasp", "fisher", "synflow", "synflow_bn", "logsynflow"),
    *("zico", "gradsign", "ntk"),
)


@EACH
def test_a_last_layer_of_zeros_is_a_value_or_named_as_the_reason(estimator: Estimator, images: Tensor) -> None:
    """As MLP-Mixer, ResMLP and gMLP are initialised."""
    network = draw(small())
    with torch.no_grad():
        for parameter in network[-1].parameters():
            parameter.zero_()
    found = estimator.outcome(network, images, TARGETS)
    if estimator.name in CONSTANT_BEFORE_A_ZERO_LAYER:
        assert isinstance(found, Invalid)
        assert found.kind is FailureKind.NON_FINITE
        assert "a network whose last layer is zero" in found.detail
    elif estimator.name in EMPTY_BEFORE_A_ZERO_LAYER:
        assert isinstance(found, Invalid)
        assert found.kind is FailureKind.UNFIT
        assert "The last layer of Sequential is zero as it is initialised" in found.detail
    else:
        assert isinstance(found, float), found


class Windows(nn.Module):
    """Attention's linear layers on windows of patches, a ReLU on all patches of an image."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches, self.inside = nn.Conv2d(3, width, 2, 2), nn.Linear(width, 3 * width)
        self.outside, self.head = nn.Linear(width, width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        b, c, h, w = x.shape
        x = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
        q, k, v = self.inside(x).chunk(3, -1)
        x = (x + F.scaled_dot_product_attention(q, k, v)).reshape(b, -1, c)
        logits: Tensor = self.head((x + F.relu(self.outside(x))).mean(1))
        return logits


@EACH
def test_attention_in_windows_is_scored_or_refused(estimator: Estimator, images: Tensor) -> None:
    found = estimator.outcome(draw(Windows()), images, TARGETS)
    if estimator.name in AZ_NAS:
        assert isinstance(found, Invalid)
        assert found.kind is FailureKind.UNFIT
    else:
        assert isinstance(found, float), found


@pytest.mark.parametrize("name", ["l2_norm", "mac_count", "naswot", "synflow"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_that_hides_its_layers_is_refused_and_never_0(name: str, images: Tensor) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    for network in (torch.jit.script(plain), nn.Sequential(torch.jit.script(plain))):
        outcome = by_name(name).outcome(network, images, torch.zeros(len(images), dtype=torch.int64))
        assert isinstance(outcome, Invalid)
        assert "was made by torch.jit.script or torch.jit.trace; give the nn.Module" in outcome.detail


@pytest.mark.parametrize("name", ["snip", "grad_norm", "l2_norm", "zico", "synflow", "fisher", "naswot"])
@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, torch.nn.utils.weight_norm], ids=["new", "old"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_normalisation_scores_as_its_plain_twin(name: str, wrap: Any, images: Tensor) -> None:
    def made() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, bias=False),
            nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
        )  # fmt: skip

    network, targets = made(), torch.arange(len(images)) % 5
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear):
            wrap(module)
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    expected = by_name(name)(made(), images, targets)
    for _ in range(2):  # what is shared with a copy must not change either
        assert by_name(name)(network, images, targets) == pytest.approx(expected, rel=1e-4)
    assert expected != 0
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    torch.testing.assert_close(network(images), made()(images))


class Unlearnable(nn.Module):
    """Logits without a way back for gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x).mean((2, 3)))
        return logits.detach()


@EACH
def test_a_network_without_gradients_has_no_score_of_them(estimator: Estimator) -> None:
    """And not a silent 0."""
    outcome = estimator.outcome(Unlearnable(), torch.randn(6, 3, 8, 8), TARGETS)
    between_blocks = estimator.name == "az_trainability"  # looks at no logits
    if estimator.needs_gradients and not between_blocks:
        assert isinstance(outcome, Invalid)
        assert outcome.kind is FailureKind.UNFIT
        assert "No gradient leads from the logits" in outcome.detail
    else:
        assert isinstance(outcome, float)
