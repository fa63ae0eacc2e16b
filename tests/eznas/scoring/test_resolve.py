"""What settings mean for some networks: images that they take, and what is known of them without a score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from eznas.conditions import Conditions
from eznas.errors import CaptureError, ConfigError
from eznas.estimators import by_name
from eznas.runs.config import RunConfig
from eznas.scoring import counted, covariates_of, resolved_conditions
from eznas.scoring.resolve import CELL_SIZE, SIZES
from eznas.spaces import SPACES, Architecture, networks_named, own
from eznas.spaces.own import space_of
from tests.eznas.estimators.small_networks import convolutional
from tests.eznas.scoring.conftest import Zoo

pytestmark = pytest.mark.usefixtures("embedded_data")
SAMPLED = [name for name in SPACES if name != own.NAME]


def config_for(space: str, **sections: Any) -> RunConfig:
    name = {"darts": "nb301"}.get(space, space)
    networks = {"networks": {"space": space, **sections.pop("networks", {})}}
    benchmark = {"name": name} if name != own.NAME else {"name": name, "networks": "python:x:y"}
    return RunConfig.model_validate({"benchmark": benchmark, **networks, **sections})


def resolved(
    architectures: tuple[Architecture, ...], config: RunConfig | None = None, **options: Any
) -> tuple[Conditions, tuple[str, ...]]:
    config = config or config_for(architectures[0].space)
    (sample,) = config.all_samples
    return resolved_conditions(config, sample, architectures, **options)


# Networks of a search space -------------------------------------------------------------------------------------------


def test_cells_take_colour_images_of_sixteen_pixels_unless_a_setting_says_otherwise() -> None:
    cells = networks_named("nb201:0")
    conditions, notes = resolved(cells)
    assert (conditions.input_size, conditions.channels, conditions.n_classes) == (CELL_SIZE, 3, None)
    assert (conditions.images, notes) == ("digits", ())
    assert conditions.digests
    said, _ = resolved(
        cells, config_for("nb201", seed=5, probe={"input_size": 8, "batch_size": 2, "units": "all"},
                          report={"baseline_batch_size": 3}, networks={"channels": 4})
    )  # fmt: skip
    assert (said.input_size, said.batch_size, said.estimator_batch_size, said.units, said.seed) == (8, 2, 3, "all", 5)
    assert said.settings.channels == 4  # type: ignore[attr-defined]


# Networks of one's own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_follow_the_first_convolution(zoo: Zoo, channels: int) -> None:
    conditions, notes = resolved(networks_named(zoo(f"[('a', Net(channels={channels}))]")))
    assert (conditions.channels, conditions.input_size) == (channels, SIZES[0])
    assert conditions.batch(8)[0].shape == (8, channels, 32, 32)
    (note,) = notes
    assert note.startswith(f"Your networks are excited by digits images of {channels} x 32 x 32; probe.images")


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("Sized()", None), ("card(Sized(), in_size=20)", 20), ("card(Sized(), image_size=(20, 20))", 20),
        ("card(Sized(), default_cfg={'input_size': (3, 20, 20)})", 20),
        ("card(Sized(), pretrained_cfg={'input_size': (3, 20, 20)})", 20), ("card(Sized(), img_size=[20])", 20),
        ("card(Net(), in_size=24)", 24), ("card(Net(), in_size='large', image_size=True, img_size=-1)", 32),
        ("card(Net(), in_size=10**9, default_cfg=7, image_size=())", 32), ("sized(28)", 28), ("sized(224)", 224),
    ],
)  # fmt: skip
def test_the_size_is_what_networks_say_or_the_first_usual_one_that_fits(
    zoo: Zoo, network: str, size: int | None
) -> None:
    helpers = (
        "[('a', n)]\n\ndef card(network, **said):\n    vars(network).update(said)\n    return network\n\n"
        "def sized(n):\n    return card(Sized(), size=n)\n\nn = "
    )
    architectures = networks_named(zoo(f"{helpers}{network}"))
    if size is None:
        with pytest.raises(ConfigError, match="expected 20 pixels"):
            resolved(architectures)
        return
    conditions, _ = resolved(architectures)
    assert conditions.input_size == size


def test_images_of_as_many_classes_as_the_networks_have(zoo: Zoo) -> None:
    two, notes = resolved(networks_named(zoo("[('a', Net(n_classes=2))]")))
    assert two.n_classes == 2
    assert set(two.batch(8)[1].tolist()) <= {0, 1}
    assert notes[1] == "Only images of the first 2 classes are used, as many as your networks have."
    for n_classes in (10, 12):
        conditions, notes = resolved(networks_named(zoo(f"[('a', Net(n_classes={n_classes}))]")))
        assert conditions.n_classes is None
        assert len(notes) == 1


def test_a_setting_is_not_tried_again(zoo: Zoo) -> None:
    config = config_for("python", probe={"input_size": 20, "channels": 3})
    conditions, notes = resolved(networks_named(zoo("[('a', Sized())]")), config)
    assert (conditions.input_size, notes) == (20, ())
    with pytest.raises(ConfigError, match=r"^No network can be run on images \(size 24 was tried; the last problem: "):
        resolved(networks_named(zoo("[('a', Sized())]")), config_for("python", probe={"input_size": 24, "channels": 3}))


def test_the_first_network_that_can_be_run_decides(zoo: Zoo) -> None:
    spec = zoo("{'broken': broken, 'tuple': Tuple, 'raises': Raises, 'good': lambda: Net(channels=1)}")
    conditions, _ = resolved(networks_named(spec))
    assert (conditions.input_size, conditions.channels) == (32, 1)


def test_no_usual_size_fits(zoo: Zoo) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(networks_named(zoo("[('sized', Sized()), ('raises', Raises())]", "zoo_no_size")))
    message = str(caught.value)
    assert message.startswith("No network can be run on images (sizes 32, 28, 224, ")
    assert "the last problem: zoo_no_size:networks#raises: " in message
    assert message.endswith("set probe.input_size and probe.channels to what your networks take")
    assert message.isprintable()
    assert len(message) < 500


def test_what_only_counts_needs_no_size(zoo: Zoo) -> None:
    conditions, notes = resolved(networks_named(zoo("[('raises', Raises())]")), is_run=False)
    assert (conditions.input_size, conditions.channels, notes) == (CELL_SIZE, 3, ())


def test_networks_that_were_handed_over_bring_their_family() -> None:
    family = space_of([("a", convolutional())])
    conditions, _ = resolved(family.named("all"), config_for("python"), family=family)
    assert conditions.search_space is family
    assert conditions.network(family.named("a")[0]) is not None
    assert conditions.n_classes == 4


def test_trying_sizes_leaves_networks_and_generators_alone() -> None:
    network = convolutional().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    family = space_of([("a", network)])
    resolved(family.named("all"), config_for("python"), family=family)
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# What is known without a score ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SAMPLED)
@pytest.mark.parametrize("size", [8, 32])
def test_counts_in_closed_form_are_those_of_the_network(space: str, size: int) -> None:
    settings = SPACES[space].settings()
    if "channels" in type(settings).model_fields:
        settings = settings.model_copy(update={"channels": 8, "n_classes": 7})
    conditions = Conditions(settings=settings, input_size=size, batch_size=2)
    for arch in SPACES[space].sample(np.random.default_rng(4), 6):
        network, (inputs, _) = conditions.network(arch), conditions.batch(2)
        expected = tuple(by_name(name)(network, inputs) for name in ("parameter_count", "mac_count"))
        assert counted(arch, conditions) == expected, arch


@pytest.mark.parametrize("space", SAMPLED)
def test_covariates_are_the_logarithms_of_the_counts(space: str) -> None:
    conditions = Conditions(settings=SPACES[space].settings(), input_size=16, batch_size=2)
    architectures = SPACES[space].sample(np.random.default_rng(4), 12)
    found = covariates_of(architectures, conditions)
    counts = np.array([counted(arch, conditions) for arch in architectures], dtype=np.float64)
    np.testing.assert_allclose(found.log_parameters, np.log(np.maximum(counts[:, 0], 1)))
    np.testing.assert_allclose(found.log_macs, np.log(np.maximum(counts[:, 1], 1)))
    levels = [SPACES[space].level(arch) for arch in architectures]
    if None in levels:
        assert len(set(found.levels.tolist())) == 5
    else:
        assert found.levels.tolist() == levels


def test_networks_of_ones_own_are_built_and_counted(zoo: Zoo) -> None:
    architectures = networks_named(zoo("[(f'n{width}', Net(width)) for width in (4, 6, 8, 10, 12)]"))
    conditions, _ = resolved(architectures)
    for arch, width in zip(architectures, (4, 6, 8, 10, 12), strict=True):
        n_parameters = 3 * width * 9 + width * width * 9 + 4 * width + 10 * width + 10
        n_macs = (3 * width * 9 + width * width * 9) * 32 * 32 + 10 * width + 10
        assert counted(arch, conditions) == (n_parameters, n_macs)
    assert covariates_of(architectures, conditions).levels.tolist() == [0, 1, 2, 3, 4]


def test_a_network_that_cannot_be_counted_is_said(zoo: Zoo) -> None:
    architectures = networks_named(zoo("[('good', Net()), ('raises', Raises())]"))
    conditions, _ = resolved(architectures)
    with pytest.raises(CaptureError, match=r"Raises could not be scored, .*: no") as caught:
        covariates_of(architectures, conditions)
    assert str(caught.value).isprintable()
