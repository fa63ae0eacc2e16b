"""Commands that look at a run: three forms, exports, outputs; one sentence where there is no sound run."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from eznas.cli import main
from eznas.proxies import ProgramProxy, load_proxy_file
from eznas.spaces import nb201
from eznas.study import Study
from tests.eznas.cli.commands import OUTSIDE, Capsys, complaint, printed

pytestmark = pytest.mark.usefixtures("embedded_data")


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
    study = Study(tiny_run)
    entry = next(entry for entry in study.result.published if entry.program)
    path = tmp_path / "proxy.py"
    assert main(["export", str(tiny_run), entry.id, "-o", str(path)]) == 0
    capsys.readouterr()
    scored = json.loads(
        printed(capsys, "score", f"{tiny_run}:{entry.id}", "--networks", OUTSIDE, "--format", "json", "--quiet")
    )
    specs = [row["network"] for row in scored]
    assert len(set(specs)) == 20
    (sample,) = json.loads((tiny_run / "manifest.json").read_text())["samples"]
    assert not {*specs} & {spec for part in sample["networks"].values() for spec in part}
    (sample_card,) = study.result.samples
    conditions = sample_card.conditions
    inputs, _ = conditions.batch(conditions.batch_size)
    skeleton = conditions.settings.model_dump()
    request = [str(path), conditions.seed, inputs.tolist(), skeleton, specs]
    command = [sys.executable, "-I", "-c", EXPORTED]
    done = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [row[f"{tiny_run.name}:{entry.id}"] for row in scored]
    found = json.loads(done.stdout)
    comparable = [(f, e) for f, e in zip(found, expected, strict=True) if e is not None]
    assert len(comparable) >= 15
    assert [f for f, _ in comparable] == pytest.approx([e for _, e in comparable], rel=1e-4)
    first = next(i for i, e in enumerate(expected) if e is not None)
    network = conditions.network(nb201.architecture(specs[first]))
    assert study.proxy(entry.id).score(network, inputs) == pytest.approx(expected[first], rel=1e-4)


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
        ours, theirs = (name for name in rows[0] if name not in ("index", "network", "failed", "coverage"))
        assert [row[ours] for row in rows] == [row[theirs] for row in rows]
        proxy = load_proxy_file(path).proxy
        assert isinstance(proxy, ProgramProxy)
        assert proxy.program.text in (pick["program"], pick["simplified"])
        assert proxy.direction == direction


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
    """What a proxy was found under stands beside it in the front; the report, which shows the settings, says no."""
    scored = ["score", f"{run}:best", "--networks", "nb201:6111", "--quiet", "--format", "json"]
    before = printed(capsys, *scored), printed(capsys, "export", str(run), "--to", "json")
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("batch_size = 3\n", "batch_size = 4\n"))
    assert "probe.batch_size was 3 and is 4 now" in complaint(capsys, 1, "report", str(run))
    assert "probe.batch_size was 3 and is 4 now" in complaint(capsys, 1, "resume", str(run), "--quiet")
    assert (printed(capsys, *scored), printed(capsys, "export", str(run), "--to", "json")) == before
    (run / "config.toml").write_text(text)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["samples"][0]["networks"]["report"].pop()
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert "manifest.json was changed after the run was started" in complaint(capsys, 1, "resume", str(run), "--quiet")
