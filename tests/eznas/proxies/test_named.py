"""Proxies by what people call them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import eznas
from eznas.conditions import Conditions
from eznas.errors import ConfigError, EznasError, ProgramError, RunError
from eznas.estimators import PUBLISHED, by_name
from eznas.fitness.aggregation import sorted_reference
from eznas.programs import parse
from eznas.proxies import (
    KNOWN_PROGRAMS,
    RECIPES,
    ProgramProxy,
    RankAggregate,
    Reference,
    StoredProxy,
    aggregate_named,
    gallery_names,
    gallery_proxy,
    gallery_table,
    is_sum,
    proxy_named,
    proxy_of_entry,
    proxy_to_json,
    published_proxy,
)
from eznas.runs import Entry, load_front
from eznas.scoring import split_names
from eznas.spaces import nb201
from tests.eznas.estimators.small_networks import convolutional, noise
from tests.eznas.proxies.made_run import CONDITIONS, entry_of, make_run, sample

FORMULA = "(mean_layers (mean weight))"
NOISY = ProgramProxy(name="noisy", program=parse("(sum_layers (frobenius_norm activation_output.noise))"), direction=-1)
OTHER = ProgramProxy(name="other", program=parse("(sum_layers (mean_abs weight))"))
IMAGES = noise(5, 3, 6, 6, seed=2)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with two discovered proxies, a published program and an estimator."""
    return make_run(
        tmp_path / "run",
        entry_of(NOISY, is_pick=True),
        entry_of(OTHER),
        entry_of(KNOWN_PROGRAMS["l2_norm_program"], is_published=True),
        entry_of(by_name("naswot"), is_published=True),
    )


# Names and formulas ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*KNOWN_PROGRAMS, *(row.name for row in PUBLISHED if row.name not in KNOWN_PROGRAMS)])
def test_published_names(name: str) -> None:
    stored = proxy_named(f" {name} ")
    assert stored == StoredProxy(published_proxy(name))
    assert stored.proxy.name == name
    assert stored.proxy == KNOWN_PROGRAMS.get(name) or stored.proxy == by_name(name)


def test_a_name_that_is_both_is_the_program() -> None:
    assert isinstance(published_proxy("parameter_count"), ProgramProxy)
    assert published_proxy("parameter_count").score(convolutional(), IMAGES) == by_name("parameter_count").score(
        convolutional(), IMAGES
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [("naswott", "naswot"), ("NASWOT", "naswot"), ("nas-wot", "naswot"), ("param_count", "parameter_count"),
     ("snip_progam", "snip_program"), ("az_na", "az_nas")],
)  # fmt: skip
def test_an_unknown_name_is_told_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"^Unknown proxy '{name}'; did you mean '{near}'\? \(a proxy is a pub"):
        proxy_named(name)


@pytest.mark.parametrize(
    "text", ["", ":", "x\x1b[31m", "\x00", "qqqqqqqq", "x" * 10_000, "\ud800", "a/b\n:c", "(", "()"]
)
def test_what_is_no_proxy_is_one_sentence(text: str) -> None:
    with pytest.raises(EznasError) as caught:
        proxy_named(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_formula() -> None:
    assert proxy_named(FORMULA) == StoredProxy(ProgramProxy(name=FORMULA, program=parse(FORMULA)))
    broken = "(mean_layers\n  (mean weight))"
    assert proxy_named(broken).proxy == proxy_named(FORMULA).proxy
    with pytest.raises(ProgramError, match=r"Unknown operator 'men'; did you mean 'mean'"):
        proxy_named("(mean_layers (men weight))")
    with pytest.raises(EznasError, match="one number per network"):
        proxy_named("(mean weight)")


@pytest.mark.parametrize("word", ["unit_count", "mac_count", "parameter_count"])
def test_a_word_that_is_one_number_per_network(word: str) -> None:
    proxy = proxy_named(word).proxy
    assert isinstance(proxy, ProgramProxy)
    assert proxy.program == parse(word)


@pytest.mark.parametrize("word", ["weight", "activation_input.data", "same_class"])
def test_other_words_are_none(word: str) -> None:
    with pytest.raises(ConfigError, match="Unknown proxy"):
        proxy_named(word)


# Files ----------------------------------------------------------------------------------------------------------------


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.json").write_text(proxy_to_json(NOISY, CONDITIONS))
    Path("a formula").write_text(f"{FORMULA}\n")
    Path("a+b,c.txt").write_text(f"\n\n{FORMULA}")
    assert proxy_named("mine.json") == StoredProxy(NOISY, (CONDITIONS,))
    assert proxy_named(f" {tmp_path / 'mine.json'} ") == StoredProxy(NOISY, (CONDITIONS,))
    assert proxy_named("a formula").proxy == ProgramProxy(name="a formula", program=parse(FORMULA))
    assert not is_sum("a+b,c.txt")
    assert split_names(["a+b,c.txt", "naswot,mine.json"]) == ["a+b,c.txt", "naswot", "mine.json"]
    assert proxy_named("a+b,c.txt").proxy == ProgramProxy(name="a+b,c", program=parse(FORMULA))
    with pytest.raises(ProgramError, match=r"Cannot read proxy file other.json: no such file; check the path"):
        proxy_named("other.json")
    with pytest.raises(ConfigError, match="Unknown proxy"):
        proxy_named("other.txt")


# Runs -----------------------------------------------------------------------------------------------------------------


def test_proxies_of_a_run_score_as_they_did_there(run: Path) -> None:
    best = proxy_named(f"{run}:best")
    assert best.conditions == (CONDITIONS.drawn(),)
    assert isinstance(best.proxy, ProgramProxy)
    assert best.proxy.name == "run:best"
    assert best.proxy.program == NOISY.program
    assert (best.proxy.direction, best.proxy.units, best.proxy.seed) == (-1, "all", CONDITIONS.network_seed)
    for proxy_id in (OTHER.id, OTHER.id[:8], OTHER.id[:3]):
        found = proxy_named(f"{run}:{proxy_id}").proxy
        assert isinstance(found, ProgramProxy)
        assert found.program == OTHER.program
        assert found.name == f"run:{proxy_id}"


def test_a_known_program_of_a_run_keeps_its_own_layers(tmp_path: Path) -> None:
    """They are not those that the programs of the run read."""
    found = {}
    for name in ("naswot_units", "l2_norm_program"):
        entry = entry_of(KNOWN_PROGRAMS[name], is_published=True)
        found[name] = proxy_of_entry(entry)
        assert isinstance(found[name], ProgramProxy)
        assert found[name].name == name
    assert {name: proxy.units for name, proxy in found.items()} == {  # type: ignore[attr-defined]
        "naswot_units": "convolutional", "l2_norm_program": "all",
    }  # fmt: skip


def test_an_estimator_of_a_run_is_that_estimator(run: Path) -> None:
    stored = proxy_named(f"{run}:naswot")
    assert stored.proxy == by_name("naswot")
    assert stored.conditions == (CONDITIONS.drawn(),)


def test_a_run_on_several_samples_has_the_conditions_of_all(tmp_path: Path) -> None:
    other = Conditions(settings=nb201.Settings(channels=8), input_size=8, batch_size=4, estimator_batch_size=4)
    samples = (sample(), sample("cifar100"), sample("other", other))
    run = make_run(tmp_path / "several", entry_of(NOISY), samples=samples)
    assert proxy_named(f"{run}:best").conditions == (CONDITIONS.drawn(), other.drawn())


@pytest.mark.parametrize(
    ("proxy_id", "message"),
    [("zzz", "There is no proxy 'zzz' in .*; it holds best, "), ("", "There is no proxy ''"),
     ("naswott", "There is no proxy 'naswott'"), ("x\x1b[31m" * 99, r"There is no proxy 'x\\x1b")],
)  # fmt: skip
def test_what_a_run_does_not_have_is_said(run: Path, proxy_id: str, message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        proxy_named(f"{run}:{proxy_id}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400 + len(str(run))


def test_what_is_no_finished_run_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere is not a run folder: it has no manifest.json"):
        proxy_named(f"{tmp_path / 'nowhere'}:best")
    (run / "front.json").unlink()
    with pytest.raises(RunError, match=r"has no front.json; finish the run with eznas resume"):
        proxy_named(f"{run}:best")


def test_a_row_that_is_no_proxy_is_refused() -> None:
    with pytest.raises(RunError, match="holds neither a program nor the name of an estimator"):
        proxy_of_entry(Entry(id="x", kind="published", direction=1))


def test_the_simplified_program_is_the_one_that_scores(run: Path) -> None:
    entry = load_front(run).entry("best").model_copy(update={"simplified": FORMULA})
    proxy = proxy_of_entry(entry)
    assert isinstance(proxy, ProgramProxy)
    assert proxy.program == parse(FORMULA)


# Sums and lists -------------------------------------------------------------------------------------------------------


def test_sums(run: Path, tmp_path: Path) -> None:
    recipe, members = aggregate_named(f"2*{run}:best+naswot+unit_count")
    assert recipe.terms == ((f"{run}:best", 2.0), ("naswot", 1.0), ("unit_count", 1.0))
    assert [member.proxy.name for member in members] == ["run:best", "naswot", "unit_count"]
    assert members[0].conditions == (CONDITIONS.drawn(),)
    assert aggregate_named("te_nas")[0].mode == "rank_sum"
    assert aggregate_named("te_nas", "log_rank")[0].mode == "log_rank"
    with pytest.raises(ConfigError, match="did you mean 'naswot'"):
        aggregate_named("naswott+unit_count")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(*pair,) for pair in ((name, True) for name in RECIPES)]
    + [("naswot+snip", True), ("2*naswot+snip", True), ("naswot", False), (FORMULA, False), ("(a+b)", False)],
)
def test_what_is_a_sum(text: str, expected: bool) -> None:
    assert is_sum(text) is expected


@pytest.mark.parametrize("text", ["az_nas", "naswot+snip"])
def test_a_sum_scores_no_network_alone(text: str) -> None:
    for ask in (proxy_named, eznas.load_proxy):
        with pytest.raises(ConfigError, match=r"ranks networks among each other and gives one alone no score; make it"):
            ask(text)


def test_an_aggregate_is_no_member(tmp_path: Path) -> None:
    reference = Reference(
        networks="n", space="nb201", digest="d", conditions=CONDITIONS.drawn(), scores=sorted_reference([[1.0, 2.0]])
    )
    whole = RankAggregate(
        name="whole", members=(by_name("naswot"),), weights=(1.0,), mode="log_rank", reference=reference
    )
    path = tmp_path / "whole.json"
    path.write_text(proxy_to_json(whole))
    assert isinstance(proxy_named(str(path)).proxy, RankAggregate)
    with pytest.raises(ConfigError, match=r"whole.json is an aggregate and no member of another; write its members"):
        aggregate_named(f"{path}+snip")


def test_lists_of_names(run: Path) -> None:
    both = f"{run}:best,naswot"
    assert split_names([both]) == [f"{run}:best", "naswot"]
    assert split_names([f"naswot,{run}:best"]) == ["naswot", f"{run}:best"]
    assert [proxy_named(name).proxy.name for name in split_names([both])] == ["run:best", "naswot"]
    two = "(divide (add 1.0 unit_count) 2.0)"
    assert split_names([f"{two},naswot", "naswot", " snip , fisher "]) == [two, "naswot", "snip", "fisher"]
    for gap in ("naswot,,snip", ",naswot", "naswot,", ""):
        with pytest.raises(ConfigError, match="NAME,NAME without gaps"):
            split_names([gap])


# The gallery ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery of one's own."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    (folder / "quiet.json").write_text(proxy_to_json(NOISY.bound(CONDITIONS), CONDITIONS.drawn()))
    (folder / "known.json").write_text(proxy_to_json(by_name("naswot"), CONDITIONS.drawn()))
    (folder / "README").write_text("")
    monkeypatch.setattr("eznas.proxies.named.files", lambda package: tmp_path)
    return folder


@pytest.mark.usefixtures("gallery")
def test_proxies_of_the_gallery() -> None:
    assert gallery_names() == ("known", "quiet")
    stored = proxy_named("gallery:quiet")
    assert stored == gallery_proxy("quiet")
    assert stored.conditions == (CONDITIONS.drawn(),)
    assert isinstance(stored.proxy, ProgramProxy)
    assert stored.proxy.name == "quiet"
    assert stored.proxy.score(convolutional(), IMAGES) == NOISY.bound(CONDITIONS).score(convolutional(), IMAGES)
    assert eznas.load_proxy("gallery:known") == by_name("naswot")
    with pytest.raises(ConfigError, match=r"Unknown proxy of the gallery 'quite'; did you mean 'quiet'\?; eznas"):
        proxy_named("gallery:quite")
    for name in ("../quiet", "../../secret", "", "quiet.json"):
        with pytest.raises(ConfigError, match="Unknown proxy of the gallery"):
            proxy_named(f"gallery:{name}")
    assert gallery_table() == [
        {"name": "known", "needs": "images", "formula": ""},
        {"name": "quiet", "needs": "nothing", "formula": NOISY.program.text},
    ]


def test_every_proxy_that_is_shipped_scores_a_network() -> None:
    assert gallery_names()
    for name in gallery_names():
        stored = gallery_proxy(name)
        assert stored.proxy.name == name
        assert math.isfinite(stored.proxy.score(convolutional(), IMAGES)), name
