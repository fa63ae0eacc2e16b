"""The command line: results on stdout, one sentence per error on stderr, nothing half-written."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest

from eznas.benchmarks.nb201 import TABLE_FILE
from eznas.cli import main
from eznas.programs import load, parse, to_json
from eznas.proxies import RECIPES
from eznas.study import scoring
from tests.eznas.tiny import evolve, options

pytestmark = pytest.mark.usefixtures("embedded_data")
Capsys = pytest.CaptureFixture[str]
OUTSIDE = "nb201:random:20:9"


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run to be damaged."""
    return Path(shutil.copytree(tiny_run, tmp_path / "copy"))


def printed(capsys: Capsys, *arguments: str) -> str:
    """What a command writes to stdout; it must succeed, and say nothing on stderr."""
    assert main([*arguments]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def complaint(capsys: Capsys, status: int, *arguments: str) -> str:
    """The one sentence a failing command writes to stderr; stdout stays empty."""
    assert main([*arguments]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")
    assert "internal error" not in line
    assert len(line) < 700
    return line


# ------------------------------------------------------------------------------------------------------------- looking


def test_the_front_in_three_forms(tiny_run: Path, capsys: Capsys) -> None:
    document = json.loads(printed(capsys, "front", str(tiny_run), "--format", "json"))
    ids = {entry["id"] for entry in document["entries"]}
    assert ids >= {"naswot", "naswot_units", "mac_count"}
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "front", str(tiny_run), "-f", "csv"))))
    assert {row["id"] for row in rows} == ids
    table = printed(capsys, "front", str(tiny_run))
    pick = next(entry["id"] for entry in document["entries"] if entry["is_pick"])
    assert any(line.lstrip().startswith("*") and pick[:8] in line for line in table.splitlines())
    assert "naswot_units" in table


def test_one_proxy_is_shown(tiny_run: Path, capsys: Capsys) -> None:
    best = json.loads(printed(capsys, "show", str(tiny_run), "best", "--format", "json"))
    shown = printed(capsys, "show", str(tiny_run))
    text = json.dumps(best)
    assert best["id"] in text
    assert best["id"][:8] in shown
    assert printed(capsys, "show", str(tiny_run), best["id"][:6]) == shown
    assert "naswot" in printed(capsys, "show", str(tiny_run), "naswot")


def test_the_report_is_one_file(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    target = tmp_path / "report.html"
    assert printed(capsys, "report", str(tiny_run), "-o", str(target)) == f"{target}\n"
    assert target.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("target", ["json", "latex", "sympy", "python"])
def test_an_export_goes_to_stdout_or_into_a_file(tiny_run: Path, tmp_path: Path, capsys: Capsys, target: str) -> None:
    text = printed(capsys, "export", str(tiny_run), "best", "--to", target)
    assert text.strip()
    path = tmp_path / "proxy"
    assert main(["export", str(tiny_run), "--to", target, "-o", str(path)]) == 0
    assert path.read_text() == text
    assert capsys.readouterr().out == ""


EXPORTED = """
import importlib.util, json, sys
import torch
from dataclasses import asdict
from eznas.spaces import build_network, nb201

torch.set_num_threads(1)
path, seed, batch, skeleton, specs = json.loads(sys.stdin.read())
spec = importlib.util.spec_from_file_location("proxy", path)
proxy = importlib.util.module_from_spec(spec)
sys.modules["proxy"] = proxy
spec.loader.exec_module(proxy)
inputs = torch.tensor(batch)
networks = [build_network(nb201.architecture(s), nb201.Settings(**skeleton), seed=seed) for s in specs]
print(json.dumps([proxy.score(network, inputs) for network in networks]))
"""


def test_the_exported_file_scores_as_the_run_does(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    """In a Python of its own (-I: no project on its path, no environment), on twenty networks outside the run."""
    from eznas.runs.config import load_config
    from eznas.study import Proxy, Study, prepare

    document = json.loads((tiny_run / "front.json").read_text())
    manifest = json.loads((tiny_run / "manifest.json").read_text())
    entry = next(e for e in document["entries"] if e["kind"] == "published" and e["program"])
    proxy_id = entry["id"]
    path = tmp_path / "proxy.py"
    assert main(["export", str(tiny_run), proxy_id, "-o", str(path)]) == 0
    capsys.readouterr()
    scored = json.loads(
        printed(capsys, "score", f"{tiny_run}:{proxy_id}", "--networks", OUTSIDE, "--format", "json", "--quiet")
    )
    specs = [row["network"] for row in scored]
    assert len(set(specs)) == 20
    assert not {*specs} & {spec for part in manifest["networks"].values() for spec in part}
    conditions = prepare(load_config(tiny_run / "config.toml")).conditions
    request = [str(path), conditions.seed, conditions.inputs.tolist(), manifest["capture"]["skeleton"], specs]
    command = [sys.executable, "-I", "-c", EXPORTED]
    done = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [row[f"{tiny_run}:{proxy_id}"] for row in scored]
    found = json.loads(done.stdout)
    comparable = [(f, e) for f, e in zip(found, expected, strict=True) if e is not None]
    assert len(comparable) >= 15
    assert [f for f, _ in comparable] == pytest.approx([e for _, e in comparable], rel=1e-4)
    held = Proxy(Study(tiny_run).proxy(proxy_id).entry, tiny_run)
    first = next(i for i, e in enumerate(expected) if e is not None)
    from eznas.spaces import nb201

    network = conditions.network(nb201.architecture(specs[first]))
    assert held.score(network, conditions.inputs) == pytest.approx(expected[first], rel=1e-4)


# ------------------------------------------------------------------------------------------------------------- scoring


def test_every_kind_of_proxy_is_scored_side_by_side(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "mine.json"
    path.write_text(to_json(parse("(log parameter_count)")))
    names = ["mac_count", str(path), f"{tiny_run}:best", "naswot"]
    arguments = ["score", *names, "--networks", "nb201:6111,10-12", "--quiet"]
    rows = json.loads(printed(capsys, *arguments, "--format", "json"))
    assert [row["index"] for row in rows] == [6111, 10, 11, 12]
    assert all(list(row) == ["index", "network", *names] for row in rows)
    table = list(csv.DictReader(io.StringIO(printed(capsys, *arguments, "--format", "csv"))))
    assert [float(row["mac_count"]) for row in table] == [row["mac_count"] for row in rows]
    assert "6111" in printed(capsys, *arguments)


def test_scores_in_a_file_are_gone_on_with(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off anywhere, and gone on with: the scores of an undisturbed command, and nothing is scored twice."""
    monkeypatch.setattr(scoring, "SPAN", 2)
    names = ["mac_count", "jacob_cov"]
    networks = ["--networks", "nb201:6111,1651,10-12", "--quiet", "--set", "report.baseline_batch_size=4"]
    path = tmp_path / "new" / "scores.csv"
    command = ["score", *names, *networks, "--output", str(path)]
    assert printed(capsys, *command).strip() == str(path)
    whole = path.read_text()
    rows = list(csv.DictReader(io.StringIO(whole)))
    assert [row["index"] for row in rows] == ["6111", "1651", "10", "11", "12"]
    dead = ["1651", "10", "12"]  # their output is zero
    assert [row["index"] for row in rows if row["failed"] == "jacob_cov"] == dead
    assert {row["failed"] for row in rows} == {"", "jacob_cov"}
    assert all(float(row["seconds"]) > 0 for row in rows)
    expected = json.loads(printed(capsys, "score", *names, *networks, "--format", "json"))
    for row, other in zip(rows, expected, strict=True):
        assert {name: float(row[name]) if row[name] else None for name in names} == {n: other[n] for n in names}

    def without_seconds(text: str) -> list[str]:
        return [line.rpartition(",")[0] for line in text.splitlines()]

    lines = whole.splitlines(keepends=True)
    for kept in ("".join(lines[:1]), "".join(lines[:3]), "".join(lines[:3]) + lines[3][:20], whole):
        path.write_text(kept)
        printed(capsys, *command)
        assert without_seconds(path.read_text()) == without_seconds(whole)
        assert path.read_text().startswith(kept[: kept.rfind("\n") + 1])
    for other in (["naswot", *names], names[:1]):
        assert "was begun with other proxies" in complaint(capsys, 2, "score", *other, *networks, "-o", str(path))
    assert "settings or versions: seed was 0 and is 5 now, " in complaint(capsys, 2, *command, "--set", "seed=5")
    assert "other columns" in complaint(capsys, 2, "score", *names[::-1], *networks, "-o", str(path))
    with filelock.FileLock(path.with_name(".scores.csv.lock")):  # another process
        assert complaint(capsys, 1, *command) == (
            f"error: {path} is being written by another process; wait for it to end, or choose another --output"
        )
    settings = path.with_name("scores.csv.settings.json")
    settings.write_text(settings.read_text().replace('"seed": 0', '"seed": 5'))
    line = complaint(capsys, 2, *command, "--set", "seed=5")
    assert line.startswith(f"error: {settings} was changed: it does not have the digest in it; choose another --output")
    assert path.read_text().startswith(whole.splitlines()[0])
    (tmp_path / "notes.csv").write_text("mine\n")
    assert "is not a file of scores" in complaint(capsys, 2, *command[:-1], str(tmp_path / "notes.csv"))
    assert (tmp_path / "notes.csv").read_text() == "mine\n"


def test_proxies_between_commas_are_arguments_of_their_own(tmp_path: Path, capsys: Capsys) -> None:
    at = ["--networks", "nb201:6111,10-12", "--quiet", "--format", "json", "--set", "report.baseline_batch_size=4"]
    apart = printed(capsys, "score", "naswot", "synflow", *at)
    assert printed(capsys, "score", "naswot,synflow", *at) == apart
    assert printed(capsys, "score", "naswot, synflow", "naswot", *at) == apart
    path = tmp_path / "a,b+c.json"
    path.write_text(to_json(parse("parameter_count")))
    (row, *_) = json.loads(printed(capsys, "score", str(path), *at))
    assert list(row) == ["index", "network", str(path)]
    many = ",".join(["naswot", "synflow"] * 100)
    assert printed(capsys, "score", many, *at) == apart
    assert "NAME,NAME without gaps" in complaint(capsys, 2, "score", "naswot,,synflow", *at)


FEW = ["--quiet", "--set", "report.baseline_batch_size=4"]


@pytest.fixture(scope="module")
def pair_file(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """An aggregate of an estimator and a program, with a reference of twelve networks."""
    path = tmp_path_factory.mktemp("aggregates") / "new" / "pair.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EZNAS_DATA", raising=False)
        patch.setenv("EZNAS_CACHE", str(cache))
        sample = ["--reference", "nb201:random:12:1", "-o", str(path)]
        assert main(["aggregate", "jacob_cov+2*parameter_count", *sample, *FEW]) == 0
    return path


def test_an_aggregate_ranks_among_the_reference_in_its_file(pair_file: Path, tmp_path: Path, capsys: Capsys) -> None:
    """As a file under the conditions it records, beside its members, in a table, in a file, and in Python."""
    from eznas import load_proxy
    from eznas.runs.config import load_config
    from eznas.spaces import nb201
    from eznas.study.problem import conditions_of

    members = ["jacob_cov", "parameter_count"]
    networks = ["--networks", "nb201:6111,1651,10-12"]  # 1651, 10 and 12 are dead
    arguments = ["score", str(pair_file), *members, *networks, "--quiet"]
    rows = json.loads(printed(capsys, *arguments, "--format", "json"))
    sample = ["score", *members, "--networks", "nb201:random:12:1", *FEW, "--format", "json"]
    reference = json.loads(printed(capsys, *sample))

    def place(name: str, value: float | None) -> float:
        low = float("-inf")
        value, others = (low if value is None else value), [low if r[name] is None else r[name] for r in reference]
        return (sum(o < value for o in others) + sum(o == value for o in others) / 2 + 1 / 2) / 13

    first, second = ([math.log(place(name, row[name])) for row in rows] for name in members)
    expected = [one + 2 * other for one, other in zip(first, second, strict=True)]
    assert [row[str(pair_file)] for row in rows] == pytest.approx(expected)
    assert [row["jacob_cov"] for row in rows[1:3]] == [None, None]

    path = tmp_path / "scores.csv"
    command = ["score", str(pair_file), *networks, "--quiet", "-o", str(path)]
    printed(capsys, *command)
    whole = path.read_text()
    table = list(csv.DictReader(io.StringIO(whole)))
    assert [float(row[str(pair_file)]) for row in table] == [row[str(pair_file)] for row in rows]
    failed = {row["index"] for row in table if row["failed"] == f"{pair_file}[jacob_cov]"}
    assert failed == {"1651", "10", "12"}
    printed(capsys, *command)  # nothing is left to do
    assert path.read_text() == whole

    conditions, _ = conditions_of(load_config(None, FEW[2:]))
    network = conditions.network(nb201.from_index(6111))
    proxy = load_proxy(pair_file)
    assert proxy.score(network, conditions.estimator_inputs) == pytest.approx(expected[0])


def test_an_aggregate_scores_under_the_conditions_of_its_reference_alone(
    pair_file: Path, tiny_run: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ["--networks", "nb201:0", "--quiet"]
    for setting, what in (
        ("seed=1", "seed 0, here 1"),
        ("networks.channels=8", "channels 16, here 8"),
        ("report.baseline_batch_size=5", "estimator_batch_size 4, here 5"),
    ):
        line = complaint(capsys, 2, "score", str(pair_file), *at, "--set", setting)
        assert "ranks among 12 networks scored under other conditions" in line
        assert what in line
        assert "eznas aggregate" in line
    same = ["score", str(pair_file), *at, "--format", "json"]
    assert printed(capsys, *same, "--set", "report.baseline_batch_size=4") == printed(capsys, *same)
    assert "other conditions" in complaint(capsys, 2, "score", f"{tiny_run}:best", str(pair_file), *at)
    monkeypatch.setattr("eznas.study.problem.derived_seed", lambda *_: 5)
    assert "probe_seed" in complaint(capsys, 2, *same)


@pytest.mark.parametrize("name", RECIPES)
def test_every_published_aggregate_ranks_reduced_networks(name: str, capsys: Capsys) -> None:
    arguments = ["score", name, "--networks", "nb201:6111,3000,11,1462", "-q", "--format", "json", *FEW[1:]]
    assert main(arguments) == 0
    scores = [row[name] for row in json.loads(capsys.readouterr().out)]
    assert len(set(scores)) > 1
    assert all(isinstance(score, float) and math.isfinite(score) for score in scores)


def test_a_sum_or_a_published_aggregate_ranks_the_candidates(tmp_path: Path, capsys: Capsys) -> None:
    networks = ["--networks", "nb201:6111,1651,3000,11"]
    arguments = ["score", "jacob_cov", "mac_count", "jacob_cov+mac_count", "te_nas", *networks]
    assert main([*arguments, "--format", "json", *FEW[1:]]) == 0
    shown = capsys.readouterr()
    rows = json.loads(shown.out)
    assert "te_nas ranks these 4 networks among each other." in shown.err
    assert "jacob_cov of jacob_cov+mac_count failed on 1 of 4 networks, which rank last." in shown.err

    def ranks(name: str) -> list[float]:
        values = [float("-inf") if row[name] is None else row[name] for row in rows]
        return [sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values]

    both = zip(ranks("jacob_cov"), ranks("mac_count"), strict=True)
    expected = [math.log(first / 5) + math.log(second / 5) for first, second in both]
    assert [row["jacob_cov+mac_count"] for row in rows] == pytest.approx(expected)
    assert "names one; name more" in complaint(capsys, 2, "score", "te_nas", "--networks", "nb201:0", "--quiet")
    to_file = complaint(capsys, 2, "score", "te_nas", *networks, "--quiet", "-o", str(tmp_path / "x.csv"))
    assert "eznas aggregate te_nas --reference nb201:random:500 -o FILE.json" in to_file
    assert list(tmp_path.iterdir()) == []


def test_an_aggregate_may_hold_programs_of_files_and_runs(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(to_json(parse("(log parameter_count)"), direction=-1))
    text, made = f"{tiny_run}:best+{mine}", tmp_path / "made.json"
    sample = ["--reference", "nb201:random:6", "--mode", "rank-sum", "--quiet"]
    document = json.loads(printed(capsys, "aggregate", text, *sample))
    assert document["mode"] == "rank_sum"
    assert [member["direction"] for member in document["members"]][1] == -1
    made.write_text(json.dumps(document))
    scored = ["score", str(made), f"{tiny_run}:best", "--networks", "nb201:random:6", "--quiet", "--format", "json"]
    rows = json.loads(printed(capsys, *scored))
    assert sum(row[str(made)] for row in rows) == pytest.approx(6.0)  # 6 times twice the mean place
    assert "is an aggregate and no member" in complaint(capsys, 2, "score", f"naswot+{made}", *scored[3:])
    assert "is an aggregate itself" in complaint(capsys, 2, "aggregate", str(made), *sample)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["naswott+zen", "--reference", "nb201:0-3"], 2, "did you mean 'naswot'?"),
        (["naswot+", "--reference", "nb201:0-3"], 2, "An aggregate is written NAME+NAME"),
        (["naswot", "--reference", "nb201:0"], 2, "A reference is 2 to 100000 networks of one search space, got 1"),
        (["jacob_cov+zen", "--reference", "nb201:10,12"], 2, "'jacob_cov' failed on every network of the reference"),
        (["naswot", "--reference", "nb301:all"], 1, "nb201:all"),
        (["naswot", "--reference", "nb201:0-3", "--mode", "vote"], 2, "--mode"),
    ],
)
def test_an_aggregate_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, capsys: Capsys, arguments: list[str], status: int, message: str
) -> None:
    line = complaint(capsys, status, "aggregate", *arguments, *FEW, "-o", str(tmp_path / "x.json"))
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_aggregate_file_is_one_sentence(pair_file: Path, tmp_path: Path, capsys: Capsys) -> None:
    document = json.loads(pair_file.read_text())
    path = tmp_path / "pair.json"
    for change, status in (
        ({"version": 9}, 1),
        ({"members": [{"name": "rm", "direction": 1, "weight": 1}]}, 1),
        ({"reference": document["reference"] | {"space": "other"}}, 2),
    ):
        path.write_text(json.dumps(document | change))
        assert str(path) in complaint(capsys, status, "score", str(path), "--networks", "nb201:0", "--quiet")
    document["reference"]["conditions"]["networks"]["launch"] = 1
    path.write_text(json.dumps(document))
    assert "launch" in complaint(capsys, 2, "score", str(path), "--networks", "nb201:0", "--quiet")


def test_an_exported_program_keeps_its_direction(run: Path, tmp_path: Path, capsys: Capsys) -> None:
    """A proxy that predicts by a low score scores the same from its run and from its file."""
    front = json.loads((run / "front.json").read_text())
    pick = next(entry for entry in front["entries"] if entry["is_pick"])
    for direction in (1, -1):
        pick["direction"] = direction
        (run / "front.json").write_text(json.dumps(front))
        path = tmp_path / f"proxy{direction}.json"
        assert main(["export", str(run), "--to", "json", "-o", str(path)]) == 0
        capsys.readouterr()
        settings = ["--set", "seed=1", "--set", "probe.batch_size=3"]
        names = [f"{run}:best", str(path)]
        scored = ["score", *names, "--networks", "nb201:6111,15624", "--quiet", "--format", "json", *settings]
        rows = json.loads(printed(capsys, *scored))
        assert [row[names[0]] for row in rows] == [row[names[1]] for row in rows]
        assert load(path).text in (pick["program"], pick["simplified"])


def test_the_estimators_are_listed_in_three_forms(capsys: Capsys) -> None:
    rows = {row["name"]: row for row in json.loads(printed(capsys, "estimators", "--format", "json"))}
    assert rows["ntk"]["better"] == "lower"
    assert (rows["snip"]["labels"], rows["snip"]["images"], rows["zen"]["images"]) == ("yes", "values", "shape")
    assert [row["name"] for row in csv.DictReader(io.StringIO(printed(capsys, "estimators", "-f", "csv")))] == [*rows]
    assert "az_trainability" in printed(capsys, "estimators")


# ---------------------------------------------------------------------------------------------------------- the machine


def test_data_status_and_doctor_in_three_forms(capsys: Capsys) -> None:
    for command in (["data", "status"], ["doctor"]):
        rows = json.loads(printed(capsys, *command, "--format", "json"))
        header = printed(capsys, *command, "--format", "csv").splitlines()[0]
        assert header.split(",") == list(rows[0])
        assert len(printed(capsys, *command).splitlines()) > len(rows)


STORE_MANIFEST = json.dumps(
    {"checksum": "0", "format": 1, "settings": {}, "statistics": [], "networks": [], "shards": []}
)
SHARD = f"000000-000008-{'0' * 32}.safetensors"
TEMPORARY = f"{'f' * 32}.temporary"


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache with three stores, an unfinished one among them, and things that are none."""
    monkeypatch.setenv("EZNAS_CACHE", str(tmp_path))
    root = tmp_path / "statistics"
    for age, (name, files) in enumerate({
        "a" * 32: {"manifest.json": STORE_MANIFEST}, "b" * 32: {"manifest.json": STORE_MANIFEST},
        "c" * 32: {TEMPORARY: ""},
    }.items()):  # fmt: skip
        (root / name).mkdir(parents=True)
        for file, text in files.items():
            (root / name / file).write_text(text)
        (root / name / SHARD).write_bytes(bytes(2**20))
        for path in (*(root / name).iterdir(), root / name):
            os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "manifest.json").write_text(STORE_MANIFEST)
    (root / ("d" * 32)).symlink_to(tmp_path / "elsewhere")
    for name, file, text in (
        ("thesis", "chapter.tex", "mine"),
        ("e" * 32, "notes.txt", "mine"),
        ("f" * 32, "manifest.json", '{"name": "an extension of a browser"}'),
        ("1" * 32, "manifest.json", "{"),
        ("2" * 31, "manifest.json", STORE_MANIFEST),
        ("A" * 32, "manifest.json", STORE_MANIFEST),
    ):
        (root / name).mkdir()
        (root / name / file).write_text(text)
        if file == "notes.txt":
            (root / name / SHARD).touch()
    (root / ("3" * 32)).mkdir()
    (root / ("4" * 32)).write_text("a file")
    (root / ("5" * 32)).mkdir()
    (root / ("5" * 32) / SHARD).symlink_to(tmp_path / "elsewhere" / "manifest.json")
    return root


def tree(root: Path) -> dict[str, bytes]:
    """Every file under a folder, links among them, without locks."""
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if not path.name.endswith(".lock")}
    return {name: path.read_bytes() if path.is_file() else b"folder" for name, path in found.items()}


def folders(root: Path) -> set[str]:
    """First letters of the folders that are stores."""
    return {name for name in "abc" if (root / (name * 32)).is_dir()}


def test_old_statistics_are_pruned(stores: Path, capsys: Capsys) -> None:
    status = {row["source"]: row for row in json.loads(printed(capsys, "data", "status", "--format", "json"))}
    assert "3 store(s), 3.0 MiB" in status["cache"]["what"]
    shown = printed(capsys, "data", "prune", "--keep-gib", str(2.5 / 1024))
    assert "Removed 1 store(s), 1.0 MiB" in shown
    assert "2001-09-09" in next(line for line in shown.splitlines() if "c" * 32 in line)
    assert folders(stores) == {"a", "b"}
    with filelock.FileLock(stores / f"{'b' * 32}.lock"):  # being captured
        assert "Removed 1 store(s), 1.0 MiB" in printed(capsys, "data", "prune")
    assert folders(stores) == {"b"}
    assert "Removed 0 store(s)" in printed(capsys, "data", "prune", "--keep-gib", "1")
    assert folders(stores) == {"b"}


def test_pruning_leaves_what_is_no_store_alone(stores: Path, tmp_path: Path, capsys: Capsys) -> None:
    (stores / ("a" * 32) / "notes.txt").write_text("mine")
    before = tree(tmp_path)
    assert "Would remove 3 store(s), 3.0 MiB" in printed(capsys, "data", "prune", "--dry-run")
    assert tree(tmp_path) == before
    assert "Removed 3 store(s), 3.0 MiB" in printed(capsys, "data", "prune", "--yes")
    own = [*(f"statistics/{name * 32}" for name in "bc"), *(f"statistics/{name * 32}/{SHARD}" for name in "abc")]
    own += [f"statistics/{name * 32}/manifest.json" for name in "ab"] + [f"statistics/{'c' * 32}/{TEMPORARY}"]
    assert tree(tmp_path) == {name: content for name, content in before.items() if name not in own}


def test_a_real_store_is_known_and_pruned(tiny_run: Path, cache: Path, monkeypatch: pytest.MonkeyPatch,
                                          tmp_path: Path, capsys: Capsys) -> None:  # fmt: skip
    monkeypatch.setenv("EZNAS_CACHE", str(shutil.copytree(cache, tmp_path / "cache")))
    before = [path for path in (tmp_path / "cache" / "statistics").iterdir() if path.is_dir()]
    shown = main(["data", "prune", "--format", "json"]), capsys.readouterr()
    rows = json.loads(shown[1].out)
    assert {row["folder"] for row in rows} == {path.name for path in before}
    assert shown[1].err.startswith(f"Removed {len(before)} store(s)")
    assert sum(row["size"] for row in rows) > 0
    assert not [path for path in (tmp_path / "cache" / "statistics").iterdir() if path.is_dir()]


@pytest.mark.parametrize(("answer", "more", "gone"), [("n", [], False), ("y", [], True), ("", ["--yes"], True)])
def test_pruning_asks_on_a_terminal(stores: Path, answer: str, more: list[str], gone: bool) -> None:
    control, terminal = os.openpty()
    command = [sys.executable, "-c", "import sys; from eznas.cli import main; sys.exit(main())", "data", "prune", *more]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=Path.cwd()) as process:
        os.close(terminal)
        os.write(control, f"{answer}\n".encode())
        shown = b""
        try:
            while block := os.read(control, 4096):
                shown += block
        except OSError:  # how a terminal ends
            pass
    os.close(control)
    assert process.returncode == 0
    assert (b"[y/N]" in shown) == (not more)
    assert (b"Nothing was removed" in shown) == (not gone)
    assert folders(stores) == (set() if gone else {"a", "b", "c"})


def test_a_machine_in_trouble_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capsys) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(tmp_path / "nowhere"))
    assert main(["doctor", "--format", "json"]) == 1
    findings = {row["check"]: row for row in json.loads(capsys.readouterr().out)}
    assert findings["accuracies"]["is_well"] == "PROBLEM"
    assert "EZNAS_DATA must name a folder" in findings["accuracies"]["detail"]
    assert findings["torch"]["is_well"] == "ok"


def test_help_and_version_come_at_once(capsys: Capsys) -> None:
    assert "Usage" in printed(capsys, "--help")
    assert printed(capsys, "--version").strip().count(".") == 2
    seconds = []
    for _ in range(2):  # the better of two, on a busy machine
        start = time.process_time(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from eznas.cli import main; sys.exit(main(['evolve', '--help']))"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        seconds.append(time.perf_counter() - start[1])
        assert done.returncode == 0
        assert "--run-dir" in done.stdout
        if seconds[-1] < 1.0:
            break
    assert min(seconds) < 1.0


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "evolution.popsize=5"], r"did you mean 'evolution.population_size'?"),
        (["--set", "popsize=5"], "Unknown key 'popsize'"),
        (["--set", "evolution.population_size=many"], "Setting 'evolution.population_size'"),
        (["--set", "evolution.population_size=1"], "greater than or equal to 4, got 1"),
        (["--set", "evolution.crossover=nan"], "Setting 'evolution.crossover'"),
        (["--set", "evolution.objectives=['taub']"], "no objective 'taub'; did you mean 'tau'?"),
        (["--set", "evolution.objectives=['size','tau']"], "The first objective must be one that ranks networks"),
        (["--set", "evolution.objectives=['tau','tau']"], "every name may occur once only"),
        (["--set", "seed"], "--set takes section.key=value, got 'seed'"),
        (["--set", "seed.x=1", "--set", "seed.x.y=1"], "'x' is a setting, not a section"),
        (["--set", "report.baselines=['naswott']"], "naswot"),
        (["--workers", "-1"], "--workers must be 0 (this process) or more, got -1"),
        (["--ray-address", "127.0.0.1:1"], "--ray-address needs --workers 1 or more"),
        (["--device", "tpu"], "--device must be cpu or cuda, got 'tpu'"),
        (["--workers", "many"], "Invalid value for '--workers'"),
        (["--colour"], "--colour"),
        (["/nowhere/at-all.toml"], "Cannot read configuration /nowhere/at-all.toml: No such file"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: Capsys, arguments: list[str], message: str
) -> None:
    run = tmp_path / "run"
    assert message in complaint(capsys, 2, "evolve", "--quiet", "--run-dir", str(run), *arguments)
    assert not run.exists()


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe\x00", b"seed = " + b"[" * 50_000, b"[[seed]]\n"])
def test_a_damaged_configuration_is_one_sentence(tmp_path: Path, capsys: Capsys, content: bytes) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes(content)
    assert str(config) in complaint(capsys, 2, "evolve", str(config), "--run-dir", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_without_a_command_the_help_is_shown(capsys: Capsys) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "Usage" in shown.out + shown.err
    assert "error" not in shown.err


def _truncated(folder: Path) -> None:
    (folder / TABLE_FILE).write_bytes(gzip.compress(b"index,arch_str\n" * 1000)[:-20])


def _not_gzip(folder: Path) -> None:
    (folder / TABLE_FILE).write_text("index,arch_str\n")


def _lacking(folder: Path) -> None:
    (folder / TABLE_FILE).write_bytes(gzip.compress(b"index,arch_str\n0,x\n"))


@pytest.mark.parametrize("damage", [_truncated, _not_gzip, _lacking, lambda folder: None])
def test_an_unreadable_table_is_one_sentence(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    damage(data)
    monkeypatch.setenv("EZNAS_DATA", str(data))
    assert "nb201.csv.gz" in complaint(capsys, 1, "evolve", "--quiet", "--run-dir", str(tmp_path / "run"), *options())
    assert not (tmp_path / "run").exists()


def test_data_that_point_nowhere_are_one_sentence(
    tiny_run: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(tmp_path / "nowhere"))
    for arguments in (
        ["evolve", "--quiet", "--run-dir", str(tmp_path / "run"), *options()],
        ["resume", str(tiny_run), "--quiet"],
    ):
        assert "EZNAS_DATA must name a folder, but there is nothing at" in complaint(capsys, 1, *arguments)
    assert not (tmp_path / "run").exists()
    assert "EZNAS_DATA must name a folder" in printed(capsys, "data", "status", "-f", "json")


@pytest.mark.parametrize(
    "networks", ["|nor_conv_3x3~0|", "|warp~0|+|none~0|none~1|+|none~0|none~1|none~2|", "nb201:", "nb201:9-3", "x:all",
                 "nb201:random:0", "nb201:15625", "nb201:1,,2", "nb201:random:1:2:3", "", "nb201:²"],
)  # fmt: skip
def test_networks_that_do_not_exist_are_one_sentence(capsys: Capsys, networks: str) -> None:
    complaint(capsys, 1, "score", "mac_count", "--networks", networks, "--quiet")


DEEP = '{"op": "log", "args": [' * 10_000 + '{"leaf": "mac_count"}' + "]}" * 10_000
HEAD = '{"format": "eznas-program", "version": 1, "root": '
BAD_PROGRAMS = {
    "not json": "(log mac_count)",
    "empty": "",
    "another format": '{"format": "other"}',
    "another version": '{"format": "eznas-program", "version": 2}',
    "ill-typed": HEAD + '{"op": "sum_layers", "args": [{"leaf": "weight"}]}}',
    "incomplete": HEAD + '{"leaf": "weight"}}',
    "unknown operator": HEAD + '{"op": "launch", "args": []}}',
    "too deep": HEAD + DEEP + "}",
    "too large": HEAD + '{"leaf": "' + "x" * 2_000_000 + '"}}',
    "direction": HEAD.replace('"version"', '"direction": "up", "version"') + '{"leaf": "mac_count"}}',
}


@pytest.mark.parametrize("text", BAD_PROGRAMS.values(), ids=BAD_PROGRAMS)
def test_a_bad_program_file_is_one_sentence(tmp_path: Path, capsys: Capsys, text: str) -> None:
    path = tmp_path / "program.json"
    path.write_text(text)
    complaint(capsys, 1, "score", str(path), "--networks", "nb201:0", "--quiet")


def test_an_unknown_proxy_is_one_sentence(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    at = ["--networks", "nb201:0", "--quiet"]
    assert "naswot" in complaint(capsys, 2, "score", "naswott", *at)
    assert "feedbeef" in complaint(capsys, 1, "score", f"{tiny_run}:feedbeef", *at)
    assert "is not a run folder" in complaint(capsys, 1, "score", f"{tmp_path}:best", *at)
    assert "missing.json" in complaint(capsys, 1, "score", str(tmp_path / "missing.json"), *at)
    assert "feedbeef" in complaint(capsys, 1, "show", str(tiny_run), "feedbeef")


def test_a_damaged_store_is_one_sentence_and_leaves_no_run(
    tiny_run: Path, cache: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZNAS_CACHE", str(shutil.copytree(cache, tmp_path / "cache")))
    for shard in (tmp_path / "cache").rglob("*.safetensors"):  # other runs' statistics lie there too
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
    arguments = ["evolve", "--quiet", "--run-dir", str(tmp_path / "run"), *options()]
    line = complaint(capsys, 1, *arguments)
    assert "is damaged: expected checksum" in line
    assert "delete the folder, it will be captured again" in line
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_version_is_one_sentence(run: Path, capsys: Capsys) -> None:
    for name in ("manifest.json", "front.json"):
        document = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({**document, "version": 99}))
    assert "version 99" in complaint(capsys, 1, "resume", str(run), "--quiet")
    for command in ("front", "show", "report", "export"):
        assert "version 99" in complaint(capsys, 1, command, str(run))


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path, capsys: Capsys) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        for command in ("resume", "front", "show", "report", "export"):
            complaint(capsys, 1, command, str(path))
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_changed_settings_lends_them_to_nobody(run: Path, capsys: Capsys) -> None:
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("batch_size = 3\n", "batch_size = 4\n"))
    for command in (["report", str(run)], ["score", f"{run}:best", "--networks", "nb201:0", "--quiet"]):
        assert "probe.batch_size was 3 and is 4 now" in complaint(capsys, 1, *command)
    (run / "config.toml").write_text(text)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["capture"]["batch_size"] = 4
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert "manifest.json was changed after the run was started" in complaint(capsys, 1, "export", str(run))


def test_a_run_is_not_overwritten(run: Path, capsys: Capsys) -> None:
    before = (run / "front.json").read_bytes()
    assert "is not empty" in complaint(capsys, 1, "evolve", "--quiet", "--run-dir", str(run), *options())
    assert (run / "front.json").read_bytes() == before


def test_a_run_whose_labels_changed_is_not_resumed(run: Path, capsys: Capsys) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "labels_digest": "0"}))
    assert "was started with another labels digest" in complaint(capsys, 1, "resume", str(run), "--quiet")


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("damage", ["{", '{"format": "eznas-front", "version": 1}'])
def test_a_damaged_front_is_one_sentence_and_resume_makes_it_anew(run: Path, capsys: Capsys, damage: str) -> None:
    before = json.loads((run / "front.json").read_text())
    (run / "front.json").write_text(damage)
    complaint(capsys, 1, "front", str(run))
    if damage == "{":  # once is enough: it takes seconds
        assert main(["resume", str(run), "--quiet"]) == 0
        assert json.loads((run / "front.json").read_text())["entries"] == before["entries"]


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the system itself refuses, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_while_capturing(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZNAS_CACHE", str(tmp_path / "cache"))
    with full_disk(200_000):
        line = complaint(capsys, 1, "evolve", "--quiet", "--run-dir", str(tmp_path / "run"), *options())
    assert "Could not write the statistics store" in line
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "cache").rglob("*.temporary"))


@pytest.mark.usefixtures("no_report")
def test_a_disk_that_is_full_while_evolving(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    """The first generation fits, the second does not; with room again the run ends as an undisturbed one."""
    from tests.eznas.tiny import result

    run = tmp_path / "run"
    n_bytes = (tiny_run / "programs.jsonl").stat().st_size * 2 // 3
    with full_disk(n_bytes):
        line = complaint(capsys, 1, "evolve", "--quiet", "--run-dir", str(run), *options())
    assert "programs.jsonl: File too large; free space and resume the run" in line
    assert not (run / "front.json").exists()
    assert main(["resume", str(run), "--quiet"]) == 0
    assert result(run) == result(tiny_run)


def test_an_output_that_cannot_be_written_is_one_sentence(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "file").touch()
    for command in OUTPUTS.values():
        arguments = [str(tiny_run) if word == "RUN" else word for word in command]
        for bad, remedy in ((tmp_path, "it is a folder; give the name"), (tmp_path / "file" / "x", "give another")):
            line = complaint(capsys, 1, *arguments, str(bad))
            assert line.startswith(f"error: Cannot write {bad}: ")
            assert remedy in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


OUTPUTS = {
    "report": ["report", "RUN", "-o"],
    "front": ["front", "RUN", "--figure"],
    "export": ["export", "RUN", "-o"],
    "aggregate": ["aggregate", "mac_count+parameter_count", "--reference", "nb201:6111,1651", "--quiet", "-o"],
    "score": ["score", "mac_count", "--networks", "nb201:6111,1651", "--quiet", "-o"],
}


@pytest.mark.parametrize("command", OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_follows_links_and_goes_through_devices(
    tiny_run: Path, tmp_path: Path, capsys: Capsys, command: list[str]
) -> None:
    arguments = [str(tiny_run) if word == "RUN" else word for word in command]
    link, target = tmp_path / "link", tmp_path / "there" / "file"
    link.symlink_to(target)
    for _ in range(2):  # new, and there already
        assert main([*arguments, str(link)]) == 0
        assert str(link) in "".join(capsys.readouterr())
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"], "settings lie beside the file itself"
    content = target.read_text()
    assert content
    control, terminal = os.openpty()
    device = Path(os.ttyname(terminal))
    attributes = termios.tcgetattr(terminal)
    attributes[1] = 0  # bytes as they are written
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(iter(lambda: _read(control), b"")), daemon=True)
    reader.start()
    try:
        if command[0] == "score":
            line = complaint(capsys, 1, *arguments, str(device))
            assert "must be one, because the same command goes on with it" in line
            assert "leave --output out" in line
        else:
            assert main([*arguments, str(device)]) == 0
            assert str(device) not in "".join(capsys.readouterr())
        assert device.is_char_device()
    finally:
        os.close(terminal)
        reader.join(10)
        os.close(control)
    assert b"".join(shown).decode() == ("" if command[0] == "score" else content)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how a terminal ends
        return b""


def test_an_address_where_nobody_answers_leaves_no_run(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    arguments = ["--workers", "1", "--ray-address", "127.0.0.1:1"]
    assert evolve(tmp_path / "run", *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Cannot reach Ray at '127.0.0.1:1': ")
    assert not (tmp_path / "run").exists()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from eznas.errors import RunError

    with pytest.raises(RunError):
        main(["front", str(tmp_path), "--debug"])


def test_progress_goes_to_stderr_alone(tiny_run: Path, capsys: Capsys) -> None:
    assert main(["score", "mac_count", "--networks", "nb201:0", "--format", "json"]) == 0
    shown = capsys.readouterr()
    found: list[dict[str, Any]] = json.loads(shown.out)
    assert len(found) == 1
    assert "Scoring 1 networks" in shown.err
