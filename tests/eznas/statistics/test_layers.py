"""Every layer of every kind of network is read, image by image and in its role; and how much is read is told."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from eznas.proxies import KNOWN_PROGRAMS, ProgramProxy
from eznas.statistics.running import Unfit
from eznas.statistics.tracing import ROLE_STATISTICS, Coverage, ProbeRecord, capture_units, run_probe

SHAPE = (4, 3, 8, 8)
VALUES = ("activation_input", "convolution_input", "activation_output", "convolution_output")
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def images(*shape: int) -> Tensor:
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(0))


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


class Flow(nn.Module):
    """Modules by name, and a function that says how images flow through them."""

    def __init__(self, flow: Callable[[Flow, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.flow = flow
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.flow(self, x)


def conv(n_in: int, n_out: int, kernel: int = 3, stride: int = 1, groups: int = 1, norm: bool = True) -> nn.Sequential:
    layer = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(n_out)) if norm else nn.Sequential(layer)


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def residual() -> nn.Module:
    """Stem, a basic block, one with a projection, squeeze-and-excitation on an inverted bottleneck, classifier."""

    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x).relu()
        x = (x + s.b(s.a(x).relu())).relu()
        x = (s.skip(x) + s.d(s.c(x).relu())).relu()
        y = s.depthwise(s.expand(x).relu()).relu()
        y = y * torch.sigmoid(s.excite(s.squeeze(pooled(y)).relu()))[:, :, None, None]
        return s.head(pooled(x + s.project(y)))

    return Flow(
        flow, stem=conv(3, 4), a=conv(4, 4), b=conv(4, 4), skip=conv(4, 8, 1, 2), c=conv(4, 8, 3, 2), d=conv(8, 8),
        expand=conv(8, 16, 1), depthwise=conv(16, 16, 3, groups=16), squeeze=nn.Linear(16, 4), excite=nn.Linear(4, 16),
        project=conv(16, 8, 1), head=nn.Linear(8, 5),
    )  # fmt: skip


def preactivated() -> nn.Module:
    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x)
        y = s.norm(x).relu()
        x = s.skip(y) + s.b(s.norm2(s.a(y)).relu())
        return s.head(pooled(F.relu(s.norm3(x))))

    return Flow(
        flow, stem=conv(3, 4, norm=False), norm=nn.BatchNorm2d(4), skip=conv(4, 6, 1, norm=False),
        a=conv(4, 6, norm=False), norm2=nn.BatchNorm2d(6), b=conv(6, 6, norm=False), norm3=nn.BatchNorm2d(6),
        head=nn.Linear(6, 5),
    )  # fmt: skip


def separable() -> nn.Module:
    """As in DARTS cells: an activation, a depthwise and a pointwise convolution, and only then normalisation."""

    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x)
        left, right = (norm(s.point(s.depth(x.relu()))) for norm in (s.norm, s.norm2))
        return s.head(pooled(s.last(torch.cat((left, F.avg_pool2d(right, 3, 1, 1)), 1).relu())))

    return Flow(
        flow, stem=conv(3, 4), depth=conv(4, 4, 3, groups=4, norm=False), point=conv(4, 6, 1, norm=False),
        norm=nn.BatchNorm2d(6), norm2=nn.BatchNorm2d(6), last=conv(12, 4, 3, groups=2), head=nn.Linear(4, 5),
    )  # fmt: skip


def windows() -> nn.Module:
    """Attention inside windows, by hand: linear layers see images x windows on their first axis."""

    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.patch(x)
        n, c, height, width = x.shape
        t = x.view(n, c, height // 2, 2, width // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
        q, k, v = s.qkv(t).reshape(-1, 4, 3, c).movedim(2, 0)
        t = t + s.out(torch.softmax(q @ k.transpose(1, 2) / math.sqrt(c), -1) @ v)
        return s.head((t + s.down(F.gelu(s.up(t)))).reshape(n, -1, c).mean(1))

    return Flow(
        flow, patch=nn.Conv2d(3, 8, 2, 2), qkv=nn.Linear(8, 24), out=nn.Linear(8, 8), up=nn.Linear(8, 16),
        down=nn.Linear(16, 8), head=nn.Linear(8, 5),
    )  # fmt: skip


def transformer(batch_first: bool) -> nn.Module:
    def flow(s: Flow, x: Tensor) -> Tensor:
        t = s.patch(x).flatten(2).movedim(2, 1 if batch_first else 0)
        return s.head(s.block(t).mean(1 if batch_first else 0))

    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=batch_first)
    return Flow(flow, patch=nn.Conv2d(3, 8, 4, 4), block=block, head=nn.Linear(8, 5))


def as_many_tokens_as_images() -> nn.Module:
    """Tokens first, and as many as images: nothing but another number of images tells them apart."""
    return transformer(batch_first=False)


def mixer() -> nn.Module:
    def flow(s: Flow, x: Tensor) -> Tensor:
        t = s.patch(x).flatten(2).transpose(1, 2)
        t = t + s.tokens2(F.gelu(s.tokens(s.norm(t).transpose(1, 2)))).transpose(1, 2)
        return s.head((t + s.channels2(F.gelu(s.channels(s.norm2(t))))).mean(1))

    return Flow(
        flow, patch=nn.Conv2d(3, 8, 2, 2), norm=nn.LayerNorm(8), tokens=nn.Linear(16, 6), tokens2=nn.Linear(6, 16),
        norm2=nn.LayerNorm(8), channels=nn.Linear(8, 12), channels2=nn.Linear(12, 8), head=nn.Linear(8, 5),
    )  # fmt: skip


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(3, 6, 2, 2, groups=3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 1, 1),
        nn.Conv2d(6, 4, 3, dilation=2), nn.Flatten(), nn.Linear(576, 5),
    )  # fmt: skip


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5))


def of_axes(n_axes: int) -> nn.Module:
    """Convolutions over sequences or volumes."""
    layer: type[nn.Module] = {1: nn.Conv1d, 3: nn.Conv3d}[n_axes]
    norm: type[nn.Module] = {1: nn.BatchNorm1d, 3: nn.BatchNorm3d}[n_axes]
    shape = (3, 64) if n_axes == 1 else (3, 4, 4, 4)
    return nn.Sequential(
        nn.Unflatten(1, (3, 1)), nn.Flatten(2), nn.Unflatten(2, shape[1:]), layer(3, 4, 3, padding=1), norm(4),
        nn.ReLU(), layer(4, 6, 3), nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 5),
    )  # fmt: skip


def repeated() -> nn.Module:
    """One layer, called three times."""

    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x).relu()
        for _ in range(3):
            x = x + F.relu(s.shared(x))
        return s.head(pooled(x))

    return Flow(flow, stem=conv(3, 4), shared=nn.Conv2d(4, 4, 3, padding=1), head=nn.Linear(4, 5))


KINDS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "residual": (
        residual,
        [
            *("stem", "plain", "plain", "shortcut", "plain", "plain", "pointwise", "depthwise", "plain", "plain"),
            *("pointwise", "head"),
        ],
    ),
    "preactivated": (preactivated, ["stem", "plain", "plain", "shortcut", "head"]),
    "separable": (separable, ["stem", *("depthwise", "pointwise") * 2, "plain", "head"]),
    "windows": (windows, ["stem", *("pointwise",) * 4, "head"]),
    "tokens first": (lambda: transformer(False), ["stem", *("pointwise",) * 4, "head"]),
    "images first": (lambda: transformer(True), ["stem", *("pointwise",) * 4, "head"]),
    "mixer": (mixer, ["stem", *("pointwise",) * 4, "head"]),
    "transposed": (transposed, ["stem", "plain", "head"]),
    "perceptron": (perceptron, ["stem", "plain", "head"]),
    "1-d": (lambda: of_axes(1), ["stem", "plain", "head"]),
    "3-d": (lambda: of_axes(3), ["stem", "plain", "head"]),
    "repeated": (repeated, ["stem", *("plain",) * 3, "head"]),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def read(network: nn.Module, x: Tensor | None = None, units: str = "layers") -> ProbeRecord:
    names = {*VALUES, *(f"{v}_grad" for v in VALUES), "weight", "weight_grad", *ROLE_STATISTICS}
    return run_probe(network, images() if x is None else x, units=units, names=names)


def called(network: nn.Module, x: Tensor) -> list[nn.Module]:
    """The layers in order of their calls, by hooks; attention calls its own without any."""
    found: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_hook(lambda m, *_: found.extend([m, m.out_proj]))
        elif isinstance(module, LAYERS):
            module.register_forward_hook(lambda m, *_: found.append(m))
    network(x)
    return found


@every_kind
def test_every_layer_is_read_in_order_and_in_its_role(kind: str) -> None:
    make, roles = KINDS[kind]
    record = read(made(make))
    assert record.roles == (["stem", *record.roles[1:]] if kind == "preactivated" else roles)
    assert Counter(record.roles) == Counter(roles)
    layers = called(made(make), images())
    assert len(layers) == len(record.units)
    for unit, layer in zip(record.units, layers, strict=True):
        weight = layer.in_proj_weight if isinstance(layer, nn.MultiheadAttention) else layer.weight
        assert unit["weight"].numel() == weight.numel()
        if not isinstance(layer, nn.ConvTranspose2d):
            assert torch.equal(unit["weight"].flatten(), weight.detach().flatten())
    assert record.coverage.layers == record.coverage.macs == 1.0
    for unit, role in zip(record.units, record.roles, strict=True):
        assert {name: float(unit[name]) for name in ROLE_STATISTICS if unit[name]} == {f"is_{role}": 1.0}


@every_kind
def test_what_is_read_has_four_axes_and_the_images_on_the_first(kind: str) -> None:
    """Images in another order give the same in that order: so the first axis is theirs, whole and in order."""
    order = torch.tensor([2, 0, 3, 1])
    first, again = (read(made(KINDS[kind][0]), x).units for x in (images(), images()[order]))
    for unit, reordered in zip(first, again, strict=True):
        assert unit["activation_input"].shape == unit["convolution_input"].shape
        assert unit["activation_output"].shape == unit["convolution_output"].shape
        assert unit["weight"].shape[0] == unit["convolution_output"].shape[1]
        for name in VALUES:
            assert unit[name].shape[0] == len(order)
            assert unit[name].ndim == 4
            for of_name in (name, f"{name}_grad"):
                torch.testing.assert_close(reordered[of_name], unit[of_name][order], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(reordered["weight_grad"], unit["weight_grad"], rtol=1e-3, atol=1e-5)


@every_kind
def test_gradients_of_the_weights_are_those_of_autograd(kind: str) -> None:
    make, _ = KINDS[kind]
    network = made(make)
    units = read(network).units
    for module in network.modules():
        module.training = not isinstance(module, nn.Dropout)
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    network.zero_grad()
    layers = called(network, images())
    network(images()).sum().backward()
    found: dict[nn.Module, float] = {}
    for unit, layer in zip(units, layers, strict=False):
        found[layer] = found.get(layer, 0.0) + float(unit["weight_grad"].sum())
    for layer, total in found.items():
        weight = layer.in_proj_weight if isinstance(layer, nn.MultiheadAttention) else layer.weight
        assert total == pytest.approx(float(weight.grad.sum()), rel=1e-3, abs=1e-4)


@every_kind
def test_a_program_scores_it_from_every_layer(kind: str) -> None:
    network = made(KINDS[kind][0])
    kernels = ProgramProxy(name="kernels", program=KNOWN_PROGRAMS["naswot_units"].program, units="layers")
    assert math.isfinite(kernels.score(network, images()))


def test_where_tokens_are_as_many_as_images_the_axis_is_still_found() -> None:
    network = made(as_many_tokens_as_images)
    unit = read(network).units[1]
    tokens = network.patch(images()).flatten(2).detach()  # (images, channels, tokens), 4 of each
    torch.testing.assert_close(unit["convolution_input"], tokens.unsqueeze(-1))


def test_of_a_network_of_plain_axes_no_other_number_of_images_is_asked_for() -> None:
    network = made(residual)
    numbers: list[int] = []
    network.register_forward_pre_hook(lambda module, args: numbers.append(len(args[0])))
    capture_units(network, images(), seed=0, units="layers")
    assert numbers == [4, 4, 4]
    other = made(windows)
    other.register_forward_pre_hook(lambda module, args: numbers.append(len(args[0])))
    capture_units(other, images(), seed=0, units="layers")
    assert numbers[3:] == [4, 2, 4, 4], "once for all probes"


def test_the_linearised_probe_of_one_image_is_laid_out_alike() -> None:
    units, *_ = capture_units(
        made(windows), images(), seed=0, statistics=["weight", "weight_grad.linearised"], units="layers"
    )
    assert all(unit["weight"].shape == unit["weight_grad.linearised"].shape for unit in units)


# --- the activation that feeds a layer ----------------------------------------------------------------------------


def test_the_activation_is_found_behind_gates_sums_poolings_and_normalisation() -> None:
    def flow(s: Flow, x: Tensor) -> Tensor:
        s.before = s.stem(x)
        y = s.before.relu()
        y = F.dropout(y * torch.sigmoid(s.gate(pooled(y)))[:, :, None, None], 0.5)
        y = F.max_pool2d(s.norm(y), 3, 1, 1) + x[:, :1]
        return s.head(pooled(s.inner(y)))

    network = made(
        lambda: Flow(
            flow, stem=conv(3, 4), gate=nn.Linear(4, 4), norm=nn.BatchNorm2d(4), inner=conv(4, 6), head=nn.Linear(6, 5)
        )
    )
    unit = read(network).units[2]
    assert torch.equal(unit["activation_input"], network.before.detach())
    assert unit["activation_input_grad"].any()
    assert not torch.equal(unit["activation_input"], unit["convolution_input"])
    before = read(network, units="all").units[2]
    assert torch.equal(before["activation_input"], before["convolution_input"]), "the other readings look no further"


def test_of_several_activations_the_last_counts_and_none_behind_a_layer() -> None:
    def flow(s: Flow, x: Tensor) -> Tensor:
        y = s.stem(x).relu()
        s.second = s.a(y)
        return s.head(pooled(s.c(s.b(y + s.second.relu()))))

    network = made(lambda: Flow(flow, stem=conv(3, 4), a=conv(4, 4), b=conv(4, 4), c=conv(4, 4), head=nn.Linear(4, 5)))
    units = read(network).units
    assert torch.equal(units[2]["activation_input"], network.second.detach())
    assert torch.equal(units[3]["activation_input"], units[3]["convolution_input"])


def test_an_activation_of_another_shape_is_none() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Flatten())
    unit = read(network).units[1]
    assert torch.equal(unit["activation_input"], unit["convolution_input"])


def test_what_leaves_a_layer_is_normalised_if_that_follows_at_once() -> None:
    after = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    later = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten())
    for network, is_normalised in ((after, True), (later, False)):
        (unit,) = read(network).units
        assert torch.equal(unit["activation_output"], unit["convolution_output"]) is not is_normalised


# --- effective weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, torch.nn.utils.weight_norm], ids=["new", "old"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_normalisation_shows_what_its_plain_twin_shows(wrap: Callable[[nn.Module], nn.Module]) -> None:
    twin, network = made(residual), made(residual)
    for module in network.modules():
        if isinstance(module, LAYERS):
            wrap(module)
    for unit, plain in zip(read(network).units, read(twin).units, strict=True):
        for name, tensor in plain.items():
            torch.testing.assert_close(unit[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_spectral_normalisation_is_read_as_the_weight_that_is_used() -> None:
    network = made(perceptron)
    for place in (1, 3, 5):
        parametrizations.spectral_norm(network[place], n_power_iterations=20)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    record = read(network)
    for unit in record.units:
        assert float(torch.linalg.matrix_norm(unit["weight"][..., 0, 0], 2)) == pytest.approx(1.0, abs=0.05)
        assert unit["weight_grad"].any()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert record.coverage.layers == 1.0


# --- what is not read, and what is refused ------------------------------------------------------------------------


def test_a_layer_that_no_image_reaches_is_not_read_but_counted() -> None:
    """As relative positions are made by a small network of their own."""

    def flow(s: Flow, x: Tensor) -> Tensor:
        positions = s.table(torch.linspace(-1, 1, 16)[:, None]).relu()
        t = s.patch(x).flatten(2).transpose(1, 2)
        return s.head((s.mix(t) + positions).mean(1))

    network = made(
        lambda: Flow(
            flow, patch=nn.Conv2d(3, 6, 2, 2), table=nn.Linear(1, 6), mix=nn.Linear(6, 6), head=nn.Linear(6, 5)
        )
    )
    record = read(network)
    assert len(record.units) == 3
    assert record.coverage.layers == 0.75
    n_read = 6 * 12 + 6 + 36 + 6 + 30 + 5
    assert record.coverage.parameters == pytest.approx(n_read / (n_read + 12))


def test_images_folded_into_channels_are_not_read() -> None:
    def flow(s: Flow, x: Tensor) -> Tensor:
        n, c, *size = x.shape
        y = F.conv2d(x.reshape(1, n * c, *size), s.own.weight.repeat(n, 1, 1, 1), padding=1, groups=n)
        return s.head(pooled(y.reshape(n, 4, *size)))

    network = made(lambda: Flow(flow, own=nn.Conv2d(3, 4, 3, bias=False), head=nn.Linear(4, 5)))
    assert read(network).roles == ["head"]
    assert read(network).coverage.layers == 0.5


def test_coverage_is_counted_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 5),
    )  # fmt: skip
    n_parameters, n_macs = 16 + 16 + 8 + 10 + 15, 64 * (16 + 16 + 10) + 15
    assert read(network, units="convolutional").coverage == Coverage(1 / 4, 16 / n_parameters, 64 * 16 / n_macs)
    assert read(network).coverage == Coverage(1.0, (n_parameters - 8) / n_parameters, 1.0)
    n_shared = 4 * 4 * 9 + 4  # of a layer that is called three times, counted once; and normalisation is not read
    assert read(made(repeated)).coverage.parameters == (108 + n_shared + 25) / (108 + 8 + n_shared + 25)


def hidden(kind: str) -> nn.Module:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    if kind == "exported":
        return torch.export.export(plain, (images(),)).module()
    made_of = torch.jit.script(plain) if kind != "traced" else torch.jit.trace(plain, images())
    return nn.Sequential(nn.Identity(), made_of) if kind == "part" else made_of


@pytest.mark.parametrize(
    ("kind", "units"),
    [("scripted", "layers"), ("scripted", "convolutional"), ("traced", "all"), ("part", "layers"), ("exported", "all")],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_network_that_hides_its_layers_is_refused(kind: str, units: str) -> None:
    with pytest.raises(Unfit, match=r"hides its layers, because .* was made by torch\..*; give the nn\.Module that it"):
        run_probe(hidden(kind), images(), units=units, names=(), gradients=False)


def test_a_network_that_is_another_for_another_number_of_images_is_refused() -> None:
    def flow(s: Flow, x: Tensor) -> Tensor:
        t = s.patch(x).flatten(2).transpose(1, 2)
        return s.head((s.mix(t) if len(t) > 2 else t).mean(1))

    network = Flow(flow, patch=nn.Conv2d(3, 6, 2, 2), mix=nn.Linear(6, 6), head=nn.Linear(6, 5))
    with pytest.raises(Unfit, match="calls 3 layers for 4 images and 2 for 2, so that it cannot be told"):
        read(network)


# --- roles of other networks --------------------------------------------------------------------------------------


def test_branches_side_by_side_are_no_shortcuts() -> None:
    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x)
        for wide, narrow in ((s.a, s.b), (s.c, s.d)):
            x = (wide(x) + narrow(x) + x).relu()
        return s.head(pooled(s.last(x) + s.last1(x)))

    network = made(
        lambda: Flow(
            flow, stem=conv(3, 4), a=conv(4, 4), b=conv(4, 4, 1), c=conv(4, 4), d=conv(4, 4, 1), last=conv(4, 8),
            last1=conv(4, 8, 1), head=nn.Linear(8, 5),
        )
    )  # fmt: skip
    assert "shortcut" not in read(network).roles


def test_a_projection_that_leads_on_is_no_shortcut() -> None:
    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x)
        y = s.skip(x)
        return s.head(pooled(y + s.b(s.a(x))) + pooled(s.more(y)))

    network = made(
        lambda: Flow(
            flow, stem=conv(3, 4), skip=conv(4, 6, 1), a=conv(4, 6), b=conv(6, 6), more=conv(6, 6), head=nn.Linear(6, 5)
        )
    )
    assert read(network).roles == ["stem", "pointwise", "plain", "plain", "plain", "head"]


def test_a_shortcut_through_pooling_written_in_place_is_one() -> None:
    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x)
        y = s.b(s.a(x).relu_())
        y += s.skip(F.avg_pool2d(x, 2))
        return s.head(pooled(y.relu_()))

    network = made(
        lambda: Flow(flow, stem=conv(3, 4), a=conv(4, 6, 3, 2), b=conv(6, 6), skip=conv(4, 6, 1), head=nn.Linear(6, 5))
    )
    assert read(network).roles == ["stem", "plain", "plain", "shortcut", "head"]


def test_of_bottlenecks_in_a_row_only_projections_beside_them_are_shortcuts() -> None:
    """The last convolution of each is a projection too, and the identity beside the second carries both."""

    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x).relu()
        x = (s.c(s.b(s.a(x).relu()).relu()) + s.skip(x)).relu()
        return s.head(pooled((s.f(s.e(s.d(x).relu()).relu()) + x).relu()))

    network = made(
        lambda: Flow(
            flow, stem=conv(3, 4), a=conv(4, 2, 1), b=conv(2, 2), c=conv(2, 8, 1), skip=conv(4, 8, 1), d=conv(8, 2, 1),
            e=conv(2, 2), f=conv(2, 8, 1), head=nn.Linear(8, 5),
        )
    )  # fmt: skip
    bottleneck = ["pointwise", "plain", "pointwise"]
    assert read(network).roles == ["stem", *bottleneck, "shortcut", *bottleneck, "head"]


def test_what_is_written_into_a_slice_is_followed() -> None:
    def flow(s: Flow, x: Tensor) -> Tensor:
        x = s.stem(x)
        y = torch.zeros(len(x), 4, 8, 8)
        y[:, 1:3] = s.inner(x)
        return s.head(pooled(s.last(y)))

    network = made(lambda: Flow(flow, stem=conv(3, 4), inner=conv(4, 2), last=conv(4, 4, 1), head=nn.Linear(4, 5)))
    assert read(network).roles == ["stem", "plain", "pointwise", "head"]


def test_two_classifiers_that_are_averaged_are_both_heads_and_one_layer_is_a_head() -> None:
    twice = Flow(lambda s, x: (s.a(pooled(x)) + s.b(pooled(x))) / 2, a=nn.Linear(3, 5), b=nn.Linear(3, 5))
    assert read(twice).roles == ["head", "head"]


@pytest.mark.parametrize("role", ["stem", "shortcut", "depthwise", "pointwise", "head", "plain"])
def test_programs_keep_or_leave_out_a_role(role: str) -> None:
    """By hand on a network that has all roles, and on one that lacks most: there a sum over a role is 0."""
    from eznas.programs import parse

    for make in (residual, perceptron):
        network = made(make)
        record = read(network)
        norms = [float(unit["weight"].norm()) for unit in record.units]
        kept = sum(norm for norm, found in zip(norms, record.roles, strict=True) if found == role)
        texts = {
            f"(sum_layers (only (frobenius_norm weight) is_{role}))": kept,
            f"(sum_layers (without (frobenius_norm weight) is_{role}))": sum(norms) - kept,
            f"(divide (sum_layers (only (frobenius_norm weight) is_{role})) (sum_layers is_{role}))": (
                kept / max(record.roles.count(role), 1)
            ),
        }
        for text, expected in texts.items():
            found = ProgramProxy(name="p", program=parse(text), units="layers").score(network, images())
            assert found == pytest.approx(expected, rel=1e-5), text
