"""The same proxy gives the same number by every way out, on networks of a search space and on networks of one's own.

The ways: the run's own table of scores, ``RUN:ID`` and a stored file on the command line, a stored file, the gallery
and the run in Python, an exported file where there is nothing but torch, and a copy in another process.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import eznas
from eznas.cli import main
from eznas.conditions import Conditions
from eznas.fitness import Fitness, TaskFitness
from eznas.programs import Program, parse
from eznas.proxies import ProgramProxy, Proxy, RankAggregate, proxy_from_json
from eznas.runs import Candidate, RunFolder, SearchState
from eznas.runs.config import config_from
from eznas.runs.manifest import MANIFEST, Manifest
from eznas.simplification import Outcome, Simplification
from eznas.spaces import Architecture
from eznas.study import Problem, Silent, Study, prepare, single_threaded
from eznas.study.machine import Machine
from eznas.study.measure import measure
from eznas.workers import LocalPool
from tests.conformance import zoo

Floats = npt.NDArray[np.float64]
PROJECT = Path(__file__).parents[2]
DISCOVERED: Mapping[str, tuple[str, int]] = {
    "noise": ("(sum_layers (frobenius_norm activation_output_grad.noise))", -1),
    "perturbed": ("(mean_layers (mean_abs convolution_input.perturbed))", 1),
    "weights": ("(sum_layers (frobenius_norm weight))", 1),
    "kernel": ("(log_abs_determinant (sum_layers (agreement_kernel activation_input.data)))", 1),
    "labelled": ("(sum_layers (sum (abs (multiply weight weight_grad.labelled))))", -1),
    "counts": ("(subtract unit_count (log mac_count))", -1),
    "metrics": ("(add (multiply unit_count metric.naswot) (log metric.snip))", 1),
}
"""Text and direction of what the runs found: noise, layers, classes, words for the network as a whole, and scores of
published estimators."""
PUBLISHED = ("naswot_units", "l2_norm_program", "snip_program", "naswot", "snip", "zico", "parameter_count")
"""Programs with layers of their own, which are not those of the run; programs and estimators that look at classes."""
UNITS = {"space": "all", "own": "convolutional"}
"""The layers that programs of each run read."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, and what is needed to score its networks without it."""

    folder: Path
    problem: Problem
    _known: dict[str, Any] = field(default_factory=dict)

    @property
    def study(self) -> Study:
        return Study(self.folder)

    @property
    def conditions(self) -> Conditions:
        return self.problem.families[0].conditions

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """The held-out networks."""
        return self.problem.families[0].networks("report")

    @property
    def ids(self) -> dict[str, str]:
        """Of each proxy by what it is called above."""
        discovered = {name: parse(text).canonical.digest for name, (text, _) in DISCOVERED.items()}
        return {**discovered, **{name: name for name in PUBLISHED}}

    def networks(self) -> list[nn.Module]:
        return [self.conditions.network(arch) for arch in self.architectures]

    def batch(self) -> tuple[Tensor, Tensor]:
        """What programs and estimators see alike."""
        assert self.conditions.batch_size == self.conditions.estimator_batch_size
        return self.conditions.batch(self.conditions.batch_size)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What was made the first time."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]


def _unchanged(programs: list[Program], **_: float) -> list[Simplification]:
    return [Simplification(program=p, candidate=None, outcome=Outcome.UNCHANGED, seconds=0.0) for p in programs]


def _state() -> SearchState:
    """A search that found the programs, no two alike, none better than another."""
    found = {}
    for place, (text, direction) in enumerate(DISCOVERED.values()):
        program = parse(text).canonical
        task = TaskFitness(
            task="x", tau=0.1 + place / 100, rho=0.1, n=5, n_failed=0, standard_error=0.1, share_tied=0.0
        )
        fitness = Fitness(
            tasks=(task,), direction=direction, correlation=task.tau, size=program.size, cost=1.0,
            values=(task.tau, -float(program.size), -1.0),
        )  # fmt: skip
        found[program.digest] = Candidate(program=program, fitness=fitness, generation=0, operator="random", parents=())
    return SearchState(generation=0, candidates=found)


def _finished(folder: Path, settings: dict[str, Any]) -> Run:
    """A run whose search found the programs above and whose front holds them all."""
    settings |= {
        "seed": 5,
        "report": {
            "baselines": PUBLISHED, "baseline_batch_size": 4, "bootstrap": 100, "badge_networks": 0,
            "front_size": len(DISCOVERED),
        },
    }
    problem = prepare(config_from(settings))
    made = RunFolder.create(folder)
    made.replace(MANIFEST, Manifest().model_dump_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eznas.study.measure.simplify", _unchanged)
        patch.setattr("eznas.study.measure.choose_front", lambda c, *_, **__: (list(c), c[0].id))
        measure(made, problem, _state(), LocalPool(), Silent(), machine=Machine())
    return Run(folder, problem)


@pytest.fixture(scope="module", autouse=True)
def _as_runs_work() -> Iterator[None]:
    """On one thread, with nothing but the packages."""
    with single_threaded(), pytest.MonkeyPatch.context() as patch:
        patch.delenv("EZNAS_DATA", raising=False)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, _as_runs_work: None) -> dict[str, Run]:
    """On networks of a search space, whose programs read all layers, and on networks of one's own."""
    folder = tmp_path_factory.mktemp("runs")
    accuracies = folder / "zoo.csv"
    accuracies.write_text("name,accuracy\n" + "".join(f"n{i},{50 + 7 * i % 11 + i / 10}\n" for i in range(zoo.N)))
    shared = {"batch_size": 4, "input_size": 8}
    space = _finished(folder / "space", {
        "benchmark": {"name": "nb201", "n_evolve": 5, "n_select": 5, "n_report": 5},
        "networks": {"channels": 4},
        "probe": {**shared, "units": UNITS["space"]},
    })  # fmt: skip
    own = _finished(folder / "own", {
        "benchmark": {
            "name": f"python:{zoo.__name__}:networks", "accuracies": str(accuracies), "folds": "none", "n_evolve": 5,
            "n_select": 5, "n_report": 5,
        },
        "probe": {**shared, "channels": 3, "units": UNITS["own"]},
    })  # fmt: skip
    return {"space": space, "own": own}


@pytest.fixture(params=UNITS)
def run(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


# The ways out ---------------------------------------------------------------------------------------------------------


def recorded(run: Run) -> dict[str, Floats]:
    """The run's own table."""
    with (run.folder / "report_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == [arch.spec for arch in run.architectures]
    return {name: np.array([float(row[column]) for row in rows]) for name, column in run.ids.items()}


def command(*arguments: str) -> str:
    """What a command prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*arguments]) == 0
    return out.getvalue()


def printed(run: Run, proxies: Mapping[str, str], *options: str) -> dict[str, Floats]:
    """Scores on the command line of proxies by what they are called there."""
    path = run.folder / "networks.txt"
    path.write_text("".join(f"{arch.space}:{arch.spec}\n" for arch in run.architectures))
    asked = ["score", *proxies.values(), "--networks", f"@{path}", "--format", "json", "-q", *options]
    rows = json.loads(command(*asked))
    assert [row["network"] for row in rows] == [arch.spec for arch in run.architectures]
    columns = [name for name in rows[0] if name not in ("index", "network", "failed", "coverage")]
    assert not any(row["failed"] for row in rows)
    return {name: np.array([row[column] for row in rows]) for name, column in zip(proxies, columns, strict=True)}


def by_run(run: Run) -> dict[str, Floats]:
    """``RUN:ID``, all in one command."""
    return printed(run, {name: f"{run.folder}:{proxy_id}" for name, proxy_id in run.ids.items()})


def by_run_alone(run: Run) -> dict[str, Floats]:
    """``RUN:ID``, each in a command of its own."""
    return {name: printed(run, {name: f"{run.folder}:{proxy_id}"})[name] for name, proxy_id in run.ids.items()}


def files(run: Run) -> dict[str, Path]:
    """What ``eznas export --to json`` writes."""

    def write() -> dict[str, Path]:
        folder = run.folder.parent / f"{run.folder.name}_gallery" / "gallery"
        folder.mkdir(parents=True)
        for name, proxy_id in run.ids.items():
            command("export", str(run.folder), proxy_id, "--to", "json", "-o", str(folder / f"{name}.json"))
        return {name: folder / f"{name}.json" for name in run.ids}

    found: dict[str, Path] = run.once("files", write)
    return found


def by_file(run: Run) -> dict[str, Floats]:
    """Stored files on the command line."""
    return printed(run, {name: str(path) for name, path in files(run).items()})


def by_gallery(run: Run) -> dict[str, Floats]:
    """``gallery:NAME``, of a gallery that holds these files."""
    shown = files(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eznas.proxies.named.files", lambda _: next(iter(shown.values())).parents[1])
        return printed(run, {name: f"gallery:{name}" for name in shown})


def in_python(run: Run, proxies: Mapping[str, Proxy]) -> dict[str, Floats]:
    inputs, targets = run.batch()
    return {
        name: np.array([proxy.score(network, inputs, targets) for network in run.networks()])
        for name, proxy in proxies.items()
    }


def by_study(run: Run) -> dict[str, Floats]:
    """The proxies that a notebook takes from a run."""
    return in_python(run, {name: run.study.proxy(proxy_id) for name, proxy_id in run.ids.items()})


def by_loading(run: Run) -> dict[str, Floats]:
    """The stored files, read in Python, where no conditions stand beside."""
    return in_python(run, {name: eznas.load_proxy(path) for name, path in files(run).items()})


def _scores_there(packed: bytes) -> dict[str, list[float]]:
    """In another process."""
    torch.set_num_threads(1)
    proxies, networks, inputs, targets = pickle.loads(packed)
    return {name: [p.score(network, inputs, targets) for network in networks] for name, p in proxies.items()}


def pickled(run: Run, proxies: Mapping[str, Proxy]) -> dict[str, Floats]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_scores_there, (pickle.dumps((dict(proxies), run.networks(), *run.batch())),))
    return {name: np.array(scores) for name, scores in found.items()}


def by_pickle(run: Run) -> dict[str, Floats]:
    """Copies in another process."""
    return pickled(run, {name: run.study.proxy(proxy_id) for name, proxy_id in run.ids.items()})


def self_contained(run: Run) -> list[str]:
    """Programs that a file of their own can hold: all but those that read scores of published estimators."""
    proxies = {name: run.study.proxy(proxy_id) for name, proxy_id in run.ids.items()}
    return [name for name, one in proxies.items() if isinstance(one, ProgramProxy) and not one.program.metrics]


def by_exported_python(run: Run) -> dict[str, Floats]:
    """Exported files, each program's, where there is nothing but torch."""
    folder = run.folder.parent / f"{run.folder.name}_exported"
    folder.mkdir(exist_ok=True)
    programs = self_contained(run)
    for name in programs:
        path = folder / f"exported_{name}.py"
        command("export", str(run.folder), run.ids[name], "--to", "python", "-o", str(path))
    (folder / "batch.pickle").write_bytes(pickle.dumps((run.networks(), *run.batch(), programs)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EZNAS"))}
    script = Path(__file__).with_name("isolated.py")
    asked = [sys.executable, "-I", str(script), str(PROJECT), str(folder)]
    done = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    scores = json.loads((folder / "scores.json").read_text())
    return {name: np.array(values) for name, values in scores.items()}


WAYS = (by_run, by_run_alone, by_file, by_gallery, by_study, by_loading, by_pickle, by_exported_python)


def taken(run: Run, way: Callable[[Run], dict[str, Floats]]) -> dict[str, Floats]:
    """The scores by one way, which is gone once."""
    found: dict[str, Floats] = run.once(way.__name__, lambda: way(run))
    return found


# The same number ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_out_gives_the_score_of_the_run(run: Run, way: Callable[[Run], dict[str, Floats]]) -> None:
    expected, found = recorded(run), taken(run, way)
    assert set(found) == (set(self_contained(run)) if way is by_exported_python else set(expected))
    for name, scores in found.items():
        np.testing.assert_allclose(scores, expected[name], rtol=2e-6, err_msg=name)


def test_ways_that_do_the_same_work_agree_to_the_last_bit(run: Run) -> None:
    assert set(taken(run, by_study)) - set(self_contained(run)) >= {"metrics"}
    for first, others in {by_run: (by_file, by_gallery), by_study: (by_loading, by_pickle, by_exported_python)}.items():
        expected = taken(run, first)
        for way in others:
            for name, scores in taken(run, way).items():
                assert scores.tolist() == expected[name].tolist(), (way.__name__, name)


def test_the_cases_tell_apart_what_determines_a_score(run: Run) -> None:
    """Another seed, other layers or the other direction would be seen; so that the tests above say something."""
    inputs, targets = run.batch()
    (network, *_) = run.networks()
    other = {"all": "convolutional", "convolutional": "all"}
    depends = {}
    for name in DISCOVERED:
        document = json.loads(files(run)[name].read_text())
        scores = []
        turned = -document["proxy"]["direction"]
        for change in ({}, {"seed": None}, {"units": other[run.conditions.units]}, {"direction": turned}):
            changed = json.dumps({**document, "proxy": {**document["proxy"], **change}})
            scores.append(proxy_from_json(changed).proxy.score(network, inputs, targets))
        depends[name] = tuple(score != scores[0] for score in scores[1:])
    is_noisy = ("noise", "perturbed")
    assert depends == {name: (name in is_noisy, True, True) for name in DISCOVERED}
    of_known = {name: json.loads(files(run)[name].read_text())["proxy"]["units"] for name in PUBLISHED[:3]}
    assert of_known == {"naswot_units": "convolutional", "l2_norm_program": "all", "snip_program": "all"}
    for name, units in of_known.items():
        proxy = run.study.proxy(name)
        assert isinstance(proxy, ProgramProxy)
        assert proxy.units == units
        turned = ProgramProxy(name=name, program=proxy.program, units=other[units], seed=proxy.seed)
        assert turned.score(network, inputs, targets) != proxy.score(network, inputs, targets), name


def test_the_same_score_twice_and_nobody_s_draws_change(run: Run) -> None:
    inputs, targets = run.batch()
    network = run.networks()[-1]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for name, proxy_id in run.ids.items():
        proxy = run.study.proxy(proxy_id)
        torch.manual_seed(len(name))
        state = torch.get_rng_state()
        first = proxy.score(network, inputs, targets)
        assert torch.equal(torch.get_rng_state(), state), name
        torch.manual_seed(0)
        assert proxy.score(network, inputs, targets) == first, name
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# Aggregates -----------------------------------------------------------------------------------------------------------


def test_an_aggregate_gives_the_same_number_by_every_way_out(run: Run) -> None:
    """Of a program with noise, one that reads the layers of the run, one with layers of its own, and an estimator."""
    path = run.folder.parent / f"{run.folder.name}_aggregate" / "gallery" / "whole.json"
    path.parent.mkdir(parents=True)
    networks = run.folder / "networks.txt"
    networks.write_text("".join(f"{arch.space}:{arch.spec}\n" for arch in run.architectures))
    names = ("noise", "weights", "l2_norm_program", "naswot")
    text = "+".join(f"{run.folder}:{run.ids[name]}" for name in names)
    command("aggregate", text, "--reference", f"@{networks}", "-o", str(path), "-q")
    loaded = eznas.load_proxy(path)
    assert isinstance(loaded, RankAggregate)
    assert loaded.conditions == run.conditions
    known = recorded(run)
    expected = loaded.scores(np.stack([taken(run, by_study)[name] for name in names]))
    assert len(set(expected.tolist())) > 2
    np.testing.assert_allclose(loaded.reference.scores, np.sort([known[name] for name in names], axis=1), rtol=2e-6)
    ways = {
        "file": printed(run, {"whole": str(path)}),
        "with others": {"whole": printed(run, {"other": f"{run.folder}:best", "whole": str(path)})["whole"]},
        "python": in_python(run, {"whole": loaded}),
        "pickle": pickled(run, {"whole": loaded}),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eznas.proxies.named.files", lambda _: path.parents[1])
        ways["gallery"] = printed(run, {"whole": "gallery:whole"})
    for way, found in ways.items():
        np.testing.assert_allclose(found["whole"], expected, rtol=1e-9, err_msg=way)
