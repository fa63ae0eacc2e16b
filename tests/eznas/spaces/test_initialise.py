"""Every kind of layer is drawn by a stated rule, whatever it is wrapped in, and what has none is named."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import register_parametrization

from eznas.conditions import Conditions
from eznas.errors import ArchitectureError
from eznas.spaces import SCHEMES, Scheme, initialise_, own
from tests.eznas.estimators.small_networks import Apply

WIDTH = 64


def drawn(network: nn.Module, scheme: Scheme, seed: int = 0) -> tuple[str, ...]:
    return initialise_(network, scheme, torch.Generator().manual_seed(seed))


def spread(tensor: Tensor) -> tuple[float, float]:
    return float(tensor.detach().std()), float(tensor.detach().abs().max())


EACH_SCHEME = pytest.mark.parametrize("scheme", SCHEMES)
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(WIDTH, 100),
    "convolution": lambda: nn.Conv2d(WIDTH, 30, 3),
    "attention": lambda: nn.MultiheadAttention(WIDTH, 4, add_bias_kv=True),
    "attention to others": lambda: nn.MultiheadAttention(WIDTH, 4, kdim=90, vdim=40),
    "embedding": lambda: nn.Embedding(50, WIDTH, padding_idx=3),
    "bag": lambda: nn.EmbeddingBag(50, WIDTH),
    "LSTM": lambda: nn.LSTM(WIDTH, 20, num_layers=2, bidirectional=True, proj_size=5),
    "GRU cell": lambda: nn.GRUCell(WIDTH, 20),
    "bilinear": lambda: nn.Bilinear(WIDTH, 20, 10),
    "slopes": lambda: nn.PReLU(WIDTH, init=0.1),
    "batch normalisation": lambda: nn.BatchNorm2d(WIDTH),
    "RMS normalisation": lambda: nn.RMSNorm(WIDTH),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_default_scheme_has_the_distributions_of_torch(kind: str) -> None:
    """Deviation and largest value of every parameter; the exact values of some are in `test_networks`."""
    torch.manual_seed(0)
    network, expected = LAYERS[kind](), LAYERS[kind]()
    spoil(network)
    assert drawn(network, "default") == ()
    for name, parameter in network.named_parameters():
        theirs = expected.get_parameter(name)
        if theirs.std() > 0 and parameter.numel() > 200:
            assert spread(parameter) == pytest.approx(spread(theirs), rel=0.25), name
        elif theirs.std() == 0:
            assert torch.equal(parameter, theirs), name
    if kind == "embedding":
        assert not network.get_parameter("weight")[3].any()


def spoil(network: nn.Module) -> None:
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.fill_(7)


def test_the_projections_of_attention_are_linear_layers_of_the_eznas_scheme() -> None:
    for layer in (LAYERS["attention"](), LAYERS["attention to others"]()):
        assert drawn(layer, "eznas") == ()
        for name, parameter in layer.state_dict().items():
            if name.endswith("proj_weight") or name == "out_proj.weight":
                assert float(parameter.std()) == pytest.approx(0.01, rel=0.05)
            elif name.endswith("bias"):
                assert not parameter.any()
            else:  # bias_k, bias_v: one more token
                assert float(parameter.std()) == pytest.approx(1 / math.sqrt(WIDTH), rel=0.4)


@EACH_SCHEME
@pytest.mark.parametrize("kind", LAYERS)
def test_the_same_seed_draws_the_same_wherever_values_lie(scheme: Scheme, kind: str) -> None:
    first = LAYERS[kind]()
    for other, dtype in ((LAYERS[kind](), torch.float32), (LAYERS[kind]().double(), torch.float64)):
        spoil(other)
        drawn(first, scheme, 3)
        drawn(other, scheme, 3)
        for name, parameter in other.named_parameters():
            assert parameter.dtype == dtype
            assert torch.equal(parameter.float(), first.get_parameter(name)), name
    laid_out = copy.deepcopy(first).to(memory_format=torch.channels_last) if kind == "convolution" else first
    drawn(laid_out, scheme, 3)
    assert all(torch.equal(a, b) for a, b in zip(laid_out.parameters(), first.parameters(), strict=True))


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "weight_norm of all": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "weight_norm of old": lambda layer: torch.nn.utils.weight_norm(layer),
    "weight_norm of old, of all": lambda layer: torch.nn.utils.weight_norm(layer, dim=None),
    "pruned": lambda layer: prune.identity(layer, "weight"),
    "spectral_norm of old": lambda layer: torch.nn.utils.spectral_norm(layer),
}


@EACH_SCHEME
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("way", WRAPPED)
def test_a_parametrised_layer_gets_the_effective_weight_of_its_plain_twin(scheme: Scheme, way: str) -> None:
    plain, wrapped = nn.Conv2d(3, 8, 3), WRAPPED[way](nn.Conv2d(3, 8, 3))
    assert drawn(plain, scheme) == drawn(wrapped, scheme) == ()
    images = torch.randn(2, 3, 6, 6)
    if "spectral" in way:
        weight = wrapped.get_parameter("weight_orig")
    else:
        wrapped(images)  # hooks of old compute the weight before the pass
        weight = wrapped.weight
    torch.testing.assert_close(weight, plain.weight)
    torch.testing.assert_close(wrapped.bias, plain.bias)


@EACH_SCHEME
def test_spectral_normalisation_settles_on_the_new_weight(scheme: Scheme) -> None:
    torch.manual_seed(0)
    plain, wrapped = nn.Linear(20, 30), parametrizations.spectral_norm(nn.Linear(20, 30)).eval()
    assert drawn(plain, scheme) == drawn(wrapped, scheme) == ()
    torch.testing.assert_close(wrapped.parametrizations.weight.original, plain.weight)  # type: ignore[union-attr]
    norm = torch.linalg.matrix_norm(plain.weight, 2)
    torch.testing.assert_close(wrapped.weight, plain.weight / norm, rtol=0.1, atol=0)
    assert not any(module.training for module in wrapped.modules())


class Doubled(nn.Module):
    """A parametrisation that torch cannot invert, with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factor


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.layer, self.absent = nn.Parameter(torch.ones(1, 1, 4)), nn.Linear(4, 4), None


def test_what_has_no_rule_keeps_its_value_and_is_named() -> None:
    network = nn.Sequential(Tokens(), nn.Linear(3, 3))
    register_parametrization(network[1], "weight", Doubled())
    before = copy.deepcopy(network)
    assert drawn(network, "default") == (
        "0.token", "1.parametrizations.weight.original", "1.parametrizations.weight.0.factor",
    )  # fmt: skip
    assert torch.equal(network[0].token, before[0].token)  # type: ignore[union-attr, arg-type]
    assert torch.equal(network[1].weight, before[1].weight)  # type: ignore[arg-type]
    assert not torch.equal(network[1].bias, before[1].bias)  # type: ignore[arg-type]


def test_a_layer_without_a_shape_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="Layer '1' is a LazyLinear, whose shape is not known before a first"):
        drawn(nn.Sequential(nn.ReLU(), nn.LazyLinear(3)), "eznas")


# Networks of one's own ------------------------------------------------------------------------------------------------


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("scheme", [*SCHEMES, "keep"])
def test_networks_of_ones_own_are_drawn_as_copies(scheme: Any) -> None:
    """The user's objects stay as they are; a seed says what is drawn, and no global generator is touched."""
    given = {
        "conv": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)),
        "old": nn.Sequential(torch.nn.utils.weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(144, 5)),
        "lazy": lazy(),
        "made": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5)),
    }
    values = {name: module_values(network) for name, network in given.items() if isinstance(network, nn.Module)}
    space, state = own.space_of(given), torch.get_rng_state()
    conditions = Conditions(settings=own.Settings(scheme=scheme), input_size=8, seed=1).of_family(space)
    other = Conditions(settings=own.Settings(scheme=scheme), input_size=8, seed=2).of_family(space)
    for arch in space.named("all"):
        network, again, else_ = (c.network(arch) for c in (conditions, conditions, other))
        assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
        assert same(network, again)
        assert same(network, else_) == (scheme == "keep" and arch.spec != "lazy")
        assert network.training
        assert (network is given[arch.spec]) == (scheme == "keep" and arch.spec in ("conv", "old"))
    assert all(module_values(given[name]) == before for name, before in values.items())
    assert torch.equal(torch.get_rng_state(), state)


def module_values(network: Any) -> list[object]:
    return [
        type(parameter) if isinstance(parameter, nn.UninitializedParameter) else parameter.tolist()
        for parameter in network.parameters()
    ]


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_what_cannot_be_copied_or_run_is_a_sentence() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("cannot pickle 'generator' object")

    space = own.space_of({"a": Stubborn(2, 2), "b": nn.Sequential(nn.LazyLinear(3), Apply(lambda x: x.reshape(7)))})
    first, second = space.named("a;b")
    assert space.build(first, own.Settings(), 0) is not None
    with pytest.raises(ArchitectureError, match=r"^Network 'a' of The networks given cannot be copied \(TypeError"):
        space.build(first, own.Settings(scheme="eznas"), 0)
    for settings in (own.Settings(), own.Settings(scheme="default")):
        with pytest.raises(ArchitectureError, match=r"^Sequential has lazy layers, .* RuntimeError: .* 3 x 8 x 8"):
            space.build(second, settings, 0, (3, 8, 8))
