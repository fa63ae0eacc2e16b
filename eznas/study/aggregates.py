"""Aggregates and settings: what a reference records of them, and the settings that follow from a record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from eznas.errors import ConfigError
from eznas.fitness.aggregation import sorted_reference
from eznas.proxies import Member, RankAggregate, Recipe, Reference, ReferenceConditions
from eznas.proxies.aggregate_file import MAX_NETWORKS, MAX_TEXT
from eznas.runs.config import RunConfig, config_from
from eznas.scoring import Conditions
from eznas.spaces import Architecture
from eznas.statistics import tensor_digest


def reference_conditions(config: RunConfig, conditions: Conditions, images: str) -> ReferenceConditions:
    """What a reference records of the settings it was scored under.

    Args:
        config: the settings.
        conditions: what they mean on this machine's data; so does `images`, the source of the batches.
    """
    return ReferenceConditions(
        networks=config.networks.model_dump(mode="json", exclude={"space"}),
        seed=config.seed,
        probe_seed=conditions.seed,
        images=images,
        input_size=config.probe.input_size,
        batch_size=len(conditions.inputs),
        images_digest=tensor_digest(conditions.inputs),
        estimator_batch_size=len(conditions.estimator_inputs),
        estimator_images_digest=tensor_digest(conditions.estimator_inputs),
    )


def config_of(recorded: ReferenceConditions) -> RunConfig:
    """The settings under which scores are comparable with a reference.

    Raises:
        ConfigError: if a recorded value is not one that the setting can have.
    """
    table = {
        "seed": recorded.seed,
        "networks": dict(recorded.networks),
        "probe": {name: getattr(recorded, name) for name in ("images", "batch_size", "input_size")},
        "report": {"baseline_batch_size": recorded.estimator_batch_size},
    }
    return config_from(table, where="the reference of an aggregate")


def check_conditions(name: str, aggregate: RankAggregate, here: ReferenceConditions) -> None:
    """Refuse to rank scores among those of a reference that was made under other conditions.

    Args:
        name: what the user called the aggregate.
        aggregate: with its reference.
        here: what networks are about to be scored under.

    Raises:
        ConfigError: if the two differ; names what differs.
    """
    recorded, found = (_flat(conditions) for conditions in (aggregate.reference.conditions, here))
    different = [key for key in {**recorded, **found} if recorded.get(key) != found.get(key)]
    if different:
        what = ", ".join(f"{key} {recorded.get(key)}, here {found.get(key)}" for key in different[:3])
        raise ConfigError(
            f"{name} ranks among {aggregate.reference.n} networks scored under other conditions ({what}); leave out "
            "--set or the proxies of other runs, or make a reference under these with eznas aggregate"
        )


def _flat(conditions: ReferenceConditions) -> dict[str, object]:
    values = asdict(conditions)
    return {**values.pop("networks"), **values}


def check_space(name: str, aggregate: RankAggregate, architectures: Sequence[Architecture]) -> None:
    """Refuse to rank networks among those of another search space.

    Raises:
        ConfigError: if one is of another.
    """
    space = aggregate.reference.space
    other = next((arch.space for arch in architectures if arch.space != space), None)
    if other is not None:
        raise ConfigError(
            f"{name} ranks among networks of {space}, but --networks names some of {other}; make a reference of those "
            "with eznas aggregate"
        )


def with_reference(
    recipe: Recipe,
    members: Sequence[Member],
    architectures: Sequence[Architecture],
    scores: np.ndarray,
    conditions: ReferenceConditions,
    networks: str,
) -> RankAggregate:
    """The aggregate of a recipe, with the networks that were scored as its reference.

    Args:
        recipe: names, weights and mode.
        members: the proxies of those names.
        architectures: of the reference, of one search space.
        scores: (n_members, n_networks) in the direction of each member; not finite where it failed.
        conditions: what they were scored under.
        networks: what the user called them.

    Raises:
        ConfigError: if there are fewer than two networks or too many, they are of several spaces, or a member failed
            on all of them.
    """
    spaces = sorted({arch.space for arch in architectures})
    if not 2 <= len(architectures) <= MAX_NETWORKS or len(spaces) > 1:
        raise ConfigError(
            f"A reference is 2 to {MAX_NETWORKS} networks of one search space, got {len(architectures)} of "
            f"{', '.join(spaces)}"
        )
    for member, row in zip(members, scores, strict=True):
        if not np.isfinite(row).any():
            raise ConfigError(
                f"{member.name!r} failed on every network of the reference {networks[:200]}; leave it out, or choose "
                "other networks"
            )
    digest = hashlib.sha256("\n".join(arch.spec for arch in architectures).encode()).hexdigest()
    return RankAggregate(
        name=recipe.name,
        members=tuple(members),
        weights=tuple(weight for _, weight in recipe.terms),
        mode=recipe.mode,
        reference=Reference(
            networks=networks if len(networks) <= MAX_TEXT else f"{len(architectures)} networks",
            space=spaces[0],
            digest=digest,
            conditions=conditions,
            scores=sorted_reference(scores),
        ),
    )
