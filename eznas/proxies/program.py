"""A program as a proxy: a formula with its direction, the layers it reads, and the seed of its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from eznas.conditions import DEFAULT_UNITS, Conditions, Units, as_inputs, as_targets
from eznas.errors import CaptureError, ConfigError, ScoreError, UnfitError
from eznas.evaluation import evaluate
from eznas.fitness.objectives import kinds_needed
from eznas.programs import FailureKind, Invalid, Program, cost, to_latex
from eznas.proxies.metrics import with_metrics
from eznas.statistics import NetworkStatistics, capture, count_parameters, counts


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramProxy:
    """A formula, ready to score networks; equal ones give equal scores in every process.

    Attributes:
        name: how users and tables call it.
        program: complete.
        direction: +1 if higher values predict a higher accuracy, else -1; fixed beforehand, and in the scores.
        units: the layers it reads, one of `eznas.statistics.UNITS`; None reads what the conditions say.
        seed: of the noise and the perturbation of its probes; None takes that of the conditions.
        title: for people.
        source: paper and reading.
        equals: name of the published estimator it equals; None for one that only the language defines.
    """

    name: str
    program: Program
    direction: int = 1
    units: Units | None = None
    seed: int | None = None
    title: str = ""
    source: str = ""
    equals: str | None = None

    def __post_init__(self) -> None:
        if not self.program.is_complete:
            raise ScoreError(
                f"A proxy gives one number per network, but {self.program.text} gives {self.program.type}; aggregate "
                "it over layers, for example (mean_layers ...)"
            )
        if self.direction not in (1, -1):
            raise ScoreError(f"The direction of a proxy is 1 or -1, got {self.direction!r}; take it from the run")

    @property
    def id(self) -> str:
        """Digest of the program: equal programs have equal ids in every run."""
        return self.program.digest

    @property
    def latex(self) -> str:
        """The formula of the score, of which higher is better, as LaTeX; divisions are plain fractions in it."""
        return to_latex(self.program, direction=self.direction)

    @property
    def needs(self) -> frozenset[str]:
        """Of ``"images"``, ``"labels"`` and ``"gradients"``."""
        return frozenset(kinds_needed(self.program))

    @property
    def cost(self) -> float:
        """In forward passes, an estimate."""
        return cost(self.program)

    @property
    def reads_images(self) -> bool:
        """Whether its score depends on the batch; what a program counts does not."""
        return self.program.reads_images

    def bound(self, conditions: Conditions) -> ProgramProxy:
        """The same proxy with nothing left to the conditions: what a run reports, stores and exports."""
        return replace(
            self,
            units=self.units or conditions.units,
            seed=conditions.network_seed if self.seed is None else self.seed,
        )

    def outcome(self, network: nn.Module, inputs: Any, targets: Any = None) -> float | Invalid:
        """See `Proxy.outcome`."""
        program = self.program
        if program.needs_classes and targets is None:
            raise ConfigError(f"The program {self.name!r} looks at classes; pass targets of shape (n,)")
        try:
            shown = self.shown(network, as_inputs(inputs), as_targets(targets) if program.needs_classes else None)
        except CaptureError as error:
            kind = FailureKind.UNFIT if isinstance(error, UnfitError) else FailureKind.NETWORK
            return Invalid(kind, f"{self.name}: {error}")
        return self.of(shown)

    def shown(self, network: nn.Module, inputs: Tensor, targets: Tensor | None) -> NetworkStatistics:
        """The statistics of a network that the program reads; no pass is run for what needs none.

        Raises:
            CaptureError: if the network cannot be run on `inputs`.
        """
        return statistics_for([self], network, inputs, targets)

    def of(self, shown: NetworkStatistics) -> float | Invalid:
        """The score from statistics that were captured with its units and its seed."""
        outcome = evaluate(self.program, shown)
        return outcome if isinstance(outcome, Invalid) else self.direction * outcome

    def score(self, network: nn.Module, inputs: Any, targets: Any = None) -> float:
        """Score of a network as it is, on a batch of images; higher predicts a higher accuracy.

        Args:
            network: maps `inputs` to logits; left as found.
            inputs: (batch, channels, height, width) float32; a NumPy array will do. Published estimators among its
                leaves see the same batch; where scores are computed under conditions, they see that for estimators.
            targets: (batch,) class of each image, for a program that looks at classes; a list will do.

        Raises:
            ConfigError: if classes are needed and absent, or what is given is no batch.
            ScoreError: if there is no finite score; says where and why.
        """
        outcome = self.outcome(network, inputs, targets)
        if isinstance(outcome, Invalid):
            raise ScoreError(
                f"Proxy {self.name!r} has no score for {type(network).__name__}: {outcome.describe(self.program)}"
            )
        return outcome


def statistics_for(
    proxies: Sequence[ProgramProxy],
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    *,
    batch: tuple[Tensor, Tensor] | None = None,
) -> NetworkStatistics:
    """What several programs of the same units and seed read of a network.

    Args:
        proxies: the programs.
        network: left as found.
        inputs: (batch, channels, height, width) float32.
        targets: (batch,) class of each image, if a program looks at classes.
        batch: images and classes for the published estimators that programs read; the same as theirs by default.

    Raises:
        CaptureError: if the network cannot be run on `inputs`.
    """
    metrics = sorted({name for proxy in proxies for name in proxy.program.metrics})
    shown = _captured(proxies, network, inputs, targets)
    return with_metrics(shown, metrics, network, *(batch or (inputs, targets))) if metrics else shown


def _captured(
    proxies: Sequence[ProgramProxy], network: nn.Module, inputs: Tensor, targets: Tensor | None
) -> NetworkStatistics:
    """What the programs read of the network itself; no pass is run for what needs none."""
    first = proxies[0]
    names = {name for proxy in proxies for name in proxy.program.statistics} - {
        name for proxy in proxies for name in proxy.program.metrics
    }
    if names <= {"parameter_count"}:
        return NetworkStatistics((), {"parameter_count": float(count_parameters(network))})
    if names <= {"parameter_count", "mac_count"}:
        return NetworkStatistics((), counts(network, inputs))
    return capture(
        network,
        inputs,
        seed=first.seed or 0,
        statistics=[name for proxy in proxies for name in proxy.program.captured_statistics],
        targets=targets,
        units=first.units or DEFAULT_UNITS,
        with_macs="mac_count" in names,
    )
