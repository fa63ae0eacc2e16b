"""What a run gives in Python: its front printed, in a notebook, as a data frame; the door of scikit-learn's shape."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import eznas
from eznas.errors import ConfigError
from eznas.programs import to_latex
from eznas.study import Study
from tests.eznas.small_zoo import network, networks

pytestmark = pytest.mark.usefixtures("embedded_data")


def test_a_study_prints_its_front(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    study = Study(tiny_run)
    shown = str(study)
    assert study.best.name[:8] in shown
    assert "naswot_units" in shown
    assert max(map(len, shown.splitlines())) <= 90


def test_a_study_is_a_table_in_a_notebook(tiny_run: Path, tmp_path: Path) -> None:
    table = Study(tiny_run)._repr_html_()
    assert table.count("<tr>") == 1 + len(Study(tiny_run).result.entries)
    assert f"<b>{Study(tiny_run).entry('best').label}</b>" in table
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    front = run / "front.json"
    front.write_text(front.read_text().replace('"title":"NASWOT"', '"title":"x"').replace('"naswot"', '"<script>"'))
    hostile = Study(run)._repr_html_()
    assert "<script>" not in hostile
    assert "&lt;script&gt;" in hostile


def test_a_run_that_is_not_finished_says_so(tmp_path: Path) -> None:
    assert "eznas.resume" in str(Study(tmp_path))
    assert "eznas.resume" in Study(tmp_path)._repr_html_()


def test_a_front_is_a_data_frame(tiny_run: Path) -> None:
    pandas = pytest.importorskip("pandas")
    study = Study(tiny_run)
    frame = study.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    tau = study.entry("best").report["cifar10"].tau
    assert tau is not None
    assert frame.loc[frame["is_pick"], "report_tau"].tolist() == [tau.value]
    assert set(frame["id"]) == {entry.id for entry in study.result.entries}


def test_without_pandas_one_sentence_says_so(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return importing(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="pip install pandas"):
        Study(tiny_run).to_dataframe()


def test_a_proxy_has_its_formula_as_latex(tiny_run: Path) -> None:
    best = Study(tiny_run).best
    assert best.latex == to_latex(best.program) == Study(tiny_run).export("latex").strip()


@pytest.mark.usefixtures("nothing_simplified")
def test_a_discovery_is_fitted_and_scores(tmp_path: Path) -> None:
    config = eznas.RunConfig.model_validate({
        "benchmark": {"name": "python", "folds": "none"},
        "evolution": {"population_size": 8, "initial_size": 8, "n_generations": 1},
        "probe": {"batch_size": 2},
        "report": {"bootstrap": 100, "badge_networks": 0, "baselines": [], "simplify_seconds": 1.0},
    })  # fmt: skip
    images = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])
    discovery = eznas.Discovery(config, images=images, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="call fit"):
        discovery.score(network(4))
    accuracies = {name: 50.0 + i for i, name in enumerate(networks(30))}
    assert discovery.fit(networks(30), accuracies) is discovery
    assert discovery.score(network(30)) == discovery.best_.score(network(30), *images)
    assert discovery.score(network(30), images[0] * 0.5) == discovery.best_.score(network(30), images[0] * 0.5)


def test_a_discovery_has_parameters_by_name() -> None:
    discovery = eznas.Discovery()
    assert discovery.set_params(run_dir="here") is discovery
    assert discovery.get_params()["run_dir"] == "here"
    assert eznas.Discovery(**discovery.get_params()).get_params() == discovery.get_params()
    with pytest.raises(ConfigError, match="no parameter 'folder'; it has config, images"):
        discovery.set_params(folder="there")


def test_a_discovery_scores_with_the_images_it_was_found_with(tiny_run: Path) -> None:
    discovery = eznas.Discovery()
    discovery.study_ = Study(tiny_run)
    conditions = discovery.study_.result.samples[0].conditions
    coloured = network(5, channels=3)
    expected = discovery.best_.score(coloured, conditions.batch(3)[0])
    assert discovery.score(coloured) == expected
