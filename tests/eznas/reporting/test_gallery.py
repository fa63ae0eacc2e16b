"""The gallery that is shipped: formulas that were not changed, their cards, and every form of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eznas.assessment import BADGES
from eznas.assessment.ablation import parts_of
from eznas.assessment.card import Card, card_of, worst_ranked
from eznas.errors import ConfigError, ProgramError
from eznas.fitness import Labels
from eznas.programs import directed_infix, parse, to_infix
from eznas.proxies import ProgramProxy, gallery_names, gallery_proxy
from eznas.reporting import card_text, gallery_page, gallery_rows, gallery_text
from eznas.spaces import networks_named

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "eznas" / "gallery"
NAMES = gallery_names()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery of one's own with what is shipped."""
    shutil.copytree(SHIPPED, tmp_path / "gallery")
    for module in ("eznas.proxies.named", "eznas.assessment.card"):
        monkeypatch.setattr(f"{module}.files", lambda package: tmp_path)
    return tmp_path / "gallery"


@pytest.mark.parametrize("name", NAMES)
def test_everything_shipped_has_a_card_of_its_formula(name: str) -> None:
    stored, card = gallery_proxy(name), card_of(name)
    assert stored.digest is not None
    assert {"Kind", "Evolved on", "Held out"} <= set(stored.card)
    assert card is not None
    assert card.name == name
    assert [line.badge for line in card.badges] == list(BADGES)
    assert isinstance(stored.proxy, ProgramProxy)
    program = stored.proxy.program
    assert [line.program for line in card.parts] == [program.subprogram(i).text for i in parts_of(program)]
    assert len(card.worst) == 10
    for figure in card.figures:
        assert figure.measured.tau is not None
        assert set(figure.baselines) == {"mac_count", "parameter_count", "naswot", "zen"}


def test_the_page_is_the_one_that_the_command_writes() -> None:
    assert (ROOT / "docs" / "gallery.md").read_text() == gallery_page()


@pytest.mark.parametrize("name", NAMES)
def test_a_card_fits_a_terminal(name: str) -> None:
    text = card_text(name, 80)
    assert [line for line in text.splitlines() if len(line) > 80 and " " in line.strip()] == []
    for title in ("Formula", "Reads", "Cost", "Evolved on", "Figures", "Badges", "Where it fails", "Worst ranked"):
        assert f"\n{title}" in text
    proxy = gallery_proxy(name).proxy
    assert isinstance(proxy, ProgramProxy)
    formula = directed_infix(proxy.program, proxy.direction)
    assert formula.replace(" ", "") in "".join(text.split())


def test_the_table_fits_a_terminal() -> None:
    text = gallery_text(80)
    assert max(map(len, text.splitlines())) <= 80
    rows = gallery_rows()
    assert [row["name"] for row in rows] == list(NAMES)
    assert all(row["kind"] and row["tau"] is not None for row in rows)


def test_a_formula_changed_by_hand_is_noticed(copied: Path) -> None:
    path = copied / "gradient_rank.json"
    whole = path.read_text()
    for before, after in (('"sum_layers"', '"mean_layers"'), ("1,000 cells", "9,000 cells")):
        assert before in whole
        path.write_text(whole.replace(before, after))
        with pytest.raises(ProgramError, match=r"gradient_rank\.json was changed after it was written: its digest"):
            gallery_proxy("gradient_rank")
    data = json.loads(whole)
    path.write_text(json.dumps(data | {"digest": None}))  # a proxy of one's own, of which no card is known
    assert gallery_proxy("gradient_rank").digest is None
    with pytest.raises(ConfigError, match=r"The card .* is of another formula than 'gradient_rank' of the gallery is"):
        card_of("gradient_rank")
    path.write_text(json.dumps(data))  # laid out otherwise
    assert gallery_proxy("gradient_rank").digest == data["digest"]


def test_a_card_that_is_missing_or_damaged(copied: Path) -> None:
    path = copied / "cards" / "nb201.json"
    card = Card.model_validate_json(path.read_text())
    path.write_text("{")
    with pytest.raises(ProgramError, match=r"nb201\.json is not valid JSON; the file is damaged: put it back, or"):
        card_of("nb201")
    path.write_text(card.model_copy(update={"share_idle": 2.0}).model_dump_json())
    with pytest.raises(ProgramError, match="share_idle"):
        card_of("nb201")
    path.unlink()
    assert card_of("nb201") is None
    assert "No card was measured yet" in card_text("nb201")
    assert gallery_rows()[-1]["tau"] is None
    assert "| nb201" not in gallery_text()


def test_the_worst_ranked_networks() -> None:
    networks = networks_named("nb201:random:6")
    labels = Labels("some", np.array([10.0, 20, 30, 40, 50, 60]), np.arange(6))
    scores = np.array([1.0, 2, np.nan, 5, 6, 3])
    first, second = worst_ranked(scores, labels, networks, 2)
    assert (first.by_score, first.by_accuracy, first.n) == (6, 4, 6)  # it failed, so it is last
    assert first.network == f"nb201:{networks[2].spec}"
    assert (second.by_score, second.by_accuracy) == (3, 1)
    assert second.network == f"nb201:{networks[5].spec}"


def test_infix() -> None:
    text = "(subtract mac_count (subtract (multiply -2.0 unit_count) (divide 1.0 (multiply 2.0 (log mac_count)))))"
    assert to_infix(parse(text)) == "mac_count - ((-2) * unit_count - 1 / (2 * log(mac_count)))"
    assert to_infix(parse("(divide (divide 1.0 2.0) (add 3.0 4.0))")) == "1 / 2 / (3 + 4)"
