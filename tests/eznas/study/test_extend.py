"""A finished run as the beginning of another: equal to a longer one where nothing else changed, seeds where it did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import eznas.study.run
from eznas.cli import main
from eznas.errors import ConfigError, RunError
from eznas.programs import parse, to_json
from eznas.proxies import KNOWN_PROGRAMS
from eznas.runs import Journal, RunFolder, load_front
from eznas.runs.config import load_config
from eznas.study import Study, evolve, extend, resume
from tests.eznas.small_zoo import networks
from tests.eznas.tiny import bare_machine, options, result
from tests.eznas.tiny import evolve as evolve_tiny

pytestmark = pytest.mark.usefixtures("embedded_data", "nothing_simplified")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a command that does nothing."""
    capsys.readouterr()
    assert main([*arguments, "--quiet"]) in (1, 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")
    return line


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path, cache: Path) -> Path:
    """The tiny run, asked for two more generations from the start."""
    run = tmp_path_factory.mktemp("runs") / "longer"
    with bare_machine(cache):
        assert evolve_tiny(run, evolution__n_generations="4") == 0
    return run


def test_a_longer_run_is_that_of_so_many_generations_from_the_start(
    tiny_run: Path, longer: Path, tmp_path: Path
) -> None:
    """Byte for byte, and the run that is extended stays as it is."""
    before = contents(tiny_run)
    new = tmp_path / "new"
    assert main(["extend", str(tiny_run), "--set", "evolution.n_generations=4", "--run-dir", str(new), "--quiet"]) == 0
    assert contents(tiny_run) == before
    assert (new / "programs.jsonl").read_bytes() == (longer / "programs.jsonl").read_bytes()
    assert (new / "failures.jsonl").read_bytes() == (longer / "failures.jsonl").read_bytes()
    assert result(new) == result(longer)
    manifest = json.loads((new / "manifest.json").read_text())
    assert manifest["extends"]["run"] == "tiny"
    assert manifest["extends"]["goes_on"] is True
    assert manifest["extends"]["seeds"] == []
    assert load_config(new / "config.toml").evolution.n_generations == 4


def test_an_extension_that_was_stopped_is_gone_on_with(tiny_run: Path, longer: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    asked: list[int] = []

    def after_one() -> bool:
        asked.append(1)
        return len(asked) > 1

    study = extend(tiny_run, ["evolution.n_generations=4"], new_dir=new, should_stop=after_one)
    assert not study.is_finished
    assert [path.name for path in sorted((new / "checkpoints").iterdir())] == ["000002.json", "000003.json"]
    assert resume(new).is_finished
    assert result(new) == result(longer)


def test_with_nothing_to_do_it_is_refused(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(tiny_run)
    for more in ([], ["--set", "evolution.n_generations=2"], ["--set", "evolution.n_generations=1"]):
        line = said(capsys, "extend", str(tiny_run), *more, "--run-dir", str(tmp_path / "new"))
        assert "has 2 generations already, and so many are asked for" in line
        assert line.endswith("--set evolution.n_generations=4")
        assert not (tmp_path / "new").exists()
    assert contents(tiny_run) == before


def test_a_run_that_is_not_finished_is_no_beginning(
    tmp_path: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del tiny_run
    settings = load_config(None, options()[1::2])
    assert not evolve(settings, run_dir=tmp_path / "run", should_stop=lambda: True).is_finished
    assert "has no front.json; finish the run with eznas resume" in said(capsys, "extend", str(tmp_path / "run"))
    assert "is not a run folder" in said(capsys, "extend", str(tmp_path))


def test_a_finished_run_says_how_to_extend_it_and_takes_no_settings(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(tiny_run)
    assert main(["resume", str(tiny_run), "--quiet"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"The run is finished. For more generations: eznas extend {tiny_run} --set evolution.n_generations=N"
    )
    line = said(capsys, "resume", str(tiny_run), "--set", "evolution.n_generations=4")
    assert line.endswith(f"begin a new one from it: eznas extend {tiny_run} --set evolution.n_generations=4")
    assert contents(tiny_run) == before


def test_a_changed_run_is_no_beginning(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(tiny_run, tmp_path / "copy"))
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("seed = 1\n", "seed = 2\n"))
    assert "seed was 1 and is 2 now" in said(capsys, "extend", str(copy), "--set", "evolution.n_generations=4")
    (copy / "config.toml").write_text(text)
    lines = (copy / "programs.jsonl").read_text().splitlines(keepends=True)
    (copy / "programs.jsonl").write_text("".join(lines).replace('"correlation":0', '"correlation":1'))
    assert "programs.jsonl was changed" in said(capsys, "extend", str(copy), "--set", "evolution.n_generations=4")


# ------------------------------------------------------------------------------------------------- with something else


def searched(run: Path) -> list[Any]:
    """Every ranked program of a run."""
    return [*Journal(RunFolder(run), 3).load(read_only=True).candidates.values()]


STOP_AFTER_FIRST = ["evolution.n_generations=0"]


@pytest.mark.parametrize(
    "changed",
    [
        ["benchmark.n_evolve=14"],
        ["evolution.objectives=['rho','size']"],
        ["evolution.max_size=9"],
        ["evolution.seeds=['(log parameter_count)']"],
        ["probe.storage=float16"],
    ],
)
def test_under_other_conditions_the_best_programs_are_evaluated_anew(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: list[str]
) -> None:
    """They are the seeds of a search from the start: scores under two conditions never mix."""
    monkeypatch.setattr("eznas.study.run.measure", lambda *_, **__: None)
    extend(tiny_run, [*changed, *STOP_AFTER_FIRST], new_dir=tmp_path / "new")
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert manifest["extends"]["goes_on"] is False
    found = searched(tmp_path / "new")
    assert {c.generation for c in found} == {0}
    seeds = {c.program.text for c in found if c.operator == "seed"}
    archive = set(manifest["extends"]["seeds"])
    assert archive
    assert archive <= {c.program.text for c in searched(tiny_run)}
    named = {"(log parameter_count)"} if "seeds" in changed[0] else set()
    failed = {json.loads(line)["program"] for line in (tmp_path / "new" / "failures.jsonl").read_text().splitlines()}
    assert seeds | failed >= archive | named
    assert seeds <= archive | named
    if "max_size" in changed[0]:
        assert max(c.program.size for c in found) <= 9
    tasks = {task.n for c in found for task in c.fitness.tasks}
    assert tasks == {14 if "n_evolve" in changed[0] else 16}


def test_with_other_networks_a_reader_is_told_what_was_learnt_from(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks to report on that the extended run had evolved or selected on are counted."""
    monkeypatch.setattr("eznas.study.run._Job.search", lambda *_: (_ for _ in ()).throw(RunError("far enough")))
    notes: list[tuple[str, ...]] = []
    with_notes = eznas.study.run._with_notes

    def kept(*rest: Any) -> Any:
        problem = with_notes(*rest)
        notes.append(problem.notes)
        (family,) = problem.families
        notes.append(tuple(arch.spec for arch in family.networks("report")))
        return problem

    monkeypatch.setattr("eznas.study.run._with_notes", kept)
    with pytest.raises(RunError, match="far enough"):
        extend(tiny_run, ["seed=5", "benchmark.n_report=3000"], new_dir=tmp_path / "new")
    said_of, reported = notes
    (before,) = json.loads((tiny_run / "manifest.json").read_text())["samples"]
    learnt = {*before["networks"]["evolve"], *before["networks"]["select"]}
    n = len(learnt & set(reported))
    assert n > 0
    assert said_of[-1] == (
        f"Run tiny, whose best programs this run starts from, learnt from {n} of the networks that are reported on."
    )


def test_an_archive_is_kept_from_the_searches_that_must_not_see_its_networks(tmp_path: Path) -> None:
    """Cross-fitted: programs that evolved on all networks seed the delivered search alone."""
    names = [*networks(26)]
    rows = {name: float(50 + (7 * number) % 26) for number, name in enumerate(names)}
    settings = load_config(
        None,
        [
            "evolution.population_size=6", "evolution.initial_size=8", "evolution.n_generations=0",
            "probe.batch_size=3", "report.bootstrap=100", "report.badge_networks=0",
            "report.baselines=[]",
        ],
    )  # fmt: skip
    evolve(settings, networks=networks(26), accuracies=rows, run_dir=tmp_path / "old")
    rows["n2"] = 99.0
    extend(tmp_path / "old", new_dir=tmp_path / "new", networks=networks(26), accuracies=rows)
    assert any(c.operator == "seed" for c in searched(tmp_path / "new"))
    for number in range(1, 6):
        assert not any(c.operator == "seed" for c in searched(tmp_path / "new" / "folds" / str(number)))
    front = load_front(tmp_path / "new")
    assert front.run.seeds
    assert not any("learnt from" in note for note in front.run.notes)


# --------------------------------------------------------------------------------------------------------------- seeds


def seeded(run_dir: Path, *seeds: str, **changed: str) -> list[Any]:
    """Ranked programs of a tiny run with seeds, whose result is not measured."""
    text = "[" + ",".join(f"'{seed}'" for seed in seeds) + "]"
    settings = load_config(None, options(evolution__seeds=text, **changed)[1::2])
    evolve(settings, run_dir=run_dir)
    return searched(run_dir)


@pytest.fixture
def not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eznas.study.run.measure", lambda *_, **__: None)


@pytest.mark.usefixtures("not_measured")
def test_seeds_are_names_files_runs_and_formulas(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(to_json(parse("(log mac_count)")))
    (tmp_path / "mine.txt").write_text("(sqrt mac_count)\n")
    best = Study(tiny_run).best.program.canonical
    found = seeded(
        tmp_path / "run", "naswot_units", str(tmp_path / "mine.json"), str(tmp_path / "mine.txt"), f"{tiny_run}:best",
        "(abs unit_count)", evolution__n_generations="0",
    )  # fmt: skip
    seeds = [c.program for c in found if c.operator == "seed"]
    texts = {program.text for program in seeds}
    assert {"(log mac_count)", "(sqrt mac_count)", "(abs unit_count)"} <= texts
    assert best in seeds
    assert KNOWN_PROGRAMS["naswot_units"].program.canonical in seeds
    assert all(c.generation == 0 and c.parents == () for c in found if c.operator == "seed")
    assert [c.operator for c in found][: len(seeds)] == ["seed"] * len(seeds)


@pytest.mark.usefixtures("not_measured")
@pytest.mark.parametrize("regime", ["nsga2", "paper"])
def test_seeds_stay_parents(tiny_run: Path, tmp_path: Path, regime: str) -> None:
    """Selection that lets nothing survive but two others does not end their line."""
    del tiny_run
    seed = "(tanh (tanh (tanh unit_count)))"
    changed = {"evolution__population_size": "12", "evolution__n_generations": "3", "evolution__regime": regime}
    found = seeded(tmp_path / "run", seed, **changed)
    by_id = {c.id: c for c in found}
    (mine,) = [c for c in found if c.operator == "seed"]
    children = [c for c in found if mine.id in c.parents]
    assert children, "offspring of the seed"
    last = json.loads(max((tmp_path / "run" / "checkpoints").iterdir()).read_text())
    assert by_id[mine.id].generation == 0
    assert mine.id not in last["population"] or regime == "nsga2"


@pytest.mark.parametrize(
    ("seeds", "more", "message"),
    [
        (["(abs unit_count)"], ["evolution.primitive_set=paper"], "has the word 'unit_count', which primitive"),
        (["(log (log (log unit_count)))"], ["evolution.max_size=3"], "more than evolution.max_size"),
        (["synflow"], [], "'synflow' is no program of the language; name one that is"),
        (["nasswot"], [], "did you mean 'naswot'?"),
        (["(abs"], [], "abs"),
        (["(abs weight)"], [], "A proxy gives one number per network"),
        (["missing.json"], [], "missing.json: no such file"),
        (["(abs unit_count)", "(abs unit_count)"], [], "every name may occur once only"),
    ],
)
def test_seeds_that_cannot_be_are_one_sentence_before_anything_is_captured(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    seeds: list[str],
    more: list[str],
    message: str,
) -> None:
    monkeypatch.setattr("eznas.study.run.capture_stores", lambda *_: pytest.fail("captured"))
    text = "[" + ",".join(f"'{seed}'" for seed in seeds) + "]"
    arguments = options(evolution__seeds=text)
    arguments += [word for one in more for word in ("--set", one)]
    assert message in said(capsys, "evolve", *arguments, "--run-dir", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_run_with_seeds_says_so(tiny_run: Path, tmp_path: Path) -> None:
    del tiny_run
    changed = options(evolution__seeds="['(log mac_count)']", evolution__n_generations="0", report__baselines="[]")
    study = evolve(load_config(None, changed[1::2]), run_dir=tmp_path / "run")
    assert study.result.run.seeds == ("(log mac_count)",)


def test_seeds_of_the_settings_are_checked_as_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seeds"):
        load_config(None, ["evolution.seeds=5"])
    del tmp_path
