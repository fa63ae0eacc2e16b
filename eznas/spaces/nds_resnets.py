"""The residual spaces of NDS: ResNet (basic blocks) and ResNeXt-A (bottlenecks with groups), three stages each.

A network of ``nds_resnet`` is written by blocks x channels of its stages, ``2x32-3x128-3x160``; one of
``nds_resnext_a`` adds what its 3x3 convolutions have, a multiplier of the channels and the number of groups:
``1x256m0.25g1-2x16m1g4-8x64m0.5g2``. The official record is read too, ``{"ds": [1, 2, 3, 3], "ws": [16, 32, 128, 160],
"ss": [1, 1, 2, 2], "bot_muls": [], "num_gs": []}``, whose first entries are the stem's; num_gs are numbers of groups,
not their widths. The second and the third stage halve the resolution.

The networks that were trained (``full`` of each space) see CIFAR-10 images, with a stem of one convolution to 16
channels (ResNet), or 224x224 images of ImageNet, with three to 64 (ResNeXt-A). The default has an eighth of all
channels, so that widths keep their proportions, all blocks, and the stem for CIFAR; inner channels are rounded up to a
multiple of their groups. ResNeXts have about an eighth of the classes of ImageNet, so that the classifier keeps its
share of the parameters.

Source: `Radosavovic 2019 <https://arxiv.org/abs/1905.13214>`_, section 5.2 and appendix B, and the released code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.names import shown
from eznas.spaces.architecture import Architecture, check_space, text_digest
from eznas.spaces.cells import Stem
from eznas.spaces.initialise import Scheme
from eznas.spaces.layers import Linear, conv_norm, conv_norm_relu
from eznas.spaces.notation import MAX_TEXT, check_sample_size, drawn_or_read, literal
from eznas.spaces.settings import N_STAGES, Classes, SpaceSettings
from eznas.spaces.space import Counts, SearchSpace

STRIDES: Final = (1, 2, 2)
"""Of the first block of each stage."""
MAX_BLOCKS: Final = 99
MAX_WIDTH: Final = 4_096
MAX_GROUPS: Final = 64
MAX_SAMPLE: Final = 100_000
_STAGE: Final = re.compile(r"([1-9][0-9]?)x([1-9][0-9]{0,3})(?:m(0\.[0-9]{1,4}|[1-9](?:\.[0-9]{1,4})?)g([1-9][0-9]?))?")
_STEMS: Final = MappingProxyType({"cifar": (16,), "imagenet": (32, 64, 64)})
"""Channels of the 3x3 convolutions of each stem; those of more than one have a stride of 2."""
_BLOCKS: Final = MappingProxyType({"nds_resnet": "res_basic_block", "nds_resnext_a": "res_bottleneck_block"})


class ResidualSettings(SpaceSettings):
    """How the networks of a residual NDS space are built."""

    stem: Stem = "cifar"
    """cifar: one convolution at full resolution. imagenet: three, to an eighth of it."""
    width_divisor: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 8
    """All channels are divided by it, rounded, at least 1; 1 for the networks that were trained."""
    n_classes: Classes = 10
    """Logits: 10 of CIFAR-10, 1000 of ImageNet."""
    scheme: Scheme = "eznas"
    """Initialisation: of the EZNAS release (Kaiming normal, fan out), or PyTorch's own."""


class ResnetSettings(ResidualSettings):
    """Of ResNets."""

    space: Literal["nds_resnet"] = "nds_resnet"


class ResnextSettings(ResidualSettings):
    """Of ResNeXts."""

    space: Literal["nds_resnext_a"] = "nds_resnext_a"
    n_classes: Classes = 120


@dataclass(frozen=True, slots=True)
class Stage:
    """Equal blocks but for the first, which may change channels and resolution.

    Attributes:
        n_blocks: how many.
        width: channels of their outputs.
        multiplier: of the channels between the 1x1 convolutions of a bottleneck; None for basic blocks.
        groups: of its 3x3 convolution; None for basic blocks.
    """

    n_blocks: int
    width: int
    multiplier: float | None = None
    groups: int | None = None

    @property
    def inner(self) -> int:
        """Channels between the 1x1 convolutions of a bottleneck; of a basic block, between its two."""
        return self.width if self.multiplier is None else round(self.width * self.multiplier)

    @property
    def spec(self) -> str:
        """The text form."""
        inner = "" if self.multiplier is None else f"m{self.multiplier:g}g{self.groups}"
        return f"{self.n_blocks}x{self.width}{inner}"


def _text(stages: Sequence[Stage]) -> str:
    return "-".join(stage.spec for stage in stages)


def _is_divisible(stage: Stage) -> bool:
    """Whether the inner channels can be divided into the groups."""
    return stage.inner >= 1 and stage.inner % (stage.groups or 1) == 0


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a network as it is built.

    Attributes:
        before: channels it reads.
        after: channels it gives.
        inner: channels between its convolutions.
        groups: of its 3x3 convolution; None for a basic block.
        stride: of its 3x3 convolution, in a basic block of the first.
    """

    before: int
    after: int
    inner: int
    groups: int | None
    stride: int

    @property
    def has_projection(self) -> bool:
        """Whether a 1x1 convolution stands on the shortcut."""
        return self.stride > 1 or self.before != self.after

    @property
    def convolutions(self) -> tuple[tuple[int, int, int, int, int], ...]:
        """Of the main path: channels before and after, kernel, stride, groups."""
        if self.groups is None:
            return ((self.before, self.inner, 3, self.stride, 1), (self.inner, self.after, 3, 1, 1))
        return (
            (self.before, self.inner, 1, 1, 1),
            (self.inner, self.inner, 3, self.stride, self.groups),
            (self.inner, self.after, 1, 1, 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualSpace:
    """One of the residual spaces.

    Attributes:
        name: of the search space.
        title: for people.
        settings: the model of its settings.
        n_blocks: of a stage, as drawn.
        widths: of a stage, as drawn.
        multipliers: likewise; empty for basic blocks.
        groups: likewise.
        full_stem: of the networks whose accuracies are recorded.
        full_classes: likewise.
        example: a text of a network.
    """

    name: str
    title: str
    settings: type[ResidualSettings]
    n_blocks: tuple[int, ...]
    widths: tuple[int, ...]
    multipliers: tuple[float, ...] = ()
    groups: tuple[int, ...] = ()
    full_stem: Stem
    full_classes: int
    example: str

    # Description ------------------------------------------------------------------------------------------------------

    def stages(self, arch: Architecture) -> tuple[Stage, ...]:
        """The stages of an architecture.

        Raises:
            ArchitectureError: if it is not of this space.
        """
        check_space(arch, self.name)
        return self._parsed(arch.spec)

    def _parsed(self, spec: str) -> tuple[Stage, ...]:
        matches = [_STAGE.fullmatch(part) for part in spec.split("-")] if len(spec) < 200 else []
        found = tuple(
            Stage(int(m[1]), int(m[2]), None if m[3] is None else float(m[3]), None if m[4] is None else int(m[4]))
            for m in matches
            if m is not None
        )
        has_inner = {stage.multiplier is not None for stage in found}
        if len(matches) != N_STAGES or len(found) != N_STAGES or has_inner != {bool(self.multipliers)}:
            raise self._no_network(spec)
        self._check(found)
        return found

    def _no_network(self, text: str) -> ArchitectureError:
        return ArchitectureError(
            f"Expected a network of {self.title} in the form {self.example!r} (of each of {N_STAGES} stages blocks x "
            f"width{', multiplier of the inner channels, groups' if self.multipliers else ''}), or its record with ds, "
            f"ws, ss, bot_muls and num_gs, but got {shown(text)}; write it so."
        )

    def _check(self, stages: Sequence[Stage]) -> None:
        for stage in stages:
            if not (1 <= stage.n_blocks <= MAX_BLOCKS and 1 <= stage.width <= MAX_WIDTH):
                raise ArchitectureError(
                    f"A stage of {self.title} has 1 to {MAX_BLOCKS} blocks of 1 to {MAX_WIDTH} channels, but one is "
                    f"{stage.spec}; correct that."
                )
            if stage.multiplier is None or stage.groups is None:
                continue
            if not 1 <= stage.groups <= MAX_GROUPS or not _is_divisible(stage):
                raise ArchitectureError(
                    f"The inner channels of a stage of {self.title}, its width times its multiplier, must be a "
                    f"multiple of its groups, at most {MAX_GROUPS}, but one is {stage.spec}; correct that."
                )

    def architecture(self, text: str) -> Architecture:
        """The architecture of a text: ours, or the official record as JSON or Python write it.

        Raises:
            ArchitectureError: if it is not a network of this space.
        """
        packed = "".join(text.split()) if len(text) <= MAX_TEXT else text
        stages = self._of_record(text) if packed.startswith("{") else self._parsed(packed)
        return Architecture(self.name, _text(stages))

    def _of_record(self, text: str) -> tuple[Stage, ...]:
        try:
            found: Any = literal(text)
            columns = [found[key] for key in ("ds", "ws", "ss")]
            if self.multipliers:
                columns += [[float(m) for m in found["bot_muls"]], found["num_gs"]]
            stem, *stages = zip(*columns, strict=True)
        except (ValueError, KeyError, TypeError):
            raise self._no_network(text) from None
        kinds = [int, int, int, float, int][: len(columns)]
        is_block = found.get("block_type", _BLOCKS[self.name]) == _BLOCKS[self.name]
        if not is_block or [*map(type, stem)] != kinds or any([*map(type, stage)] != kinds for stage in stages):
            raise self._no_network(text)
        if tuple(stage[2] for stage in stages) != STRIDES:
            raise self._no_network(text)
        return self._parsed(_text([Stage(n, width, *inner) for n, width, _, *inner in stages]))

    def named(self, text: str) -> tuple[Architecture, ...]:
        """The architectures of a specification.

        Args:
            text: parts separated by semicolons: ``random:N[:SEED]`` (see `sample`), or what `architecture` takes.

        Raises:
            ArchitectureError: if a part is neither.
        """
        return drawn_or_read(text, self.name, self.sample, self.architecture)

    # Drawing and changing ---------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
        """Distinct architectures, uniform over the space: everything in every stage is drawn for itself.

        Raises:
            ArchitectureError: if `n` is not in 1 .. `MAX_SAMPLE`.
        """
        check_sample_size(n, MAX_SAMPLE, self.title)
        found: dict[Architecture, None] = {}
        while len(found) < n:
            drawn = [
                Stage(*(values[rng.integers(len(values))] for values in self._choices.values()))
                for _ in range(N_STAGES)
            ]
            found[Architecture(self.name, _text(drawn))] = None
        return tuple(found)

    @property
    def _choices(self) -> dict[str, tuple[Any, ...]]:
        """Values of each attribute of a `Stage` that the space has, in the order of the attributes."""
        inner = {"multiplier": self.multipliers, "groups": self.groups} if self.multipliers else {}
        return {"n_blocks": self.n_blocks, "width": self.widths, **inner}

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """The architecture with one attribute of one stage changed; which one and its new value are uniform.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        stages = self.stages(arch)
        edits = [
            [
                (*stages[:place], changed, *stages[place + 1 :])
                for changed in (replace(stage, **{what: value}) for value in values)
                if changed != stage and _is_divisible(changed)
            ]
            for place, stage in enumerate(stages)
            for what, values in self._choices.items()
        ]
        possible = [edited for edited in edits if edited]
        chosen = possible[rng.integers(len(possible))]
        return Architecture(self.name, _text(chosen[rng.integers(len(chosen))]))

    def function(self, arch: Architecture) -> str:
        """The text: no two networks of this space compute the same.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        return _text(self.stages(arch))

    def level(self, arch: Architecture) -> int:
        """The number of blocks.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        return sum(stage.n_blocks for stage in self.stages(arch))

    def shape(self, arch: Architecture) -> dict[str, float]:
        """Mean channels of a block, and the number of blocks.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        stages, depth = self.stages(arch), self.level(arch)
        return {"width": sum(stage.n_blocks * stage.width for stage in stages) / depth, "depth": float(depth)}

    # Networks ---------------------------------------------------------------------------------------------------------

    def blocks(self, arch: Architecture, settings: ResidualSettings) -> Iterator[Block]:
        """The blocks of a network.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        before = _stem(settings)[-1]
        for stage, stride in zip(self.stages(arch), STRIDES, strict=True):
            after, groups = _divided(stage.width, settings), stage.groups or 1
            inner = -(-_divided(stage.inner, settings) // groups) * groups
            for position in range(stage.n_blocks):
                yield Block(before, after, inner, stage.groups, 1 if position else stride)
                before = after

    def counts(self, arch: Architecture, settings: ResidualSettings, input_size: int) -> Counts:
        """Closed-form sizes; multiply-accumulates of convolutions and the classifier with its bias, of one image.

        The ``flops`` of NDS' records, exactly: these, and five for every value that is normalised.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        parameters = macs = 0
        size = input_size
        before = 3
        stem = _stem(settings)
        for channels in stem:
            size = _strided(size, 2 if len(stem) > 1 else 1)
            parameters += 9 * before * channels + 2 * channels
            macs += 9 * before * channels * size**2
            before = channels
        for block in self.blocks(arch, settings):
            shortcut = [(block.before, block.after, 1, block.stride, 1)] if block.has_projection else []
            after = _strided(size, block.stride)
            for position, (source, target, kernel, _, groups) in enumerate((*block.convolutions, *shortcut)):
                weights = kernel**2 * source * target // groups
                parameters += weights + 2 * target
                is_before_stride = block.groups is not None and position == 0
                macs += weights * (size if is_before_stride else after) ** 2
            size, before = after, block.after
        head = (before + 1) * settings.n_classes
        return Counts(parameters + head, macs + head)

    def allocate(self, arch: Architecture, settings: ResidualSettings) -> nn.Module:
        """The network, in train mode, its parameters allocated but **not yet drawn**: `initialise_` draws them.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        network = Network([*self.blocks(arch, settings)], settings)
        network.architecture = arch
        return network

    def space(self) -> SearchSpace[ResidualSettings]:
        """The declaration that everything else reads."""
        return SearchSpace(
            name=self.name,
            title=self.title,
            forms=f"{self.name}:random:N[:SEED] or {self.name}:{self.example}[;...]",
            settings=self.settings,
            full=self.settings.model_validate(
                {"stem": self.full_stem, "width_divisor": 1, "n_classes": self.full_classes}
            ),
            named=self.named,
            sample=self.sample,
            mutate=self.mutate,
            function=self.function,
            allocate=self.allocate,
            digest=text_digest,
            counts=self.counts,
            level=self.level,
            shape=self.shape,
        )


def _divided(channels: int, settings: ResidualSettings) -> int:
    return max(1, round(channels / settings.width_divisor))


def _stem(settings: ResidualSettings) -> tuple[int, ...]:
    """Channels of the convolutions of the stem."""
    return tuple(_divided(channels, settings) for channels in _STEMS[settings.stem])


def _strided(size: int, stride: int) -> int:
    return -(-size // stride)


class BlockModule(nn.Module):
    """One block: (batch, before, height, width) -> (batch, after, height / stride, width / stride)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        *others, last = block.convolutions
        self.path = nn.Sequential(
            *(conv_norm_relu(a, b, kernel, stride=stride, groups=groups) for a, b, kernel, stride, groups in others),
            conv_norm(last[0], last[1], last[2]),
        )
        self.shortcut: nn.Module = (
            conv_norm(block.before, block.after, 1, stride=block.stride) if block.has_projection else nn.Identity()
        )
        self.relu = nn.ReLU(inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        """The path and the shortcut, then ReLU."""
        output: Tensor = self.relu(self.path(x) + self.shortcut(x))
        return output


class Network(nn.Module):
    """A residual network: (batch, 3, size, size) images -> (batch, n_classes) logits.

    Its parameters are allocated but not drawn; `SearchSpace.build` draws them.

    Attributes:
        architecture: that it is of.
    """

    architecture: Architecture | None = None

    def __init__(self, blocks: Sequence[Block], settings: ResidualSettings) -> None:
        super().__init__()
        stem = _stem(settings)
        self.stem = nn.Sequential(
            *(
                conv_norm_relu(before, after, 3, stride=2 if len(stem) > 1 else 1)
                for before, after in zip((3, *stem), stem, strict=False)
            )
        )
        self.blocks = nn.Sequential(*map(BlockModule, blocks))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = Linear(blocks[-1].after, settings.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size) -> logits (batch, n_classes)."""
        logits: Tensor = self.classifier(self.head(self.blocks(self.stem(images))))
        return logits


RESIDUAL_SPACES: Final = MappingProxyType(
    {
        row.name: row
        for row in (
            ResidualSpace(
                name="nds_resnet", title="ResNets of NDS", settings=ResnetSettings,
                n_blocks=(1, 2, 3, 4, 6, 8, 12, 16, 24),
                widths=(16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256),
                full_stem="cifar", full_classes=10, example="2x32-3x128-3x160",
            ),
            ResidualSpace(
                name="nds_resnext_a", title="ResNeXts (A) of NDS", settings=ResnextSettings,
                n_blocks=(1, 2, 4, 8, 16), widths=(16, 32, 64, 128, 256), multipliers=(0.25, 0.5, 1.0),
                groups=(1, 2, 4), full_stem="imagenet", full_classes=1000, example="1x256m0.25g1-2x16m1g4-8x64m0.5g2",
            ),
        )
    }
)  # fmt: skip
"""The residual spaces by name."""

SPACES: Final = tuple(row.space() for row in RESIDUAL_SPACES.values())
