"""What a finished run gives to hold: the study, and its proxies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from eznas.errors import RunError
from eznas.evaluation import Invalid, evaluate
from eznas.evolution import RunFolder
from eznas.programs import Program, load_directed
from eznas.proxies import Member, RankAggregate, is_aggregate_file, load_aggregate
from eznas.statistics import capture

if TYPE_CHECKING:
    from eznas.reporting import Entry


@dataclass(frozen=True, slots=True)
class Proxy:
    """A discovered or published proxy of a run, ready to score networks.

    Attributes:
        entry: its row of the front.
        run_dir: the run it belongs to.
    """

    entry: Entry
    run_dir: Path

    @property
    def id(self) -> str:
        """Digest of its program, or its published name."""
        return str(self.entry.id)

    @property
    def program(self) -> Program:
        """Its program, simplified where that was certified."""
        program = self.entry.formula
        if program is None:
            raise RunError(f"Proxy {self.id!r} is not a program; score it by name with eznas score {self.id}")
        return program

    def score(self, module: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
        """Score of a network as it is, on a batch of images; higher predicts a higher accuracy.

        Args:
            module: maps `inputs` to logits; left as found.
            inputs: (batch, channels, height, width) float32.
            targets: (batch,) class of each image, for a program that looks at classes.

        Raises:
            CaptureError: if the network cannot be run, or classes are needed and absent.
            RunError: if the program has no finite value on this network; says where and why.
        """
        settings = RunFolder.open(self.run_dir).manifest()["capture"]
        program = self.program
        shown = capture(
            module,
            inputs,
            seed=int(settings["seed"]),
            statistics=program.layer_statistics,
            targets=targets,
            units=settings.get("units", "convolutional"),
        )
        outcome = evaluate(program, shown)
        if isinstance(outcome, Invalid):
            raise RunError(f"Proxy {self.id} has no finite score: {outcome.describe(program)}")
        return float(self.entry.direction * outcome)

    def to_python(self) -> str:
        """One Python file that needs torch alone."""
        return self._export("python")

    def to_json(self) -> str:
        """The program file that `load_proxy` and ``eznas score`` read."""
        return self._export("json")

    def to_latex(self) -> str:
        """The formula."""
        return self._export("latex")

    def to_sympy(self) -> str:
        """The SymPy expression as text."""
        return self._export("sympy")

    def _export(self, target: str) -> str:
        from eznas import reporting

        program = self.program
        match target:
            case "json":
                return reporting.export_json(program, direction=self.entry.direction)
            case "latex":
                return reporting.export_latex(program)
            case "sympy":
                return reporting.export_sympy(program)
        folder = RunFolder.open(self.run_dir)
        capture = folder.manifest()["capture"]
        settings = reporting.ScoringSettings(
            scheme=capture["scheme"],
            initialisation_seed=capture["seed"],
            probe_seed=capture["seed"],
            batch="{batch_size} {images} images of {input_size} x {input_size}".format(**capture),
            units=capture.get("units", "convolutional"),
        )
        front = reporting.load_front(self.run_dir)
        card = reporting.proxy_card(front, self.entry)
        return reporting.export_python(program, direction=self.entry.direction, settings=settings, card=card)


@dataclass(frozen=True, slots=True)
class Study:
    """A run folder, read back.

    Attributes:
        run_dir: the folder.
    """

    run_dir: Path

    @property
    def is_finished(self) -> bool:
        """Whether the run has a front; an interrupted run goes on with `resume`."""
        return (self.run_dir / "front.json").is_file()

    @property
    def front(self) -> tuple[Proxy, ...]:
        """The discovered proxies, best on the selection networks first.

        Raises:
            RunError: if the run is not finished.
        """
        from eznas.reporting import load_front

        return tuple(Proxy(e, self.run_dir) for e in load_front(self.run_dir).entries if e.kind == "discovered")

    @property
    def best(self) -> Proxy:
        """The proxy chosen on the selection networks.

        Raises:
            RunError: if the run is not finished.
        """
        return next(proxy for proxy in self.front if proxy.entry.is_pick)

    def proxy(self, proxy_id: str) -> Proxy:
        """The proxy of that id (or its beginning), or the published one of that name.

        Raises:
            RunError: if there is none.
        """
        from eznas.reporting import load_front

        return Proxy(load_front(self.run_dir).entry(proxy_id), self.run_dir)


def load_proxy(path: Path | str) -> RankAggregate | Member:
    """The proxy in an exported JSON file: an aggregate with its reference, or a program with its direction.

    Either has ``score(network, inputs, targets=None) -> float``; a program also has ``program``.

    Raises:
        ProgramError: if it is neither.
    """
    path = Path(path)
    if is_aggregate_file(path):
        return load_aggregate(path)
    program, direction = load_directed(path)
    return Member(name=path.name, direction=direction, program=program)
