"""What Python is given to run: `evolve`, `resume`, `extend` and `Discovery`, which show how they go on.

They are those of `eznas.study`, which say nothing unless an observer is given. Here, without one, a terminal and a
notebook show how far a run is; `eznas.Silent()` as the observer is silence everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec

from torch import nn

from eznas import study
from eznas.errors import ConfigError
from eznas.progress import make_observer
from eznas.proxies import ProgramProxy
from eznas.runs.config import RunConfig
from eznas.study import Machine, Observer, Study

P = ParamSpec("P")


def _watched(work: Callable[P, Study]) -> Callable[P, Study]:
    """The same work, shown as it goes on where it is given no observer and there is a terminal or a notebook."""

    @wraps(work)
    def call(*positional: P.args, **named: P.kwargs) -> Study:
        if named.get("observer") is not None:
            return work(*positional, **named)
        with make_observer(quiet=False, plainly=False) as observer:
            named["observer"] = observer
            return work(*positional, **named)

    call.__module__ = __name__
    return call


evolve = _watched(study.evolve)
resume = _watched(study.resume)
extend = _watched(study.extend)

_PARAMETERS: Final = ("config", "images", "run_dir", "machine", "observer")


class Discovery:
    """Finds a proxy for networks with accuracies, and scores other networks with it: `evolve` in the shape of
    scikit-learn's estimators, settings first, then `fit`, then `score`.

    Args:
        config: settings, or the path of a TOML file with them; None takes the defaults.
        images: (images, classes) to excite networks with, (batch, channels, height, width) and (batch,); None draws
            those that the settings name.
        run_dir: a new or empty folder for the run; None makes one under ``runs/``.
        machine: workers, device, cache.
        observer: told how it goes on; None shows it in a terminal or a notebook, `eznas.Silent()` nowhere.

    Attributes:
        study_: the run, once it is fitted.
    """

    study_: Study

    def __init__(
        self,
        config: RunConfig | Path | str | None = None,
        *,
        images: Any = None,
        run_dir: Path | str | None = None,
        machine: Machine | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.config = config
        self.images = images
        self.run_dir = run_dir
        self.machine = machine
        self.observer = observer

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name, as scikit-learn asks for them; `deep` changes nothing."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **parameters: Any) -> Discovery:
        """Change settings by name.

        Raises:
            ConfigError: if one is unknown.
        """
        unknown = [name for name in parameters if name not in _PARAMETERS]
        if unknown:
            raise ConfigError(f"Discovery has no parameter {unknown[0]!r}; it has {', '.join(_PARAMETERS)}")
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def fit(self, networks: Any, accuracies: Any) -> Discovery:
        """Evolve proxies on these networks, as `eznas.evolve` takes them.

        Raises:
            EznasError: with one readable sentence.
        """
        self.study_ = evolve(
            self.config, networks=networks, accuracies=accuracies, images=self.images, run_dir=self.run_dir,
            machine=self.machine, observer=self.observer,
        )  # fmt: skip
        return self

    @property
    def best_(self) -> ProgramProxy:
        """The proxy that was chosen.

        Raises:
            ConfigError: before `fit`.
            RunError: if the run found none.
        """
        if not hasattr(self, "study_"):
            raise ConfigError("This Discovery has no proxy yet; call fit(networks, accuracies) first")
        return self.study_.best

    def score(self, network: nn.Module, images: Any = None) -> float:
        """Score of a network; higher predicts a higher accuracy.

        Args:
            network: maps the images to logits.
            images: (batch, channels, height, width); None takes the images that the proxy was found with.

        Raises:
            ConfigError: before `fit`.
            ScoreError: if it cannot be scored.
        """
        proxy = self.best_
        if images is not None:
            return proxy.score(network, images)
        if self.images is not None:
            return proxy.score(network, *self.images)
        conditions = self.study_.result.learnt[0].conditions
        return proxy.score(network, *conditions.batch(conditions.batch_size))
