"""Sums over the weights equal the same sums taken another way."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.errors import CaptureError, ConfigError, UnfitError
from eznas.estimators import fisher, grad_norm, grasp, l2_norm, plain, snip, synflow, synflow_bn
from tests.eznas.estimators.small_networks import convolutional, drawn, labels, loss_gradients, noise, weights

BOTH = pytest.mark.parametrize("normalised", [True, False], ids=["normalised", "plain"])

# ---------------------------------------------------------------------------------------- first order


def test_l2_norm_is_the_sum_of_the_norms_of_layers() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    network[0].get_parameter("weight").data[:] = torch.tensor([3.0, 4.0]).reshape(2, 1, 1, 1)
    network[3].get_parameter("weight").data[:] = torch.tensor([[2.0, 1.0], [2.0, 0.0]])
    assert l2_norm(network, noise(2, 1, 1, 1)) == 5 + 3


@BOTH
def test_first_order_scores_are_sums_over_single_weights(normalised: bool) -> None:
    network, images, targets = convolutional(normalised=normalised), noise(6, 3, 6, 6), labels(6)
    pairs = [
        list(zip(w.flatten().tolist(), g.flatten().tolist(), strict=True))
        for w, g in zip(weights(network), loss_gradients(network, images, targets), strict=True)
    ]
    assert len(pairs) == 3
    products = [w * g for layer in pairs for w, g in layer]
    assert plain(network, images, targets) == pytest.approx(sum(products), rel=1e-4, abs=1e-5)
    assert snip(network, images, targets) == pytest.approx(sum(map(abs, products)), rel=1e-5)
    norms = [math.sqrt(sum(g * g for _, g in layer)) for layer in pairs]
    assert grad_norm(network, images, targets) == pytest.approx(sum(norms), rel=1e-5)


def test_snip_is_the_gradient_of_a_mask_of_ones() -> None:
    layer = nn.Linear(12, 4)
    drawn(layer)
    mask = torch.ones(4, 12, requires_grad=True)
    images, targets = noise(5, 3, 2, 2), labels(5)
    loss = F.cross_entropy(F.linear(images.flatten(1), layer.weight * mask, layer.bias), targets)
    (gradient,) = torch.autograd.grad(loss, mask)
    assert snip(nn.Sequential(nn.Flatten(), layer), images, targets) == pytest.approx(float(gradient.abs().sum()))


class Attending(nn.Module):
    """Tokens that attend to each other: by torch's layer, or the same written with linear layers."""

    def __init__(self, *, is_written: bool) -> None:
        super().__init__()
        self.is_written, self.head = is_written, nn.Linear(8, 4)
        if is_written:
            self.inside, self.outside = nn.Linear(8, 24), nn.Linear(8, 8)
        else:
            self.layer = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_written:
            attended = self.layer(x, x, x, need_weights=False)[0]
        else:
            q, k, v = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in self.inside(x).chunk(3, -1))
            attended = self.outside(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        logits: Tensor = self.head((x + attended).mean(1))
        return logits


@pytest.mark.parametrize("estimator", [grad_norm, snip, plain, grasp, synflow], ids=lambda function: function.__name__)
def test_the_projections_of_attention_are_linear_layers(estimator: Callable[..., float]) -> None:
    layer, written = (drawn(Attending(is_written=is_written)) for is_written in (False, True))
    values = {"layer.in_proj_weight": "inside.weight", "layer.in_proj_bias": "inside.bias"}
    values |= {f"layer.out_proj.{name}": f"outside.{name}" for name in ("weight", "bias")}
    written.load_state_dict({values.get(name, name): value for name, value in layer.state_dict().items()})
    tokens, targets = noise(6, 5, 8), labels(6)
    assert estimator(layer, tokens, targets) == pytest.approx(estimator(written, tokens, targets), rel=1e-4)
    assert l2_norm(layer, tokens) == pytest.approx(l2_norm(written, tokens))


def test_the_maps_inside_recurrent_layers_are_weights() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.layer(x)[0][:, -1])
            return logits

    network, tokens, targets = drawn(Recurrent()), noise(6, 5, 8), labels(6)
    maps = [network.get_parameter(name) for name in ("layer.weight_ih_l0", "layer.weight_hh_l0", "head.weight")]
    assert l2_norm(network, tokens) == pytest.approx(sum(float(weight.detach().norm()) for weight in maps))
    found = torch.autograd.grad(F.cross_entropy(network(tokens), targets), maps)
    assert grad_norm(network, tokens, targets) == pytest.approx(sum(float(g.norm()) for g in found), rel=1e-5)


# ---------------------------------------------------------------------------------------- second order


def test_grasp_is_minus_weight_times_hessian_times_gradient() -> None:
    """The Hessian of all weights of a small network, in full."""
    network = nn.Sequential(nn.Flatten(), drawn(nn.Linear(12, 3)), nn.Tanh(), drawn(nn.Linear(3, 4))).double()
    images, targets = noise(5, 3, 2, 2).double(), labels(5)

    def loss(flat: Tensor) -> Tensor:
        first, second = flat.split([36, 12])
        state = {"1.weight": first.reshape(3, 12), "3.weight": second.reshape(4, 3)}
        return F.cross_entropy(torch.func.functional_call(network, state, (images,)), targets)

    flat = torch.cat([w.detach().flatten() for w in weights(network)])
    gradient, hessian = torch.func.grad(loss)(flat).detach(), torch.func.hessian(loss)(flat).detach()
    assert grasp(network, images, targets) == pytest.approx(-float(flat @ hessian @ gradient), rel=1e-9)


@BOTH
def test_grasp_is_the_second_backward_pass(normalised: bool) -> None:
    network, images, targets = convolutional(normalised=normalised), noise(6, 3, 6, 6), labels(6)
    loss = F.cross_entropy(network(images), targets)
    first = torch.autograd.grad(loss, weights(network), create_graph=True)
    along = torch.stack([(g.detach() * g).sum() for g in first]).sum()
    second = torch.autograd.grad(along, weights(network))
    expected = sum(float((-w.detach() * h).sum()) for w, h in zip(weights(network), second, strict=True))
    assert grasp(network, images, targets) == pytest.approx(expected, rel=1e-3, abs=1e-4)


# ---------------------------------------------------------------------------------------- fisher


def test_fisher_of_two_layers_is_what_hooks_record() -> None:
    conv, linear = drawn(nn.Conv2d(3, 4, 3)), drawn(nn.Linear(64, 4))
    images, targets = noise(5, 3, 6, 6), labels(5)
    outputs: list[Tensor] = []

    def keep(module: nn.Module, arguments: object, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    handles = [layer.register_forward_hook(keep) for layer in (conv, linear)]
    F.cross_entropy(linear(F.elu(conv(images)).flatten(1)), targets).backward()
    for handle in handles:
        handle.remove()
    expected = 0.0
    for output, n_weights in zip(outputs, (27, 64), strict=True):  # weights per output channel
        assert output.grad is not None
        product = output.detach() * output.grad
        for channel in range(4):
            effects = [float(product[n, channel].sum()) for n in range(5)]
            expected += n_weights * sum(e * e for e in effects) / 5 / 2
    for inplace in (False, True):  # an activation in place overwrites the output of the convolution
        network = nn.Sequential(conv, nn.ELU(inplace=inplace), nn.Flatten(), linear)
        assert fisher(network, images, targets) == pytest.approx(expected, rel=1e-5)


def test_fisher_of_tokens_has_its_channels_last() -> None:
    """A linear layer on (batch, tokens, features) is a 1x1 convolution on (batch, features, tokens)."""
    linear, conv = nn.Linear(3, 4), nn.Conv1d(3, 4, 1)
    drawn(linear)
    with torch.no_grad():
        conv.weight.copy_(linear.weight[:, :, None])
        conv.get_parameter("bias").copy_(linear.bias)

    class Tokens(nn.Module):
        def __init__(self, layer: nn.Module, *, last: bool) -> None:
            super().__init__()
            self.layer, self.last = layer, last

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(2)
            y: Tensor = self.layer(x.transpose(1, 2)).transpose(1, 2) if self.last else self.layer(x)
            return y.relu().mean(dim=2)

    images, targets = noise(4, 3, 4, 4), labels(4)
    score = fisher(Tokens(linear, last=True), images, targets)
    assert score == pytest.approx(fisher(Tokens(conv, last=False), images, targets), rel=1e-5)
    assert score > 0


# ---------------------------------------------------------------------------------------- labels

LABELLED: tuple[Callable[..., float], ...] = (grad_norm, plain, snip, grasp, fisher)


@pytest.mark.parametrize("function", LABELLED)
def test_labels_must_fit_the_logits(function: Callable[..., float]) -> None:
    network, images = convolutional(), noise(2, 3, 6, 6)
    for wrong in (torch.tensor([0, 4]), torch.tensor([-1, 0])):
        with pytest.raises(UnfitError, match=r"Target (4|-1) is not a class of Sequential, which has 4 logits"):
            function(network, images, wrong)
    for wrong in (torch.zeros(3, dtype=torch.int64), torch.zeros(2), torch.zeros(2, 1, dtype=torch.int64)):
        with pytest.raises(ConfigError, match=r"Expected targets to be \(2,\) integers, one class per image, but got"):
            function(network, images, wrong)
    with pytest.raises(ConfigError, match="needs the class of each image"):
        function(network, images)


def test_a_loss_needs_one_row_of_logits_per_image() -> None:
    with pytest.raises(
        CaptureError, match=r"Conv2d must return logits of shape \(batch, n_classes\) but returned \(2,"
    ):
        grad_norm(nn.Conv2d(3, 4, 3), noise(2, 3, 6, 6), labels(2))


# ---------------------------------------------------------------------------------------- synflow


def test_synflow_of_a_chain_is_the_flow_times_its_layers() -> None:
    """Without biases R is linear in each layer's weights, so each layer's sum of w dR/dw is R."""
    first, second = drawn(nn.Linear(12, 7, bias=False)), drawn(nn.Linear(7, 4, bias=False))
    network = nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(7), nn.ReLU(inplace=True), second)
    w, v = (layer.get_parameter("weight").detach().abs().double() for layer in (first, second))
    flow = (v @ w @ torch.ones(12, dtype=torch.float64)).sum()
    assert synflow(network, noise(2, 3, 2, 2)) == pytest.approx(math.log(2 * flow), rel=1e-12)
    assert synflow(network, 5 * noise(3, 3, 2, 2, seed=9)) == synflow(network, noise(2, 3, 2, 2))  # needs no data


def test_synflow_does_not_count_biases_or_normalisations() -> None:
    layer = drawn(nn.Linear(12, 4))
    network = nn.Sequential(nn.Flatten(), layer, drawn(nn.BatchNorm1d(4)))
    expected = math.log(float(layer.get_parameter("weight").detach().double().abs().sum()))
    assert synflow(network, noise(2, 3, 2, 2)) == pytest.approx(expected, rel=1e-12)


def test_a_change_in_place_after_the_normalisation_does_not_reach_its_input() -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(12, 4, bias=False)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x.flatten(1))
            logits: Tensor = x + self.norm(x).mul_(3)
            return logits

    network = drawn(Shortcut())
    expected = math.log(4 * float(network.get_parameter("layer.weight").detach().double().abs().sum()))
    assert synflow(network, noise(2, 3, 2, 2)) == pytest.approx(expected, rel=1e-12)


def test_synflow_does_not_overflow_where_float32_does() -> None:
    layers = [nn.Linear(12, 12, bias=False) for _ in range(30)]
    for layer in layers:
        layer.weight.data.fill_(1e3)
    expected = math.log(30) + 30 * math.log(1e3) + 31 * math.log(12)
    assert synflow(nn.Sequential(nn.Flatten(), *layers), noise(1, 3, 2, 2)) == pytest.approx(expected, rel=1e-9)


def test_synflow_without_weights_is_minus_infinity() -> None:
    assert synflow(nn.Flatten(), noise(1, 3, 2, 2)) == -math.inf


# ---------------------------------------------------------------------------------------- synflow_bn


def test_synflow_bn_is_synflow_where_nothing_is_normalised() -> None:
    network, images = convolutional(normalised=False), noise(2, 3, 6, 6)
    assert synflow_bn(network, images) == synflow(network, images)


def test_synflow_bn_normalises_by_the_image_of_ones() -> None:
    network, positive = convolutional(), convolutional().double()
    for tensor in positive.state_dict().values():
        tensor.abs_()
    gradients = torch.autograd.grad(positive(torch.ones(1, 3, 6, 6).double()).sum(), weights(positive))
    flow = sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights(positive), gradients, strict=True))
    assert synflow_bn(network, noise(2, 3, 6, 6)) == pytest.approx(math.log(flow), rel=1e-9)
    assert synflow_bn(network, noise(2, 3, 6, 6)) != synflow(network, noise(2, 3, 6, 6))


def test_synflow_bn_needs_more_than_one_value_per_channel() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4))
    with pytest.raises(CaptureError, match="Expected more than 1 value per channel"):
        synflow_bn(network, noise(2, 3, 2, 2))
