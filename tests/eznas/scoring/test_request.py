"""What a user asks scores of: proxies by name, under conditions that all of them share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eznas.conditions import Conditions
from eznas.errors import ConfigError
from eznas.estimators import by_name
from eznas.fitness.aggregation import aggregate_scores, sorted_reference
from eznas.programs import FailureKind, Invalid, parse
from eznas.proxies import ProgramProxy, RankAggregate, Reference, proxy_to_json
from eznas.scoring import Scores, one_space, request_for
from eznas.spaces import nb201, networks_named
from tests.eznas.proxies.made_run import CONDITIONS, entry_of, make_run, sample
from tests.eznas.scoring.conftest import Zoo

pytestmark = pytest.mark.usefixtures("embedded_data")
CELLS = networks_named("nb201:0,11,284")
NOISY = ProgramProxy(name="noisy", program=parse("(sum_layers (frobenius_norm activation_output.noise))"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", entry_of(NOISY, is_pick=True), entry_of(by_name("naswot"), is_published=True))


def stored(path: Path, conditions: Conditions | None, name: str = "stored") -> str:
    proxy = ProgramProxy(name=name, program=NOISY.program)
    path.write_text(proxy_to_json(proxy, conditions and conditions.drawn()))
    return str(path)


def whole(path: Path, conditions: Conditions = CONDITIONS, space: str = "nb201") -> str:
    """An aggregate with its reference."""
    reference = Reference(
        networks="n", space=space, digest="d", conditions=conditions.drawn(), scores=sorted_reference([[1.0, 2.0]])
    )
    aggregate = RankAggregate(
        name="whole", members=(by_name("naswot"),), weights=(1.0,), mode="log_rank", reference=reference
    )
    path.write_text(proxy_to_json(aggregate))
    return str(path)


# Columns --------------------------------------------------------------------------------------------------------------


def test_each_proxy_is_a_column_and_is_scored_once(run: Path) -> None:
    request = request_for([f"{run}:best", "naswot", "naswot+snip", "2*snip+naswot_units"], CELLS)
    assert [column.name for column in request.columns] == ["run:best", "naswot", "naswot+snip", "2*snip+naswot_units"]
    assert [proxy.name for proxy in request.proxies] == ["run:best", "naswot", "snip", "naswot_units"]
    assert [column.proxies for column in request.columns] == [(0,), (1,), (1, 2), (2, 3)]
    assert request.without_reference == ("naswot+snip", "2*snip+naswot_units")


def test_two_of_one_name_are_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    names = [stored(tmp_path / "a.json", None), stored(tmp_path / "other" / "a.json", None)]
    for texts in (["naswot", "naswot"], names):
        with pytest.raises(ConfigError, match=r"Two of the proxies are called '(naswot|stored)'; score one"):
            request_for(texts, CELLS)


def test_a_sum_needs_others_to_rank_among() -> None:
    with pytest.raises(ConfigError, match=r"naswot\+snip ranks networks among each other, but --networks names one"):
        request_for(["naswot+snip"], CELLS[:1])


def test_networks_are_of_one_space() -> None:
    assert one_space(CELLS) == "nb201"
    with pytest.raises(ConfigError, match="of one search space, got nb201, nb101; score each apart"):
        request_for(["naswot"], (*CELLS, *networks_named("nb101:random:1")))
    with pytest.raises(ConfigError, match="got none"):
        one_space(())


def test_rows_of_sums_rank_the_networks_among_each_other() -> None:
    request = request_for(["naswot", "naswot+snip"], CELLS)
    values = np.array([[1.0, 2.0, 3.0], [np.nan, 5.0, np.nan]])
    lost = Invalid(FailureKind.UNFIT, "no such layer")
    scores = Scores(values, {(1, 0): lost, (1, 2): lost}, np.array([0.5, 0.25]))
    rows, notes = request.rows(scores)
    expected = aggregate_scores(values, sorted_reference(values), weights=[1.0, 1.0], mode="log_rank")
    np.testing.assert_array_equal(rows.scores, [values[0], expected])
    assert rows.failures == {}
    assert rows.member_failures == {(1, "snip", 0): lost, (1, "snip", 2): lost}
    assert rows.seconds.tolist() == [0.5, 0.75]
    assert notes == (
        "naswot+snip ranks these 3 networks among each other.",
        "snip of naswot+snip failed on 2 of 3 networks, which rank last.",
    )
    lost_everywhere = {(row, n): lost for row in (0, 1) for n in range(3)}
    rows, _ = request.rows(Scores(np.full((2, 3), np.nan), lost_everywhere, np.zeros(2)))
    assert {key: failure.kind for key, failure in rows.failures.items() if key[0] == 1} == {
        (1, n): FailureKind.MEMBERS for n in range(3)
    }


# Conditions -----------------------------------------------------------------------------------------------------------


def test_without_a_proxy_that_brings_any_they_are_the_defaults() -> None:
    request = request_for(["naswot"], CELLS)
    assert request.conditions == Conditions(settings=nb201.Settings(), images="digits").drawn()
    assert request.notes == (
        "Parameters are drawn by scheme eznas, the default; --initialise default draws them otherwise.",
    )
    changed = request_for(["naswot"], CELLS, ["networks.channels=4", "seed=2", "probe.batch_size=3"]).conditions
    assert (changed.settings, changed.seed, changed.batch_size) == (nb201.Settings(channels=4), 2, 3)


def test_a_run_and_a_file_bring_theirs(run: Path, tmp_path: Path) -> None:
    drawn = CONDITIONS.drawn()
    for text in (f"{run}:best", f"{run}:naswot", stored(tmp_path / "a.json", CONDITIONS)):
        for texts in ([text], ["naswot_units", text], [text, "snip"], [f"snip+{text}"]):
            request = request_for(texts, CELLS)
            assert request.conditions == drawn, texts
            assert request.notes == ()
    changed = request_for([f"{run}:best"], CELLS, ["probe.batch_size=3"]).conditions
    name, ours, theirs = drawn.difference(changed)[0]
    assert (name, ours, theirs) == ("batch_size", 4, 3)
    assert (changed.seed, changed.settings, changed.units) == (drawn.seed, drawn.settings, "all")


def test_a_run_on_networks_of_ones_own_keeps_its_very_images(zoo: Zoo, tmp_path: Path) -> None:
    """How many classes the networks have is not read anew from whichever of them are scored."""
    architectures = networks_named(zoo("{'two': lambda: Net(n_classes=2), 'ten': Net}"))
    found = request_for(["naswot"], architectures).conditions
    assert found.n_classes == 2
    path = stored(tmp_path / "a.json", found)
    assert request_for([path], architectures[1:]).conditions == found


def test_proxies_that_bring_different_ones_are_refused(run: Path, tmp_path: Path) -> None:
    other = Conditions(**{**dict(CONDITIONS), "settings": nb201.Settings(channels=8)})
    with pytest.raises(
        ConfigError, match=r"b.json was found under other conditions than .*:best \(networks.channels 8 and 4\); score"
    ):
        request_for([f"{run}:best", stored(tmp_path / "b.json", other)], CELLS)


def test_networks_of_another_space_are_built_as_that_has_them(run: Path, zoo: Zoo) -> None:
    for architectures in (networks_named("nb101:random:2"), networks_named(zoo("[('a', Net())]"))):
        request = request_for([f"{run}:best"], architectures)
        space = architectures[0].space
        assert request.conditions.space == space
        assert (request.conditions.seed, request.conditions.batch_size, request.conditions.units) == (11, 4, "all")
        assert request.notes[0].endswith(
            f":best was found on nb201 networks; these are of {space}, built as that space has it."
        )


def test_the_initialisation_of_ones_own_networks_is_said(zoo: Zoo) -> None:
    architectures = networks_named(zoo("[('a', Net())]"))
    kept = request_for(["naswot"], architectures)
    assert kept.conditions.settings.scheme == "keep"
    assert kept.notes[0] == (
        "Parameters are those that networks come with, the default; --initialise default or eznas draws them otherwise."
    )
    assert not any("Parameters" in note for note in request_for(["parameter_count"], architectures).notes)
    for scheme in ("eznas", "default", "keep"):
        asked = request_for(["naswot"], architectures, [f"networks.scheme={scheme}"])
        assert asked.conditions.settings.scheme == scheme
        assert not any("Parameters" in note for note in asked.notes)
        different = [] if scheme == "keep" else [("networks.scheme", "keep", scheme)]
        assert [*kept.conditions.difference(asked.conditions)] == different
    with pytest.raises(ConfigError, match="'scheme' in the settings of nb201 networks: input should be 'default' or"):
        request_for(["naswot"], CELLS, ["networks.scheme=keep"])


def test_what_is_generalised_is_said_of_ones_own_networks(zoo: Zoo) -> None:
    architectures = networks_named(zoo("[('a', nn.Sequential(Net(), nn.SiLU()))]"))
    assert request_for(["naswot", "snip+swap"], [*architectures] * 2).notes[-1] == (
        "Patterns of naswot, swap are those of ReLUs and, by the sign of what enters them, of SiLU, GELU and the like."
    )
    for texts, others in ((["snip"], architectures), (["mac_count"], architectures), (["naswot"], CELLS)):
        assert not any("ReLU" in note for note in request_for(texts, others).notes)


def test_what_no_scheme_draws_of_ones_own_networks_is_said(zoo: Zoo) -> None:
    scaled = """[('a', Net()), ('b', scaled())]

def scaled():
    network = Net()
    network.scale = nn.Parameter(torch.ones(3))
    return network
"""
    architectures = networks_named(zoo(scaled))
    notes = request_for(["naswot"], architectures, ["networks.scheme=eznas"]).notes
    assert notes[0] == (f"Parameters that no scheme draws keep their values, such as scale of {architectures[1].spec}.")
    for overrides in ([], ["networks.scheme=keep"]):
        assert not any("no scheme draws" in note for note in request_for(["naswot"], architectures, overrides).notes)


def test_another_initialisation_than_that_of_a_proxy_is_said_once(run: Path, tmp_path: Path, zoo: Zoo) -> None:
    """Whether it is asked for, or is that of the networks."""
    mine = networks_named(zoo("[('a', Net())]"))
    assert CONDITIONS.settings.scheme == "eznas"
    for text in (f"{run}:best", stored(tmp_path / "a.json", CONDITIONS)):
        for architectures, overrides, here in (
            (CELLS, ["networks.scheme=default"], "drawn by scheme default"),
            (mine, [], "those that networks come with"),
        ):
            said = [note for note in request_for([text], architectures, overrides).notes if "arameters" in note]
            assert said == [
                f"{text} was found with parameters drawn by scheme eznas, and here they are {here}, which changes its "
                "scores; --initialise eznas scores as there."
            ]
        for architectures in (CELLS, mine):
            notes = request_for([text], architectures, ["networks.scheme=eznas"]).notes
            assert not any("arameters" in note for note in notes)


def test_of_several_samples_the_one_of_these_networks_counts(tmp_path: Path) -> None:
    other = Conditions(settings=nb201.Settings(channels=8), input_size=8)
    of_101 = Conditions(**{**dict(CONDITIONS), "settings": {"space": "nb101", "channels": 4}})
    run = make_run(
        tmp_path / "several", entry_of(NOISY), samples=(sample("a", of_101), sample("b", other), sample("c"))
    )
    assert request_for([f"{run}:best"], CELLS).conditions == other.drawn()
    assert request_for([f"{run}:best"], networks_named("nb101:random:1")).conditions == of_101.drawn()


def test_an_aggregate_ranks_among_scores_under_its_own(tmp_path: Path) -> None:
    path = whole(tmp_path / "whole.json")
    assert request_for([path], CELLS).conditions == CONDITIONS.drawn()
    for override, what in (
        ("networks.channels=8", r"networks.channels 4, here 8"), ("seed=3", "seed 11, here 3"),
        ("probe.batch_size=3", "batch_size 4, here 3"), ("probe.units=convolutional", "units 'all', here"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=rf"whole ranks among 2 networks scored under other conditions \({what}"):
            request_for([path], CELLS, [override])
    with pytest.raises(ConfigError, match=r"whole ranks among networks of nb201, but --networks names some of nb101"):
        request_for([path], networks_named("nb101:random:2"))


def test_settings_that_are_none_are_refused(run: Path) -> None:
    for texts in (["naswot"], [f"{run}:best"]):
        with pytest.raises(ConfigError, match="did you mean 'channels'"):
            request_for(texts, CELLS, ["networks.chanels=8"])


@pytest.mark.parametrize("overrides", [[], ["seed=1"], ["probe.batch_size=2"]])
def test_a_function_that_a_file_names_is_called_only_if_the_user_names_it(
    zoo: Zoo, tmp_path: Path, overrides: list[str]
) -> None:
    zoo("None\n\nimport numpy as np\ndef images():\n    return np.ones((9, 8, 8)), np.arange(9)", "own_images")
    conditions = Conditions(**{**dict(CONDITIONS), "images": "python:own_images:images"})
    path = stored(tmp_path / "a.json", None)
    document = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({**document, "conditions": json.loads(conditions.model_dump_json())}))
    with pytest.raises(ConfigError, match="nothing that a file names is called; if you trust it name it yourself"):
        request_for([path], CELLS, overrides)
    named = request_for([path], CELLS, [*overrides, "probe.images=python:own_images:images"])
    assert named.conditions.images == "python:own_images:images"


def test_images_that_were_handed_over_must_be_named(tmp_path: Path) -> None:
    given = CONDITIONS.given(*CONDITIONS.batch(4))
    path = stored(tmp_path / "a.json", given)
    for overrides in ([], ["seed=1"]):
        with pytest.raises(ConfigError, match=r"handed over as a batch of images that are not stored, .*probe.images"):
            request_for([path], CELLS, overrides)
    assert request_for([path], CELLS, ["probe.images=digits"]).conditions.images == "digits"
