"""Units are found in any network, and what is recorded of them is what autograd says."""

from __future__ import annotations

import ast
import inspect
import random
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.spaces import build_network, nb201
from eznas.statistics import rectifiers, running, torch_functions, tracing, wiring
from eznas.statistics.macs import count_macs
from eznas.statistics.running import Unfit
from eznas.statistics.tracing import LABELLED_STATISTICS, PROBES, STATISTICS, probe_inputs

run_probe = partial(tracing.run_probe, units="convolutional")
capture_units = partial(tracing.capture_units, units="convolutional")

NETWORKS = nb201.Settings(channels=4)
GRADIENTS = ("weight_grad", "activation_input_grad", "convolution_input_grad", "activation_output_grad")


def images(batch: int = 4, size: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def initialised(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network


class Residual(nn.Module):
    """Pre-activation blocks; every activation and addition in place, as torchvision writes them."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace
        self.relu = nn.ReLU(inplace=inplace)
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm0, self.norm1, self.norm2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.conv1, self.conv2 = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm0(self.stem(x)))
        identity = x
        x = self.norm1(self.conv1(x))
        x = self.relu(x)
        x = self.norm2(self.conv2(x))
        if self.inplace:
            x += identity
            F.relu_(x)  # the result is not used: x itself changes
        else:
            x = F.relu(x + identity)
        return self.head(x.mean((2, 3)))


class Functional(nn.Module):
    """The network of `Residual`, sharing its modules, written with functions and torch's many spellings of them."""

    def __init__(self, source: Residual) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        s = self.source
        x = torch.relu(self.norm(s.norm0, F.conv2d(input=x, weight=s.stem.weight, bias=s.stem.bias, padding=1)))
        identity = x
        x = self.norm(s.norm1, F.conv2d(x, s.conv1.weight, s.conv1.bias, padding=1))
        x = x.relu()
        x = self.norm(s.norm2, torch.conv2d(x, s.conv2.weight, s.conv2.bias, padding=1, groups=2))
        return F.linear(F.relu(x + identity).mean((2, 3)), s.head.weight, s.head.bias)

    @staticmethod
    def norm(module: nn.BatchNorm2d, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, module.weight, module.bias, training=True, eps=module.eps)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10))


def hook_reference(network: nn.Module, convolutions: list[nn.Module], inputs: Tensor) -> list[dict[str, Tensor]]:
    """Values and gradients around each convolution by full backward hooks, as a module-based tool would get them."""
    seen: dict[nn.Module, dict[str, Tensor]] = {}
    order: list[nn.Module] = []

    def forward_hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        order.append(module)
        seen[module] = {"input": args[0].detach().clone(), "output": output.detach().clone()}

    def backward_hook(module: nn.Module, grad_input: tuple[Tensor, ...], grad_output: tuple[Tensor, ...]) -> None:
        seen[module] |= {"grad_input": grad_input[0], "grad_output": grad_output[0]}

    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ReLU | nn.BatchNorm2d):
            handles += [module.register_forward_hook(forward_hook), module.register_full_backward_hook(backward_hook)]
    network.zero_grad()
    network(inputs.clone().requires_grad_()).sum().backward()
    for handle in handles:
        handle.remove()
    units = []
    for convolution in [module for module in order if module in convolutions]:
        position = order.index(convolution)
        activation, norm = order[position - 1], order[position + 1]
        units.append(
            {
                "activation_input": seen[activation]["input"],
                "activation_input_grad": seen[activation]["grad_input"],
                "convolution_input": seen[convolution]["input"],
                "convolution_input_grad": seen[convolution]["grad_input"],
                "activation_output": seen[norm]["output"],
                "activation_output_grad": seen[norm]["grad_output"],
                "weight": convolution.weight.detach().clone(),
                "weight_grad": convolution.weight.grad.clone(),
            }
        )
    network.zero_grad()
    return units


def unit_convolutions(network: nn.Module) -> list[nn.Module]:
    """The convolutions of an NB201 network that stand between a ReLU and a normalisation in one ``nn.Sequential``."""
    return [
        block[1]
        for block in network.modules()
        if isinstance(block, nn.Sequential) and len(block) == 3 and isinstance(block[0], nn.ReLU)
        if isinstance(block[1], nn.Conv2d)
    ]


@pytest.mark.parametrize("index", [0, 11, 284, 1462, 1651, *random.Random(5).sample(range(15_625), 7)])
def test_units_and_counts_of_nb201_are_the_closed_forms(index: int) -> None:
    arch = nb201.from_index(index)
    network = build_network(arch, NETWORKS, seed=1)
    record = run_probe(network, images(), gradients=False)
    operations = nb201.operations(arch)
    n_convolutions = operations.count("nor_conv_3x3") + operations.count("nor_conv_1x1")
    assert len(record.units) == 3 * n_convolutions + 4
    assert count_macs(network, images()) == nb201.mac_count(arch, NETWORKS, 8)
    assert sum(parameter.numel() for parameter in network.parameters()) == nb201.parameter_count(arch, NETWORKS)


@pytest.mark.parametrize("index", [11, 1462, 284])
def test_values_and_gradients_equal_those_of_hooks(index: int) -> None:
    network = build_network(nb201.from_index(index), NETWORKS, seed=1)
    convolutions = unit_convolutions(network)
    expected = hook_reference(network, convolutions, images())
    found = run_probe(network, images()).units
    assert len(found) == len(expected) == len(convolutions)
    for unit, reference in zip(found, expected, strict=True):
        assert unit.keys() == reference.keys()
        for name, tensor in reference.items():
            torch.testing.assert_close(unit[name], tensor, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_a_gradient_belongs_to_one_consumer() -> None:
    """A node read by two activations has the sum of two gradients; each unit shows its own part."""

    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.left, self.right = (nn.Conv2d(3, 3, 1) for _ in range(3))
            self.norm_left, self.norm_right = nn.GroupNorm(1, 3), nn.GroupNorm(1, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.node = self.stem(x)
            left = self.norm_left(self.left(F.relu(self.node)))
            return (left * left + self.norm_right(self.right(F.relu(self.node)))).exp().sum((2, 3))

    network = initialised(Fork())
    units = run_probe(network, images()).units
    total = torch.autograd.grad(network(images()).sum(), network.node)[0]
    parts = [unit["activation_input_grad"] for unit in units]
    assert len(parts) == 2
    assert not torch.allclose(parts[0], total, atol=1e-3)
    torch.testing.assert_close(parts[0] + parts[1], total)


@pytest.mark.parametrize("kind", ["in place", "functional"])
def test_in_place_and_functional_networks_show_the_same(kind: str) -> None:
    plain = initialised(Residual(inplace=False))
    twin = initialised(Residual(inplace=True)) if kind == "in place" else Functional(plain)
    expected, found = run_probe(plain, images()), run_probe(twin, images())
    torch.testing.assert_close(found.logits, plain(images()).detach())
    torch.testing.assert_close(found.logits, twin(images()).detach())
    assert len(found.units) == len(expected.units) == 2  # stem and head are not units
    assert count_macs(twin, images()) == count_macs(plain, images())
    for unit, reference in zip(found.units, expected.units, strict=True):
        assert (unit["activation_input"] < 0).any()  # before the ReLU, not overwritten by it
        for name in reference:
            torch.testing.assert_close(unit[name], reference[name], msg=lambda m, n=name: f"{n}: {m}")


def test_multiply_accumulates_with_groups_and_biases() -> None:
    stem, grouped, head = 64 * 6 * (27 + 1) + 64 * 6 * (54 + 1), 64 * 6 * (27 + 1), 5 * (6 + 1)
    assert count_macs(Residual(inplace=False), images()) == stem + grouped + head


def test_beside_a_complete_unit_nothing_else_is_one() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)),  # no activation before it
        *(nn.ReLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)),
        *(nn.ReLU(), nn.Conv2d(5, 6, 1)),  # no normalisation after it
        *(nn.Flatten(), nn.ReLU(), nn.Linear(384, 7), nn.BatchNorm1d(7)),  # no convolution
    )
    assert [tuple(unit["weight"].shape) for unit in run_probe(network, images()).units] == [(5, 4, 1, 1)]


def test_logits_that_were_changed_in_place_are_the_changed_ones() -> None:
    class Positive(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            x = super().forward(x)
            x.relu_()
            return x

    network, inputs = initialised(Positive(4, 8)), torch.randn(3, 4)
    record = run_probe(network, inputs)
    assert (record.units[0]["activation_output"] < 0).any()
    assert torch.equal(record.logits, network(inputs).detach())
    network(inputs).sum().backward()
    torch.testing.assert_close(record.units[0]["weight_grad"].squeeze(), network.weight.grad)


def _view(y: Tensor) -> Tensor:
    y[:, :2].mul_(3)
    return y


def _view_twice(y: Tensor) -> Tensor:
    view = y[:, :2]
    view.mul_(3)
    view.add_(1)
    return y


def _what_is_seen(y: Tensor) -> Tensor:
    view = y[:, 1:]
    y.mul_(2)
    return torch.cat([view, y[:, :1]], 1)


def _view_of_what_was_returned(y: Tensor) -> Tensor:
    returned = y[:, :3].mul_(3)
    inner = returned[:, 1:2]
    y.add_(1)
    inner.sub_(2)
    again = returned[:, :2]
    y.mul_(1.5)
    again.mul_(0.5)
    return y


def _rectified_view(y: Tensor) -> Tensor:
    F.relu_(y.flatten(2))
    return y * 1


def _assigned(y: Tensor) -> Tensor:
    view = y[:, :2]
    view.mul_(3)
    y[:, 2:] = 1
    view.add_(y[:, 2:])
    return y


def _channels_last(y: Tensor) -> Tensor:
    y = y.contiguous(memory_format=torch.channels_last)
    view = y[:, 1:3]
    view.mul_(2)
    view.transpose(2, 3).add_(1)
    return y


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(
    "change",
    [_view, _view_twice, _what_is_seen, _view_of_what_was_returned, _rectified_view, _assigned, _channels_last],
)
def test_a_change_in_place_is_seen_by_whatever_shares_the_memory(
    change: Callable[[Tensor], Tensor], gradients: bool
) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 10, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.first(x)) * 1.0  # whose gradient needs no value of its own
            return self.last(change(y)).mean((2, 3))

    network = initialised(Network())
    record = run_probe(network, images(), units="layers", gradients=gradients)
    torch.testing.assert_close(record.logits, network(images()).detach())
    if gradients:
        network(images()).sum().backward()
        for unit, layer in zip(record.units, (network.first, network.last), strict=True):
            torch.testing.assert_close(unit["weight_grad"], layer.weight.grad, rtol=1e-4, atol=1e-5)


def test_without_a_complete_unit_every_linear_layer_is_one() -> None:
    network = initialised(perceptron())
    units = run_probe(network, images()).units
    assert [tuple(unit["weight"].shape) for unit in units] == [(16, 192, 1, 1), (16, 16, 1, 1), (10, 16, 1, 1)]
    first, second, _ = units
    assert torch.equal(first["activation_input"], first["convolution_input"])
    assert torch.equal(second["activation_input"].relu(), second["convolution_input"])
    assert torch.equal(first["activation_output"], second["activation_input"])
    hidden = first["activation_output"].squeeze()
    torch.testing.assert_close(hidden, network[1](images().flatten(1)).detach())
    network.zero_grad()
    network(images()).sum().backward()
    for unit, layer in zip(units, (network[1], network[3], network[5]), strict=True):
        torch.testing.assert_close(unit["weight_grad"].squeeze(), layer.weight.grad)
    torch.testing.assert_close(first["convolution_input_grad"].squeeze(), first["activation_input_grad"].squeeze())


def test_tokens_are_laid_out_along_the_height() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(7, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).mean(1)

    inputs = torch.randn(2, 3, 7)
    (unit,) = run_probe(Tokens(), inputs).units
    assert tuple(unit["activation_output"].shape) == (2, 5, 3, 1)
    assert torch.equal(unit["convolution_input"], inputs.transpose(1, 2).unsqueeze(-1))


def test_convolutions_over_sequences_have_four_axes() -> None:
    network = nn.Sequential(nn.ReLU(), nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.Flatten())
    (unit,) = run_probe(network, torch.randn(2, 3, 9)).units
    assert tuple(unit["weight_grad"].shape) == (4, 3, 3, 1)
    assert tuple(unit["activation_output_grad"].shape) == (2, 4, 7, 1)


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was_found(fails: bool) -> None:
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)),
        *(nn.Dropout(0.5), nn.Flatten(), nn.Linear(64 if not fails else 63, 10)),
    )
    network.eval()
    network[1].train()
    network[0].weight.requires_grad_(False)
    network[3].weight.grad = torch.ones_like(network[3].weight)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    buffers = {name: id(buffer) for name, buffer in network.named_buffers()}
    modes = [module.training for module in network.modules()]
    trainable = [parameter.requires_grad for parameter in network.parameters()]
    inputs, random_state = images(), torch.get_rng_state()
    before = inputs.clone()
    if fails:
        with pytest.raises(RuntimeError, match="shapes"):
            capture_units(network, inputs, seed=0)
    else:
        capture_units(network, inputs, seed=0)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert {name: id(buffer) for name, buffer in network.named_buffers()} == buffers
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == trainable
    assert [p.grad is None for p in network.parameters()] == [p is not network[3].weight for p in network.parameters()]
    assert torch.equal(network[3].weight.grad, torch.ones_like(network[3].weight))
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert torch.equal(inputs, before)
    assert not inputs.requires_grad
    assert torch.equal(torch.get_rng_state(), random_state)


def test_frozen_networks_and_calls_under_no_grad_have_the_same_gradients() -> None:
    free, frozen = initialised(Residual(inplace=False)), initialised(Residual(inplace=False)).requires_grad_(False)
    expected = run_probe(free, images()).units
    with torch.no_grad():
        found = run_probe(frozen, images()).units
    for unit, reference in zip(found, expected, strict=True):
        assert all(torch.equal(unit[name], reference[name]) for name in reference)
        assert all(unit[name].abs().sum() > 0 and not unit[name].requires_grad for name in GRADIENTS)


def test_a_shared_layer_is_one_unit_per_call_with_the_gradient_of_that_call() -> None:
    layer = initialised(nn.Linear(6, 6, bias=False))
    network = nn.Sequential(layer, nn.Tanh(), layer)
    inputs = torch.randn(3, 6)
    units = run_probe(network, inputs).units
    network(inputs).sum().backward()
    assert len(units) == 2
    torch.testing.assert_close((units[0]["weight_grad"] + units[1]["weight_grad"]).squeeze(), layer.weight.grad)


def test_gradients_that_do_not_reach_the_logits_are_zero() -> None:
    class DeadEnd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            return self.used(x)

    unused, used = run_probe(DeadEnd(), torch.randn(2, 4)).units
    assert all(not unused[name].any() for name in GRADIENTS)
    assert used["weight_grad"].any()


def test_what_cannot_be_done_out_of_place_is_refused() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            y = self.second(x)
            x[:, 0] = 0.0
            return x + y

    for names in (None, ["activation_output"], ["activation_output_grad"]):
        with pytest.raises(RuntimeError, match="The activation_output of unit 0 was overwritten later"):
            run_probe(Overwriting(), torch.randn(2, 4), gradients=names is not None, names=names)


def test_what_is_not_recorded_may_be_overwritten() -> None:
    class Overwriting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            x = super().forward(x) * 1
            y = super().forward(x)
            y[:, 0] = 0.0
            return y

    network, inputs = initialised(Overwriting(4, 4)), torch.randn(2, 4)
    first, second = run_probe(network, inputs, names=["weight", "weight_grad", "convolution_input"]).units
    network(inputs).sum().backward()
    torch.testing.assert_close((first["weight_grad"] + second["weight_grad"]).squeeze(), network.weight.grad)
    hidden = F.linear(inputs, network.weight, network.bias).detach()
    torch.testing.assert_close(second["convolution_input"].squeeze(), hidden)


@pytest.mark.parametrize("shape", [(4, 5, 2, 2), (4, 5, 3), (2, 5)])
def test_gradients_of_what_is_no_logits_are_refused(shape: tuple[int, ...]) -> None:
    """Their sum would be one all the same; values alone do not ask what the network returns."""

    class Shaped(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).flatten()[: torch.Size(shape).numel()].reshape(shape)

    network = initialised(Shaped(3, 5, 3))
    with pytest.raises(Unfit, match=r"Shaped must return logits of shape \(batch, n_classes\), but for 4 images"):
        run_probe(network, images())
    assert len(run_probe(network, images(), names=["activation_input"]).units) == 1


def test_logits_must_be_one_tensor() -> None:
    class Pair(nn.Linear):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return x, super().forward(x)

    with pytest.raises(Unfit, match="Pair must return one tensor of logits but returned a tuple"):
        run_probe(Pair(2, 2), torch.randn(2, 2))


def test_there_are_22_statistics() -> None:
    assert len(set(STATISTICS)) == len(STATISTICS) == 22
    units, *_ = capture_units(Residual(inplace=False), images(), seed=0)
    assert all(tuple(unit) == STATISTICS for unit in units)


def test_probes_are_the_data_noise_and_the_data_with_a_tenth_of_noise() -> None:
    inputs = images(batch=64, size=16)
    probes = probe_inputs(inputs, seed=7)
    assert tuple(probes) == PROBES
    assert torch.equal(probes["data"], inputs)
    assert probes["noise"].std().item() == pytest.approx(1.0, abs=0.02)
    difference = probes["perturbed"] - inputs
    assert difference.std().item() == pytest.approx(0.1, abs=0.002)
    correlation = torch.corrcoef(torch.stack([difference.flatten(), probes["noise"].flatten()]))[0, 1]
    assert abs(correlation.item()) < 0.03  # two draws, not one used twice
    assert torch.equal(probe_inputs(inputs, seed=7)["perturbed"], probes["perturbed"])
    assert not torch.equal(probe_inputs(inputs, seed=8)["noise"], probes["noise"])


def test_perturbed_statistics_are_differences_from_data() -> None:
    network = initialised(Residual(inplace=False))
    units, *_ = capture_units(network, images(), seed=3)
    probes = {name: run_probe(network, batch).units for name, batch in probe_inputs(images(), 3).items()}
    for index, unit in enumerate(units):
        for name in STATISTICS[1:]:
            quantity, probe = name.split(".")
            expected = probes[probe][index][quantity]
            if probe == "perturbed":
                expected = expected - probes["data"][index][quantity]
            assert torch.equal(unit[name], expected), name


@pytest.mark.parametrize(
    ("statistics", "n_forward"),
    [(["weight"], 1), (["weight_grad.noise"], 1), (["activation_input.perturbed"], 2), (None, 3), ([], 1)],
)
def test_only_the_probes_that_are_needed_run_and_values_do_not_depend_on_it(
    statistics: list[str] | None, n_forward: int
) -> None:
    network = initialised(Residual(inplace=False))
    everything, quantities, *_ = capture_units(network, images(), seed=3)
    calls: list[nn.Module] = []
    network.register_forward_hook(lambda module, args, output: calls.append(module))
    some, same_quantities, *_ = capture_units(network, images(), seed=3, statistics=statistics)
    assert len(calls) == n_forward
    assert same_quantities == quantities
    for unit, full in zip(some, everything, strict=True):
        assert list(unit) == (list(STATISTICS) if statistics is None else statistics)
        assert all(torch.equal(tensor, full[name]) for name, tensor in unit.items())


def test_the_captured_weight_does_not_follow_the_network() -> None:
    network = initialised(perceptron())
    units, *_ = capture_units(network, images(), seed=0, statistics=["weight"])
    expected = units[0]["weight"].clone()
    with torch.no_grad():
        network[1].weight.zero_()
    assert torch.equal(units[0]["weight"], expected)


def test_the_modules_stand_alone() -> None:
    """Exported proxies carry their source: they may import only torch, the standard library, and each other."""
    module = type(sys)("embedded")
    sys.modules["embedded"] = module
    try:
        for source in (torch_functions, rectifiers, running, wiring, tracing):
            tree = ast.parse(inspect.getsource(source))
            ours = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module.startswith("eznas.statistics.")]
            tree.body = [node for node in tree.body if node not in ours]
            imported = {
                name.split(".")[0]
                for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom)
                for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
            }
            assert imported - set(sys.stdlib_module_names) == {"torch"}
            exec(compile(tree, "embedded", "exec"), module.__dict__)  # our own source, as an export embeds it
        units, *_ = module.capture_units(perceptron(), images(), seed=0)
    finally:
        del sys.modules["embedded"]
    assert len(units) == 3


CLASSES = torch.tensor([1, 0, 1, 2])[: len(images())]


def test_labelled_gradients_are_those_of_the_loss() -> None:
    network = build_network(nb201.from_index(11), NETWORKS, seed=1)
    units, quantities, *_ = capture_units(
        network, images(), seed=0, statistics=LABELLED_STATISTICS[:-1], targets=CLASSES, units="all"
    )
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    network.train()
    loss = F.cross_entropy(network(images()), CLASSES)
    expected = torch.autograd.grad(loss, weights)
    assert len(units) == len(weights)
    for unit, gradient in zip(sorted_by_size(units), sorted(expected, key=sort_key), strict=True):
        torch.testing.assert_close(unit["weight_grad.labelled"], four_axes(gradient), rtol=1e-4, atol=1e-7)
    assert torch.equal(torch.as_tensor(quantities["same_class"]), (CLASSES[:, None] == CLASSES).double())


def test_the_output_of_a_convolution_is_recorded_before_normalisation() -> None:
    network = build_network(nb201.from_index(1462), NETWORKS, seed=1)
    names = ["convolution_output.labelled", "activation_output.data"]
    units, *_ = capture_units(network, images(), seed=0, statistics=names, targets=CLASSES)
    for unit in units:
        raw, normalised = unit["convolution_output.labelled"], unit["activation_output.data"]
        expected = F.batch_norm(raw, None, None, training=True)
        torch.testing.assert_close(normalised, expected, rtol=1e-4, atol=1e-5)


def test_the_linearised_network_has_no_normalisation_and_double_precision() -> None:
    """By hand: one path of two convolutions and a classifier; the flow of each layer is the whole output."""
    network = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5, bias=False),
    )  # fmt: skip
    for module in network:
        if isinstance(module, nn.Conv2d):
            module.bias = None
    names = ("weight", "weight_grad.linearised")
    units, *_ = capture_units(network, images(), seed=0, statistics=names, units="all")
    flows = [float((u["weight"].abs() * u["weight_grad.linearised"]).sum()) for u in units]
    assert all(unit["weight_grad.linearised"].dtype == torch.float64 for unit in units)
    assert len(flows) == 3
    assert flows == pytest.approx([flows[0]] * 3, rel=1e-5)
    first, second, last = (u["weight"].abs().double() for u in units)
    by_hand = (last[..., 0, 0] @ second.sum((2, 3)) @ first.sum((2, 3)) @ torch.ones(3).double()).sum()
    assert flows[0] == pytest.approx(float(by_hand), rel=1e-5)


def test_all_layers_or_the_convolutional_units() -> None:
    network = build_network(nb201.from_index(1462), NETWORKS, seed=1)
    some, *_ = capture_units(network, images(), seed=0, statistics=["weight"])
    every, *_ = capture_units(network, images(), seed=0, statistics=["weight"], units="all")
    assert len(every) == len(some) + 4  # the stem, two shortcuts, the classifier
    with pytest.raises(ValueError, match=r"The units of a network are one of convolutional, all, layers, got 'some'"):
        capture_units(network, images(), seed=0, units="some")


def sort_key(tensor: Tensor) -> tuple[int, float]:
    return tensor.numel(), round(float(tensor.abs().sum()), 5)


def sorted_by_size(units: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return sorted(units, key=lambda unit: sort_key(unit["weight_grad.labelled"]))


def four_axes(tensor: Tensor) -> Tensor:
    return tensor.reshape(*tensor.shape, *([1] * (4 - tensor.dim())))
