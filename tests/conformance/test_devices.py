"""Whatever computes on a device gives there what it gives on the processor, and leaves no tensor behind.

The device is a pretended one, which computes as the processor does and refuses to mix with it, and a graphics processor
where there is one, which has other last bits.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from eznas.assessment import BADGES, read_badges
from eznas.bank import Bank, fill
from eznas.benchmarks import Recipe
from eznas.conditions import Conditions
from eznas.estimators import PUBLISHED, by_name
from eznas.evaluation import PopulationEvaluator
from eznas.export import export_proxy
from eznas.programs import Invalid, parse
from eznas.proxies import KNOWN_PROGRAMS, ProgramProxy, Proxy, measured
from eznas.scoring import score_networks
from eznas.spaces import families, nb201, own
from eznas.statistics import ALL_STATISTICS, ShardWriter, StatisticsStore, StoreKey, capture, ensure_store
from eznas.study import single_threaded
from eznas.testing import pretended_device
from eznas.training import BuildRequest, Trainer
from eznas.workers import LocalPool
from primitives import EXTENDED, LABELLED, METRICS
from tests.conformance import zoo
from tests.eznas.estimators.small_networks import convolutional, labels, noise
from tests.strategies import random_programs

CONDITIONS = Conditions(
    settings=nb201.Settings(channels=4), images="digits", input_size=8, batch_size=3, estimator_batch_size=4
)
CELLS = tuple(nb201.from_index(index) for index in (284, 8000))
TEXTS = (
    "(sum_layers (frobenius_norm activation_output_grad.noise))",
    "(weighted_mean_layers (mean_abs convolution_input.perturbed) (numel weight))",
    "(log_abs_determinant (sum_layers (agreement_kernel activation_input.data)))",
    "(sum_layers (sum (abs (multiply weight weight_grad.labelled))))",
    "(sum_layers (sum (abs (multiply weight weight_grad.linearised))))",
    "(add (multiply unit_count metric.naswot) (log metric.snip))",
    "log_path_count",
)
PROXIES: tuple[Proxy, ...] = (
    *(ProgramProxy(name=f"p{i}", program=parse(text)) for i, text in enumerate(TEXTS)),
    by_name("zen"), by_name("zico"), by_name("snip"), by_name("synflow"), KNOWN_PROGRAMS["naswot_units"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with single_threaded():
        yield


def same(found: Any, expected: Any) -> None:
    """Equal but for rounding: much of it where a graphics processor is, which sums in another order."""
    tolerance = 2e-3 if torch.cuda.is_available() else 1e-6
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def numbers(values: Any) -> npt.NDArray[np.float64]:
    return torch.as_tensor(values).detach().cpu().double().numpy()


def stored(root: Path, device: str) -> tuple[StatisticsStore, StoreKey]:
    key = StoreKey(
        conditions=CONDITIONS, architectures=CELLS, statistics=ALL_STATISTICS, with_targets=True,
        metrics=("metric.naswot", "metric.snip"), device=device,
    )  # fmt: skip
    return ensure_store(root, key, measure=measured)[0], key


def test_a_capture(elsewhere: str) -> None:
    inputs, classes = CONDITIONS.batch(3)
    network = zoo.Drawing(width=4, depth=2, rate=0.0)
    for units in ("layers", "convolutional"):
        here, there = (
            capture(
                copy.deepcopy(network).to(device), inputs.to(device), seed=1, units=units,
                statistics=ALL_STATISTICS, targets=classes.to(device),
            )
            for device in ("cpu", elsewhere)
        )  # fmt: skip
        assert all(tensor.device == torch.device(elsewhere) for layer in there.layers for tensor in layer.values())
        for name, value in here.quantities.items():
            same(numbers(there.quantities[name]), numbers(value))
        for mine, theirs in zip(here.layers, there.layers, strict=True):
            for name, value in mine.items():
                same(numbers(theirs[name]), numbers(value))


def test_a_store_is_kept_on_the_processor_and_apart(elsewhere: str, tmp_path: Path) -> None:
    (here, _), (there, key) = stored(tmp_path, "cpu"), stored(tmp_path, elsewhere)
    assert here.folder != there.folder
    assert json.loads((there.folder / "manifest.json").read_text())["settings"]["device"] == elsewhere.partition(":")[0]
    assert "device" not in json.loads((here.folder / "manifest.json").read_text())["settings"]
    assert ensure_store(tmp_path, key) == (there, False)
    writer = ShardWriter(folder=tmp_path, key=key, memory_budget=2**20, measure=measured)
    (network,) = writer._capture(0, 1, lambda: None)
    held = [*network.quantities.values(), *(tensor for layer in network.layers for tensor in layer.values())]
    assert {tensor.device.type for tensor in held if isinstance(tensor, Tensor)} == {"cpu"}, "before they are written"
    for mine, theirs in zip(here.shard(0).groups, there.shard(0).groups, strict=True):
        assert {tensor.device.type for tensor in theirs.tensors.values()} == {"cpu"}
        for name, tensor in mine.tensors.items():
            same(numbers(theirs.tensors[name]), numbers(tensor))
    for name, tensor in here.shard(0).quantities.items():
        same(numbers(there.shard(0).quantities[name]), numbers(tensor))


@pytest.mark.parametrize("words", [EXTENDED, LABELLED, METRICS], ids=lambda words: words.name)
def test_populations(words: Any, elsewhere: str, tmp_path: Path) -> None:
    programs = random_programs(words, 3, 40)
    names = tuple(s.name for s in words.statistics if s.estimator is not None)
    key = StoreKey(
        conditions=CONDITIONS, architectures=CELLS, statistics=ALL_STATISTICS, with_targets=True, metrics=names
    )
    store, _ = ensure_store(tmp_path, key, measure=measured)
    here, there = (PopulationEvaluator(LocalPool(), [store], device=d).evaluate(programs) for d in ("cpu", elsewhere))
    assert np.isfinite(here.scores).any(axis=1).sum() > 12
    np.testing.assert_allclose(there.scores, here.scores, rtol=1e-4)


def test_published_estimators(elsewhere: str) -> None:
    found = {}
    for device in ("cpu", elsewhere):
        network, images, classes = convolutional().to(device), noise(4, 3, 6, 6).to(device), labels(4).to(device)
        found[device] = {one.name: one.outcome(network, images, classes) for one in PUBLISHED}
    assert {name for name, one in found["cpu"].items() if isinstance(one, Invalid)} <= {"grasp"}
    for name, one in found["cpu"].items():
        if isinstance(one, Invalid):
            assert found[elsewhere][name] == one
        else:
            assert isinstance(found[elsewhere][name], float), f"{name}: {found[elsewhere][name]}"
            same(found[elsewhere][name], one)


def test_scores(elsewhere: str) -> None:
    here, there = (score_networks(PROXIES, CELLS, CONDITIONS, LocalPool(), device=d) for d in ("cpu", elsewhere))
    assert here.failures == there.failures == {}
    same(there.scores, here.scores)


def test_networks_of_ones_own(elsewhere: str) -> None:
    given = {name: network for name, network in zoo.networks().items() if network.rate == 0.0}
    assert len(given) > 3
    space = own.space_of(dict([*given.items()][:2]))
    conditions = Conditions(
        settings=own.Settings(), images="digits", input_size=8, batch_size=3, estimator_batch_size=4
    ).of_family(space)
    proxies = (PROXIES[0], by_name("naswot"), by_name("snip"))
    here, there = (
        score_networks(proxies, space.named("all"), conditions, LocalPool(), device=d) for d in ("cpu", elsewhere)
    )
    assert here.failures == there.failures == {}
    same(there.scores, here.scores)


def test_a_bank_is_kept_apart(elsewhere: str, tmp_path: Path) -> None:
    words = (TEXTS[0], "naswot", "parameter_count")
    banks = [Bank.open(tmp_path, CONDITIONS, device) for device in ("cpu", elsewhere)]
    assert [fill(bank, words, CELLS, LocalPool()) for bank in banks] == [2, 2]
    assert banks[0].folder != banks[1].folder
    for bank in banks:
        bank.refresh()
    here, there = (bank.values(words, CELLS).values for bank in banks)
    same(there, here)


def test_badges(elsewhere: str) -> None:
    cells = tuple(nb201.from_index(index) for index in (1462, 8000, 284, 11, 0))
    badges = [BADGES[name] for name in ("input_scale", "weight_scale")]
    proxies = (PROXIES[0], by_name("naswot"))
    here, there = (read_badges(proxies, cells, CONDITIONS, badges=badges, device=d) for d in ("cpu", elsewhere))
    for mine, theirs in zip(here, there, strict=True):
        assert mine.keys() == theirs.keys()
        for name, one in mine.items():
            same([theirs[name].tau, theirs[name].change], [one.tau, one.change])


def test_an_exported_file(elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, text in enumerate((TEXTS[0], TEXTS[3], "(add (mean_layers (share_positive activation_input.data)) 1.5)")):
        proxy = ProgramProxy(name="proxy", program=parse(text)).bound(CONDITIONS)
        path = tmp_path / f"exported_{i}.py"
        path.write_text(export_proxy(proxy, "python", conditions=CONDITIONS))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        scores = [module.score(CONDITIONS.network(CELLS[0], d), *CONDITIONS.batch(3, d)) for d in ("cpu", elsewhere)]
        same(scores[1], scores[0])


def test_trainings(elsewhere: str) -> None:
    request = BuildRequest(
        name="tiny", title="Tiny", space="net:plain", images="digits", dataset="digits", input_size=8, n_train=64, n=1,
        n_repeated=0, n_seeds_repeated=1, seed=3, recipe=Recipe(epochs=1, batch_size=32),
    )  # fmt: skip
    (arch,) = families.SPACE.named(
        "plain/depth=1-1/width=8-16/kernel=3-3/groups=1/se=0/norm=batch/activation=relu/stem=conv3/down=stride"
    )
    here, there = (Trainer(request, families.Settings(), d).train(arch, 0, 1, 1) for d in ("cpu", elsewhere))
    assert not isinstance(here, str), here
    assert not isinstance(there, str), there
    assert abs(there.accuracies[-1] - here.accuracies[-1]) < 10


# ------------------------------------------------------------------------------------------ the pretended device itself


def test_what_the_pretended_device_refuses() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    network = nn.Linear(3, 2)
    with pretended_device() as device:
        y = x.to(device)
        refused = {
            "two devices": lambda: y + x,
            "a list of both": lambda: torch.stack([y, x]),
            "a network that stayed": lambda: network(y),
            "a new tensor": lambda: torch.where(y > 0, y, torch.zeros(4, 3)),
            "an index on the device": lambda: x[y.argmax(0)],
            "draws from the processor": lambda: torch.randn(3, device=device, generator=torch.Generator()),
            "draws into it": lambda: y.normal_(generator=torch.Generator()),
            "an array": y.numpy,
        }
        for name, call in refused.items():
            with pytest.raises((RuntimeError, TypeError), match=r"same device|device type"):
                pytest.fail(f"{name} was allowed: {call()}")
    assert y.device.type == "cpu", "outside nothing is pretended"


def test_what_the_pretended_device_knows() -> None:
    x = torch.arange(12.0).reshape(4, 3)
    with pretended_device() as device:
        y, z = x.to(device), torch.zeros(4, 3, device=device)
        there = {
            "sum": y + z, "view": y[1:].mT, "number": y.sum(), "scaled": y * torch.tensor(2.0), "picked": y[[0, 1]],
            "picked by the processor": y[torch.tensor([2, 0])], "like": torch.ones_like(y), "new": y.new_zeros(2),
            "converted": y.double(), "like another": x.to(y), "parameter": nn.Linear(3, 2).to(device).weight,
            "of an array": torch.as_tensor(x.numpy(), device=device),
            "derivative": torch.func.vmap(torch.func.grad(lambda row: (row**2).sum()))(y),
        }  # fmt: skip
        leaf = y.clone().requires_grad_()
        seen: list[torch.device] = []
        leaf.register_hook(lambda gradient: seen.append((gradient + torch.ones((), device=gradient.device)).device))
        (leaf**2).sum().backward()
        assert leaf.grad is not None
        there["gradient"] = leaf.grad
        assert {name for name, tensor in there.items() if tensor.device != device} == set()
        assert seen == [device], "a hook of a backward pass sees it as well"
        stayed = x.clone().requires_grad_()
        (twice,) = torch.autograd.grad(nn.BatchNorm1d(3)(stayed).pow(3).sum(), stayed, create_graph=True)
        assert torch.autograd.grad(twice.square().sum(), stayed)[0].device.type == "cpu"
        here: dict[str, Tensor] = {
            "back": y.cpu(), "moved back": y.to("cpu"), "its own": x, "of a list": torch.tensor(y[0].tolist()),
            "copied": torch.zeros(4, 3).copy_(y),
        }  # fmt: skip
        assert {name for name, tensor in here.items() if tensor.device.type != "cpu"} == set()
        assert torch.equal(here["back"], x)
        assert y.sum().item() == 66.0
