"""The record of what a run was made with, kept beside its results and compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eznas.runs.folder import FORMAT, VERSION
from eznas.statistics import tensor_digest
from eznas.study.problem import Problem


def make_manifest(problem: Problem) -> dict[str, Any]:
    labels = {
        part: [[task.dataset, task.split.value, task.accuracies.tolist()] for task in problem.tasks(part)]
        for part in ("evolve", "select", "report")
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": _versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "seed": problem.config.seed,
        "benchmark": {"name": problem.benchmark.name, "provenance": problem.benchmark.provenance},
        "learn_split": problem.learn_split.value,
        "labels_digest": _digest(labels),
        "images": problem.images,
        "images_digest": tensor_digest(problem.conditions.inputs),
        "capture": asdict(problem.capture_settings()),
        "networks": {part: [a.spec for a in getattr(problem.parts, part)] for part in ("evolve", "select", "report")},
    }


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
