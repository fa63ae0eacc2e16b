"""Multiply-accumulates equal those counted by hand and, where the conventions meet, half of torch's own count."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations, rnn
from torch.utils.flop_counter import FlopCounterMode

from eznas.errors import CaptureError, UnfitError
from eznas.estimators import by_name, mac_count
from eznas.programs import parse
from eznas.proxies import ProgramProxy
from eznas.spaces import build_network, darts, nb101, nb201
from eznas.statistics import capture, counts
from eznas.statistics.macs import count_macs

N, T, D, H = 3, 7, 8, 6
"""Examples, tokens, width, hidden width."""


class Call(nn.Module):
    """A function of the input and of the layers given by name."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.layers.values())


def tokens() -> Tensor:
    return torch.randn(N, T, D, generator=torch.Generator().manual_seed(0))


def heads(x: Tensor) -> Tensor:
    """(batch, 2 heads, tokens, width / 2)."""
    return x.view(len(x), T, 2, D // 2).transpose(1, 2)


def scores(x: Tensor) -> Tensor:
    return x @ x.transpose(1, 2)


def scripted(x: Tensor) -> Tensor:
    """Scores of tokens, in a function that torch runs by itself."""
    with warnings.catch_warnings(action="ignore"):  # torch.jit is to be removed one day
        function = torch.jit.script(scores)
    result: Tensor = function(x)
    return result


def packed(x: Tensor, layer: nn.Module) -> Any:
    return layer(rnn.pack_padded_sequence(x, torch.tensor([T, T, T]), batch_first=True))


def masked(x: Tensor, layer: nn.Module) -> Any:
    return layer(x, src_key_padding_mask=torch.zeros(x.shape[:2], dtype=torch.bool))


SCORES = T * T * D  # of all heads together
PROJECTION = T * D * D
BIASES = T * D

PRODUCTS: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "matmul": (lambda x: torch.matmul(x, x.transpose(1, 2)), SCORES),
    "@": (lambda x: x @ x.mT, SCORES),
    "@ of four axes": (lambda x: heads(x) @ heads(x).mT, SCORES),
    "bmm": (lambda x: torch.bmm(x, x.mT), SCORES),
    "baddbmm": (lambda x: torch.baddbmm(torch.zeros(T, T), x, x.mT, beta=0.5), SCORES),
    "baddbmm in place": (lambda x: torch.zeros(len(x), T, T).baddbmm_(x, x.mT), SCORES),
    "addmm": (lambda x: torch.addmm(torch.ones(T), x.flatten(0, 1), x[0].T), SCORES),
    "mm": (lambda x: torch.mm(x.flatten(0, 1), x[0].T), SCORES),
    "einsum": (lambda x: torch.einsum("bid,bjd->bij", x, x), SCORES),
    "einsum of three": (lambda x: torch.einsum("bid,bjd,bje->bie", x, x, x), SCORES * 2),
    "einsum without a sum": (lambda x: torch.einsum("bid,bd->bid", x, x[:, 0]), 0),
    "tensordot": (lambda x: torch.tensordot(x, torch.ones(D, 5), dims=1), T * D * 5),
    "scripted": (scripted, SCORES),
    "vmap": (torch.vmap(lambda x: x @ x.T), SCORES),
    "attention": (lambda x: F.scaled_dot_product_attention(heads(x), heads(x), heads(x)), SCORES * 2),
    "causal attention": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), SCORES * 2),
    "attention of other keys": (
        lambda x: F.scaled_dot_product_attention(heads(x), heads(x)[:, :, :3], heads(x)[:, :, :3, :2]),
        T * 3 * (D + D // 2),
    ),
    "sums and look-ups": (lambda x: F.softmax(x * x + x.mean(1, keepdim=True), -1)[:, [0, 1]].tanh(), 0),
}  # fmt: skip

UNKNOWN_TO_FLOP_COUNTER = ("baddbmm in place",)


@pytest.mark.parametrize("kind", PRODUCTS)
def test_products_are_counted_however_they_are_called(kind: str) -> None:
    function, by_hand = PRODUCTS[kind]
    network = Call(function)
    assert count_macs(network, tokens()) == by_hand
    if kind not in UNKNOWN_TO_FLOP_COUNTER:
        with FlopCounterMode(display=False) as theirs, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            network(tokens())
        assert theirs.get_total_flops() == 2 * N * by_hand


def test_a_product_of_a_matrix_and_a_vector_counts_too() -> None:
    assert count_macs(Call(lambda x: x @ torch.ones(D)), tokens()) == T * D
    assert count_macs(Call(lambda x: (x.sum(1) * 0 + x[:, 0]) @ torch.ones(D)), tokens()) == D
    assert count_macs(Call(lambda x: torch.einsum("bnd,d->bn", x, torch.ones(D))), tokens()) == T * D


def attention(**settings: Any) -> nn.Module:
    return nn.MultiheadAttention(D, 2, batch_first=True, **settings)


LAYERS: dict[str, tuple[Callable[..., Any], Callable[[], nn.Module], int]] = {
    "attention": (lambda x, a: a(x, x, x), attention, 4 * (PROJECTION + BIASES) + 2 * SCORES),
    "attention without weights": (
        lambda x, a: a(x, x, x, need_weights=False)[0], attention, 4 * (PROJECTION + BIASES) + 2 * SCORES,
    ),
    "attention without biases": (
        lambda x, a: a(x, x, x)[0], lambda: attention(bias=False), 4 * PROJECTION + 2 * SCORES,
    ),
    "attention to others": (
        lambda x, a: a(x, x[:, :3, :5], x[:, :3, :4])[0], lambda: attention(kdim=5, vdim=4),
        2 * (PROJECTION + BIASES) + 3 * D * (5 + 1) + 3 * D * (4 + 1) + 2 * T * 3 * D,
    ),
    "attention to two more": (
        lambda x, a: a(x, x, x)[0], lambda: attention(add_bias_kv=True, add_zero_attn=True),
        4 * (PROJECTION + BIASES) + 2 * T * (T + 2) * D,
    ),
    "encoder": (
        lambda x, layer: layer(x), lambda: nn.TransformerEncoderLayer(D, 2, 16, batch_first=True),
        4 * (PROJECTION + BIASES) + 2 * SCORES + T * (16 * D + 16 + D * 16 + D),
    ),
    "encoder with a mask": (
        masked, lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(D, 2, 16, batch_first=True), 1),
        4 * (PROJECTION + BIASES) + 2 * SCORES + T * (16 * D + 16 + D * 16 + D),
    ),
    "linear": (lambda x, f: f(x.mT.unsqueeze(1)), lambda: nn.Linear(T, 5), D * 5 * (T + 1)),
    "bilinear": (lambda x, f: f(x, x), lambda: nn.Bilinear(D, D, 4), T * 4 * (D * D + 1)),
    "convolution": (lambda x, f: f(x.mT), lambda: nn.Conv1d(D, 4, 3, groups=2), 5 * 4 * (4 * 3 + 1)),
    "transposed": (
        lambda x, f: f(x.mT), lambda: nn.ConvTranspose1d(D, 4, 3, stride=2, groups=2), T * D * 2 * 3 + 15 * 4,
    ),
    "LSTM": (lambda x, f: f(x)[0], lambda: nn.LSTM(D, H, batch_first=True), T * 4 * H * (D + H + 2)),
    "LSTM, packed": (packed, lambda: nn.LSTM(D, H, batch_first=True), T * 4 * H * (D + H + 2)),
    "LSTM of two layers": (
        lambda x, f: f(x), lambda: nn.LSTM(D, H, num_layers=2, batch_first=True, bidirectional=True, bias=False),
        T * 2 * 4 * H * (D + H + 2 * H + H),
    ),
    "LSTM with a projection": (
        lambda x, f: f(x), lambda: nn.LSTM(D, H, batch_first=True, proj_size=2), T * (4 * H * (D + 2 + 2) + 2 * H),
    ),
    "GRU": (lambda x, f: f(x), lambda: nn.GRU(D, H, batch_first=True), T * 3 * H * (D + H + 2)),
    "GRU in double precision": (
        lambda x, f: f(x.double()), lambda: nn.GRU(D, H, batch_first=True).double(), T * 3 * H * (D + H + 2),
    ),
    "RNN": (lambda x, f: f(x), lambda: nn.RNN(D, H, batch_first=True, nonlinearity="relu"), T * H * (D + H + 2)),
    "LSTM cell": (lambda x, f: f(x[:, 0]), lambda: nn.LSTMCell(D, H), 4 * H * (D + H + 2)),
    "GRU cell": (lambda x, f: f(x[:, 0]), lambda: nn.GRUCell(D, H, bias=False), 3 * H * (D + H)),
    "RNN cell": (lambda x, f: f(x[:, 0]), lambda: nn.RNNCell(D, H), H * (D + H + 2)),
}  # fmt: skip
BIASES_OF_FLOP_COUNTER: dict[str, int] = {
    "attention without biases": 0, "linear": D * 5, "convolution": 20, "transposed": 60,
    "attention": 4 * BIASES, "attention without weights": 4 * BIASES, "encoder": 4 * BIASES + T * (16 + D),
}  # fmt: skip
"""Of layers that ``FlopCounterMode`` counts: its convention leaves biases out."""


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_layers_are_counted_as_by_hand(kind: str, training: bool) -> None:
    """Torch's fast paths of evaluation mode, which are one call for a whole layer, hide nothing."""
    function, make, by_hand = LAYERS[kind]
    network = Call(function, layer=make()).train(training)
    assert count_macs(network, tokens()) == by_hand
    with torch.inference_mode():
        assert count_macs(network, tokens()) == by_hand
    if kind in BIASES_OF_FLOP_COUNTER:
        with FlopCounterMode(display=False) as theirs, sdpa_kernel(SDPBackend.MATH):
            network.train()(tokens())
        assert theirs.get_total_flops() == 2 * N * (by_hand - BIASES_OF_FLOP_COUNTER[kind])


def test_what_does_not_depend_on_the_images_counts_nothing() -> None:
    """Spectral normalisation multiplies weights; a table of positions goes through a network of its own."""
    images = torch.randn(2, 3, 8, 8)
    plain = nn.Conv2d(3, 4, 3)
    by_hand = 36 * 4 * 28
    for twin in (
        plain, parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)),
        parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), parametrizations.orthogonal(nn.Conv2d(3, 4, 3)),
    ):  # fmt: skip
        assert count_macs(twin, images) == by_hand

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.net, self.out = nn.Parameter(torch.randn(T, 2)), nn.Linear(2, D), nn.Linear(D, 5)

        def forward(self, x: Tensor) -> Tensor:
            x[:] = x + self.net(self.table).relu()
            out: Tensor = self.out(x)
            return out

    assert count_macs(Positions(), tokens()) == T * 5 * (D + 1)


def test_a_buffer_that_took_in_an_image_is_no_constant() -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("memory", torch.zeros(T, D))

        def forward(self, x: Tensor) -> Tensor:
            self.memory.copy_(x.mean(0))
            return self.memory @ self.memory.T + x.mean()

    network = Remembers()
    assert count_macs(network, tokens()[:1]) == SCORES
    assert not network.memory.any()


class Awkward(nn.Module):
    """A batch normalisation of single values, blocks that training leaves out, a second output in training."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm1d(4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Any:
        x = self.norm(self.stem(x).mean((2, 3)))
        if self.training and torch.rand(()) < 2:
            return {"logits": x}
        return self.head(x), x


def test_a_count_does_not_need_what_scores_need() -> None:
    """One image, no logits, two outputs, a pass that differs in training; and the network stays as it was."""
    network, images = Awkward(), torch.randn(1, 3, 8, 8)
    before, modes = {k: v.clone() for k, v in network.state_dict().items()}, [m.training for m in network.modules()]
    generator = torch.get_rng_state()
    by_hand = 36 * 4 * 28 + 5 * 5
    assert mac_count(network, images) == by_hand == by_name("mac_count").outcome(network, images)
    for text, expected in (("mac_count", by_hand), ("(subtract mac_count parameter_count)", by_hand - 112 - 8 - 25)):
        assert ProgramProxy(name="p", program=parse(text)).score(network, images) == expected
    assert counts(network, images) == {"parameter_count": 145, "mac_count": by_hand}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [m.training for m in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)
    with pytest.raises(CaptureError, match=r"Awkward could not be scored, because a pass .* failed: .*channels"):
        counts(network, torch.randn(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("space", "spec"), [(nb201, "nb201:random:3"), (nb101, "nb101:random:3"), (darts, "darts:random:2")],
    ids=["nb201", "nb101", "darts"],
)  # fmt: skip
def test_networks_of_a_space_are_counted_as_its_closed_form_says(space: Any, spec: str) -> None:
    settings = space.Settings(channels=8)
    for arch in space.SPACE.named(spec.partition(":")[2]):
        found = counts(build_network(arch, settings, seed=0), torch.zeros(2, 3, 16, 16))
        expected = space.SPACE.counts(arch, settings, 16)
        assert (found["parameter_count"], found["mac_count"]) == (expected.parameters, expected.macs)


def test_the_statistic_of_a_network_is_the_same_count() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    images = torch.randn(4, 3, 8, 8)
    shown = capture(network, images, seed=0, statistics=["weight"])
    assert shown.quantities["mac_count"] == counts(network, images)["mac_count"] == 36 * 4 * 28 + 5 * 145


@pytest.mark.parametrize("holds", [False, True], ids=["itself", "a part"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_is_refused(holds: bool) -> None:
    network: nn.Module = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)))
    network = nn.Sequential(network) if holds else network
    with pytest.raises(UnfitError, match=r"^\w+ hides its layers, because .*torch\.jit.* give the nn\.Module"):
        counts(network, torch.randn(2, 3, 8, 8))
