"""What settings mean for some networks: the conditions, and what is known of the networks without any score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from eznas.conditions import GIVEN, IMAGE_SETS, REDUCED, Batch, Conditions, default_image_source
from eznas.errors import ConfigError, EznasError
from eznas.estimators.passes import copied_state, forward
from eznas.fitness import Covariates, quintiles
from eznas.names import one_line
from eznas.programs import FailureKind, Invalid
from eznas.runs.config import OWN, RunConfig, SampleSettings
from eznas.spaces import KEEP, Architecture, SearchSpace, initialise_
from eznas.spaces.copies import with_shapes
from eznas.statistics import counts

CELL_SIZE: Final = 16
"""Height and width of the images for the cell spaces, unless a setting says otherwise."""
SIZES: Final = (32, 28, 224, 64, 16, 96, 128, 256, 299, 384, 8, 512)
"""Sizes that networks of a user's own are tried with, in this order, unless they say which they take."""
N_TRIED: Final = 5
"""Networks that are tried for the size they take."""


def resolved_conditions(
    config: RunConfig,
    sample: SampleSettings,
    architectures: Sequence[Architecture],
    *,
    datasets: Sequence[str] = (),
    family: SearchSpace[Any] | None = None,
    is_run: bool = True,
    given: Batch | None = None,
) -> tuple[Conditions, tuple[str, ...]]:
    """How the settings build and excite the networks of a sample.

    Args:
        config: the settings of the run.
        sample: those of the sample.
        architectures: the networks; what is not said of the images of a user's own follows from them.
        datasets: whose images are the first choice.
        family: the space of networks that were handed over as objects.
        is_run: whether the networks are run at all; what is only counted takes images of any size.
        given: images that were handed over, in place of those that the settings name.

    Returns:
        The conditions, and what was assumed, a sentence each.

    Raises:
        ConfigError: if no network of a user's own can be run on images of any usual size.
        EznasError: if the images are not at hand.
    """
    settings, probe = config.settings_of(sample), config.probe_of(sample)
    images = GIVEN if given is not None else probe.images
    if images == "auto":
        known = [name for name in datasets if REDUCED.get(name, name) in IMAGE_SETS]
        images = default_image_source(known[0] if known else "cifar10")
    size, channels, n_classes = probe.input_size, probe.channels, None
    if given is not None:
        size, channels = int(given[0].shape[-1]), int(given[0].shape[1])
    notes: list[str] = []
    seed = config.seed if probe.seed is None else probe.seed
    if settings.space == OWN and is_run:
        fitted = Conditions.of_settings(settings=settings, seed=seed, images=images)
        fitted = fitted.of_family(family) if family is not None else fitted
        size, channels, n_classes = _fitted(fitted, architectures, size, channels, notes)
    conditions = Conditions.of_settings(
        settings=settings,
        seed=seed,
        images=images,
        input_size=CELL_SIZE if size == "auto" else size,
        channels=3 if channels == "auto" else channels,
        n_classes=n_classes,
        batch_size=probe.batch_size,
        estimator_batch_size=config.report.baseline_batch_size,
        units=probe.units,
    )
    conditions = conditions.of_family(family) if family is not None else conditions
    return conditions.drawn() if given is None else conditions.given(*given), tuple(notes)


def _fitted(
    conditions: Conditions,
    architectures: Sequence[Architecture],
    size: int | str,
    channels: int | str,
    notes: list[str],
) -> tuple[int, int, int | None]:
    """Size and channels of the images that networks of a user's own take, and how many classes they have."""
    problem = "there are none"
    for arch in architectures[:N_TRIED]:
        try:
            network = conditions.search_space.allocate(arch, conditions.settings)
        except EznasError as error:
            problem = f"{one_line(arch.spec)}: {error}"
            continue
        for channel in [channels] if isinstance(channels, int) else _channels(network):
            for trial in [size] if isinstance(size, int) else _sizes(network):
                logits = _logits(network, int(trial), int(channel))
                if isinstance(logits, str):
                    problem = f"{one_line(arch.spec)}: {logits}"
                    continue
                n_logits = int(logits.shape[1]) if logits.dim() == 2 and logits.shape[1] > 1 else None
                n_images = IMAGE_SETS[conditions.images].n_classes if conditions.images in IMAGE_SETS else None
                n_classes = n_logits if n_logits and n_images and n_logits < n_images else None
                notes.extend(_kept(conditions, architectures[:N_TRIED], int(trial), int(channel)))
                if size == "auto" or channels == "auto":
                    notes.append(
                        f"Your networks are excited by {conditions.images} images of {channel} x {trial} x {trial}; "
                        "probe.images, probe.input_size and probe.channels say otherwise."
                    )
                if n_classes is not None:
                    notes.append(
                        f"Only images of the first {n_classes} classes are used, as many as your networks have."
                    )
                return int(trial), int(channel), n_classes
    tried = f"size {size} was" if isinstance(size, int) else f"sizes {', '.join(map(str, SIZES))} were"
    raise ConfigError(
        f"No network can be run on images ({tried} tried; the last problem: {one_line(problem)}); set "
        "probe.input_size and probe.channels to what your networks take"
    )


def _kept(conditions: Conditions, architectures: Sequence[Architecture], size: int, channels: int) -> list[str]:
    """That parameters of a user's networks are not drawn anew, in a sentence, if it is so in one of these."""
    scheme = conditions.settings.scheme
    if scheme == KEEP:
        return []
    sized = conditions.model_copy(update={"input_size": size, "channels": channels})
    for arch in architectures:
        try:
            names = initialise_(sized.network(arch), scheme, torch.Generator())
        except EznasError:  # which the row of the network will say
            continue
        if names:
            said = ", ".join(map(one_line, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            return [f"Parameters that no scheme draws keep their values, such as {said} of {one_line(arch.spec)}."]
    return []


def own_hint(arch: Architecture, failure: Invalid) -> str:
    """What may be wrong where a network of a user's own cannot be run; nothing where it can."""
    fits = arch.space != OWN or failure.kind is not FailureKind.NETWORK
    return "" if fits else "; networks that take other images need probe.input_size and probe.channels set"


def _sizes(network: nn.Module) -> list[int]:
    """What a network says of the size of its images, then the usual ones."""
    said: list[Any] = [getattr(network, name, None) for name in ("in_size", "image_size", "img_size", "input_size")]
    for name in ("default_cfg", "pretrained_cfg"):
        card = getattr(network, name, None)
        said.append(card.get("input_size") if isinstance(card, dict) else None)
    found = [value[-1] if isinstance(value, tuple | list) and value else value for value in said]
    sizes = [value for value in found if isinstance(value, int) and value is not True and 1 <= value <= 4096]
    return list(dict.fromkeys([*sizes, *SIZES]))


def _channels(network: nn.Module) -> list[int]:
    """Channels that the first convolution of a network takes, then colour and grey."""
    declared: list[Any] = [getattr(module, "in_channels", None) for module in network.modules()]
    first = next((channels for channels in declared if isinstance(channels, int)), 3)
    return list(dict.fromkeys(channels for channels in (first, 3, 1) if channels in (1, 3)))


def _logits(network: nn.Module, size: int, channels: int) -> Tensor | str:
    """What a network returns for two images of zeros, or why it does not."""
    try:
        network = with_shapes(network, (channels, size, size), 0)
        with torch.no_grad():
            return forward(network, torch.zeros(2, channels, size, size), copied_state(network))
    except (EznasError, MemoryError) as error:
        return str(error)


def covariates_of(architectures: Sequence[Architecture], conditions: Conditions) -> Covariates:
    """Parameters, multiply-accumulates and complexity level of networks; no score is needed for these.

    In closed form where the space has one, else of the built networks. Levels are the space's own, else five groups by
    MACs.

    Raises:
        CaptureError: if a network must be built for it and cannot be run.
    """
    sizes = [counted(arch, conditions) for arch in architectures]
    return covariates_from(architectures, sizes, conditions.search_space)


def covariates_from(
    architectures: Sequence[Architecture], sizes: Sequence[tuple[int, int]], space: SearchSpace[Any]
) -> Covariates:
    """`covariates_of` networks whose parameters and multiply-accumulates are known."""
    macs = np.array([max(n, 1) for _, n in sizes], dtype=np.float64)
    levels = [space.level(arch) for arch in architectures]
    known = [level for level in levels if level is not None]
    return Covariates(
        log_parameters=np.log([max(n, 1) for n, _ in sizes]),
        log_macs=np.log(macs),
        levels=np.array(known) if len(known) == len(levels) else quintiles(macs),
    )


def counted(arch: Architecture, conditions: Conditions) -> tuple[int, int]:
    """Parameters and multiply-accumulates per image of one network.

    Raises:
        CaptureError: if it must be built for it and cannot be run.
    """
    space = conditions.search_space
    if space.counts is not None:
        found = space.counts(arch, conditions.settings, conditions.input_size)
        return found.parameters, found.macs
    network = conditions.network(arch)
    inputs, _ = conditions.batch(conditions.batch_size)
    of_network = counts(network, inputs)
    return int(of_network["parameter_count"]), int(of_network["mac_count"])
