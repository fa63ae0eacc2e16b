"""The grammar of small networks: what descriptions say is what is built, and families stay within their ranges."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from eznas.errors import ArchitectureError
from eznas.randomness import stream
from eznas.spaces import Architecture, families, networks_named
from eznas.spaces.families import EVERYTHING, SPACE, Family, Settings, read_family
from eznas.spaces.families.description import BLOCKS, FIELDS, description, edges, n_nodes

TAIL = "norm=batch/activation=relu/stem=conv3/down=stride"
PLAIN = f"plain/depth=2-1/width=8-12/kernel=3-5/groups=1/se=0/{TAIL}"
SHIPPED = families.families()


def built(text: str) -> nn.Module:
    return SPACE.build(SPACE.named(text)[0], Settings(), 0)


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


HEAD_12 = 12 * 10 + 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # stem, two blocks, halving, block, head; each convolution with the two parameters of its normalisation
        (PLAIN, 27 * 8 + 16 + 2 * (9 * 64 + 16) + 9 * 96 + 24 + 25 * 144 + 24 + HEAD_12),
        (PLAIN.replace("depth=2-1", "depth=2-0"), 27 * 8 + 16 + 2 * (9 * 64 + 16) + 8 * 10 + 10),
        (
            PLAIN.replace("groups=1", "groups=4"),
            27 * 8 + 16 + 2 * (9 * 16 + 16) + 9 * 96 + 24 + 25 * 36 + 24 + HEAD_12,
        ),
        (
            PLAIN.replace("norm=batch", "norm=none"),
            27 * 8 + 8 + 2 * (9 * 64 + 8) + 9 * 96 + 12 + 25 * 144 + 12 + HEAD_12,
        ),
        (
            f"residual/depth=1/width=12/kernel=3/groups=1/se=1/{TAIL}",
            27 * 12 + 24 + 2 * (9 * 144 + 24) + (12 * 4 + 4) + (4 * 12 + 12) + HEAD_12,
        ),
        (
            f"inverted/depth=1/width=12/kernel=5/expansion=2/se=0/{TAIL}",
            27 * 12 + 24 + (12 * 24 + 48) + (25 * 24 + 48) + (24 * 12 + 24) + HEAD_12,
        ),
        (
            f"bottleneck/depth=1/width=12/kernel=3/expansion=0.5/groups=2/se=0/{TAIL}",
            27 * 12 + 24 + (12 * 8 + 16) + (9 * 8 * 4 + 16) + (8 * 12 + 24) + HEAD_12,
        ),
        (f"dense/depth=1/width=8/kernel=3/groups=1/se=0/{TAIL}", 27 * 8 + 16 + (16 + 9 * 8 * 4) + 2 * 12 + HEAD_12),
        (
            f"cell/depth=1/width=12/{TAIL}/cell=conv3-skip-sep3",
            27 * 12 + 24 + (9 * 144 + 24) + (9 * 12 + 144 + 24) + HEAD_12,
        ),
        (
            f"metaformer/depth=1/width=12/kernel=3/expansion=2/{TAIL}/mixer=attention",
            27 * 12 + 24 + 24 + (9 * 12 + 12) + (12 * 36 + 36) + (144 + 12) + 24 + (12 * 24 + 24) + (24 * 12 + 12) + 24
            + HEAD_12,
        ),
    ],
)  # fmt: skip
def test_parameters_are_those_counted_by_hand(text: str, expected: int) -> None:
    assert n_parameters(built(text)) == expected


@pytest.mark.parametrize("block", BLOCKS)
def test_every_value_of_every_field_makes_a_network(block: str) -> None:
    """One field at a time; stage sizes as they must be, and gradients reach every parameter."""
    base = {name: (FIELDS[name].default,) * (2 if FIELDS[name].of_stages else 1) for name in BLOCKS[block]}
    base["width"] = ("8", "12")
    if block == "cell":
        base["cell"] = ("conv3", "none", "sep3")
    texts = []
    for name in BLOCKS[block]:
        if name in ("width", "depth", "cell"):
            continue
        for value in FIELDS[name].values:
            given = {**base, name: (value,) * len(base[name])}
            texts.append("/".join([block, *(f"{key}={'-'.join(values)}" for key, values in given.items())]))
    for text in texts:
        assert description(text).text == text
        network = built(text)
        logits = network(torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (2, 10), text
        logits.sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters()), text


@pytest.mark.parametrize("name", SHIPPED)
def test_a_family_stays_within_its_ranges(name: str) -> None:
    family = SHIPPED[name]
    drawn = networks_named(f"net:{name}:random:12:3")
    assert len(set(drawn)) == 12
    assert drawn == networks_named(f"net:{name}:random:12:3") != networks_named(f"net:{name}:random:12:4")
    rng = stream(0, "walk")
    walk = [drawn[0]]
    for _ in range(8):
        walk.append(family.mutate(walk[-1], rng))
        assert walk[-1] != walk[-2]
    for arch in (*drawn, *walk):
        found = description(arch.spec)
        assert found.block in family.block
        assert SPACE.named(arch.spec) == (arch,)
        for field, values in found.fields:
            allowed = set(itertools.chain(*family.rows(field))) | ({"none"} if field == "cell" else set())
            assert set(values) <= allowed, (field, values)


def test_a_family_is_a_file_and_names_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "Mine"\nblock = "plain"\n[ranges]\ndepth = [[1, 2], [0, 1]]\nwidth = [4, 8]\n')
    family = read_family(path)
    assert family.n_stages == 2
    assert len(networks_named(f"net:{path}:random:5")) == 5
    assert {description(a.spec)["kernel"][0] for a in family.sample(stream(0), 10)} == {"3"}
    with pytest.raises(ArchitectureError, match=r"Mine has no 500 different networks; draw at most 1[02]"):
        family.sample(stream(0), 500)
    for content, message in (
        ("title = ", "is not TOML"),
        ('title = "x"\nblock = "plain"\n[ranges]\nwidht = [4]', "did you mean 'width'|nearest is 'width'|width"),
        ('title = "x"\nblock = "plane"\n[ranges]\n', "plain"),
        ('title = "x"\nblock = "plain"\n[ranges]\nkernel = [4]', "kernel may be any of 1, 3, 5, 7, 9, got '4'"),
        ('title = "x"\nblock = "plain"\n[ranges]\nkernel = [[3], [5]]\ndepth = [[1], [1], [2]]', "one for each of its"),
        ('title = "x"\nblock = "plain"\nranges = 3', "ranges"),
    ):
        path.write_text(content)
        with pytest.raises(ArchitectureError, match=message) as caught:
            read_family(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ArchitectureError, match="Cannot read"):
        read_family(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plain/depth=1", "'plain' has no width; give it"),
        ("plane/depth=1", "plain"),
        (PLAIN.replace("depth=2-1", "depth=0-1"), "the first with a block"),
        (PLAIN.replace("width=8-12", "width=8"), "a value for each of 2 stages, got 1"),
        (PLAIN.replace("width=8-12", "width=8-13"), "cannot be '13'"),
        (PLAIN.replace("/se=0", "/expansion=2"), "expansion"),
        (f"{PLAIN}/se=1", "gives se twice"),
        (f"cell/depth=1/width=8/{TAIL}/cell=conv3-none", "has 1, 3, 6, 10 or 15 edges, got 2"),
        (f"cell/depth=1/width=8/{TAIL}/cell=conv3-none-none", "no way from its input"),
        ("plain/depth=" + "1" * 2000, "at most 1000 characters"),
    ],
)
def test_what_is_no_description_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message) as caught:
        SPACE.named(text)
    assert "\n" not in str(caught.value)


def test_what_a_specification_cannot_be_is_refused() -> None:
    refused = {"plain": "Expected net:random:N", "plian:random:3": "plain", "plain:random:x": "number"}
    for text, message in refused.items():
        with pytest.raises(ArchitectureError, match=message):
            SPACE.named(text)


def test_networks_that_differ_only_in_what_is_left_out_are_one() -> None:
    one = PLAIN.replace("depth=2-1", "depth=2-0")
    other = one.replace("kernel=3-5", "kernel=3-7").replace("width=8-12", "width=8-64")
    assert description(one) == description(other)
    dead = f"cell/depth=1/width=8/{TAIL}/cell=none-conv3-skip"
    assert description(dead).text.endswith("cell=none-conv3-none"), "node 1 has no input, so that its edge is none"
    assert [edges(n_nodes(n))[-1] for n in (1, 3, 6, 10, 15)] == [(n - 2, n - 1) for n in (2, 3, 4, 5, 6)]


def test_a_cell_sums_what_its_edges_bring() -> None:
    network = built(f"cell/depth=1/width=8/{TAIL}/cell=avg3-skip-max3").eval()
    cell = network.get_submodule("stages.0.0")
    x = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    pooled = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    torch.testing.assert_close(cell(x), x + nn.functional.max_pool2d(pooled, 3, 1, 1))


def test_the_shift_brings_the_places_around() -> None:
    from eznas.spaces.families.blocks import Choice, ShiftMixer

    mixer = ShiftMixer(4, 3, Choice())
    nn.init.dirac_(mixer.mix.weight)
    x = torch.arange(36.0).view(1, 4, 3, 3) + 1
    expected = torch.zeros(4, 3, 3)
    expected[0, 1:], expected[1, :2] = x[0, 0, :2], x[0, 1, 1:]
    expected[2, :, 1:], expected[3, :, :2] = x[0, 2, :, :2], x[0, 3, :, 1:]
    torch.testing.assert_close(mixer(x).detach()[0], expected)


def test_every_edit_of_everything_is_a_network() -> None:
    rng = stream(1, "edits")
    for arch in EVERYTHING.sample(rng, 20):
        there = EVERYTHING.mutate(arch, rng)
        assert there != arch
        assert SPACE.named(there.spec) == (there,)
    with pytest.raises(ArchitectureError, match="search space 'net'"):
        EVERYTHING.mutate(Architecture("nb201", PLAIN), rng)


def test_a_family_with_one_network_has_no_edit() -> None:
    family = Family(title="one", block=("plain",), ranges={"width": (("8",),)})
    (arch,) = family.sample(stream(0), 1)
    with pytest.raises(ArchitectureError, match="No network of one is one edit away"):
        family.mutate(arch, stream(0))
