"""Conditions: how networks are built and excited, as one value that travels, is stored, and can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field, PrivateAttr, ValidationError
from torch import Tensor, nn

from eznas.conditions.images import image_batch
from eznas.conditions.own_images import PREFIX
from eznas.errors import ArchitectureError, BenchmarkError, ConfigError
from eznas.forms import Form, is_stored, sentence
from eznas.names import one_line, shown
from eznas.randomness import derived_seed, stream
from eznas.spaces import Architecture, SearchSpace, SettingsUnion, space_named

GIVEN: Final = "given"
"""Source of images that were handed over as tensors and cannot be drawn again."""
MAX_SIZE: Final = 4_096
MAX_BATCH: Final = 65_536
MAX_VALUES: Final = 2**28
"""Most values of a batch of images: a gibibyte of them."""

Batch = tuple[Tensor, Tensor]
"""(n, channels, height, width) float32 images and (n,) int64 classes."""
Units = Literal["convolutional", "all", "layers"]
"""The layers that programs read, see `eznas.statistics.tracing`."""
DEFAULT_UNITS: Final[Units] = "layers"
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Conditions(Form):
    """How networks are built and excited; equal conditions give equal scores.

    Batches are drawn when they are first asked for; `drawn` draws them all, after which conditions can travel to
    machines that lack the images.
    """

    settings: SettingsUnion
    """Of the search space: what surrounds a cell, initialisation."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**128)] = 0
    """Of the settings; initialisation, noise and the draw of the images follow from it."""
    images: Annotated[str, Field(min_length=1, max_length=4_000)] = "digits"
    """Source of the batches, see `image_batch`."""
    input_size: Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)] = 16
    """Height and width of an image, in pixels."""
    channels: Annotated[int, Field(strict=True, ge=1, le=64)] = 3
    n_classes: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Images of this many classes are drawn, the first ones; None draws from all."""
    batch_size: Annotated[int, Field(strict=True, ge=1, le=MAX_BATCH)] = 8
    """Images for programs."""
    estimator_batch_size: Annotated[int, Field(strict=True, ge=1, le=MAX_BATCH)] = 32
    """Images for published estimators, which were designed for larger batches than programs need."""
    units: Units = DEFAULT_UNITS
    """The layers that programs read unless they say otherwise."""
    digests: Mapping[int, _Digest] = Field(default_factory=dict, max_length=64)
    """Of the batches by their number of images, once they are drawn."""

    _batches: dict[int, Batch] = PrivateAttr(default_factory=dict)
    _family: SearchSpace[Any] | None = PrivateAttr(default=None)
    _is_stored: bool = PrivateAttr(default=False)

    def model_post_init(self, context: Any) -> None:
        """Refuses batches that no machine should be asked for."""
        self._is_stored = is_stored(context)
        n_values = self.channels * self.input_size**2 * max(self.batch_size, self.estimator_batch_size)
        if n_values > MAX_VALUES:
            raise ValueError(
                f"a batch may have at most {MAX_VALUES:,} values, but {n_values:,} are asked for; use fewer or smaller "
                "images"
            )

    @classmethod
    def of_settings(cls, **values: Any) -> Conditions:
        """Conditions of what a user set.

        Raises:
            ConfigError: if there can be no such conditions; names the setting.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise ConfigError(sentence(error, "[probe] and [report]", cls)) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conditions) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.settings.space

    @property
    def search_space(self) -> SearchSpace[Any]:
        """The family of networks: the known space of that name, or one that was handed over with `of_family`."""
        return self._family if self._family is not None else space_named(self.space)

    def of_family(self, family: SearchSpace[Any]) -> Conditions:
        """The same conditions for networks of a space of one's own, which travels with them."""
        made = self.model_copy()
        made._batches, made._family = dict(self._batches), family
        return made

    @property
    def network_seed(self) -> int:
        """Of the initialisation of networks, and of the noise of programs' probes."""
        return derived_seed(self.seed, "networks") % 2**31

    def network(self, arch: Architecture, device: str = "cpu") -> nn.Module:
        """The network of an architecture under these conditions.

        Raises:
            ArchitectureError: if it is not of the space, or cannot be built.
        """
        image = (self.channels, self.input_size, self.input_size)
        try:
            network: nn.Module = self.search_space.build(arch, self.settings, self.network_seed, image)
            return network.to(device)
        except (MemoryError, RuntimeError, OverflowError) as error:  # of torch, where sizes are beyond it
            raise ArchitectureError(
                f"Network {shown(arch.spec)} cannot be made on {device} under the settings of its search space "
                f"({one_line(error) or type(error).__name__}); make it smaller, or use a machine with more memory"
            ) from error

    def batch(self, n: int, device: str = "cpu") -> Batch:
        """A batch of n images with their classes; the same one each time.

        Raises:
            BenchmarkError: if the images are not at hand.
            ConfigError: as `check_source`.
        """
        if n not in self._batches:
            self.check_source(n)
            self._batches[n] = image_batch(
                self.images,
                batch_size=n,
                input_size=self.input_size,
                channels=self.channels,
                n_classes=self.n_classes,
                rng=stream(self.seed, "probe", "images"),
            )
        inputs, targets = self._batches[n]
        return inputs.to(device), targets.to(device)

    def check_source(self, n: int) -> None:
        """Refuse to draw n images where nothing can be drawn from, or may be.

        Raises:
            ConfigError: if the images were handed over, and there is no such batch among them; or if a file names a
                function that gives them: what a file says is data, and only a user can say that it is to be called.
        """
        if self.images == GIVEN:
            raise ConfigError(
                f"The images of these conditions were handed over as a batch of "
                f"{', '.join(map(str, self._batches)) or 'images that are not stored'}, and {n} are asked for; "
                "hand over that batch, or name a source of images (probe.images)"
            )
        if self._is_stored and self.images.startswith(PREFIX):
            raise ConfigError(
                f"A file names a function that gives the images, {shown(self.images)}, and nothing that a file names "
                "is called; if you trust it name it yourself (--set probe.images=...)"
            )

    def drawn(self) -> Conditions:
        """The same conditions with all batches drawn, and their digests.

        Raises:
            BenchmarkError: if the images are not at hand, or not those of the recorded digests.
            ConfigError: as `check_source`.
        """
        batches = {n: self.batch(n) for n in self._sizes}
        digests = {n: tensor_digest(inputs) for n, (inputs, _) in batches.items()}
        other = next((n for n, digest in digests.items() if self.digests.get(n, digest) != digest), None)
        if other is not None:
            raise BenchmarkError(
                f"The batch of {other} images from {shown(self.images)} is another here than the one that is recorded, "
                "so that scores would differ; put the images back, or name those to use (probe.images)"
            )
        made = self.model_copy(update={"digests": digests})
        made._batches, made._family = batches, self._family
        return made

    def given(self, inputs: Tensor, targets: Tensor) -> Conditions:
        """The same conditions with these images in place of drawn ones, for programs and estimators alike."""
        n = len(inputs)
        made = self.model_copy(
            update={
                "images": GIVEN, "input_size": int(inputs.shape[-1]), "channels": int(inputs.shape[1]),
                "batch_size": n, "estimator_batch_size": n, "n_classes": None, "digests": {n: tensor_digest(inputs)},
            }
        )  # fmt: skip
        made._batches, made._family = {n: (inputs, targets)}, self._family
        return made

    def key(self) -> str:
        """Digest of all that determines a score but the network and the proxy: 32 hexadecimal digits."""
        content = json.dumps(self._known().model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def difference(self, other: Conditions) -> tuple[tuple[str, object, object], ...]:
        """What differs: name, here, there; nothing if scores under both can be compared."""
        ours, theirs = self._known()._flat(), other._known()._flat()
        return tuple(
            (name, ours.get(name), theirs.get(name))
            for name in dict.fromkeys((*ours, *theirs))
            if ours.get(name) != theirs.get(name)
        )

    @property
    def _sizes(self) -> tuple[int, ...]:
        """Numbers of images of the batches that proxies see."""
        return tuple(dict.fromkeys((self.batch_size, self.estimator_batch_size)))

    def _known(self) -> Conditions:
        """With the digests of all batches; nothing is drawn for those that are recorded."""
        return self if set(self._sizes) <= set(self.digests) else self.drawn()

    def _flat(self) -> dict[str, object]:
        data = self.model_dump(mode="json")
        digests, settings = data.pop("digests"), data.pop("settings")
        return {
            **{f"networks.{name}": value for name, value in settings.items()},
            **data,
            **{f"digest of {n} images": value for n, value in digests.items()},
        }

    def __str__(self) -> str:
        """For people: images and initialisation in a line."""
        size = f"{self.input_size} x {self.input_size}"
        return f"{self.batch_size} {self.images} images of {size}, {self.space} networks, seed {self.seed}"


def tensor_digest(tensor: Tensor) -> str:
    """Hash of a tensor's type, shape and values: 32 hexadecimal digits, equal on every device."""
    values = tensor.detach().cpu().contiguous()
    head = f"{values.dtype} {tuple(values.shape)} ".encode()
    content = head + values.reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest()
