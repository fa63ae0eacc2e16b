"""The settings of a supernet: its networks, images, training, sampling, checkpoints and how it is evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from eznas.digests import content_digest
from eznas.errors import ConfigError
from eznas.forms import Form, sentence
from eznas.names import shown
from eznas.oneshot.sharing import SHARINGS, Sharing
from eznas.runs.config import table_in
from eznas.spaces import SpaceSettings, nb201, space_named

Positive = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _settings_of_space(data: Any) -> Any:
    """The settings of networks of the space that ``space`` names, NAS-Bench-201 without it, by its own model."""
    if not isinstance(data, Mapping):
        return data
    name = str(data.get("space", nb201.NAME))
    if name not in SHARINGS:
        raise ValueError(f"a supernet is of {', '.join(SHARINGS)}, got {shown(name)}")
    space = space_named(name)
    try:
        return space.settings.model_validate(dict(data))
    except ValidationError as error:
        raise ValueError(sentence(error, f"the settings of {space.name} networks", space.settings)) from None


class ImageSettings(Form):
    """The images to train on, and those held out to evaluate on.

    Attributes:
        source: as `eznas.conditions.images_named` takes it.
        input_size: height and width in pixels, a multiple of 4.
        n_train: images to train on, of each class its share; the others are held out. 0 means two thirds.
    """

    source: Annotated[str, Field(min_length=1, max_length=4_000)] = "cifar10"
    input_size: Annotated[int, Field(strict=True, ge=4, le=1_024, multiple_of=4)] = 16
    n_train: Count = 4_000


class TrainingSettings(Form):
    """How shared weights are trained: SGD with momentum, shifts and flips. Biases and normalisation do not decay.

    Attributes:
        epochs: over the images to train on.
        batch_size: images of a step.
        learning_rate: the first one.
        schedule: ``"cosine"`` to zero, ``"constant"``, or ``"plateau"``: times `factor` after more than `patience`
            epochs without a lower training loss.
        patience, factor: of ``"plateau"``.
        momentum, weight_decay: of the optimiser.
        clip: largest norm of the gradient of a step.
        dropout: share of the features before the classifier that are left out.
        shift: most pixels by which an image is shifted.
        flip: whether every other image is mirrored.
        affine: whether normalisation inside cells scales and shifts; without, it stays at 1 and 0.
    """

    epochs: Positive = 60
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.05
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    patience: Positive = 30
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    momentum: Fraction = 0.9
    weight_decay: Fraction = 5e-4
    clip: Annotated[float, Field(gt=0)] = 5.0
    dropout: Fraction = 0.0
    shift: Annotated[int, Field(ge=0, le=64)] = 2
    flip: bool = True
    affine: bool = False


class SamplingSettings(Form):
    """Which architectures a step trains.

    Attributes:
        method: see `eznas.oneshot.sampling`.
        per_step: architectures whose mean gradient is one step; a multiple of the operations of an edge with
            ``"fair"``.
    """

    method: Literal["uniform", "fair", "isomorphic"] = "uniform"
    per_step: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 1


class CheckpointSettings(Form):
    """Which epochs are kept.

    Attributes:
        every: epochs between two that are kept; the last is kept too. Where to go on is written after every epoch.
    """

    every: Positive = 10


class EvaluationSettings(Form):
    """How an architecture is evaluated with the weights that it inherits.

    Attributes:
        n_images: of the held-out images, the first; 0 means all.
        recalibration: training images on which normalisation measures its statistics anew for every architecture; 0
            takes those that architectures left behind in training.
        ensemble: checkpoints whose weights are averaged, the last ones.
        members: most cells of the same function whose estimates are averaged.
        forgetting: architectures of each epoch that is kept which are evaluated right after their step and again at the
            end of the epoch, evenly spaced; 0 measures none. It changes no weight.
    """

    n_images: Count = 0
    recalibration: Count = 512
    ensemble: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 3
    members: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 8
    forgetting: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 0


class OneShotConfig(Form):
    """All settings of a supernet; all but those of evaluation determine its weights, on the same kind of machine."""

    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    networks: Annotated[SpaceSettings, SerializeAsAny(), BeforeValidator(_settings_of_space)] = nb201.Settings()
    images: ImageSettings = Field(default_factory=ImageSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    sampling: SamplingSettings = Field(default_factory=SamplingSettings)
    checkpoints: CheckpointSettings = Field(default_factory=CheckpointSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)

    @model_validator(mode="after")
    def _sampling_fits(self) -> OneShotConfig:
        method, sharing = self.sampling.method, self.sharing
        if method not in sharing.methods:
            raise ValueError(
                f"sampling.method for {sharing.title} is {' or '.join(sharing.methods)}, got {method!r}; use "
                "one of these"
            )
        n_fair = sharing.n_fair
        if method == "fair" and n_fair is not None and self.sampling.per_step % n_fair:
            raise ValueError(
                f"fair sampling trains every operation of an edge once, so that sampling.per_step is a multiple of "
                f"{n_fair}, got {self.sampling.per_step}; use {n_fair}"
            )
        return self

    @property
    def sharing(self) -> Sharing:
        """How the weights of its space are shared."""
        return SHARINGS[self.networks.space]

    @property
    def n_classes(self) -> int:
        """Logits of its networks."""
        found: Any = self.networks
        return int(found.n_classes)

    @property
    def of_weights(self) -> dict[str, Any]:
        """What determines the weights, as JSON has it: evaluation may be changed after a training."""
        return self.model_dump(mode="json", exclude={"evaluation"})

    @property
    def digest(self) -> str:
        """Of `of_weights`."""
        return content_digest(self.of_weights)


def load_oneshot_config(path: Path | None = None, overrides: Sequence[str] = ()) -> OneShotConfig:
    """The settings in a TOML file (or the defaults), with overrides of the form ``section.key=value``.

    Raises:
        ConfigError: unreadable file, invalid TOML, unknown or ill-typed key.
    """
    try:
        return OneShotConfig.model_validate(table_in(path, overrides))
    except ValidationError as error:
        raise ConfigError(sentence(error, str(path) if path else "the settings", OneShotConfig)) from None


def to_toml(config: OneShotConfig) -> str:
    """The resolved settings as TOML that `load_oneshot_config` reads back."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
