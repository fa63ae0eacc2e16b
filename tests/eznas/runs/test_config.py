"""Settings: read, checked and written back; an unknown key names the nearest known one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eznas.errors import ConfigError
from eznas.runs.config import RunConfig, changed_config, config_from, load_config, to_toml
from eznas.spaces import nb201


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
        ({"networks": {"space": "zz"}}, r"^Unknown search space 'zz'; known are nb201, "),
        ({"evolution": {"seeds": 3}}, r"^Setting 'evolution\.seeds' in the settings: .*, got 3$"),
        (
            {"evolution": {"regime": "nsga3"}},
            r"^Setting 'evolution\.regime' in the settings: .*'nsga2'.*, got 'nsga3'$",
        ),
        (
            {"evolution": {"target": "tau > .8 nd size < 3"}},
            r"^Setting 'evolution' in the settings: .*target 'tau > \.8 nd size < 3': expected 'and', 'or' or the end",
        ),
        ({"evolution": {"target": "ndcg > .8"}}, r"Unknown objective of this run 'ndcg'; known are tau, size, cost"),
        ({"evolution": 5}, r"^Setting 'evolution' in the settings: .*, got 5$"),
        ({"name": "../up"}, r"^Setting 'name'"),
        ({"seed": -1}, r"^Setting 'seed' in the settings: .* 0, got -1$"),
        ({"seed": 1.5, "sed": 1}, r"\(and 1 more\)$"),
        ({"benchmark": {"datasets": ["cifar10", "cifar10"]}}, r"^Setting 'benchmark\.datasets'.*occur once only$"),
        ({"report": {"baselines": ["naswot", "naswot"]}}, r"^Setting 'report\.baselines'.*once only"),
        ({"probe": {"input_size": 0}}, r"^Setting 'probe\.input_size"),
        ({"report": {"simplify_seconds": 0}}, r"greater than 0"),
        ({"report": {"simplify_seconds": float("inf")}}, r"a finite number, got inf$"),
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


# ------------------------------------------------------------------------------------- several samples, own networks


def test_the_short_form_is_one_sample() -> None:
    config = config_from({"benchmark": {"n_evolve": 9, "strategy": "uniform"}, "networks": {"channels": 4}})
    (sample,) = config.all_samples
    assert (sample.name, sample.n_evolve, sample.strategy, sample.weight) == ("nb201", 9, "uniform", 1.0)
    assert config.settings_of(sample) == nb201.Settings(channels=4)
    assert config.probe_of(sample) == config.probe


def test_samples_have_settings_and_images_of_their_own() -> None:
    config = config_from(
        {
            "probe": {"batch_size": 5, "images": "digits"},
            "networks": {"channels": 8},
            "samples": [
                {"name": "nb201"},
                {"name": "nb201", "settings": {"channels": 4}, "weight": 2},
                {"name": "nb101", "probe": {"batch_size": 3, "input_size": 32}},
                {"name": "python:zoo:networks", "accuracies": "zoo.csv", "probe": {"channels": 1}},
            ],
        }
    )
    settings = [config.settings_of(sample) for sample in config.all_samples]
    assert [one.space for one in settings] == ["nb201", "nb201", "nb101", "python"]
    assert [getattr(one, "channels", None) for one in settings] == [8, 4, 16, None]
    probes = [config.probe_of(sample) for sample in config.all_samples]
    assert [(p.batch_size, p.images, p.input_size, p.channels) for p in probes] == [
        (5, "digits", "auto", "auto"), (5, "digits", "auto", "auto"), (3, "digits", 32, "auto"),
        (5, "digits", "auto", 1),
    ]  # fmt: skip
    assert [sample.weight for sample in config.all_samples] == [1, 2, 1, 1]


def test_networks_of_ones_own_are_named_in_two_ways() -> None:
    named = {"name": "python", "networks": "python:zoo:networks", "accuracies": "zoo.csv"}
    short = {"name": "python:zoo:networks", "accuracies": "zoo.csv"}
    assert config_from({"benchmark": short}) == config_from({"benchmark": named})
    by_options = load_config(None, ["benchmark.name=python:zoo:networks", "benchmark.accuracies=zoo.csv"])
    assert by_options == config_from({"benchmark": named})
    assert by_options.networks.space == "python"
    assert config_from({"samples": [short]}).samples == config_from({"samples": [named]}).samples


def test_samples_survive_being_written_and_read(tmp_path: Path) -> None:
    config = config_from(
        {
            "samples": [
                {"name": "nb101", "settings": {"cells_per_stage": 2}, "folds": "none", "weight": 0.5},
                {"name": "python:zoo:networks", "accuracies": 'a "quoted" file.csv', "probe": {"channels": 1}},
            ],
            "evolution": {"seeds": ["(log parameter_count)", "runs/first:best"]},
        }
    )
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert load_config(path) == config
    changed = changed_config(config, ["evolution.n_generations=7"])
    assert changed.samples == config.samples
    assert changed.evolution.n_generations == 7


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"benchmark": {"name": "nb202"}}, r"Unknown benchmark 'nb202'; did you mean 'nb201'\?"),
        ({"samples": [{"name": "nb210"}]}, r"Unknown benchmark 'nb210'; did you mean 'nb201'\?"),
        ({"benchmark": {"n_evolve": 9}, "samples": [{"name": "nb101"}]}, r"one \[benchmark\] or several \[\[sampl"),
        ({"samples": [{"name": "python"}]}, r"needs networks = 'python:package\.module:function'"),
        ({"samples": [{"name": "nb201", "weight": 0}]}, r"^Setting 'samples\.0\.weight'.* greater than 0, got 0"),
        ({"samples": [{"name": "nb201", "wieght": 2}]}, r"^Unknown key 'samples\.0\.wieght'"),
        ({"samples": [{"name": "nb101", "settings": {"chanels": 4}}]}, r"of nb101 networks; did you mean 'channels'\?"),
        ({"benchmark": {"accuracies": "a.csv"}}, r"accuracies are named, but those of benchmark 'nb201' are known"),
        ({"samples": [{"name": "nb101", "networks": "python:a:b"}]}, r"networks are named, but those of .* 'nb101'"),
        ({"benchmark": {"folds": 1}}, r"^Setting 'benchmark\.folds.*got 1"),
        ({"benchmark": {"folds": "some"}}, r"^Setting 'benchmark\.folds"),
        ({"benchmark": {"strategy": "random"}}, r"^Setting 'benchmark\.strategy'.*'stratified' or 'uniform', got"),
        ({"evolution": {"seeds": ["a", "a"]}}, r"every name may occur once only"),
        ({"networks": {"space": "nb301"}}, r"nb301"),
    ],
)
def test_a_mistake_in_samples_is_one_sentence(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        config_from(table)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "key",
    [
        "seed", "checkpoints", "probe.batch_size", "probe.input_size", "probe.channels", "probe.seed",
        "benchmark.epochs",
        "benchmark.n_evolve", "evolution.population_size", "evolution.initial_size", "evolution.n_generations",
        "evolution.seconds", "evolution.tournament_size", "evolution.max_size", "evaluation.tile_kib",
        "evaluation.memory_mib", "evaluation.timeout_seconds", "evaluation.networks_per_shard", "report.front_size",
        "report.baseline_batch_size", "report.bootstrap", "report.badge_networks", "networks.channels",
        "networks.cells_per_stage", "networks.n_classes",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["9" * 25, "-1", "[[[]]]", "'x'"])
def test_every_number_has_its_bounds(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s){key.split('.')[-1]}.*(less than|greater than|valid|unable)"):
        load_config(None, [f"{key}={value}"])


@pytest.mark.parametrize("text", ["a = [" + "[" * 5000, "seed = " + "9" * 5000, "\x00", "#" * 2**21])
def test_a_file_that_is_no_toml_of_a_common_size_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.toml is not valid TOML: "):
        load_config(tmp_path / "c.toml")


def test_conditions_beyond_a_machine_name_the_setting() -> None:
    from eznas.conditions import Conditions

    with pytest.raises(ConfigError, match=r"'batch_size' in .probe. and .report.: input should be less than or equal"):
        Conditions.of_settings(settings=nb201.Settings(), batch_size=10**6)
    with pytest.raises(ConfigError, match="a batch may have at most"):
        Conditions.of_settings(settings=nb201.Settings(), batch_size=60_000, input_size=512)
