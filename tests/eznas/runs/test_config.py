"""Settings: read, checked and written back; an unknown key names the nearest known one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eznas.errors import ConfigError
from eznas.runs.config import RunConfig, config_from, load_config, to_toml


def test_without_anything_the_defaults_hold() -> None:
    assert load_config() == RunConfig() == config_from({})


def test_settings_survive_being_written_and_read(tmp_path: Path) -> None:
    changed = config_from(
        {
            "name": "a.b-c",
            "seed": 12,
            "benchmark": {"datasets": ["cifar100", "imagenet16"], "epochs": 12},
            "evolution": {"crossover": 1e-3, "regime": "paper"},
            "report": {"baselines": []},
        }
    )
    for config in (RunConfig(), changed):
        path = tmp_path / "config.toml"
        path.write_text(to_toml(config))
        assert load_config(path) == config


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("seed = 1\n[evolution]\npopulation_size = 10\n")
    overrides = ["seed=5", "evolution.regime=paper", 'benchmark.datasets=["cifar100"]', "evolution.crossover = 0.25"]
    config = load_config(path, overrides)
    assert (config.seed, config.evolution.population_size, config.evolution.regime) == (5, 10, "paper")
    assert config.benchmark.datasets == ("cifar100",)
    assert config.evolution.crossover == 0.25


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sed": 1}, r"^Unknown key 'sed' in the settings; did you mean 'seed'\?$"),
        ({"population_size": 5}, r"did you mean 'evolution\.population_size'\?"),
        ({"evolution": {"n_evolve": 5}}, r"^Unknown key 'evolution\.n_evolve' .* did you mean 'benchmark\.n_evolve'\?"),
        ({"evolution": {"qqqq": 5}}, r"; known keys are primitive_set, regime, "),
        ({"evolution": {"operators": ["a"]}}, r"^Unknown key 'evolution\.operators' .*; known keys are primitive_"),
        ({"statistics": ["a"]}, r"^Unknown key 'statistics' in the settings; known keys are name, seed, "),
        ({"networks": {"space": "a"}}, r"^Unknown search space 'a'; known are nb201, nb101, .*, python \(in the"),
        ({"evolution": {"seds": 3}}, r"^Unknown key 'evolution\.seds' in .*; did you mean 'evolution\.seeds'\?$"),
        (
            {"evolution": {"regime": "nsga3"}},
            r"^Setting 'evolution\.regime' in the settings: .*'nsga2'.*, got 'nsga3'$",
        ),
        ({"evolution": 5}, r"^Setting 'evolution' in the settings: .*, got 5$"),
        ({"name": "../up"}, r"^Setting 'name'"),
        ({"seed": -1}, r"^Setting 'seed' in the settings: .* 0, got -1$"),
        ({"seed": 1.5, "sed": 1}, r"\(and 1 more\)$"),
        ({"benchmark": {"datasets": ["cifar10", "cifar10"]}}, r"every name may occur once only$"),
        ({"report": {"baselines": ["naswot", "naswot"]}}, r"^Setting 'report\.baselines'.*once only"),
        ({"probe": {"input_size": 0}}, r"^Setting 'probe\.input_size"),
        ({"report": {"simplify_seconds": 0}}, r"greater than 0"),
        ({"report": {"simplify_seconds": float("inf")}}, r"^Setting 'report\.simplify_seconds' .* got inf$"),
    ],
)
def test_a_mistake_is_one_sentence(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        config_from(table)
    assert "\n" not in str(caught.value)


def test_the_file_at_fault_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("sed = 1\n")
    with pytest.raises(ConfigError, match=f"in {path}; did you mean"):
        load_config(path)


@pytest.mark.parametrize("override", ["seed", "=5", "a..b=1", ".seed=1", ""])
def test_an_override_needs_a_key_and_a_value(override: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set takes section\.key=value, got "):
        load_config(None, [override])


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3  # type: ignore[misc]
