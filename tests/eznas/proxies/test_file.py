"""One stored form for every proxy: it gives back what was stored, and a file from a stranger is data."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eznas
from eznas.cli import main
from eznas.conditions import Conditions
from eznas.errors import ConfigError, EznasError, ProgramError
from eznas.estimators import PUBLISHED, Estimator, by_name
from eznas.fitness.aggregation import MODES, Mode, sorted_reference
from eznas.programs import Program, parse, to_json
from eznas.proxies import (
    ProgramProxy,
    Proxy,
    RankAggregate,
    Reference,
    StoredProxy,
    load_proxy_file,
    proxy_from_json,
    proxy_to_json,
)
from eznas.proxies.file import MAX_BYTES
from eznas.spaces import nb201
from tests.eznas.estimators.small_networks import convolutional, labels, noise
from tests.strategies import any_programs

CONDITIONS = Conditions(
    settings=nb201.Settings(), seed=7, input_size=6, batch_size=5, estimator_batch_size=5, units="all"
).drawn()
IMAGES = noise(5, 3, 6, 6, seed=2)
PROGRAM = ProgramProxy(
    name="mine", program=parse("(sum_layers (frobenius_norm activation_output.noise))"), direction=-1, units="all",
    seed=3,
)  # fmt: skip


def aggregate(*members: Proxy, mode: Mode = "log_rank", scores: Any = None) -> RankAggregate:
    return RankAggregate(
        name="both",
        members=members,
        weights=tuple(1.0 + place for place in range(len(members))),
        mode=mode,
        reference=Reference(
            networks="nb201:random:4",
            space="nb201",
            digest="d",
            conditions=CONDITIONS,
            scores=sorted_reference(scores or [[-1e9, 0.0, 1.0, 1e9]] * len(members)),
        ),
    )


def pair() -> RankAggregate:
    return aggregate(by_name("jacob_cov"), PROGRAM)


# What is stored comes back --------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    program=any_programs(),
    direction=st.sampled_from([1, -1]),
    units=st.sampled_from(["convolutional", "all", "layers", None]),
    seed=st.none() | st.integers(0, 2**63 - 1),
    name=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=50),
)
def test_a_program_comes_back(program: Program, direction: int, units: str | None, seed: int | None, name: str) -> None:
    proxy = ProgramProxy(name=name, program=program, direction=direction, units=units, seed=seed)
    stored = proxy_from_json(proxy_to_json(proxy, CONDITIONS))
    assert stored == StoredProxy(proxy, (CONDITIONS,))
    assert proxy_from_json(proxy_to_json(proxy)) == StoredProxy(proxy)
    assert proxy_from_json(proxy_to_json(proxy), name="other").proxy.name == "other"


@pytest.mark.parametrize("estimator", PUBLISHED, ids=lambda row: row.name)
def test_an_estimator_comes_back(estimator: Estimator) -> None:
    text = proxy_to_json(estimator, CONDITIONS)
    assert proxy_from_json(text) == StoredProxy(estimator, (CONDITIONS,))
    assert "function" not in text


@settings(deadline=None, max_examples=60)
@given(
    program=any_programs(),
    mode=st.sampled_from(MODES),
    scores=st.lists(st.floats(allow_nan=True), min_size=2, max_size=30),
)
def test_an_aggregate_comes_back(program: Program, mode: Mode, scores: list[float]) -> None:
    member = ProgramProxy(name="new", program=program, direction=-1, units="all", seed=1)
    whole = aggregate(by_name("ntk"), member, mode=mode, scores=[scores, scores[::-1]])
    stored = proxy_from_json(proxy_to_json(whole))
    found = stored.proxy
    assert isinstance(found, RankAggregate)
    assert stored.conditions == (CONDITIONS,) == (found.conditions,)
    assert (found.name, found.members, found.weights, found.mode) == (
        whole.name, whole.members, whole.weights, whole.mode,
    )  # fmt: skip
    ours, theirs = found.reference, whole.reference
    assert (ours.networks, ours.space, ours.digest) == (theirs.networks, theirs.space, theirs.digest)
    np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_scores_are_those_of_what_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "proxy.json"
    for proxy in (PROGRAM, by_name("snip"), pair()):
        path.write_text(proxy_to_json(proxy, CONDITIONS))
        for loaded in (eznas.load_proxy(path), eznas.load_proxy(str(path)), load_proxy_file(path).proxy):
            assert loaded.score(convolutional(), IMAGES, labels(5)) == proxy.score(convolutional(), IMAGES, labels(5))


def test_the_card_is_for_people() -> None:
    text = proxy_to_json(PROGRAM, CONDITIONS, {"Held-out cifar10": "Kendall tau-b 0.5"})
    assert json.loads(text)["card"] == {"Held-out cifar10": "Kendall tau-b 0.5"}
    assert proxy_from_json(text) == StoredProxy(PROGRAM, (CONDITIONS,))


def test_a_bare_program_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "bare.json"
    path.write_text(to_json(parse("(log parameter_count)"), direction=-1))
    program = load_proxy_file(path).proxy
    assert program == ProgramProxy(name="bare", program=parse("(log parameter_count)"), direction=-1)
    path.write_text("\n (log\n   parameter_count)\n")
    formula = load_proxy_file(path).proxy
    assert formula == ProgramProxy(name="bare", program=parse("(log parameter_count)"))


def test_what_cannot_be_stored_is_said() -> None:
    mine = replace(by_name("naswot"), title="another")
    with pytest.raises(ConfigError, match=r"'naswot' is a Estimator, whose definition is code; only programs"):
        proxy_to_json(mine)
    for name in ("two\nlines", "x" * 5_000, "", "\u202e", "\ud800"):
        with pytest.raises(ConfigError, match="give it another name") as caught:
            proxy_to_json(replace(PROGRAM, name=name))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 300


# A file from a stranger -----------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], object]


def member(document: dict[str, Any], place: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = document["proxy"]["members"][place]["proxy"]
    return found


def scores(document: dict[str, Any]) -> list[Any]:
    found: list[Any] = document["proxy"]["reference"]["scores"]
    return found


HOSTILE: dict[str, tuple[Change, str]] = {
    "another format": (lambda d: d.update(format="pickle"), "format 'pickle' version 2; this release reads eznas"),
    "an older format": (lambda d: d.update(format="eznas-aggregate", version=1), "format 'eznas-aggregate' version 1"),
    "another version": (lambda d: d.update(version=3), "version 3; this release reads eznas-proxy version 2: export"),
    "version true": (lambda d: d.update(version=True), "version True"),
    "no version": (lambda d: d.pop("version"), "version None"),
    "unknown key": (lambda d: d.update(code="x"), "Unknown key 'code'"),
    "near key": (lambda d: d.update(cards={}), "did you mean 'card'"),
    "surrogate": (lambda d: d.update({"\ud800": "x"}), "not valid JSON"),
    "surrogate in conditions": (lambda d: d["conditions"].update({"\ud800": "x"}), "not valid JSON"),
    "control characters": (lambda d: d.update({"\x1b[31m\x00\n": "x"}), "Unknown key"),
    "long key": (lambda d: d.update({"k" * 10**6: "x"}), "Unknown key"),
    "unknown kind": (lambda d: d["proxy"].update(kind="pickle"), "input tag 'pickle'"),
    "kind of a type": (lambda d: d["proxy"].update(kind={"x": 1}), "Setting 'proxy'"),
    "no kind": (lambda d: d["proxy"].pop("kind"), "Setting 'proxy'"),
    "no proxy": (lambda d: d.update(proxy=None), "Setting 'proxy'"),
    "no conditions": (lambda d: d.update(conditions=None), "an aggregate ranks among networks under some conditions"),
    "conditions": (lambda d: d["conditions"].pop("settings"), "Setting 'conditions.settings'"),
    "batch": (lambda d: d["conditions"].update(batch_size=0), "Setting 'conditions.batch_size'"),
    "seed": (lambda d: d["conditions"].update(seed=-1), "Setting 'conditions.seed'"),
    "wide": (lambda d: d["conditions"]["settings"].update(channels=10**6), "less than or equal to 2000"),
    "heavy": (lambda d: d["conditions"].update(input_size=4_096, batch_size=1_500), "at most 268,435,456 values"),
    "card": (lambda d: d.update(card={"a": "x" * 5_000}), "Setting 'card.a"),
    "control characters in the card": (lambda d: d.update(card={"a": "\x1b[2J"}), "line of printable characters"),
    "many cards": (lambda d: d.update(card={str(n): "x" for n in range(200)}), "at most 100 items"),
    "no members": (lambda d: d["proxy"].update(members=[]), "Setting 'proxy.aggregate.members'"),
    "many members": (lambda d: d["proxy"].update(members=d["proxy"]["members"] * 9), "at most 16 items"),
    "mode": (lambda d: d["proxy"].update(mode=["log_rank"]), "Setting 'proxy.aggregate.mode'"),
    "name": (lambda d: d["proxy"].update(name="x\n"), "line of printable characters"),
    "long name": (lambda d: d["proxy"].update(name="x" * 5_000), "at most 4000 characters"),
    "empty name": (lambda d: d["proxy"].update(name=""), "Setting 'proxy.aggregate.name'"),
    "direction marks": (lambda d: member(d, 1).update(name="a\u202eb"), "line of printable characters"),
    "no member": (lambda d: d["proxy"]["members"].__setitem__(0, "naswot"), "Setting 'proxy.aggregate.members.0"),
    "aggregate as a member": (lambda d: member(d).update(kind="aggregate"), "input tag 'aggregate'"),
    "unknown estimator": (lambda d: member(d).update(name="naswott"), "naswott"),
    "member twice": (lambda d: d["proxy"]["members"].__setitem__(1, d["proxy"]["members"][0]), "occurs twice"),
    "turned": (lambda d: member(d).update(direction=-1), "direction of 'jacob_cov' is 1, as published"),
    "direction": (lambda d: member(d, 1).update(direction=0), "input should be 1 or -1, got 0"),
    "direction as text": (lambda d: member(d, 1).update(direction="1"), "input should be 1 or -1"),
    "weight": (lambda d: d["proxy"]["members"][0].update(weight=0), "greater than 0"),
    "weight nan": (lambda d: d["proxy"]["members"][0].update(weight=math.nan), "finite number"),
    "weight huge": (lambda d: d["proxy"]["members"][0].update(weight=10**400), "Setting 'proxy.aggregate.members.0"),
    "weight as text": (lambda d: d["proxy"]["members"][0].update(weight="1"), "valid number, got '1'"),
    "code": (lambda d: member(d, 1).update(root={"leaf": "__import__('this')"}), "Unknown statistic"),
    "an operator that is none": (lambda d: member(d, 1).update(root={"op": "eval", "args": []}), "eval"),
    "root of another type": (lambda d: member(d, 1).update(root=["leaf", "weight"]), "Setting 'proxy.aggregate"),
    "empty root": (lambda d: member(d, 1).update(root={}), "A node of a program file is"),
    "incomplete": (lambda d: member(d, 1).update(root={"leaf": "weight"}), "one number per network"),
    "constant": (lambda d: member(d, 1).update(root={"constant": math.nan, "level": "network"}), "(?i)constant"),
    "units": (lambda d: member(d, 1).update(units="some"), "'convolutional', 'all' or 'layers', got 'some'"),
    "seed of a program": (lambda d: member(d, 1).update(seed=2**63), "Setting 'proxy.aggregate.members.1"),
    "seed of a program as text": (lambda d: member(d, 1).update(seed="3"), "valid integer, got '3'"),
    "reference": (lambda d: d["proxy"].update(reference=None), "Setting 'proxy.aggregate.reference'"),
    "n": (lambda d: d["proxy"]["reference"].update(n=3), "3 scores on the reference, 0 of them failures; the list"),
    "n huge": (lambda d: d["proxy"]["reference"].update(n=10**9), "less than or equal to 100000"),
    "n one": (lambda d: d["proxy"]["reference"].update(n=1), "greater than or equal to 2"),
    "scores": (lambda d: scores(d).pop(), "one list of scores for each of 2 members"),
    "no scores": (lambda d: d["proxy"]["reference"].update(scores=[1, 2]), "Setting 'proxy.aggregate.reference.scores"),
    "failed": (lambda d: scores(d)[0].update(failed=5), "5 of them failures; the list differs"),
    "failed negative": (lambda d: scores(d)[0].update(failed=-1), "greater than or equal to 0"),
    "descending": (lambda d: scores(d)[0]["finite"].reverse(), "must ascend"),
    "nan": (lambda d: scores(d)[0]["finite"].__setitem__(1, math.nan), "finite number"),
    "text": (lambda d: scores(d)[0]["finite"].__setitem__(1, "1"), "valid number, got '1'"),
    "nested": (lambda d: scores(d)[0]["finite"].__setitem__(1, [0]), "valid number"),
    "many scores": (lambda d: scores(d)[0].update(finite=[0.0] * 100_001), "at most 100000 items"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_not_what_it_must_be_is_refused(change: Change, message: str) -> None:
    document = json.loads(proxy_to_json(pair()))
    before = set(sys.modules)
    change(document)
    with pytest.raises(ProgramError, match=message) as caught:
        proxy_from_json(json.dumps(document))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert "this" not in set(sys.modules) - before


def damaged(value: Any) -> list[Any]:
    """What may stand where a value stood."""
    return [None, True, -1, 10**30, 1e308, "x" * 10**5, "\x1b[31m\n\x00\ud800\u202e", [], [[]], {}, {"a": {"b": [1]}}]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and position of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in inner for place in ((*path, key), *places(item, (*path, key)))]


def refusal(text: str) -> str:
    """What is said of a file; nothing if it is read."""
    try:
        proxy_from_json(text)
    except ProgramError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("proxy", [PROGRAM, by_name("snip"), pair()], ids=["program", "estimator", "aggregate"])
def test_every_damaged_key_is_one_sentence(proxy: Proxy) -> None:
    """Each key gone or replaced: read as it may be, or refused in a sentence that a terminal may show."""
    text = proxy_to_json(proxy, CONDITIONS, {"a": "b"})
    n_refused = 0
    for *path, key in places(json.loads(text)):
        for replacement in ["gone", *damaged(key)]:
            document = json.loads(text)
            at = document
            for step in path:
                at = at[step]
            if replacement == "gone":
                del at[key]
            else:
                at[key] = replacement
            said = refusal(json.dumps(document))
            n_refused += said != ""
            assert said.isprintable(), (path, key, replacement)
            assert len(said) < 500, (path, key, replacement)
    assert n_refused > 100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b"[]", "must hold a JSON object, got"),
        (b"[" * 200_000, "is not valid JSON"),
        (b'{"proxy":' * 200_000, "is not valid JSON"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b" " * (MAX_BYTES + 1), "more than 48000000 characters"),
        (b"(mean_layers (mean weight)", "proxy.json: "),
        (b"(mean weight)", "one number per network"),
        (b"(" * 200_000, "proxy.json: "),
        (b'{"format": "eznas-program", "version": 1}', "proxy.json: "),
    ],
)
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "proxy.json"
    path.write_bytes(content)
    with pytest.raises(ProgramError, match=message) as caught:
        load_proxy_file(path)
    assert "proxy.json" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400 + len(str(path))


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EznasError, match=r"missing.json: no such file; check the path"):
        eznas.load_proxy(tmp_path / "missing.json")
    with pytest.raises(ProgramError, match=r"missing.json: no such file"):
        eznas.load_proxy(str(tmp_path / "missing.json"))
    with pytest.raises(ProgramError, match=r"Cannot read proxy file .*missing.json: No such file"):
        load_proxy_file(tmp_path / "missing.json")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: d.update(format="eznas-aggregate", version=1), id="as it was"),
        pytest.param(lambda d: d["conditions"].update({"\ud800": "8dbe"}), id="the same damage today"),
        pytest.param(lambda d: d["conditions"].update(images="python:this:that"), id="a function"),
        pytest.param(lambda d: d["proxy"].update(name="\ud800\x1b[2J"), id="a name"),
    ],
)
@pytest.mark.usefixtures("embedded_data")
def test_the_command_line_says_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change
) -> None:
    """A file that once put control characters of a key on the terminal, and its kin."""
    document = json.loads(proxy_to_json(pair()))
    change(document)
    path = tmp_path / "aggregate.json"
    path.write_text(json.dumps(document))
    assert main(["score", str(path), "--networks", "nb201:0", "--quiet"]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    assert len(line) < 400 + len(str(path))
    assert "this" not in sys.modules
