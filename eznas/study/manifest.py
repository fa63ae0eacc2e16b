"""The record of what a run was made with, kept beside its results and compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eznas.config import recorded_settings
from eznas.evolution.run_folder import FORMAT, VERSION
from eznas.statistics import tensor_digest
from eznas.study.problem import Problem

DECISIVE = ("eznas", "torch", "numpy", "scipy", "deap")
"""Packages on whose versions the numbers of a run depend."""


def make_manifest(problem: Problem) -> dict[str, Any]:
    labels = {
        part: [[task.dataset, task.split.value, task.accuracies.tolist()] for task in problem.tasks(part)]
        for part in ("evolve", "select", "report")
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "created": _now(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": _versions(),
        "history": [],
        "platform": f"{platform.system()} {platform.machine()}",
        **recorded_settings(problem.config),
        "seed": problem.config.seed,
        "benchmark": {"name": problem.benchmark.name, "provenance": problem.benchmark.provenance},
        "learn_split": problem.learn_split.value,
        "labels_digest": _digest(labels),
        "images": problem.images,
        "images_digest": tensor_digest(problem.conditions.inputs),
        "capture": asdict(problem.capture_settings()),
        "networks": {part: [a.spec for a in getattr(problem.parts, part)] for part in ("evolve", "select", "report")},
    }


def version_changes(manifest: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The packages that a run was last worked on with in another version than this one: both versions by name."""
    history = manifest.get("history") or [manifest]
    before, now = history[-1]["versions"], _versions()
    return {
        name: (before.get(name, "not installed"), now[name])
        for name in DECISIVE
        if before.get(name, "not installed").partition("+")[0] != now[name].partition("+")[0]
    }


def with_versions_noted(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a run that goes on with the versions of this machine."""
    entry = {"resumed": _now(), "versions": _versions()}
    return {**manifest, "history": [*manifest.get("history", []), entry]}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("eznas", "torch", "numpy", "scipy", "deap", "ray", "sympy", "analog-nasbench"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _digest(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
