"""The record of what a run was made with, kept beside its results and compared when it is resumed."""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from eznas.benchmarks import PARTS
from eznas.digests import content_digest
from eznas.runs.config import recorded_settings
from eznas.runs.manifest import Extension, Manifest, RecordedSample, Session
from eznas.study.problem import Family, Problem

DECISIVE = ("eznas", "torch", "numpy", "scipy", "deap")
"""Packages on whose versions the numbers of a run depend."""
DEVICE = "device"
"""Entry among the versions of a run that does not work on the processor; the numbers depend on it as well."""
DATA = ("labels_digest", "networks_digest", "conditions")
"""Entries that must be the same when a run is gone on with."""


def make_manifest(problem: Problem, extends: Extension | None = None, device: str = "cpu") -> Manifest:
    """What a run is made with.

    Args:
        problem: of the run.
        device: that it works on.
        extends: the run it begins with, if it does.
    """
    return Manifest(
        created=_now(),
        command=(Path(sys.argv[0]).name, *sys.argv[1:]),
        versions=_versions(device),
        platform=f"{platform.system()} {platform.machine()}",
        **recorded_settings(problem.config),
        samples=tuple(_family(family) for family in problem.families),
        **data_of(problem),
        extends=extends,
    )


def data_of(problem: Problem) -> dict[str, Any]:
    """What the results of a run depend on beside its settings: networks by content, labels, conditions."""
    labels = {part: [[s.name, s.split.value, s.accuracies.tolist()] for s in problem.samples(part)] for part in PARTS}
    networks = [
        [family.conditions.search_space.digest(arch) for arch in family.networks(part)]
        for family in problem.families
        for part in PARTS
    ]
    return {
        "labels_digest": content_digest(labels),
        "networks_digest": content_digest([networks, [[arch.spec for arch in fold] for fold in problem.folds]]),
        "conditions": tuple(family.conditions.model_dump(mode="json") for family in problem.families),
    }


def _family(family: Family) -> RecordedSample:
    return RecordedSample(
        name=family.name,
        benchmark=family.benchmark.name,
        provenance=family.benchmark.provenance,
        datasets=tuple(family.datasets),
        splits={part: split.value for part, split in family.splits.items()},
        networks={part: tuple(arch.spec for arch in family.networks(part)) for part in PARTS},
    )


def version_changes(manifest: Manifest, device: str = "cpu") -> dict[str, tuple[str, str]]:
    """The packages that a run was last worked on with in another version than this one, and the device if that is
    another: before and now, by name."""
    before = manifest.history[-1].versions if manifest.history else manifest.versions
    now = _versions(device)
    changes = {
        name: (before.get(name, "not installed"), now[name])
        for name in DECISIVE
        if before.get(name, "not installed").partition("+")[0] != now[name].partition("+")[0]
    }
    was = before.get(DEVICE, "cpu")
    return changes if was == device else {**changes, DEVICE: (was, device)}


def with_versions_noted(manifest: Manifest, device: str = "cpu") -> Manifest:
    """The manifest of a run that goes on with the versions of this machine, on a device of it."""
    session = Session(resumed=_now(), versions=_versions(device))
    return manifest.model_copy(update={"history": (*manifest.history, session)})


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _versions(device: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("eznas", "torch", "numpy", "scipy", "deap", "ray", "sympy", "analog-nasbench"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found if device == "cpu" else {**found, DEVICE: device, **_card()}


def _card() -> dict[str, str]:
    """The graphics processor of this machine and the CUDA that torch was built for; nothing where there is none, as on
    the head of a cluster."""
    if not torch.cuda.is_available():
        return {}
    return {"graphics processor": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
