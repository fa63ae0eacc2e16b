"""Runs on networks of a user's own: named or handed over, cross-fitted where they are few, explained if they fail."""

from __future__ import annotations

import csv
import json
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import kendalltau
from torch import nn

import eznas.study.run
from eznas.cli import main
from eznas.errors import ConfigError, EznasError, RunError
from eznas.programs import parse
from eznas.proxies import ProgramProxy
from eznas.runs import Journal, load_front
from eznas.runs.config import config_from, load_config
from eznas.spaces import own
from eznas.study import Given, Problem, evolve, prepare, resume
from eznas.study.measure import FoldResult
from tests.eznas.small_zoo import network, networks, write_zoo
from tests.eznas.tiny import bare_machine, result

pytestmark = pytest.mark.usefixtures("embedded_data", "nothing_simplified")
FloatArray = npt.NDArray[np.float64]
N = 26
SETTINGS = {
    "seed": "3",
    "evolution.population_size": "8",
    "evolution.initial_size": "10",
    "evolution.n_generations": "1",
    "probe.batch_size": "3",
    "report.bootstrap": "100",
    "report.front_size": "2",
    "report.badge_networks": "0",
    "report.baselines": '["mac_count"]',
}
OPTIONS = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
ACCURACIES = {
    "made_valid": np.round(50 + 20 * np.sin(np.arange(N)) + np.arange(N), 4),
    "made_test": np.round(50 + 20 * np.cos(np.arange(N)) - np.arange(N), 4),
}
ROWS = {
    name: {column: float(values[row]) for column, values in ACCURACIES.items()} for row, name in enumerate(networks(N))
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with ``zoo.py`` and ``zoo.csv``."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    write_zoo(tmp_path, ACCURACIES)
    own._family.cache_clear()
    yield tmp_path
    own._family.cache_clear()
    for name in set(sys.modules) - before:
        if "zoo" in name:
            del sys.modules[name]


def asked(status: int, *arguments: str) -> None:
    assert main([*arguments, "--quiet"]) == status


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a command that does nothing."""
    capsys.readouterr()
    assert main([*arguments, "--quiet"]) in (1, 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")
    assert "internal" not in line
    assert len(line) < 700
    return line


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, list[tuple[Problem, FoldResult]]]:
    """A cross-fitted run from Python, and what its folds said."""
    said: list[tuple[Problem, FoldResult]] = []
    pick = eznas.study.run.pick_of_fold

    def recorded(problem: Problem, *rest: Any) -> FoldResult:
        found = pick(problem, *rest)
        said.append((problem, found))
        return found

    folder = tmp_path_factory.mktemp("own")
    with bare_machine(cache) as patch:
        patch.setattr("eznas.study.run.pick_of_fold", recorded)
        evolve(load_config(None, OPTIONS[1::2]), networks=networks(N), accuracies=ROWS, run_dir=folder / "run")
    return folder / "run", said


def found(run: Path) -> list[bytes]:
    """The programs of every search of a run, with their scores."""
    places = [run, *sorted((run / "folds").iterdir())]
    return [(place / "programs.jsonl").read_bytes() for place in places]


WAYS = {
    "options": ["--networks", "python:zoo:networks", "--accuracies", "zoo.csv"],
    "settings": ["--set", "benchmark.name=python:zoo:networks", "--set", "benchmark.accuracies=zoo.csv"],
    "file": ["zoo.toml"],
}


@pytest.mark.parametrize("way", WAYS)
def test_networks_are_named_in_several_ways(
    here: Path, undisturbed: tuple[Path, object], capsys: pytest.CaptureFixture[str], way: str
) -> None:
    """All find what a run on the same networks as objects finds."""
    (here / "zoo.toml").write_text('[benchmark]\nname = "python:zoo:networks"\naccuracies = "zoo.csv"\n')
    asked(0, "evolve", *WAYS[way], *OPTIONS, "--run-dir", "run")
    assert found(here / "run") == found(undisturbed[0])
    settings = load_config(here / "run" / "config.toml").benchmark
    assert (settings.name, settings.networks, settings.accuracies) == ("python", "python:zoo:networks", "zoo.csv")
    front = load_front(here / "run")
    assert front.run.n_folds == 5
    assert [sample.name for sample in front.samples] == ["made"]
    capsys.readouterr()
    asked(0, "score", "run:best", "--networks", "python:zoo:networks#n4", "--format", "json")
    (row,) = json.loads(capsys.readouterr().out)
    assert isinstance(row["run:best"], float)


@pytest.mark.parametrize("form", ["pairs", "modules", "columns"])
def test_networks_are_handed_over_in_several_ways(undisturbed: tuple[Path, object], tmp_path: Path, form: str) -> None:
    given: Any = {
        "pairs": [*networks(N).items()],
        "modules": {name: make() for name, make in networks(N).items()},
        "columns": networks(N),
    }[form]
    accuracies: Any = ROWS
    if form == "columns":
        accuracies = {"name": [*networks(N)], **{key: values.tolist() for key, values in ACCURACIES.items()}}
    evolve(load_config(None, OPTIONS[1::2]), networks=given, accuracies=accuracies, run_dir=tmp_path / "run")
    assert found(tmp_path / "run") == found(undisturbed[0])


# ------------------------------------------------------------------------------------------------------- cross-fitting


def tau(scores: FloatArray, accuracies: FloatArray) -> float:
    return float(kendalltau(scores, accuracies).statistic)


def test_the_delivered_proxy_is_evolved_on_all_networks(undisturbed: tuple[Path, object]) -> None:
    run, _ = undisturbed
    (sample,) = json.loads((run / "manifest.json").read_text())["samples"]
    parts = {part: set(names) for part, names in sample["networks"].items()}
    assert parts["evolve"] | parts["select"] == parts["report"] == set(networks(N))
    assert not parts["evolve"] & parts["select"]
    assert len(parts["evolve"]) > len(parts["select"])


def test_every_network_is_reported_by_a_search_that_did_not_see_it(
    undisturbed: tuple[Path, list[tuple[Problem, FoldResult]]],
) -> None:
    """By what each search recorded: fitness is that on the networks it may see, and on those alone."""
    run, said = undisturbed
    reported = [position for _, fold in said for position in fold.networks]
    assert sorted(reported) == list(range(N))
    assert len(said) == 5
    for number, (problem, fold) in enumerate(said):
        (family,) = problem.families
        held_out = {family.stored[position] for position in fold.networks}
        parts = family.parts
        assert held_out == set(parts.report)
        assert not held_out & {*parts.evolve, *parts.select}
        assert {*held_out, *parts.evolve, *parts.select} == set(family.stored)
        columns = [family.stored.index(arch) for arch in parts.evolve]
        accuracies = np.array([ROWS[arch.spec]["made_valid"] for arch in parts.evolve])
        journal = Journal(eznas.study.run.RunFolder(run / "folds" / str(number + 1)), 3)
        state = journal.load(read_only=True)
        n_compared = 0
        for candidate in state.candidates.values():
            (task,) = candidate.fitness.tasks
            scores = candidate.scores[columns].astype(float)
            assert task.n == len(columns)
            if np.unique(scores).size == np.isfinite(scores).sum() == len(columns):  # recorded in single precision
                n_compared += 1
                assert task.tau == pytest.approx(candidate.fitness.direction * tau(scores, accuracies), abs=1e-6)
        assert n_compared > 2


def test_what_folds_say_are_places_among_what_they_learnt_from(
    undisturbed: tuple[Path, list[tuple[Problem, FoldResult]]],
) -> None:
    run, said = undisturbed
    front = load_front(run)
    assert front.pick is not None
    n_compared = 0
    with (run / "report_scores.csv").open(newline="") as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    for problem, fold in said:
        (family,) = problem.families
        directions = {c.program.text: c.fitness.direction for c in _candidates(run, said.index((problem, fold)))}
        proxy = ProgramProxy(name="p", program=parse(fold.program), direction=directions[fold.program])
        bound, batch = proxy.bound(family.conditions), family.conditions.batch(3)
        values = np.array([bound.score(family.conditions.network(arch), *batch) for arch in family.stored])
        if np.ptp(values) < 1e-5:  # x / x ranks by rounding alone, which differs by portions
            continue
        n_compared += 1
        learnt = [family.stored.index(arch) for arch in (*family.parts.evolve, *family.parts.select)]
        for position in fold.networks:
            others = values[learnt]
            below, equal = np.sum(others < values[position]), np.sum(others == values[position])
            share = (below + equal / 2 + 0.5) / (len(learnt) + 1)
            name = family.stored[position].spec
            assert float(rows[name][front.pick.id]) == pytest.approx(share, abs=1e-6)
    assert n_compared > 2
    places = np.array([float(rows[name][front.pick.id]) for name in networks(N)])
    measured = front.pick.report["made"]
    assert measured.n == N
    assert measured.tau is not None
    assert measured.tau.value == pytest.approx(tau(places, ACCURACIES["made_test"]), abs=1e-9)
    others = [entry for entry in front.discovered if entry.id != front.pick.id]
    assert all(entry.report == {} for entry in others), "they have seen the networks"
    assert any("cross-fitted" in note for note in front.run.notes)


def _candidates(run: Path, number: int) -> list[Any]:
    journal = Journal(eznas.study.run.RunFolder(run / "folds" / str(number + 1)), 3)
    return [*journal.load(read_only=True).candidates.values()]


def test_folds_go_on_where_they_were_stopped(
    here: Path, undisturbed: tuple[Path, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Journal.record

    def interrupted(journal: Journal, *rest: Any) -> None:
        record(journal, *rest)
        if journal.folder.path.name == "2":
            signal.raise_signal(signal.SIGINT)

    named = ["--networks", "python:zoo:networks", "--accuracies", "zoo.csv"]
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", interrupted)
        asked(130, "evolve", *named, *OPTIONS, "--run-dir", "run")
    assert sorted(path.name for path in (here / "run" / "folds").iterdir()) == ["1", "2"]
    assert not (here / "run" / "front.json").exists()
    asked(0, "resume", "run")
    assert found(here / "run") == found(undisturbed[0])
    ours, theirs = result(here / "run")["front"]["entries"], result(undisturbed[0])["front"]["entries"]
    assert ours == theirs


def test_folds_are_as_many_as_asked(undisturbed: tuple[Path, object]) -> None:
    del undisturbed
    given = Given(networks=networks(N), accuracies=ROWS)
    table = {"benchmark": {"name": "python", "networks": "given", "accuracies": "given"}}
    assert sorted(len(fold) for fold in prepare(config_from(table), given).folds) == [5, 5, 5, 5, 6]
    table["benchmark"]["folds"] = 3  # type: ignore[assignment]
    assert sorted(len(fold) for fold in prepare(config_from(table), given).folds) == [8, 9, 9]
    table["benchmark"]["folds"] = "none"
    problem = prepare(config_from(table), given)
    assert problem.folds == ()
    (family,) = problem.families
    assert [len(family.networks(part)) for part in ("evolve", "select", "report")] == [11, 5, 10]  # type: ignore[arg-type]


def test_sizes_that_say_nothing_are_told() -> None:
    given = Given(networks=networks(N), accuracies=ROWS)
    table = {"benchmark": {"name": "python", "networks": "given", "accuracies": "given", "n_evolve": 5}}
    notes = prepare(config_from(table), given).notes
    assert any("n_evolve, n_select and n_report say nothing" in note for note in notes)


# -------------------------------------------------------------------------------------------------------------- images


def test_networks_are_excited_by_images_that_were_handed_over(tmp_path: Path) -> None:
    """Of a size and of channels that no image set has; a run goes on with the same images alone."""
    given = {name: partial(network, int(name[1:]), 2) for name in networks(N)}
    images = (np.random.default_rng(0).normal(size=(4, 2, 9, 9)), [0, 1, 2, 1])
    more = {"networks": given, "accuracies": ROWS}
    settings = load_config(None, [*OPTIONS[1::2], "benchmark.folds=none", "evolution.n_generations=0"])
    stopped = evolve(settings, **more, images=images, run_dir=tmp_path / "run", should_stop=lambda: True)  # type: ignore[arg-type]
    assert not stopped.is_finished
    with pytest.raises(ConfigError, match=r"networks of this run were handed over as objects; hand them over again"):
        resume(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"accuracies of this run were handed over as objects; hand them over again"):
        resume(tmp_path / "run", networks=given)
    other = (images[0] + 1, images[1])
    for changed in ({"images": other}, {"images": (images[0][:3], images[1][:3])}):
        with pytest.raises(RunError, match="was started with other conditions"):
            resume(tmp_path / "run", **more, **changed)  # type: ignore[arg-type]
    study = resume(tmp_path / "run", **more, images=images)  # type: ignore[arg-type]
    (sample,) = study.result.samples
    held = sample.conditions
    assert (held.images, held.batch_size, held.estimator_batch_size) == ("given", 4, 4)
    assert (held.input_size, held.channels) == (9, 2)
    entry = study.result.pick
    assert entry is not None
    first = json.loads((tmp_path / "run" / "manifest.json").read_text())["samples"][0]["networks"]["report"][0]
    proxy = ProgramProxy(name="p", program=parse(entry.program or ""), direction=entry.direction, seed=entry.seed)
    score = proxy.score(given[first](), torch.tensor(images[0], dtype=torch.float32))
    with (tmp_path / "run" / "report_scores.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["network"] == first]
    assert float(row[entry.id]) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(4, 1, 9, 9), r"Images that are handed over have shape|pair of images and classes"),
        ((torch.zeros(4, 1, 9), [0, 1, 2, 3]), r"got \(4, 1, 9\) and \(4,\); give one class each"),
        ((torch.zeros(4, 1, 9, 9), [0, 1]), r"got \(4, 1, 9, 9\) and \(2,\); give one class each"),
        ((torch.zeros(4, 1, 9, 9), None), r"and None; give one class each"),
        (5, r"handed over as a pair of images and classes, got int"),
        ((torch.zeros(4, 1, 1, 1), [0, 1, 2, 3]), r"No network can be run on images"),
    ],
)
def test_images_that_cannot_be_used_are_one_sentence(tmp_path: Path, images: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        evolve(networks=networks(N), accuracies=ROWS, images=images, run_dir=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------------------------ problems


class Broken(nn.Module):
    """A network that cannot be run."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("a fuse has blown")


class Named(nn.Module):
    """A network that runs, and returns its logits by name."""

    def __init__(self) -> None:
        super().__init__()
        self.network = networks(1)["n2"]()

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.network(inputs)}


class Deaf(Named):
    """A network that runs, and leads no gradient back."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(inputs)["logits"].detach()


def test_what_cannot_be_used_is_left_out_and_said(tmp_path: Path) -> None:
    """Networks that cannot be run or read, one without an accuracy, and a row of another network."""
    unfit: dict[str, Any] = {"broken": Broken, "named": Named, "deaf": Deaf, "none": None}
    given: dict[str, Callable[[], nn.Module]] = {**networks(N), **unfit}
    rows = {name: row for name, row in ROWS.items() if name != "n5"}
    rows |= dict.fromkeys((*unfit, "stranger"), ROWS["n5"])
    settings = load_config(None, [*OPTIONS[1::2], "benchmark.folds=none", "evolution.n_generations=0"])
    study = evolve(settings, networks=given, accuracies=rows, run_dir=tmp_path / "run")
    notes = " ".join(study.result.run.notes)
    for said in ("broken", "a fuse has blown", "n5", "stranger", "4 network(s) cannot be read"):
        assert said in notes
    assert sum(getattr(study.result.samples[0], part).n for part in ("evolve", "select", "report")) == N - 1


def _wide(folder: Path) -> None:
    text = (folder / "zoo.py").read_text()
    (folder / "zoo.py").write_text(text.replace("nn.Conv2d(1,", "nn.Conv2d(7,"))


def _columns(folder: Path) -> None:
    (folder / "zoo.csv").write_text("name,params\nn2,3\n")


def _few(folder: Path) -> None:
    lines = (folder / "zoo.csv").read_text().splitlines()
    (folder / "zoo.csv").write_text("\n".join(lines[:8]) + "\n")


def _failing(folder: Path) -> None:
    (folder / "zoo.py").write_text("def networks():\n    raise OSError('no weights at hand')\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_wide, "set probe.input_size"),
        (_columns, "zoo.csv"),
        (_few, "zoo.csv"),
        (lambda folder: (folder / "zoo.csv").unlink(), "zoo.csv cannot be read as accuracies: there is no such file"),
        (_failing, "no weights at hand"),
        (lambda folder: (folder / "zoo.py").unlink(), "zoo:networks cannot be imported"),
    ],
)
def test_problems_are_one_sentence_and_leave_no_run(
    here: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], said: str
) -> None:
    damage(here)
    line = complaint(capsys, "evolve", *WAYS["options"], *OPTIONS, "--run-dir", "run")
    assert said in line
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--networks", "python:zoo:networks"], "named by benchmark.accuracies (--accuracies FILE.csv)"),
        (["--accuracies", "zoo.csv"], "accuracies are named, but those of benchmark 'nb201' are known"),
        (["--set", "benchmark.networks=python:zoo:networks"], "networks are named, but those of benchmark 'nb201'"),
        (["--networks", "nb201:random:20", "--accuracies", "zoo.csv"], "'nb201:random:20' are of nb201; set"),
        (["--networks", "zoo", "--accuracies", "zoo.csv"], "zoo"),
        (["--networks", "python:zoo:netwroks", "--accuracies", "zoo.csv"], "did you mean 'networks'?"),
        (["--set", "benchmark.name=python"], "named by benchmark.networks (eznas evolve --networks"),
        ([*WAYS["options"], "--set", "benchmark.datasets=['mode']"], "did you mean 'made'?"),
        ([*WAYS["options"], "--set", "benchmark.folds=1"], "benchmark.folds"),
        ([*WAYS["options"], "--set", "benchmark.folds=30"], "folds"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in complaint(capsys, "evolve", *arguments, "--run-dir", "run")
    assert not (here / "run").exists()


def test_a_run_is_not_gone_on_with_when_a_network_or_an_accuracy_changed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_config(None, [*OPTIONS[1::2], "benchmark.name=python:zoo:networks", "benchmark.accuracies=zoo.csv"])
    assert not evolve(settings, run_dir="run", should_stop=lambda: True).is_finished
    text = (here / "zoo.csv").read_text()
    (here / "zoo.csv").write_text(text.replace(text.splitlines()[3].split(",")[1], "77.7"))
    assert "was started with other labels" in complaint(capsys, "resume", "run")
    (here / "zoo.csv").write_text(text)
    (here / "zoo.py").write_text((here / "zoo.py").read_text().replace("manual_seed(width)", "manual_seed(width + 1)"))
    own._family.cache_clear()
    del sys.modules["zoo"]
    assert "was started with other networks" in complaint(capsys, "resume", "run")


def test_what_is_handed_over_for_a_known_benchmark_alone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EznasError, match=r"named by benchmark\.networks"):
        evolve(accuracies=ROWS, run_dir=tmp_path / "run")


def test_the_fewest_networks_are_enough(tmp_path: Path) -> None:
    """Ten: programs are chosen on the networks they evolved on, and reported on others all the same."""
    few = networks(10)
    rows = {name: ROWS[name] for name in few}
    settings = load_config(None, [*OPTIONS[1::2], "evolution.n_generations=0"])
    study = evolve(settings, networks=few, accuracies=rows, run_dir=tmp_path / "run")
    assert any("also chosen on the networks they evolved on" in note for note in study.result.run.notes)
    pick = study.result.pick
    assert pick is not None
    assert pick.report["made"].n == 10
    with pytest.raises(ConfigError, match=r"python has 4 network\(s\) to evolve on, and at least 5 are needed"):
        evolve(config_from(table_without_folds()), networks=few, accuracies=rows, run_dir=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def table_without_folds() -> dict[str, Any]:
    return {"benchmark": {"name": "python", "networks": "given", "accuracies": "given", "folds": "none"}}
