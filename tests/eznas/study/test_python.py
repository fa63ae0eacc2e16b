"""What a run gives in Python: its front as a table and a data frame, figures, formulas; and what is shown meanwhile."""

from __future__ import annotations

import builtins
import copy
import io
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import eznas
from eznas import progress
from eznas.errors import ConfigError, RunError
from eznas.export import export_entry
from eznas.programs import directed_infix, directed_sympy, to_latex, to_sympy
from eznas.proxies import ProgramProxy, proxy_of_entry
from eznas.reporting import FIGURES, entry_latex, entry_text, front_table
from eznas.study import Silent, Study
from eznas.tables import render_table
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


def test_the_proxies_of_a_front_are_a_tuple_that_prints_as_its_table(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    study = Study(tiny_run)
    found = study.front
    plain = tuple(proxy_of_entry(entry) for entry in study.result.discovered)
    assert found == plain
    assert hash(found) == hash(plain)
    assert (found[0], found[1:], found[::-1], list(found)) == (plain[0], plain[1:], plain[::-1], list(plain))
    assert repr(found) + "\n" == front_table(study.result, width=72)
    assert max(map(len, repr(found).splitlines())) <= 72
    assert found._repr_html_() == study._repr_html_()
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert again == found
        assert repr(again) == repr(found)
    pandas = pytest.importorskip("pandas")
    pandas.testing.assert_frame_equal(found.to_dataframe(), study.to_dataframe())


def test_a_table_is_text_in_a_notebook_too(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There rich shows whatever it prints, into a text too, unless it is told not to."""
    expected = repr(Study(tiny_run).front), render_table([{"a": 1}], "table")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert (repr(Study(tiny_run).front), render_table([{"a": 1}], "table")) == expected


def pixels(figure: Any) -> np.ndarray:
    """(height, width, 3) of a figure as a notebook shows it."""
    return np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB")).astype(int)


def test_figures_are_those_of_matplotlib(tiny_run: Path, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    study = Study(tiny_run)
    for name in FIGURES:
        figure = study.figure(name)
        assert isinstance(figure, Figure)
        assert figure.axes
        is_orange = (np.abs(pixels(figure) - (0xD5, 0x5E, 0x00)).sum(axis=2) < 200).sum()
        assert is_orange > 100, f"the pick is not in the figure {name!r}"
    assert len(study.front.figure().axes) == len(study.figure().axes) == 2
    target = tmp_path / "front.pdf"
    study.front.figure().savefig(target)
    assert target.read_bytes().startswith(b"%PDF")
    with pytest.raises(ConfigError, match="Unknown figure 'frnt'; did you mean 'front'"):
        study.figure("frnt")
    with pytest.raises(RunError, match=r"has no front\.json"):
        Study(tmp_path).figure()


def test_points_of_a_figure_are_dots_in_pixels_too(tiny_run: Path) -> None:
    """Strokes of no length are nothing there."""
    study = Study(tiny_run)
    figure = study.figure("scatter")
    shown = pixels(figure)
    for ax in figure.axes:
        for patch in list(ax.patches):
            patch.remove()
    assert shown.shape != pixels(figure).shape or (shown != pixels(figure)).any()


@pytest.mark.parametrize("direction", [1, -1])
def test_a_formula_is_the_same_by_every_way_out(tiny_run: Path, direction: int) -> None:
    """Of the pick and of all others, as they were found and turned round; division as it is and as a fraction."""
    front = Study(tiny_run).result
    for division in ("plain", "smoothed"):
        for found in front.discovered:
            entry = found.model_copy(update={"direction": direction, "division": division})
            assert entry.formula is not None
            infix, latex = directed_infix(entry.formula, direction), entry_latex(entry)
            assert f"  formula     {infix}\n" in entry_text(front, entry)
            assert export_entry(front, entry, "latex") == latex
            head = export_entry(front, entry, "python").partition("from __future__")[0]
            told = "".join(head.split())
            assert f"overallofthem):{infix}InLaTeX:{latex}Theprogram".replace(" ", "").replace("\n", "") in told
            symbolic = export_entry(front, entry, "sympy").strip()
            assert symbolic == str(directed_sympy(entry.formula, direction))
            difference = directed_sympy(entry.formula, direction) - direction * to_sympy(entry.formula)
            assert difference.expand() == 0
            proxy = proxy_of_entry(entry)
            assert isinstance(proxy, ProgramProxy)
            assert proxy.latex == to_latex(entry.formula, direction=direction)
    best = Study(tiny_run).entry("best")
    assert best.formula is not None
    page = (tiny_run / "report.html").read_text().replace("<wbr>", "")
    assert directed_infix(best.formula, best.direction) in page.replace("&gt;", ">")


# What is shown while it works ----------------------------------------------------------------------------------------


def observer_in(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, notebook: bool = False) -> Any:
    """What a search is told to where stderr is a terminal or not, in a notebook or not."""
    told: list[Any] = []

    def search(config: Any, *, observer: Any = None) -> Any:
        told.append(observer)
        return config

    def console(**how: Any) -> Console:
        return Console(**how, force_terminal=terminal, force_jupyter=notebook)

    from eznas import api

    monkeypatch.setattr(progress, "Console", console)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("TERM", "xterm")
    watched = api._watched(search)  # type: ignore[arg-type]
    mine = Silent()
    assert watched("settings", observer=mine) == "settings"  # type: ignore[comparison-overlap]
    assert told.pop() is mine, "one that is given is told, and no other"
    watched("settings")
    return told.pop()


def test_a_terminal_and_a_notebook_show_how_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(observer_in(monkeypatch, terminal=True), progress.PanelObserver)
    assert isinstance(observer_in(monkeypatch, terminal=False), Silent)
    assert isinstance(observer_in(monkeypatch, terminal=False, notebook=True), progress.StderrObserver)


def test_a_run_from_python_is_told_where_it_is_seen_and_silent_if_asked(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run is left as it is, and what was read is told."""
    stderr = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **how: Console(**how, force_terminal=True, width=80))
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "dumb")
    assert eznas.resume(tiny_run, observer=eznas.Silent()) == Study(tiny_run)
    assert stderr.getvalue() == ""
    assert eznas.resume(tiny_run) == Study(tiny_run)
    assert "Reading the networks" in stderr.getvalue()


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
