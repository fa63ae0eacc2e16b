"""The supernets of DARTS cells and of the residual spaces: a network with their weights is the stand-alone one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.errors import ArchitectureError, ConfigError
from eznas.oneshot import EpochRecord, Evaluator, OneShotConfig, load_oneshot_config, read_state, train_supernet
from eznas.oneshot.darts import DartsSupernet, covering, drawn
from eznas.oneshot.residual import ResidualSupernet
from eznas.programs import Invalid
from eznas.proxies import proxy_named
from eznas.randomness import stream
from eznas.spaces import Architecture, darts, nb201, space_of
from eznas.spaces.nds_resnets import ResnetSettings, ResnextSettings

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
DARTS = darts.Settings(channels=4)
RESNET, RESNEXT = ResnetSettings(width_divisor=16), ResnextSettings(width_divisor=16)
RESNETS = ("1x16-2x24-1x256", "3x256-1x32-2x16", "24x48-1x16-1x160")
RESNEXTS = tuple(
    f"{depth}x{width}m{multiplier}g{groups}-1x32m0.5g2-2x16m1g{groups}"
    for depth, width in ((1, 256), (2, 16))
    for multiplier in (0.25, 0.5, 1)
    for groups in (1, 2, 4)
)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.from_numpy(stream(0, "images").normal(size=(4, 3, 8, 8)).astype(np.float32))


def disturbed(supernet: nn.Module) -> Any:
    """No two weights are alike."""
    rng = stream(1, "weights")
    with torch.no_grad():
        for tensor in (*supernet.parameters(), *supernet.buffers()):
            if tensor.is_floating_point() and (not isinstance(tensor, nn.Parameter) or tensor.requires_grad):
                tensor.add_(torch.from_numpy(rng.uniform(0, 0.1, size=tuple(tensor.shape))))
    return supernet


@pytest.fixture(scope="module")
def supernets() -> dict[str, Any]:
    return {
        "darts": disturbed(DartsSupernet(DARTS, affine=False, seed=0)),
        "nds_resnet": disturbed(ResidualSupernet(RESNET, affine=True, seed=0)),
        "nds_resnext_a": disturbed(ResidualSupernet(RESNEXT, affine=True, seed=0)),
    }


def networks() -> list[Architecture]:
    return [
        *covering(),
        *darts.sample(stream(0, "cells"), 3),
        *(Architecture("nds_resnet", spec) for spec in RESNETS),
        *(Architecture("nds_resnext_a", spec) for spec in RESNEXTS),
    ]


@pytest.mark.parametrize("place", range(len(networks())))
def test_a_network_with_inherited_weights_is_the_stand_alone_one(
    place: int, supernets: dict[str, Any], images: Tensor
) -> None:
    arch = networks()[place]
    supernet = supernets[arch.space]
    shared, copied = supernet.network(arch), supernet.inherited(arch)
    alone = space_of(arch).build(arch, supernet.settings, seed=5)
    before = alone.eval()(images)
    alone.load_state_dict(shared.state_dict(), strict=True)
    assert [name for name, _ in shared.named_modules()] == [name for name, _ in alone.named_modules()]
    with torch.no_grad():
        logits = alone.eval()(images)
        assert torch.equal(shared.eval()(images), logits)
        assert torch.equal(copied.eval()(images), logits)
        assert torch.equal(copied.train()(images), alone.train()(images))
    assert not torch.allclose(before, logits)


@pytest.mark.parametrize("make", [lambda: DartsSupernet(DARTS, affine=False, seed=0),
                                  lambda: ResidualSupernet(RESNEXT, affine=True, seed=0)])  # fmt: skip
def test_a_step_of_one_network_moves_the_weights_that_others_share(make: Any, images: Tensor) -> None:
    supernet = make()
    space = space_of(Architecture(supernet.settings.space, ""))
    first, *others = space.sample(stream(4, "networks"), 4)
    copied = supernet.inherited(first)
    inherited = [supernet.inherited(other).state_dict() for other in others]
    statistics = {name: tensor.clone() for name, tensor in supernet.named_buffers()}
    optimiser = torch.optim.SGD(supernet.parameters(), lr=0.1)
    supernet.network(first).train()(images).square().sum().backward()
    optimiser.step()
    assert any(not torch.equal(statistics[name], tensor) for name, tensor in supernet.named_buffers())
    for other, old in zip(others, inherited, strict=True):
        new = supernet.inherited(other).state_dict()
        assert not torch.equal(new["classifier.bias"], old["classifier.bias"])
    assert not torch.equal(copied.state_dict()["classifier.bias"], supernet.network(first).classifier.bias)


def test_a_step_of_a_narrow_network_reaches_its_first_channels_alone(images: Tensor) -> None:
    supernet = ResidualSupernet(RESNET, affine=True, seed=0)
    supernet.network(Architecture("nds_resnet", "1x32-1x32-1x32")).train()(images).square().sum().backward()
    largest: Any = supernet.largest
    gradient = largest.blocks[0].path[0][0].weight.grad
    assert gradient[:2, :1].abs().min() > 0
    assert gradient[2:].abs().sum() == 0
    assert largest.blocks[1].path[0][0].weight.grad is None


def test_fair_rounds_have_each_operation_once_on_every_edge() -> None:
    cells = drawn("fair", 14, stream(3, "cells"))
    assert len(set(cells)) == 14
    for start in (0, 7):
        pairs = [darts.cell_pair(arch) for arch in cells[start : start + 7]]
        for edges in zip(*((*pair.normal, *pair.reduce) for pair in pairs), strict=True):
            assert Counter(operation for operation, _ in edges) == Counter(darts.CODES)
    for arch in cells:  # the two edges of a node read different nodes, as in the space
        for cell in (darts.cell_pair(arch).normal, darts.cell_pair(arch).reduce):
            assert all(one != other for (_, one), (_, other) in zip(cell[::2], cell[1::2], strict=True))


def test_what_a_supernet_lacks_is_one_sentence(supernets: dict[str, Any]) -> None:
    pooled = covering()[0].spec.replace("max_pool_3x3", "max_pool_3x3_bn")
    with pytest.raises(ArchitectureError, match="but not 'max_pool_3x3_bn'"):
        supernets["darts"].network(Architecture("darts", pooled))
    with pytest.raises(ArchitectureError, match="has 24 blocks, but one of 30x16-1x16-1x16 has 30"):
        supernets["nds_resnet"].network(Architecture("nds_resnet", "30x16-1x16-1x16"))
    with pytest.raises(ArchitectureError, match="wider than the widest"):
        supernets["nds_resnet"].network(Architecture("nds_resnet", "1x512-1x16-1x16"))


# Training and estimates -----------------------------------------------------------------------------------------------

SMALL = {
    "darts": ["networks.channels=2", "images.n_train=32", "sampling.method=fair", "sampling.per_step=7"],
    "nds_resnet": ["networks.width_divisor=16", "sampling.per_step=2"],
    "nds_resnext_a": ["networks.width_divisor=32", "networks.n_classes=10"],
}


def config(space: str, *more: str) -> OneShotConfig:
    few = [
        f"networks.space={space}", "images.source=digits", "images.input_size=8", "images.n_train=64",
        "training.epochs=2", "training.batch_size=32", "checkpoints.every=1", "evaluation.n_images=50",
        "evaluation.recalibration=32",
    ]  # fmt: skip
    return load_oneshot_config(None, [*few, *SMALL[space], *more])


@pytest.mark.parametrize("space", ["nds_resnet", "nds_resnext_a", "darts"])
def test_a_supernet_of_every_space_trains_goes_on_and_scores(space: str, tmp_path: Path) -> None:
    class Stopped(Exception):
        """In place of a kill."""

    def told(record: EpochRecord, left: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        train_supernet(config(space), tmp_path / "stopped", told=told)
    folders = [train_supernet(config(space), tmp_path / name) for name in ("stopped", "whole")]
    one, other = (read_state(folder.latest) for folder in folders)
    assert one.digest == other.digest
    name = f"oneshot:{folders[0].path}"
    (arch,) = space_of(Architecture(space, "")).sample(stream(1, "scored"), 1)
    network = space_of(arch).build(arch, config(space).networks, seed=0)
    accuracy, loss = (proxy_named(f"{name}{kind}").proxy.score(network, torch.zeros(1)) for kind in ("", ":loss"))
    found = Evaluator.of_run(folders[0], [2]).estimate(arch)
    assert (accuracy, -loss) == (found.accuracy, found.loss)
    with pytest.raises(ConfigError, match="asks for means over equal functions, which are not listed for"):
        proxy_named(f"{name}:isomorphic")
    cell = nb201.SPACE.build(nb201.from_index(0), nb201.Settings(channels=4), 0)
    outcome = proxy_named(name).proxy.outcome(cell, torch.zeros(1))
    assert isinstance(outcome, Invalid)
    assert outcome.detail.endswith("and this network is made of none")


def test_forgetting_is_measured_where_weights_are_kept_and_changes_none(tmp_path: Path) -> None:
    plain = train_supernet(config("nds_resnet"), tmp_path / "plain")
    watched = train_supernet(config("nds_resnet", "evaluation.forgetting=2", "checkpoints.every=1"), tmp_path / "other")
    one, other = (read_state(folder.latest) for folder in (plain, watched))
    assert one.digest == other.digest
    assert [record.forgetting for record in one.records] == [None, None]
    assert all(isinstance(record.forgetting, float) for record in other.records)


def test_samplings_that_a_space_lacks_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"sampling\.method for the ResNets of NDS is uniform, got 'fair'"):
        config("nds_resnet", "sampling.method=fair")
    with pytest.raises(ConfigError, match=r"sampling\.method for DARTS cells is uniform or fair, got 'isomorphic'"):
        config("darts", "sampling.method=isomorphic")
    with pytest.raises(ConfigError, match="a multiple of 7, got 5; use 7"):
        config("darts", "sampling.per_step=5")
    with pytest.raises(ConfigError, match="a supernet is of nb201, darts, nds_resnet, nds_resnext_a, got 'sss'"):
        load_oneshot_config(None, ["networks.space=sss"])


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("oneshot*.toml")), ids=lambda path: path.stem)
def test_settings_of_experiments_load(path: Path) -> None:
    found = load_oneshot_config(path)
    assert load_oneshot_config(path, ["seed=1"]) != found
    assert found.networks.space in path.read_text()
