"""Conditions are one value: equal, compared, stored and sent to another process as such."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eznas.conditions import GIVEN, Conditions, tensor_digest
from eznas.errors import BenchmarkError, ConfigError, ProgramError
from eznas.forms import form_of
from eznas.spaces import SPACES, nb101, nb201, own
from eznas.spaces.own import space_of

CELL = nb201.from_index(1462)
SETTINGS = nb201.Settings(channels=4)
CONDITIONS = Conditions(settings=SETTINGS, seed=3, input_size=8, batch_size=2, estimator_batch_size=5)


def read(text: str) -> Conditions:
    """Conditions of a file."""
    return form_of(Conditions, text, where="The file", error=ProgramError, remedy="export it anew")


def same_batches(one: Conditions, other: Conditions, *sizes: int) -> bool:
    return all(torch.equal(a, b) for n in sizes for a, b in zip(one.batch(n), other.batch(n), strict=True))


# A value --------------------------------------------------------------------------------------------------------------


def test_equal_conditions_give_equal_batches_and_networks() -> None:
    one, other = CONDITIONS.model_copy(), Conditions.model_validate(CONDITIONS.model_dump())
    assert one == other == CONDITIONS
    assert hash(one) == hash(other)
    assert one.key() == other.key()
    assert one.difference(other) == ()
    assert same_batches(one, other, 2, 5)
    ours, theirs = (c.network(CELL).state_dict() for c in (one, other))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


CHANGES: dict[str, tuple[dict[str, Any], tuple[str, object, object]]] = {
    "seed": ({"seed": 4}, ("seed", 3, 4)),
    "channels of networks": ({"settings": nb201.Settings(channels=8)}, ("networks.channels", 4, 8)),
    "scheme": ({"settings": nb201.Settings(channels=4, scheme="default")}, ("networks.scheme", "eznas", "default")),
    "space": ({"settings": nb101.Settings(channels=4)}, ("networks.space", "nb201", "nb101")),
    "input size": ({"input_size": 16}, ("input_size", 8, 16)),
    "classes": ({"n_classes": 2}, ("n_classes", None, 2)),
    "batch": ({"batch_size": 3}, ("batch_size", 2, 3)),
    "batch of estimators": ({"estimator_batch_size": 6}, ("estimator_batch_size", 5, 6)),
    "units": ({"units": "all"}, ("units", "layers", "all")),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_whatever_determines_a_score_tells_conditions_apart(
    change: dict[str, Any], expected: tuple[str, object, object]
) -> None:
    changed = Conditions(**{**dict(CONDITIONS), **change})
    assert changed != CONDITIONS
    assert changed.key() != CONDITIONS.key()
    name, here, there = expected
    assert expected in CONDITIONS.difference(changed)
    assert (name, there, here) in changed.difference(CONDITIONS)
    assert len(CONDITIONS.difference(changed)) <= 3  # what changed, and the batches where it changes them


def test_other_images_are_other_conditions() -> None:
    images = torch.zeros(2, 3, 8, 8)
    one, other = (CONDITIONS.given(images + step, torch.tensor([0, 1])) for step in (0, 1))
    assert one != other
    assert one.key() != other.key()
    assert [name for name, _, _ in one.difference(other)] == ["digest of 2 images"]


def test_the_key_is_the_same_in_every_process_and_whether_images_were_drawn() -> None:
    assert CONDITIONS.drawn().key() == CONDITIONS.key()
    assert len(CONDITIONS.key()) == 32
    assert CONDITIONS.drawn().difference(CONDITIONS) == ()
    (key,) = in_another_process(Conditions.key, CONDITIONS)
    assert key == CONDITIONS.key()


def test_networks_and_noise_have_a_seed_of_their_own() -> None:
    assert CONDITIONS.network_seed != CONDITIONS.seed
    assert CONDITIONS.network_seed == Conditions(settings=nb101.Settings(), seed=3).network_seed
    assert 0 <= CONDITIONS.network_seed < 2**31


# Images ---------------------------------------------------------------------------------------------------------------


def test_drawn_conditions_know_the_digests_of_their_batches() -> None:
    assert CONDITIONS.digests == {}
    drawn = CONDITIONS.drawn()
    assert drawn.digests == {n: tensor_digest(CONDITIONS.batch(n)[0]) for n in (2, 5)}
    assert drawn.drawn() == drawn
    assert [len(CONDITIONS.batch(n)[1]) for n in (2, 5)] == [2, 5]


def test_a_batch_is_the_same_each_time_and_for_every_caller() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state()
    first, again = CONDITIONS.batch(4), Conditions(**dict(CONDITIONS)).batch(4)
    assert torch.equal(first[0], again[0])
    assert first[0].shape == (4, 3, 8, 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_of_a_few_classes() -> None:
    few = Conditions(**{**dict(CONDITIONS), "n_classes": 2, "batch_size": 30})
    assert set(few.batch(30)[1].tolist()) == {0, 1}


def test_recorded_digests_are_compared_with_the_images_at_hand(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"

    def save(shade: int) -> None:
        images = np.arange(6 * 8 * 8).reshape(6, 8, 8).astype(np.uint8)
        images[0] = shade
        np.savez(path, x=images, y=np.arange(6))

    save(1)
    recorded = Conditions(**{**dict(CONDITIONS), "images": str(path)}).drawn()
    stored = read(recorded.model_dump_json())
    assert stored.drawn() == recorded
    save(200)
    with pytest.raises(BenchmarkError, match=r"^The batch of \d images from .* is another here than the one"):
        read(recorded.model_dump_json()).drawn()


def test_comparing_recorded_conditions_needs_no_images(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.arange(6 * 64).reshape(6, 8, 8).astype(np.uint8), y=np.arange(6))
    recorded = Conditions(**{**dict(CONDITIONS), "images": str(path)}).drawn()
    path.unlink()
    stored = read(recorded.model_dump_json())
    assert stored.difference(recorded) == ()
    assert stored.key() == recorded.key()
    with pytest.raises(BenchmarkError, match="no file of images"):
        stored.drawn()


def test_images_that_are_handed_over_take_the_place_of_drawn_ones() -> None:
    images, classes = torch.rand(4, 1, 6, 6), torch.tensor([3, 1, 1, 0])
    given = CONDITIONS.given(images, classes)
    assert given.images == GIVEN
    assert (given.channels, given.input_size, given.batch_size, given.estimator_batch_size) == (1, 6, 4, 4)
    assert given.digests == {4: tensor_digest(images)}
    assert all(torch.equal(a, b) for a, b in zip(given.batch(4), (images, classes), strict=True))
    assert given.drawn() == given
    assert given.seed == CONDITIONS.seed
    with pytest.raises(ConfigError, match="handed over as a batch of 4, and 5 are asked for; hand over that batch"):
        given.batch(5)
    stored = read(given.model_dump_json())
    assert stored == given
    with pytest.raises(ConfigError, match=r"batch of images that are not stored, .* name a source of images"):
        stored.batch(4)


# Journeys -------------------------------------------------------------------------------------------------------------


def test_they_are_pickled_with_their_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = CONDITIONS.drawn()
    packed = pickle.dumps(drawn)
    monkeypatch.setattr("eznas.conditions.conditions.image_batch", None)  # a machine without the images
    there = pickle.loads(packed)
    assert there == drawn
    assert same_batches(there, drawn, 2, 5)


def in_another_process(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return [pool.apply(function, arguments)]


def small_network(n_channels: int) -> nn.Module:
    torch.manual_seed(n_channels)
    return nn.Sequential(nn.Conv2d(3, n_channels, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def logits_of(conditions: Conditions) -> list[list[float]]:
    """Of every network of the family, as the process that is asked builds and excites them."""
    torch.set_num_threads(1)
    space = conditions.search_space
    return [conditions.network(arch)(conditions.batch(2)[0]).flatten().tolist() for arch in space.named("all")]


def test_networks_of_ones_own_travel_with_them() -> None:
    """By pickle to a process that knows nothing of them, images too."""
    family = space_of({"four": small_network(4), "five": small_network(5)})
    conditions = Conditions(settings=own.Settings(), seed=3, input_size=8, batch_size=2).of_family(family).drawn()
    assert conditions.search_space is family
    assert [arch.spec for arch in conditions.search_space.named("all")] == ["four", "five"]
    (there,) = in_another_process(logits_of, conditions)
    assert [len(values) for values in there] == [8, 10]
    assert there == logits_of(conditions)
    for derived in (conditions.drawn(), conditions.given(*conditions.batch(2))):
        assert derived.search_space is family


def test_a_family_changes_no_conditions_of_others() -> None:
    before = CONDITIONS.search_space
    changed = CONDITIONS.of_family(space_of({"four": small_network(4)}))
    assert CONDITIONS.search_space is before is SPACES["nb201"]
    assert changed.search_space is not before


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
def test_json_gives_them_back(space: str) -> None:
    conditions = Conditions(settings=SPACES[space].settings(), seed=2**100, input_size=12, batch_size=2, units="all")
    for each in (conditions, conditions.drawn()):
        found = read(each.model_dump_json())
        assert found == each
        assert type(found.settings) is type(each.settings)
        assert found.key() == each.key()


def test_a_function_that_a_file_names_is_not_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hostile_images.py").write_text("print('called')\ndef images():\n    raise SystemExit('called')\n")
    monkeypatch.syspath_prepend(tmp_path)
    stored = read(Conditions(settings=SETTINGS, images="python:hostile_images:images").model_dump_json())
    for use in (stored.drawn, stored.key, lambda: stored.batch(2), lambda: stored.difference(CONDITIONS)):
        with pytest.raises(ConfigError, match="nothing that a file names is called; if you trust it name it yourself"):
            use()
    for derived in (stored.model_copy(), pickle.loads(pickle.dumps(stored)), stored.of_family(SPACES["nb201"])):
        with pytest.raises(ConfigError, match="nothing that a file names is called"):
            derived.batch(2)
    assert "hostile_images" not in sys.modules
    assert capsys.readouterr().out == ""


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"code": "x"}, "Unknown key 'code'"),
    "no settings": ({"settings": None}, "Setting 'settings'"),
    "no space": ({"settings": {}}, "Setting 'settings'"),
    "unknown space": ({"settings": {"space": "nb202"}}, "Setting 'settings'"),
    "space of another type": ({"settings": {"space": ["nb201"]}}, "Setting 'settings'"),
    "setting of another space": ({"settings": {"space": "python", "channels": 4}}, "settings.python.channels"),
    "wide": ({"settings": {"space": "nb201", "channels": 10**6}}, "less than or equal to 2000, got 1000000"),
    "deep": ({"settings": {"space": "nb201", "cells_per_stage": 10**6}}, "less than or equal to 100"),
    "many classes": ({"settings": {"space": "darts", "n_classes": 10**9}}, "less than or equal to 100000"),
    "seed negative": ({"seed": -1}, "Setting 'seed'"),
    "seed huge": ({"seed": 2**128}, "Setting 'seed'"),
    "seed true": ({"seed": True}, "valid integer, got True"),
    "seed text": ({"seed": "1"}, "valid integer, got '1'"),
    "no images": ({"images": ""}, "Setting 'images'"),
    "long images": ({"images": "x" * 5_000}, "at most 4000 characters"),
    "size": ({"input_size": 0}, "Setting 'input_size'"),
    "size huge": ({"input_size": 5_000}, "less than or equal to 4096"),
    "batch": ({"batch_size": 0}, "Setting 'batch_size'"),
    "batch huge": ({"batch_size": 10**9}, "less than or equal to 65536"),
    "batch true": ({"batch_size": True}, "valid integer"),
    "channels": ({"channels": 65}, "less than or equal to 64"),
    "classes": ({"n_classes": 0}, "Setting 'n_classes'"),
    "units": ({"units": "some"}, "'convolutional', 'all' or 'layers'"),
    "heavy": ({"input_size": 4_096, "batch_size": 64}, "at most 268,435,456 values, but 3,221,225,472 are asked for"),
    "heavy for estimators": ({"input_size": 4_096, "estimator_batch_size": 64}, "at most 268,435,456 values"),
    "digest": ({"digests": {"2": "0"}}, "Setting 'digests.2'"),
    "long digest": ({"digests": {"2": "0" * 10**6}}, "Setting 'digests.2'"),
    "digest of text": ({"digests": {"two": "0" * 32}}, "Setting 'digests"),
    "digests": ({"digests": {str(n): "0" * 32 for n in range(1, 70)}}, "at most 64 items"),
    "control characters": ({"units": "\x1b[31m\r\n\x00" * 50}, "'convolutional', 'all' or 'layers'"),
    "control characters in a key": ({"\x1b[31m\n": 1}, "Unknown key"),
    "long key": ({"k" * 10**5: 1}, "Unknown key"),
    "nested": ({"settings": [[[[[[{}]]]]]]}, "Setting 'settings'"),
    "number too large": ({"seed": 10**400}, "Setting 'seed'"),
    "not finite": ({"seed": float("nan")}, "Setting 'seed'"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_not_what_it_must_be_is_refused_in_a_sentence(change: dict[str, Any], message: str) -> None:
    document = {**json.loads(CONDITIONS.model_dump_json()), **change}
    with pytest.raises(ProgramError, match=message) as caught:
        read(json.dumps(document))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["", "[]", "1", "[" * 200_000, '{"a":' * 200_000, "\x00", '{"seed": 1e999}', "nul"])
def test_what_is_no_document_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ProgramError) as caught:
        read(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
