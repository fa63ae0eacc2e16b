"""Networks of the grammar: a stem, stages of equal blocks with a halving between them, and a head."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from eznas.spaces.families.blocks import BLOCKS, Choice, Dense
from eznas.spaces.families.description import Description
from eznas.spaces.layers import Linear

STEMS: Final = {"conv3": (3, 1), "conv5": (5, 1), "conv3s2": (3, 2), "patch2": (2, 2), "patch4": (4, 4)}
"""Kernel and stride."""
N_CHANNELS: Final = 3


class Down(nn.Module):
    """Half the size and other channels: a residual block whose shortcut is a 1x1 convolution of stride 2."""

    def __init__(self, before: int, after: int, choice: Choice) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *choice.unit(before, after, 3, stride=2), choice.convolve(after, after, 3), choice.normalise(after)
        )
        self.shortcut = nn.Sequential(choice.convolve(before, after, stride=2), choice.normalise(after))
        self.last = choice.act()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, height, width) -> (batch, after, height / 2, width / 2), rounded up."""
        found: Tensor = self.last(self.body(x) + self.shortcut(x))
        return found


def _down(before: int, after: int, how: str, choice: Choice) -> nn.Module:
    match how:
        case "stride":
            return choice.unit(before, after, 3, stride=2)
        case "residual":
            return Down(before, after, choice)
    pool = nn.MaxPool2d(2, ceil_mode=True) if how == "max" else nn.AvgPool2d(2, ceil_mode=True)
    return nn.Sequential(pool, *choice.unit(before, after))


class Network(nn.Module):
    """Classifier for images of any size.

    Its parameters are allocated but not drawn; use `SPACE.build`.
    """

    def __init__(self, description: Description, n_classes: int) -> None:
        super().__init__()
        choices = [
            Choice(
                kernel=int(kernel),
                expansion=expansion,
                groups=int(description.one("groups")),
                se=description.one("se") == "1",
                norm=description.one("norm"),
                activation=description.one("activation"),
                mixer=description.one("mixer"),
                cell=dict(description.fields).get("cell", ()),
            )
            for kernel, expansion in zip(description.numbers("kernel"), description.numbers("expansion"), strict=True)
        ]
        depths, widths = (tuple(map(int, description[name])) for name in ("depth", "width"))
        kernel, stride = STEMS[description.one("stem")]
        padding = kernel // 2 if kernel > stride else 0  # patches lie side by side
        self.stem = choices[0].unit(N_CHANNELS, widths[0], kernel, stride=stride, padding=padding)
        channels, stages = widths[0], []
        for place, (depth, width, choice) in enumerate(zip(depths, widths, choices, strict=True)):
            blocks: list[nn.Module] = []
            if place:
                blocks.append(_down(channels, width, description.one("down"), choice))
            channels = width
            for _ in range(depth):
                if description.block == "dense":
                    blocks.append(Dense(channels, width // 2, choice))
                    channels += width // 2
                else:
                    blocks.append(BLOCKS[description.block](channels, choice))
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        is_open = description.block in ("preactivation", "dense", "metaformer")  # nothing normalised the last sum
        last = [choices[-1].normalise(channels), choices[-1].act()] if is_open else []
        self.head = nn.Sequential(*last, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = Linear(channels, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, height, width) -> logits (batch, n_classes)."""
        logits: Tensor = self.classifier(self.head(self.stages(self.stem(images))))
        return logits
