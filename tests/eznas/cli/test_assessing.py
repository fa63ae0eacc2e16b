"""Assessing from the command line: tables that fit, JSON, CSV, the page, scores of others, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from eznas.benchmarks import Split, load_nb201
from eznas.cli import main
from eznas.fitness import kendall_tau_b
from eznas.spaces import networks_named, space_of
from tests.eznas.cli.commands import Capsys, complaint, printed

pytestmark = pytest.mark.usefixtures("embedded_data")
SMALL = ["--quiet", "--set", "report.baseline_batch_size=4"]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eznas.assessment.assessment.MAX_RESAMPLES", 150)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Scores of 100 cells that were made elsewhere: a good one, one that fails at times, one without an order."""
    benchmark = load_nb201()
    rng = np.random.default_rng(0)
    cells = [benchmark.architectures[place] for place in rng.choice(len(benchmark.architectures), 100, replace=False)]
    accuracies = benchmark.accuracies(cells, "cifar10", Split.TEST)
    path = tmp_path / "given.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", "good", "flaky", "flat", "failed", "seconds"])
        for place, (cell, accuracy) in enumerate(zip(cells, accuracies, strict=True)):
            lost = place % 20 == 0
            flaky = "" if lost else rng.normal()
            writer.writerow([cell.spec, accuracy + 3 * rng.normal(), flaky, 1, "flaky: singular" if lost else "", 0.1])
    return path


def test_scores_of_others_stand_beside_the_baselines_in_tables_that_fit(given: Path, capsys: Capsys) -> None:
    text = printed(capsys, "assess", str(given), "--benchmark", "nb201", "--quiet")
    assert max(map(len, text.splitlines())) <= 80
    for expected in ("good", "flaky", "(params)", "(MACs)", "(layers)", "(random)", "5 singular"):
        assert expected in text
    said = " ".join(text.split())
    for part in ("nb201, 100 of 15,625 networks", "cifar10 test accuracy", "epochs not", "failures rank last", "ties"):
        assert part in said, part
    assert "150 resamples" in said
    assert "flat ranks no networks because" in said


def test_numbers_are_the_definitions_in_every_form(given: Path, capsys: Capsys) -> None:
    command = ["assess", f"{given}:good", "--benchmark", "nb201", "--quiet", "--format"]
    found = json.loads(printed(capsys, *command, "json"))
    assert [(one["name"], one["is_baseline"]) for one in found["proxies"]] == [
        ("good", False), ("parameters", True), ("MACs", True), ("layers", True), ("random", True),
    ]  # fmt: skip
    good, *baselines = found["proxies"]
    rows = list(csv.DictReader(given.open()))
    benchmark = load_nb201()
    by_spec = {cell.spec: cell for cell in benchmark.architectures}
    accuracies = benchmark.accuracies([by_spec[row["network"]] for row in rows], "cifar10", Split.TEST)
    tau = kendall_tau_b([float(row["good"]) for row in rows], accuracies)
    assert good["measurement"]["tau"]["value"] == pytest.approx(tau)
    best = max(baselines, key=lambda one: one["measurement"]["tau"]["value"])
    gap = good["differences"]["tau"]
    assert gap["from"] == best["name"]
    assert gap["value"] == pytest.approx(tau - best["measurement"]["tau"]["value"])
    assert gap["low"] < gap["value"] < gap["high"]
    assert list(good["picks"]["precision_top"]) == ["0.01", "0.05", "0.1", "0.5", "1"]
    assert good["picks"]["precision_top"]["1"] == 1
    assert len(good["bias"]["by_size"]) == 5
    assert (
        good["bias"]["most_over_estimated"][0]["difference"] > 0 > good["bias"]["most_under_estimated"][0]["difference"]
    )
    table = list(csv.DictReader(io.StringIO(printed(capsys, *command, "csv"))))
    (row,) = [row for row in table if (row["proxy"], row["criterion"]) == ("good", "tau")]
    assert float(row["value"]) == good["measurement"]["tau"]["value"]
    assert (row["n"], row["failed"]) == ("100", "0")


def test_proxies_are_scored_and_drawn_again_for_their_stability(capsys: Capsys) -> None:
    command = ["assess", "naswot,grad_norm+naswot", "--benchmark", "nb201", "--n", "8", *SMALL, "--format", "json"]
    found = json.loads(printed(capsys, *command, "--seeds", "2", "--batches", "3"))
    naswot, both, *_ = found["proxies"]
    assert both["name"] == "grad_norm+naswot"
    seeds, batches = naswot["stability"]
    assert (seeds["over"], len(seeds["taus"]), batches["over"], len(batches["taus"])) == ("seeds", 2, "batches", 3)
    assert seeds["taus"][0] == batches["taus"][0] == pytest.approx(naswot["measurement"]["tau"]["value"])
    assert len(set(batches["taus"])) > 1 or batches["retest"] < 1
    assert list(batches["averaged"]) == ["1", "3"]
    again = json.loads(printed(capsys, *command))
    assert again["proxies"][0]["measurement"] == naswot["measurement"]


def test_the_page_stands_alone_and_names_are_text_on_it(given: Path, tmp_path: Path, capsys: Capsys) -> None:
    given.write_text(given.read_text().replace("good", "<b>$x^2$</b>", 1))
    path = tmp_path / "new" / "page.html"
    assert main(["assess", str(given), "--benchmark", "nb201", "--quiet", "-o", str(path)]) == 0
    assert str(path) in capsys.readouterr().err
    page = path.read_text()
    assert page.count("<svg") == page.count("</svg>") == 4
    for heading in ("How scores rank", "Rank against rank", "First and last picks", "by size", "by operation"):
        assert heading in page
    assert "ranks no networks because" in page
    assert "<script" not in page
    assert "<b>$x" not in page
    assert "&lt;b&gt;$x" in page
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*", page.replace("xlink:href", "href"))
    assert "default-src 'none'" in page
    assert "nan" not in re.sub(r"<[^>]*>", " ", page).lower().split()


def test_own_networks_with_accuracies_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    (tmp_path / "assessed_zoo.py").write_text(
        "import torch\n"
        "def networks():\n"
        "    for n in range(1, 11):\n"
        "        layers = [torch.nn.Conv2d(3, 4 * n, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)]\n"
        "        yield f'net{n}', torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(4 * n, 10))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    accuracies = tmp_path / "zoo.csv"
    accuracies.write_text("network,accuracy\n" + "".join(f"net{n},{50 + 2 * n}\n" for n in range(1, 11)))
    command = ["assess", "naswot", "--benchmark", str(accuracies), "--networks", "python:assessed_zoo:networks"]
    found = json.loads(printed(capsys, *command, *SMALL, "--format", "json"))
    by_name = {one["name"]: one for one in found["proxies"]}
    assert by_name["parameters"]["measurement"]["tau"]["value"] == 1
    assert found["n"] == 10
    assert by_name["layers"]["measurement"]["reason"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "it is empty"),
        ("network\nx\n", "one for each proxy"),
        ("network,a\n|nor_conv_3x3~0|,1,2\n", "3 of 2 fields"),
        ("network,a\nnowhere,1\n", "None of the 1 networks"),
        (f"network,a\n{'CELL'},x\n", "a number or nothing"),
        (f"network,a\n{'CELL'},1\n{'CELL'},2\n", "repeats network"),
        (f"network,a\n{'CELL'},1\n", "has 1 networks that the files score"),
    ],
)
def test_files_that_are_no_scores_are_refused(content: str, expected: str, tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content.replace("CELL", load_nb201().architectures[7].spec))
    status = 1 if "files score" in expected else 2
    assert expected in complaint(capsys, status, "assess", str(path), "--benchmark", "nb201", "--quiet")


def test_what_makes_no_sense_is_refused_in_a_sentence(given: Path, capsys: Capsys) -> None:
    command = ["assess", "naswot", "--quiet", "--benchmark"]
    assert "nb201" in complaint(capsys, 1, *command, "nb20")
    assert "cifar10" in complaint(capsys, 1, *command, "nb201", "--data", "cifar11")
    assert "5 to all" in complaint(capsys, 1, *command, "nb201", "--n", "4")
    assert "5 to all" in complaint(capsys, 1, *command, "nb201", "--n", "15626")
    assert "FILE.html" in complaint(capsys, 2, *command, "nb201", "-o", "page.txt")
    assert "at least 1" in complaint(capsys, 2, *command, "nb201", "--seeds", "0")
    assert "--networks" in complaint(capsys, 2, *command, "zoo.csv")
    assert "--networks" in complaint(capsys, 2, *command, "nb201", "--networks", "python:zoo:networks")
    assert "nosuch" in complaint(capsys, 2, "assess", "nosuch", "--benchmark", "nb201", "--quiet")
    assert "column" in complaint(capsys, 2, "assess", f"{given}:goof", "--benchmark", "nb201", "--quiet")
    twice = ["assess", f"{given}:good", str(given), "--benchmark", "nb201", "--quiet"]
    assert "'good'" in complaint(capsys, 2, *twice)


def test_bias_by_width_and_depth_where_a_space_varies_them(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "page.html"
    command = ["assess", "parameter_count", "--benchmark", "net_residual", "--n", "30", *SMALL]
    assert main([*command, "-o", str(path)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for shape in ("width", "depth", "resolution"):
        assert f"Bias by {shape}" in text
        assert f"<h2>Bias by {shape}</h2>" in path.read_text()
    found = json.loads(printed(capsys, *command, "--format", "json"))["proxies"][0]
    groups = found["bias"]["by_shape"]["depth"]
    assert sum(group["n"] for group in groups) == 30
    assert sum(group["n"] * group["difference"] for group in groups) == pytest.approx(0)
    (top, *_), (low, high) = found["picks"]["precision_top"].values(), found["pick_intervals"]["precision_top"]["0.1"]
    assert 0 <= low <= found["picks"]["precision_top"]["0.1"] <= high <= 1
    assert top <= 1
    rows = csv.DictReader(io.StringIO(printed(capsys, *command, "--format", "csv")))
    picks = [row for row in rows if (row["criterion"], row["share"]) == ("best_rank", "0.1")]
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in picks)


def test_scores_without_an_order_have_a_reason_and_no_figures(tmp_path: Path, capsys: Capsys) -> None:
    cells = load_nb201().architectures[:30]
    path = tmp_path / "bad.csv"
    lines = [f"{cell.spec},{place},7," for place, cell in enumerate(cells)]
    path.write_text("\n".join(["network,good,equal,failed_all", *lines]) + "\n")
    command = ["assess", str(path), "--benchmark", "nb201", "--quiet"]
    found = {one["name"]: one for one in json.loads(printed(capsys, *command, "--format", "json"))["proxies"]}
    assert found["good"]["measurement"]["tau"] is not None
    for name in ("equal", "failed_all"):
        assert found[name]["measurement"]["tau"] is None
        assert found[name]["picks"] == found[name]["pick_intervals"] == {}
        assert f"{name} ranks no networks because" in " ".join(printed(capsys, *command).split())
    # of 30 networks 0.1, 0.5 and 1 % are none, and K never exceeds n
    assert list(found["good"]["picks"]["precision_top"]) == ["0.05", "0.1", "0.5", "1"]
    few = tmp_path / "few.csv"
    few.write_text("\n".join(["network,good,equal,failed_all", *lines[:6]]) + "\n")
    again = json.loads(printed(capsys, "assess", str(few), "--benchmark", "nb201", "--quiet", "--format", "json"))
    assert list(again["proxies"][0]["picks"]["precision_top"]) == ["0.5", "1"]


def test_labels_of_classes_that_networks_lack_are_said(capsys: Capsys) -> None:
    command = ["--benchmark", "nb201", *SMALL, "--set", "networks.n_classes=2", "--format", "json"]
    found = json.loads(printed(capsys, "assess", "grad_norm", "--n", "5", *command))
    assert found["proxies"][0]["measurement"]["failures"] == {"unfit": 5}
    (said,) = [note for note in found["notes"] if note.startswith("grad_norm has no score")]
    assert "is not a class of Network, which has 2 logits" in said
    refused = complaint(capsys, 1, "nas", "score", "--proxy", "grad_norm", "--networks", "5", "--n", "5", *command)
    assert "failed on all 5 networks" in refused
    assert "which has 2 logits" in refused


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("net:residual/depth=3-1/width=8-24/kernel=3-3/groups=1/se=0/norm=batch/activation=relu/stem=conv3s2/down=stride",
         {"width": 12, "depth": 4, "resolution": 0.5}),
        ("nds_resnext_a:16x64m1g1-8x32m0.5g2-4x256m1g1", {"width": 2304 / 28, "depth": 28}),
        ("sss:8:16:24:32:64", {"width": 28.8}),
    ],
)  # fmt: skip
def test_shapes_of_networks(spec: str, expected: dict[str, float]) -> None:
    (arch,) = networks_named(spec)
    shape = space_of(arch).shape
    assert shape is not None
    assert shape(arch) == pytest.approx(expected)
