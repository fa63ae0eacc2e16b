"""The spaces of NDS: recorded networks, text forms, edits, what is one function, networks against the definition."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.randomness import stream
from eznas.spaces import SPACES, Architecture, build_network, cells, networks_named
from eznas.spaces.cells import Edge
from eznas.spaces.nds_cells import CELL_SPACES, DEPTHS, WIDTHS, CellSpace, Genotype
from eznas.spaces.nds_resnets import RESIDUAL_SPACES, Stage
from tests.eznas.spaces.reference import rows
from tests.eznas.spaces.sizes import check_sizes

SPACE_OF = {"DARTS": "nds_darts", "Amoeba": "nds_amoeba", "ENAS": "nds_enas", "ResNeXt-A": "nds_resnext_a",
            "ResNet": "nds_resnet"}  # fmt: skip
OPERATIONS = {operation: row for row in CELL_SPACES.values() for operation in row.operations}
AMOEBA = {
    "aux": False, "depth": 10, "drop_prob": 0.0, "width": 32,
    "genotype": {
        "normal": [["skip_connect", 0], ["max_pool_3x3", 0], ["sep_conv_5x5", 0], ["sep_conv_3x3", 1],
                   ["sep_conv_5x5", 3], ["sep_conv_5x5", 0], ["max_pool_3x3", 2], ["sep_conv_7x7", 3],
                   ["conv_7x1_1x7", 3], ["dil_sep_conv_3x3", 0]],
        "normal_concat": [4, 5, 6],
        "reduce": [["skip_connect", 1], ["sep_conv_7x7", 1], ["max_pool_3x3", 2], ["skip_connect", 1],
                   ["conv_7x1_1x7", 0], ["avg_pool_3x3", 3], ["avg_pool_3x3", 1], ["max_pool_3x3", 1],
                   ["sep_conv_7x7", 2], ["skip_connect", 0]],
        "reduce_concat": [4, 5, 6],
    },
}  # fmt: skip
AMOEBA_TEXT = (
    "32x10/|skip_connect~0|max_pool_3x3~0|+|sep_conv_5x5~0|sep_conv_3x3~1|+|sep_conv_5x5~3|sep_conv_5x5~0|+"
    "|max_pool_3x3~2|sep_conv_7x7~3|+|conv_7x1_1x7~3|dil_sep_conv_3x3~0|/|skip_connect~1|sep_conv_7x7~1|+"
    "|max_pool_3x3~2|skip_connect~1|+|conv_7x1_1x7~0|avg_pool_3x3~3|+|avg_pool_3x3~1|max_pool_3x3~1|+"
    "|sep_conv_7x7~2|skip_connect~0|"
)
RESNEXT_TEXT = "1x256m0.25g1-2x16m1g4-8x64m0.5g2"
RESNEXT = {
    "block_type": "res_bottleneck_block", "ds": [1, 1, 2, 8], "ws": [64, 256, 16, 64], "ss": [8, 1, 2, 2],
    "bot_muls": [1.0, 0.25, 1.0, 0.5], "num_gs": [1, 1, 4, 2],
}  # fmt: skip


def uniform_cells(space: CellSpace, operation: str, width: int = 16, depth: int = 3) -> Architecture:
    """The network whose every edge is one operation, on an input of the cell or on the node before."""
    edges = tuple((operation, (0, 1, 1, 2, 3, 4, 0, 5, 1, 6)[place]) for place in range(2 * space.n_nodes))
    edges = tuple((name, min(source, place // 2 + 1)) for place, (name, source) in enumerate(edges))
    return space.architecture(Genotype(width, depth, edges, edges).spec)


def images_of(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


# Every recorded network -----------------------------------------------------------------------------------------------


def test_every_recorded_network_is_read_and_has_the_recorded_sizes() -> None:
    table = rows("nds.csv.gz")
    counted = Counter(row["file"] for row in table)
    assert counted == {"DARTS_fix-w-d_in": 499, "ResNet_reruns": 200, "ResNeXt-A_in": 130, "Amoeba_in": 124,
                       "DARTS_in": 121, "ENAS_in": 117}  # fmt: skip
    for row in table:
        label = row["file"]
        space = SPACES[SPACE_OF[label.partition("_")[0]]]
        (arch,) = space.named(row["net_json"])
        assert space.named(arch.spec) == (arch,)
        found = space.counts(arch, space.full, 32 if label == "ResNet_reruns" else 224)
        assert found.parameters == int(row["params"]), (label, row["job_id"])
        more = 5 * normalised_values(arch) if arch.space in RESIDUAL_SPACES else more_flops(arch)
        assert found.macs + more == int(row["flops"]), (label, row["job_id"])


def more_flops(arch: Architecture) -> int:
    """What NDS counts of a network of cells on 224x224 images beside multiply-accumulates.

    One for what each ReLU and the last pooling read, nine for what each pooling gives, and the depthwise convolutions
    with dilation at as many places as they had without it, but with the same padding.
    """
    space = CELL_SPACES[arch.space]
    network = space.genotype(arch)
    width, size, total = network.width, 28, network.width // 2 * 112**2 + network.width * 56**2
    first = second = width
    after_reduction = True
    for position in range(network.depth):
        reduces = position in (network.depth // 3, 2 * network.depth // 3)
        edges = network.reduce if reduces else network.normal
        before, size, width = size, size // (1 + reduces), width * (1 + reduces)
        total += (first * (4 if after_reduction else 1) + second) * before**2
        for operation, source in edges:
            stride = 2 if reduces and source < 2 else 1
            read, given = width * (before if stride == 2 else size) ** 2, width * size**2
            kernel = int(operation[-1]) if operation[-1].isdigit() else 0
            n_times = 2 if "sep_conv" in operation else "conv" in operation
            total += read * (n_times > 0) + given * (n_times == 2) + 9 * given * ("pool" in operation)
            total += read * (operation == "skip_connect" and stride == 2)
            if operation.startswith("dil"):
                sizes = [size * stride, size][:n_times]
                for place, (here, step) in enumerate(zip(sizes, (stride, 1), strict=False)):
                    wide = (here + 2 * (kernel - 1) - kernel) // step + 1
                    total += kernel**2 * width * (wide**2 - size**2) * (place < n_times)
        first, second, after_reduction = second, len(space.outputs(edges)) * width, reduces
    return total + second * size**2


def normalised_values(arch: Architecture) -> int:
    space = RESIDUAL_SPACES[arch.space]
    is_large = space.full_stem == "imagenet"
    sizes = [(32, 112), (64, 56), (64, 28)] if is_large else [(16, 32)]
    total, (before, size) = sum(channels * side**2 for channels, side in sizes), sizes[-1]
    for stage, stride in zip(space.stages(arch), (1, 2, 2), strict=True):
        for block in range(stage.n_blocks):
            after = size if block else size // stride
            inner = [] if stage.multiplier is None else [stage.inner * size**2]
            projected = not block and (stride == 2 or before != stage.width)
            total += sum(inner) + (stage.inner + stage.width * (1 + projected)) * after**2
            before, size = stage.width, after
    return total


@pytest.mark.parametrize(
    ("name", "text", "parameters", "macs"),
    [
        ("nds_amoeba", AMOEBA_TEXT, 3_019_768, 327_532_520),
        ("nds_resnet", "2x32-3x128-3x160", 2_174_234, 322_469_450 - 5 * 481_280),
        ("nds_resnext_a", "2x16m0.25g2-2x128m0.5g4-2x128m0.25g2", 277_592, 111_231_208),
    ],
)
def test_sizes_of_single_networks(name: str, text: str, parameters: int, macs: int) -> None:
    """Parameters as recorded; multiply-accumulates are recorded flops without what is counted besides."""
    space = SPACES[name]
    found = space.counts(space.named(text)[0], space.full, 224 if space.full.stem == "imagenet" else 32)
    assert (found.parameters, found.macs) == (parameters, macs)


# Text forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "spec"),
    [
        ("nds_amoeba", AMOEBA_TEXT, AMOEBA_TEXT),
        ("nds_amoeba", AMOEBA_TEXT.replace("+", " + ").replace("/", " / "), AMOEBA_TEXT),
        ("nds_amoeba", json.dumps(AMOEBA), AMOEBA_TEXT),
        ("nds_amoeba", repr(AMOEBA), AMOEBA_TEXT),
        ("nds_resnext_a", RESNEXT_TEXT, RESNEXT_TEXT),
        ("nds_resnext_a", "1x256m0.250g1 - 2x16m1.0g4 - 8x64m0.5g2", RESNEXT_TEXT),
        ("nds_resnext_a", json.dumps(RESNEXT), RESNEXT_TEXT),
        ("nds_resnext_a", json.dumps(RESNEXT).replace("1.0", "1"), RESNEXT_TEXT),
        ("nds_resnet", '{"block_type": "res_basic_block", "bot_muls": [], "ds": [1, 2, 3, 3], "num_gs": [], '
                       '"ss": [1, 1, 2, 2], "ws": [16, 32, 128, 160]}', "2x32-3x128-3x160"),
    ],
)  # fmt: skip
def test_one_network_in_every_form(name: str, text: str, spec: str) -> None:
    assert networks_named(f"{name}:{text}") == (Architecture(name, spec),)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nds_amoeba:32x10", r"Expected a network of Amoeba cells of NDS in the form '32x14/\|conv_7x1_1x7~0"),
        ("nds_amoeba:" + AMOEBA_TEXT.replace("32x10", "0x10"), "Expected a network of Amoeba cells"),
        ("nds_amoeba:" + AMOEBA_TEXT.replace("32x10", "1001x10"), "a width of 1 to 1000 .* but it is 1001x10"),
        ("nds_amoeba:" + AMOEBA_TEXT.replace("sep_conv_7x7~2", "sep_con_7x7~2"), r"did you mean 'sep_conv_7x7'\?$"),
        ("nds_amoeba:" + AMOEBA_TEXT.replace("max_pool_3x3~2", "max_pool_3x3~5"), "node from 0 to 2|node from 0 to 4"),
        ("nds_enas:" + AMOEBA_TEXT, "Node 4 of the normal cell of ENAS cells|Node 5 of the normal cell of ENAS cells"),
        ("nds_darts:" + AMOEBA_TEXT, "Expected a network of DARTS cells"),
        ("nds_darts:" + json.dumps(AMOEBA), "two operations for each of 4 nodes, but 10 were given"),
        ("nds_pnas:" + json.dumps(AMOEBA), r"has dil_sep_conv_3x3~0; did you mean 'dil_conv_3x3'|has dil_sep"),
        ("nds_amoeba:" + json.dumps(AMOEBA).replace("[4, 5, 6]", "[5, 6]"), r"are \[4, 5, 6\], but normal_concat is"),
        ("nds_amoeba:" + json.dumps(AMOEBA).replace('"width": 32', '"width": 32.5'), "Expected a network of Amoeba"),
        ("nds_amoeba:" + json.dumps(AMOEBA)[:-4], "Expected a network of Amoeba"),
        ("nds_amoeba:{'width': 3, 'depth': 4}", "Expected a network of Amoeba"),
        ("nds_amoeba:" + AMOEBA_TEXT * 9, "Expected a network of Amoeba"),
        ("nds_resnet:" + RESNEXT_TEXT, "Expected a network of ResNets of NDS in the form '2x32-3x128-3x160'"),
        ("nds_resnet:2x32-3x128", "Expected a network of ResNets"),
        ("nds_resnet:2x32-3x128-3x9999", "1 to 4096 channels, but one is 3x9999"),
        ("nds_resnext_a:2x32-3x128-3x160", "Expected a network of ResNeXts .* groups"),
        ("nds_resnext_a:1x256m0.25g3-2x16m1g4-8x64m0.5g2", "multiple of its groups, .* is 1x256m0.25g3"),
        ("nds_resnext_a:" + json.dumps(RESNEXT).replace("[8, 1, 2, 2]", "[8, 2, 2, 2]"), "Expected a network of"),
        ("nds_resnext_a:" + json.dumps(RESNEXT).replace("bottleneck", "basic"), "Expected a network of ResNeXts"),
        ("nds_resnext_a:" + json.dumps(RESNEXT).replace("1.0", "'x'"), "Expected a network of ResNeXts"),
        ("nds_resnext_a:" + json.dumps(RESNEXT).replace("2, 8]", "-2, 8]"), "but got '1x256m0.25g1--2x16m1g4"),
        ("nds_resnext_a:" + json.dumps(RESNEXT).replace("0.25", "0.250001"), "but got '1x256m0.250001g1-2x16m1g4"),
        ("nds_resnext_a:{'ds': 3}", "Expected a network of ResNeXts"),
        ("nds_dart:random:3", r"did you mean 'nds_darts'\?"),
    ],
)  # fmt: skip
def test_what_is_no_network_is_refused_in_a_sentence(spec: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message) as caught:
        networks_named(spec)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_architectures_of_other_spaces_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"'nds_pnas', but .* is of 'nds_amoeba'"):
        CELL_SPACES["nds_pnas"].genotype(Architecture("nds_amoeba", AMOEBA_TEXT))
    with pytest.raises(ArchitectureError, match=r"'nds_resnet', but .* is of 'nds_resnext_a'"):
        RESIDUAL_SPACES["nds_resnet"].stages(Architecture("nds_resnext_a", RESNEXT_TEXT))


# Drawing and changing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", CELL_SPACES.values(), ids=lambda space: space.name)
def test_drawn_networks_are_uniform(space: CellSpace) -> None:
    drawn = [space.genotype(arch) for arch in space.sample(stream(1), 1_000)]
    for values, found in (
        (WIDTHS, Counter(network.width for network in drawn)),
        (DEPTHS, Counter(network.depth for network in drawn)),
        (space.operations, Counter(name for network in drawn for name, _ in (*network.normal, *network.reduce))),
        (range(space.n_nodes + 1), Counter(network.reduce[-1][1] for network in drawn)),
    ):
        assert set(found) == set(values)
        assert max(found.values()) / min(found.values()) < 1.7


@pytest.mark.parametrize("name", [*CELL_SPACES, *RESIDUAL_SPACES])
def test_an_edit_changes_one_thing(name: str) -> None:
    space, rng = SPACES[name], stream(2)
    (arch,) = space.sample(rng, 1)
    kinds: Counter[str] = Counter()
    for _ in range(300):
        after = space.mutate(arch, rng)
        changed = [(one, other) for one, other in zip(parts(arch), parts(after), strict=True) if one != other]
        assert len(changed) == 1, (arch, after)
        (kind, _), _ = changed[0]
        kinds[kind] += 1
        arch = after
    expected = {"width", "depth", "operation", "source"} if name in CELL_SPACES else {"n_blocks", "width"}
    assert set(kinds) == expected | ({"multiplier", "groups"} if name == "nds_resnext_a" else set())
    assert min(kinds.values()) >= 20


def parts(arch: Architecture) -> list[tuple[str, object]]:
    """Everything that an edit may change."""
    if arch.space in RESIDUAL_SPACES:
        stages = RESIDUAL_SPACES[arch.space].stages(arch)
        return [(what, getattr(s, what)) for s in stages for what in ("n_blocks", "width", "multiplier", "groups")]
    network = CELL_SPACES[arch.space].genotype(arch)
    edges = [(kind, part) for edge in (*network.normal, *network.reduce)
             for kind, part in zip(("operation", "source"), edge, strict=True)]  # fmt: skip
    return [("width", network.width), ("depth", network.depth), *edges]


def test_edits_of_networks_between_the_drawn_ones_stay_buildable() -> None:
    space, rng = RESIDUAL_SPACES["nds_resnext_a"], stream(3)
    arch = space.architecture("3x10m0.5g1-2x16m1g4-8x64m0.5g2")
    for _ in range(200):
        for stage in space.stages(space.mutate(arch, rng)):
            assert stage.groups
            assert stage.inner % stage.groups == 0


# What is one function -------------------------------------------------------------------------------------------------

SMALL_EDGES = st.tuples(
    *(st.tuples(st.sampled_from(("none", "skip_connect", "conv_1x1")), st.integers(0, place // 2 + 1))
      for place in range(6))
)  # fmt: skip


def renumbered(edges: tuple[Edge, ...], rng: random.Random) -> tuple[Edge, ...]:
    """The same cell, its nodes numbered in another order along the edges, the two operations of each exchanged."""
    n_nodes = len(edges) // 2
    place: dict[int, int] = {0: 0, 1: 1}
    made: list[Edge] = []
    while len(place) < n_nodes + 2:
        ready = [node for node in range(2, n_nodes + 2) if node not in place
                 and all(source in place for _, source in edges[2 * node - 4 : 2 * node - 2])]  # fmt: skip
        node = rng.choice(ready)
        place[node] = len(place)
        pair = [(operation, place[source]) for operation, source in edges[2 * node - 4 : 2 * node - 2]]
        rng.shuffle(pair)
        made += pair
    return tuple(made)


@pytest.mark.parametrize("space", CELL_SPACES.values(), ids=lambda space: space.name)
def test_renumbered_nodes_are_the_same_function(space: CellSpace) -> None:
    rng = random.Random(4)
    for arch in space.sample(stream(5), 30):
        network = space.genotype(arch)
        cells_again = (renumbered(network.normal, rng), renumbered(network.reduce, rng))
        other = space.architecture(Genotype(network.width, network.depth, *cells_again).spec)
        assert space.function(other) == space.function(arch)
        settings = space.settings.model_validate({})
        assert space.counts(other, settings, 16) == space.counts(arch, settings, 16)
        assert space.function(space.mutate(arch, stream(6))) != space.function(arch) or "none" in arch.spec


@hypothesis_settings(max_examples=300)
@given(SMALL_EDGES, SMALL_EDGES)
def test_functions_of_small_cells_are_those_of_all_numberings(one: tuple[Edge, ...], other: tuple[Edge, ...]) -> None:
    assert (cells.function_of(one) == cells.function_of(other)) == bool(meanings(one) & meanings(other))


def meanings(edges: tuple[Edge, ...]) -> set[Any]:
    """What the nodes compute, written out for every numbering of the nodes that an order of names allows."""
    found = set()
    for names in itertools.permutations("abc"):
        values: list[Any] = ["x", "y"]
        written = []
        for node, name in enumerate(names):
            terms = []
            for operation, source in edges[2 * node : 2 * node + 2]:
                value = values[source]
                is_zero = operation == "none" or (operation == "skip_connect" and value == "0")
                terms.append("0" if is_zero else f"{operation}({value})")
            is_zero = terms == ["0", "0"]
            values.append("0" if is_zero else name)
            written.append((name, tuple(sorted(terms))))
        found.add(frozenset(written))
    return found


# Networks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_forward_pass_at_every_operation(operation: str) -> None:
    space = OPERATIONS[operation]
    arch = uniform_cells(space, operation)
    settings = space.settings.model_validate({"width_divisor": 4, "depth_divisor": 1, "n_classes": 3})
    check_sizes(space, arch, settings, 8)
    logits = build_network(arch, settings, seed=1)(images_of(8))
    assert logits.isfinite().all()
    assert bool((logits[0] != logits[1]).any()) == (operation != "none")


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", CELL_SPACES)
def test_built_networks_of_cells_have_the_counted_sizes(name: str, stem: str) -> None:
    space = SPACES[name]
    for arch, width_divisor, depth_divisor in zip(space.sample(stream(7), 3), (3, 1_000, 8), (8, 5, 99), strict=True):
        divisors = {"width_divisor": width_divisor, "depth_divisor": depth_divisor}
        check_sizes(space, arch, space.settings.model_validate({"stem": stem, "n_classes": 7, **divisors}), 32)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize(
    ("name", "text"), [("nds_resnet", "1x32-3x24-2x40"), ("nds_resnext_a", "2x16m0.25g4-1x32m0.5g2-3x16m1g1")]
)
def test_built_residual_networks_have_the_counted_sizes(name: str, text: str, stem: str) -> None:
    space = SPACES[name]
    for width_divisor in (1, 3, 1_000):
        settings = space.settings.model_validate({"stem": stem, "n_classes": 7, "width_divisor": width_divisor})
        check_sizes(space, space.named(text)[0], settings, 32)


def test_residual_networks_take_images_of_any_size() -> None:
    space = SPACES["nds_resnext_a"]
    for stem, size in itertools.product(("cifar", "imagenet"), (7, 18)):
        check_sizes(space, space.named("1x16m0.25g1-1x16m1g4-1x64m0.5g2")[0], space.settings(stem=stem), size)


def test_images_that_cells_cannot_halve_are_refused() -> None:
    space = SPACES["nds_darts"]
    (arch,) = space.sample(stream(0), 1)
    with pytest.raises(ArchitectureError, match="multiple of 32, because it is halved 5 times, but it is 16; use 32"):
        space.counts(arch, space.full, 16)


def test_reduced_networks_keep_the_proportions() -> None:
    space = CELL_SPACES["nds_enas"]
    built = [space.skeleton(uniform_cells(space, "sep_conv_3x3", width, depth), space.settings.model_validate({}))
             for width, depth in ((32, 6), (48, 10), (96, 22))]  # fmt: skip
    assert [(one.width, one.n_cells) for one in built] == [(4, 3), (6, 5), (12, 11)]
    stages = (Stage(1, 16, 0.25, 4), Stage(2, 64, 0.5, 2), Stage(1, 256, 1.0, 1))
    resnext = RESIDUAL_SPACES["nds_resnext_a"]
    (arch,) = resnext.named("-".join(stage.spec for stage in stages))
    found = [(block.after, block.inner) for block in resnext.blocks(arch, resnext.settings.model_validate({}))]
    assert found == [(2, 4), (8, 4), (8, 4), (32, 32)]


def test_a_network_of_cells_computes_the_published_definition() -> None:
    """A forward pass of NASNet cells with the ImageNet stem, written out once more, in evaluation mode."""
    space = CELL_SPACES["nds_nasnet"]
    text = (
        "8x4/|conv_3x1_1x3~0|dil_conv_3x3~1|+|max_pool_5x5~0|conv_1x1~2|+|skip_connect~1|sep_conv_7x7~0|+"
        "|max_pool_7x7~3|conv_3x3~1|+|avg_pool_3x3~0|skip_connect~5|/|conv_7x1_1x7~0|dil_conv_3x3~1|+"
        "|skip_connect~0|conv_3x3~2|+|max_pool_7x7~1|conv_1x1~0|+|skip_connect~3|sep_conv_5x5~1|+"
        "|avg_pool_3x3~0|conv_3x1_1x3~1|"
    )
    arch = space.architecture(text)
    settings = space.settings(stem="imagenet", width_divisor=1, depth_divisor=1, n_classes=5)  # type: ignore[call-arg]
    network = build_network(arch, settings, seed=3).double().eval()
    remaining = iter(parameter for parameter in network.parameters() if parameter.dim() == 4)
    scale = 1 / (1 + 1e-5) ** 0.5  # evaluation-mode batch normalisation at initialisation

    def convolution(x: Tensor, stride: int | tuple[int, int] = 1, dilation: int = 1) -> Tensor:
        weight = next(remaining)
        padding = (dilation * (weight.shape[2] // 2), dilation * (weight.shape[3] // 2))
        return F.conv2d(x, weight, None, stride, padding, dilation, x.shape[1] // weight.shape[1])

    def halve(x: Tensor) -> Tensor:
        x = x.relu()
        return scale * torch.cat([convolution(x, 2), convolution(x[:, :, 1:, 1:], 2)], dim=1)

    def apply(operation: str, x: Tensor, stride: int) -> Tensor:
        kernel = int(operation[-1]) if operation[-1].isdigit() else 0
        if operation == "skip_connect":
            return halve(x) if stride == 2 else x
        if operation.startswith("max_pool"):
            return F.max_pool2d(x, kernel, stride, padding=kernel // 2)
        if operation.startswith("avg_pool"):
            return F.avg_pool2d(x, kernel, stride, padding=kernel // 2, count_include_pad=False)
        if operation.startswith("sep_conv"):
            first = scale * convolution(convolution(x.relu(), stride))
            return scale * convolution(convolution(first.relu()))
        if operation.startswith("dil_conv"):
            return scale * convolution(convolution(x.relu(), stride, dilation=2))
        if "1_1x" in operation:
            return scale * convolution(convolution(x.relu(), (1, stride)), (stride, 1))
        return scale * convolution(x.relu(), stride)

    images = images_of(64).double()
    before = scale * convolution((scale * convolution(images, 2)).relu(), 2)
    last = scale * convolution(before.relu(), 2)
    follows = True
    for reduces in (False, True, True, False):
        edges = space.genotype(arch).reduce if reduces else space.genotype(arch).normal
        nodes = [halve(before) if follows else scale * convolution(before.relu())]
        nodes.append(scale * convolution(last.relu()))
        for node in range(5):
            one, other = (
                apply(operation, nodes[source], 2 if reduces and source < 2 else 1)
                for operation, source in edges[2 * node : 2 * node + 2]
            )
            nodes.append(one + other)
        leaving = [4, 6] if not reduces else [4, 5, 6]
        before, last, follows = last, torch.cat([nodes[node] for node in leaving], dim=1), reduces
    assert next(remaining, None) is None
    weight, bias = list(network.parameters())[-2:]
    torch.testing.assert_close(network(images), F.linear(last.mean((2, 3)), weight, bias))


@pytest.mark.parametrize(
    ("name", "text"), [("nds_resnet", "1x16-2x24-1x24"), ("nds_resnext_a", "1x16m0.5g2-2x16m1g4-2x32m0.25g1")]
)
def test_a_residual_network_computes_the_published_definition(name: str, text: str) -> None:
    space = RESIDUAL_SPACES[name]
    (arch,) = space.named(text)
    network = build_network(arch, SPACES[name].full, seed=3).double().eval()
    remaining = iter(parameter for parameter in network.parameters() if parameter.dim() == 4)
    scale = 1 / (1 + 1e-5) ** 0.5

    def convolution(x: Tensor, stride: int = 1) -> Tensor:
        weight = next(remaining)
        groups = x.shape[1] // weight.shape[1]
        return scale * F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, groups)

    images = x = images_of(32).double()
    for stride in (2, 2, 2) if name == "nds_resnext_a" else (1,):
        x = convolution(x, stride).relu()
    for stage, first in zip(space.stages(arch), (1, 2, 2), strict=True):
        for block in range(stage.n_blocks):
            stride = 1 if block else first
            if stage.groups is None:
                inner = convolution(convolution(x, stride).relu())
            else:
                inner = convolution(convolution(convolution(x).relu(), stride).relu())
            x = (inner + (convolution(x, stride) if stride == 2 or x.shape[1] != stage.width else x)).relu()
    assert next(remaining, None) is None
    weight, bias = list(network.parameters())[-2:]
    torch.testing.assert_close(network(images), F.linear(x.mean((2, 3)), weight, bias))
    assert not any(module.inplace for module in network.modules() if isinstance(module, nn.ReLU))
