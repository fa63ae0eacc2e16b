"""eznas: discover zero-cost proxies for neural architecture search.

    study = eznas.evolve("experiments/quickstart.toml")
    study.best.score(network, images)

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eznas.api import Discovery, evolve, extend, resume
    from eznas.errors import EznasError
    from eznas.proxies import Proxy
    from eznas.runs.config import RunConfig, load_config
    from eznas.study import Machine, Silent, Study, load_proxy

_HOMES = {
    "Discovery": "eznas.api",
    "EznasError": "eznas.errors",
    "Machine": "eznas.study",
    "Proxy": "eznas.proxies",
    "RunConfig": "eznas.runs.config",
    "Silent": "eznas.study",
    "Study": "eznas.study",
    "evolve": "eznas.api",
    "extend": "eznas.api",
    "load_config": "eznas.runs.config",
    "load_proxy": "eznas.study",
    "resume": "eznas.api",
}

__all__ = [
    "Discovery", "EznasError", "Machine", "Proxy", "RunConfig", "Silent", "Study", "evolve", "extend",
    "load_config", "load_proxy", "resume",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
