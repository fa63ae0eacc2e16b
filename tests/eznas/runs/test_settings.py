"""The list of settings is made of the declarations: all of them, each with a meaning; a file of them is read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from eznas.forms import meanings
from eznas.runs.config import EvolutionSettings, RunConfig, config_from, load_config
from eznas.runs.settings import changes, commented_toml, read_settings_of, settings_of, toml_value
from tests.eznas.tiny import SETTINGS


def test_every_setting_has_a_default_a_kind_and_a_meaning() -> None:
    found = {one.key: one for one in settings_of()}
    declared = {f"evolution.{name}" for name in EvolutionSettings.model_fields}
    assert declared <= set(found)
    assert {"seed", "probe.images", "networks.cells_per_stage", "report.pick", "samples[].left_out"} <= set(found)
    assert [one.key for one in found.values() if not one.meaning or not one.kind] == []
    assert found["evolution.n_generations"].default == RunConfig().evolution.n_generations
    assert found["evolution.likeness"].kind == "a number above 0 to 1"
    assert found["probe.input_size"].kind == 'a whole number from 1 to 10,000 or "auto"'


def test_meanings_are_the_docstrings_beside_the_fields() -> None:
    assert meanings(EvolutionSettings)["initial_height"] == "Greatest height of random programs."
    assert settings_of(beginning="evolution.initial_height")[0].meaning == "Greatest height of random programs."


def test_networks_have_the_settings_of_their_space() -> None:
    config = load_config(None, ["benchmark.name=nb101"])
    assert {one.key: one.default for one in settings_of(config)}["networks.space"] == "nb101"


@pytest.mark.parametrize("name", ["nb201", "nb101", "nds_darts_in", "python"])
def test_the_commented_file_is_the_settings(name: str) -> None:
    config = load_config(None, [f"benchmark.name={name}"])
    text = commented_toml(config)
    assert config_from(tomllib.loads(text)) == config
    assert max(len(line) for line in text.splitlines() if line.startswith("# ") and " = " not in line) <= 102


def test_a_file_of_what_is_set_leaves_the_rest_in_comments() -> None:
    config = load_config(None, ["seed=7", "benchmark.n_evolve=30"])
    text = commented_toml(config, only_changes=True)
    said = tomllib.loads(text)
    assert said.pop("seed") == 7
    assert said.pop("benchmark") == {"n_evolve": 30}
    assert not any(said.values())
    assert "# n_select =\n" in text
    assert "# n_generations = 20\n" in text


@pytest.mark.parametrize("value", ['a"b\\c\n\x7fé😀', 3, 0.5, True, ["a", "b"], {"name": "x", "n": 2}])
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_changes_are_what_differs_from_the_defaults(tmp_path: Path) -> None:
    assert changes(RunConfig()) == ()
    config = load_config(None, [f"{key}={value}" for key, value in SETTINGS.items()])
    assert {key for key, *_ in changes(config)} == set(SETTINGS)
    assert ("evolution.population_size", 200, 20) in changes(config)
    path = tmp_path / "several.toml"
    path.write_text('[[samples]]\nname = "nb101"\nn_evolve = 20\nsettings = { channels = 32 }\n[[samples]]\n')
    assert set(changes(read_settings_of(path))) == {
        ("samples[0].name", "nb201", "nb101"), ("samples[0].n_evolve", None, 20),
        ("samples[0].settings.channels", 16, 32),
    }  # fmt: skip


def test_another_benchmark_is_not_another_setting_of_networks() -> None:
    assert [key for key, *_ in changes(load_config(None, ["benchmark.name=nb101"]))] == ["benchmark.name"]
