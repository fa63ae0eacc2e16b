"""Scores networks with exported files where neither this project nor anything it needs beside torch can be imported.

    python -I isolated.py PROJECT WORK: reads WORK/batch.pickle and WORK/exported_*.py, leaves WORK/scores.json

The project is on the path while the networks are unpickled, which are instances of its classes, and gone afterwards.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

FORBIDDEN = ("eznas", "primitives", "scipy", "sklearn", "pydantic", "sympy", "deap", "ray", "safetensors", "jaxtyping")


class Refusal:
    """Finds nothing of what is forbidden, and says so."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} is not to be imported here")


def score_all(project: str, work: Path) -> None:
    import torch

    torch.set_num_threads(1)
    sys.path.insert(0, project)
    networks, inputs, targets, names = pickle.loads((work / "batch.pickle").read_bytes())
    sys.path.remove(project)
    for name in [*sys.modules]:
        if name.partition(".")[0] in FORBIDDEN:
            del sys.modules[name]
    sys.meta_path.insert(0, Refusal())  # type: ignore[arg-type]
    sys.path.insert(0, str(work))
    scores = {}
    for name in names:
        exported = importlib.import_module(f"exported_{name}")
        scores[name] = [exported.score(network, inputs, targets) for network in networks]
    (work / "scores.json").write_text(json.dumps(scores))


if __name__ == "__main__":
    score_all(sys.argv[1], Path(sys.argv[2]))
