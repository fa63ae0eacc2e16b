"""Estimators of a forward pass equal their formulas, pattern by pattern."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.errors import CaptureError, UnfitError
from eznas.estimators import linear_regions, meco, naswot, swap
from eznas.estimators.activations import MECO_SEED, SWAP_REPEATS, SWAP_SEED
from eznas.estimators.passes import gaussian_state
from tests.eznas.estimators.small_networks import Apply, convolutional, drawn, noise

# ---------------------------------------------------------------------------------------- naswot


def agreement_score(*relu_inputs: Tensor) -> float:
    """The formula pair by pair: agreements = ReLU inputs less Hamming distance."""
    codes = np.concatenate([(x.flatten(1) > 0).numpy() for x in relu_inputs], axis=1)
    kernel = np.array([[np.sum(a == b) for b in codes] for a in codes], dtype=float)
    return float(np.linalg.slogdet(kernel)[1])


RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "functional": F.relu,
    "functional in place": F.relu_,
    "torch": torch.relu,
    "method": Tensor.relu,
    "method in place": Tensor.relu_,
    "relu6": nn.ReLU6(),
    "functional relu6": F.relu6,
    "leaky": nn.LeakyReLU(),
    "prelu": nn.PReLU(),
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_naswot_sees_every_kind_of_relu(relu: Callable[[Tensor], Tensor]) -> None:
    network = nn.Sequential(nn.Flatten(), drawn(nn.Linear(12, 30)), Apply(relu), drawn(nn.Linear(30, 4)))
    images = noise(5, 3, 2, 2)
    with torch.no_grad():
        expected = agreement_score(network[:2](images))
    assert naswot(network, images) == pytest.approx(expected, abs=1e-9)


def test_naswot_adds_up_all_relus_and_no_gate() -> None:
    first, second = drawn(nn.Conv2d(3, 6, 3)), drawn(nn.Conv2d(6, 4, 1))
    network = nn.Sequential(first, nn.ReLU(), second, nn.Hardtanh(), nn.Sigmoid(), nn.ReLU(), nn.Flatten())
    images = noise(5, 3, 6, 6)
    with torch.no_grad():
        a, b = first(images), network[:5](images)
    assert naswot(network, images) == pytest.approx(agreement_score(a, b), abs=1e-9)


SMOOTH: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": nn.SiLU(),
    "silu in place": nn.SiLU(inplace=True),
    "silu written out": lambda x: x * torch.sigmoid(x),
    "gelu": F.gelu,
    "hardswish": nn.Hardswish(),
    "mish": nn.Mish(),
    "elu in place": F.elu_,
    "softplus": nn.Softplus(),
    "tanh": torch.tanh,
    "sigmoid": Tensor.sigmoid,
}


@pytest.mark.parametrize("activation", SMOOTH.values(), ids=SMOOTH)
def test_without_a_relu_the_sign_before_other_activations_is_the_pattern(
    activation: Callable[[Tensor], Tensor],
) -> None:
    """As with a ReLU in the same place, whose pattern is the published one."""
    conv, head = drawn(nn.Conv2d(3, 6, 3)), drawn(nn.Linear(96, 4))
    images = noise(5, 3, 6, 6)
    smooth, relu = (nn.Sequential(conv, Apply(f), nn.Flatten(), head) for f in (activation, F.relu))
    with torch.no_grad():
        expected = agreement_score(conv(images))
    assert naswot(smooth, images) == naswot(relu, images) == pytest.approx(expected, abs=1e-9)
    assert linear_regions(smooth, images) == linear_regions(relu, images)
    assert swap(smooth, images) == swap(relu, images) > 1


def test_relus_and_their_smooth_kin_count_alike_beside_gates() -> None:
    """As in MobileNetV3: ReLU in the first blocks, Hardswish in the last, gates by a hard sigmoid."""
    first, second = drawn(nn.Conv2d(3, 6, 3)), drawn(nn.Conv2d(6, 4, 1))
    network = nn.Sequential(first, nn.ReLU(), nn.Hardsigmoid(), second, nn.Hardswish(), nn.Flatten())
    images = noise(5, 3, 6, 6)
    with torch.no_grad():
        a, b = first(images), network[:4](images)
    assert naswot(network, images) == pytest.approx(agreement_score(a, b), abs=1e-9)
    n_patterns = len({row.tobytes() for row in np.concatenate([(x > 0).flatten(1).numpy() for x in (a, b)], axis=1)})
    assert linear_regions(network, images) == n_patterns


@pytest.mark.parametrize("estimator", [naswot, linear_regions, swap], ids=lambda function: function.__name__)
def test_without_any_activation_there_is_a_reason(estimator: Callable[[nn.Module, Tensor], float]) -> None:
    parameter = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), Apply(lambda x: x * torch.sigmoid(torch.ones(1))))
    with pytest.raises(UnfitError, match=r"calls no activation that can be seen, .* compares the signs"):
        estimator(parameter, noise(3, 3, 2, 2))


def test_an_input_of_exactly_zero_is_not_active() -> None:
    """The second ReLU sees the zeros that the first one made."""
    network = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Flatten())
    images = noise(5, 3, 4, 4)
    assert naswot(network, images) == pytest.approx(agreement_score(images, images), abs=1e-9)


def test_naswot_uses_the_statistics_of_the_batch() -> None:
    """Train mode: with running statistics (mean 0), a bias of 100 would make every input of the ReLU positive."""
    conv = drawn(nn.Conv2d(3, 6, 3))
    conv.get_parameter("bias").data.fill_(100)
    network = nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten()).eval()
    assert math.isfinite(naswot(network, noise(5, 3, 6, 6)))


def test_naswot_of_a_singular_kernel_is_minus_infinity() -> None:
    assert naswot(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.ones(4, 3, 2, 2)) == -math.inf


def test_naswot_needs_the_batch_first() -> None:
    network = nn.Sequential(Apply(lambda x: x.transpose(0, 1)), nn.ReLU())
    with pytest.raises(CaptureError, match=r"shape \(3, 5, 2, 2\) for a batch of 5 images"):
        naswot(network, noise(5, 3, 2, 2))


# ---------------------------------------------------------------------------------------- linear_regions, swap


def patterns(network: nn.Sequential, images: Tensor) -> np.ndarray:
    """(batch, units): which inputs of the ReLUs of `convolutional` are positive."""
    with torch.no_grad():
        inputs = [network[:2](images), network[:5](images)]
    return np.concatenate([(x > 0).flatten(1).numpy() for x in inputs], axis=1)


def test_linear_regions_counts_the_distinct_rows() -> None:
    images = noise(7, 3, 6, 6)
    images[3], images[5] = images[1], 2 * images[1]
    network = convolutional(normalised=False)
    for layer in (network[0], network[3]):
        layer.get_parameter("bias").data.zero_()  # so that twice an image has the same signs
    assert linear_regions(network, images) == len({row.tobytes() for row in patterns(network, images)}) == 5


@pytest.mark.parametrize("n", [3, 5, 70])
def test_swap_counts_the_distinct_columns_of_redrawn_networks(n: int) -> None:
    network, images = convolutional(), noise(n, 3, 6, 6)
    generator = torch.Generator().manual_seed(SWAP_SEED)
    counts = []
    for _ in range(SWAP_REPEATS):
        redrawn = convolutional()
        redrawn.load_state_dict(gaussian_state(network, generator))
        counts.append(len({column.tobytes() for column in patterns(redrawn, images).T}))
    assert swap(network, images) == pytest.approx(np.mean(counts), rel=1e-12)
    assert swap(network, images) <= 2**n


def test_swap_depends_on_the_architecture_alone() -> None:
    images, other = noise(4, 3, 6, 6), convolutional()
    for parameter in other.parameters():
        parameter.data.mul_(-3)
    assert swap(other, images) == swap(convolutional(), images)


def test_redrawn_weights_are_gaussian_and_the_rest_is_as_new() -> None:
    network = nn.Sequential(nn.Conv2d(30, 40, 3), nn.BatchNorm2d(40), nn.Flatten(), nn.PReLU(), nn.Linear(40, 50))
    for tensor in network.state_dict().values():
        tensor.fill_(7)
    state = gaussian_state(network, torch.Generator().manual_seed(0))
    for name in ("0.weight", "4.weight"):
        assert float(state[name].mean()) == pytest.approx(0, abs=0.07)
        assert float(state[name].std()) == pytest.approx(1, abs=0.05)
    for name in ("0.bias", "4.bias", "1.bias", "1.running_mean", "1.num_batches_tracked"):
        assert (state[name] == 0).all()
    for name in ("1.weight", "1.running_var"):
        assert (state[name] == 1).all()
    assert float(state["3.weight"]) == 7  # a parameter that no published scheme draws
    assert all((tensor == 7).all() for tensor in network.state_dict().values())


def test_without_maps_of_four_axes_all_activations_count() -> None:
    """Beside a map they do not: the published patterns are those of maps alone."""
    images = noise(5, 3, 2, 2)
    first = drawn(nn.Linear(12, 9))
    flat = nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(9, 4))
    with torch.no_grad():
        expected = len({row.tobytes() for row in (first(images.flatten(1)) > 0).numpy()})
    assert linear_regions(flat, images) == expected > 1
    assert swap(flat, images) > 1
    dead = nn.Sequential(Apply(lambda x: -x.abs()), nn.ReLU(), Apply(lambda x: noise(*x.shape)), flat)
    assert linear_regions(dead, images) == swap(dead, images) == 1


# ---------------------------------------------------------------------------------------- meco


def test_meco_adds_the_smallest_eigenvalue_of_every_module() -> None:
    conv = drawn(nn.Conv2d(3, 4, 3, padding=1))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(MECO_SEED))
    with torch.no_grad():
        features = conv(image)
    linear, relu = (
        float(np.linalg.eigvalsh(np.corrcoef(x[0].flatten(1).double().numpy()))[0]) for x in (features, features.relu())
    )
    assert meco(conv, noise(2, 3, 8, 8)) == pytest.approx(linear, rel=1e-4)
    inner = nn.Sequential(conv, nn.ReLU())  # convolution, ReLU, container
    assert meco(inner, noise(2, 3, 8, 8)) == pytest.approx(linear + 2 * relu, rel=1e-4)
    assert meco(nn.Sequential(inner), noise(2, 3, 8, 8)) == pytest.approx(linear + 3 * relu, rel=1e-4)


def test_meco_takes_an_image_of_the_size_of_the_inputs_where_the_network_takes_no_other() -> None:
    """By hand for one convolution before a classifier for 6 x 6 places; the pattern repeats from call to call."""
    conv = drawn(nn.Conv2d(3, 4, 3, padding=1))
    network = nn.Sequential(conv, Apply(lambda x: x.flatten(1)), drawn(nn.Linear(4 * 36, 5)))
    image = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(MECO_SEED))
    with torch.no_grad():
        features = conv(image)[0].flatten(1).double().numpy()
    expected = float(np.linalg.eigvalsh(np.corrcoef(features))[0])
    assert meco(network, noise(2, 3, 6, 6)) == pytest.approx(expected, rel=1e-4)
    assert meco(network, noise(5, 3, 6, 6, seed=3)) == meco(network, noise(2, 3, 6, 6))
    assert meco(network[:1], noise(2, 3, 6, 6)) == meco(network[:1], noise(2, 3, 8, 8)) != expected
    with pytest.raises(CaptureError, match="mat1 and mat2"):
        meco(network, noise(2, 3, 8, 8))


def test_meco_of_constant_outputs_is_zero() -> None:
    assert meco(nn.Sequential(Apply(lambda x: x * 0)), noise(2, 3, 8, 8)) == 0


def test_meco_of_features_without_places_has_a_reason() -> None:
    with pytest.raises(UnfitError, match="No module of Sequential returns features with more places than channels"):
        meco(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), noise(2, 3, 2, 2))


def test_meco_keeps_the_hooks_of_others_and_removes_its_own() -> None:
    network, seen = convolutional(), []
    handle = network[0].register_forward_hook(lambda *_: seen.append(1))
    before = dict(network[0]._forward_hooks)
    meco(network, noise(2, 3, 6, 6))
    assert seen == [1]
    assert dict(network[0]._forward_hooks) == before
    handle.remove()
    with pytest.raises(CaptureError, match="could not be scored"):
        meco(network, noise(2, 5, 6, 6))
    assert not any(module._forward_hooks for module in network.modules())
