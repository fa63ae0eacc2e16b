"""Training: it learns, it repeats itself, and a campaign that was killed ends as one that was not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eznas.benchmarks import Recipe, TrainedTable, Training
from eznas.cli import main
from eznas.conditions import TrainingImages, augmented, training_images
from eznas.errors import BenchmarkError
from eznas.randomness import stream
from eznas.spaces import families
from eznas.training import (
    BuildRequest,
    Trainer,
    build_benchmark,
    drawn_by_size,
    planned,
    summaries,
    summary,
    train,
)
from eznas.training.train import _share
from eznas.workers import LocalPool

RECIPE = Recipe(epochs=2, after=(1,), batch_size=16)
REQUEST = BuildRequest(
    name="tiny", title="Tiny", space="net:plain", images="digits", dataset="digits", input_size=8, n_train=100, n=4,
    n_repeated=2, n_seeds_repeated=2, seed=3, recipe=RECIPE,
)  # fmt: skip


@pytest.fixture(scope="module")
def images() -> TrainingImages:
    return training_images("digits", input_size=8, n_train=600)


def network(seed: int = 0) -> nn.Module:
    (arch,) = families.SPACE.named(
        "plain/depth=1-1/width=8-16/kernel=3-3/groups=1/se=0/norm=batch/activation=relu/stem=conv3/down=stride"
    )
    return families.SPACE.build(arch, families.Settings(), seed)


def test_images_are_dealt_by_class_and_standardised(images: TrainingImages) -> None:
    assert images.train.shape == (600, 3, 8, 8)
    assert len(images.validation) == 1797 - 600
    counts = np.bincount(images.train_labels.numpy())
    assert counts.min() >= 57
    assert counts.max() <= 63
    assert images.train.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.train.std().item() == pytest.approx(1, abs=1e-3)
    every = torch.cat([images.train, images.validation]).flatten(1)
    assert len(np.unique(every.numpy(), axis=0)) > 1790, "no image is in both parts"
    with pytest.raises(BenchmarkError, match="of which 1797 cannot be trained on"):
        training_images("digits", input_size=8, n_train=1797)


def test_training_learns_and_repeats_itself(images: TrainingImages) -> None:
    before = torch.get_rng_state()
    recipe = Recipe(epochs=6, after=(1,), batch_size=32, shift=0, flip=False)
    one, again, other = (train(network(), images, recipe, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.accuracies == again.accuracies != other.accuracies
    assert len(one.accuracies) == 2
    assert one.accuracies[1] > 70
    assert one.accuracies[1] > one.accuracies[0]
    assert not one.diverged


class Broken(nn.Linear):
    """Gives no finite logits once it was trained on something."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flatten(1)) / (self.bias.detach() == 0).float().sum().clamp(max=1)


def test_a_training_that_diverges_has_the_accuracy_of_chance(images: TrainingImages) -> None:
    network = Broken(192, 10)
    nn.init.zeros_(network.bias)
    found = train(network, images, Recipe(epochs=3, after=(1, 2)), 0)
    assert found.diverged
    assert found.accuracies == (10.0, 10.0, 10.0)
    assert found.seconds > 0


def test_the_rate_warms_up_and_ends_at_zero() -> None:
    shares = [_share(step, 100, 0.1) for step in range(100)]
    assert shares[0] < 0.1
    assert np.all(np.diff(shares[:10]) > 0)
    assert shares[10] == 1.0
    assert np.all(np.diff(shares[10:]) < 0)
    assert shares[-1] < 1e-3


def test_augmentation_shifts_and_mirrors_each_image_by_itself() -> None:
    images = torch.arange(2 * 16.0).view(2, 1, 4, 4) + 1
    assert torch.equal(augmented(images, stream(0), shift=0, flip=False), images)
    drawn = [augmented(images, stream(seed), shift=1, flip=True) for seed in range(40)]
    assert any(torch.equal(found[0], images[0].flip(-1)) and not torch.equal(found[1], images[1].flip(-1))
               for found in drawn)  # fmt: skip
    for found in drawn:
        assert found.shape == images.shape
        for image, source in zip(found, images, strict=True):
            kept = image[image > 0]
            assert 9 <= len(kept) <= 16
            assert set(kept.tolist()) <= set(source.flatten().tolist())


def test_networks_are_of_all_sizes_and_those_repeated_too() -> None:
    request = replace(REQUEST, n=12, n_repeated=3)
    networks = drawn_by_size(request, families.Settings())
    assert len(networks) == len({arch for arch, _, _ in networks}) == 12
    macs = [macs for _, _, macs in networks]
    assert macs == sorted(macs)
    plan = planned(request, networks)
    assert sorted(i for i, seed in plan if seed == 3) == list(range(12))
    assert [i for i, seed in plan if seed == 4] == [0, 6, 11]
    assert plan[:6] == [(i, seed) for i in (0, 6, 11) for seed in (3, 4)], "those that are repeated come first"
    twice = planned(replace(request, n_seeds=2, n_seeds_repeated=3), networks)
    assert sorted(i for i, seed in twice if seed == 4) == list(range(12))
    assert [i for i, seed in twice if seed == 5] == [0, 6, 11]
    assert len(twice) == len(set(twice)) == 12 + 12 + 3
    assert [seed for _, seed in twice[9:]] == [3] * 9 + [4] * 9, "every network once, before any twice"


def rows(table: TrainedTable) -> set[tuple[object, ...]]:
    return {(t.network, t.seed, t.parameters, t.macs, t.accuracies) for t in table.trainings(RECIPE)}


def test_a_campaign_that_was_killed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = build_benchmark(REQUEST, tmp_path / "whole", LocalPool())
    assert len(rows(whole)) == 4 + 2

    class Killed(Trainer):
        n = 0

        def train(self, *what: object) -> Training | str:
            Killed.n += 1
            if Killed.n == 3:
                raise KeyboardInterrupt
            return super().train(*what)  # type: ignore[arg-type]

    patch = pytest.MonkeyPatch()
    patch.setattr("eznas.training.campaign.Trainer", Killed)
    with pytest.raises(KeyboardInterrupt):
        build_benchmark(REQUEST, tmp_path / "part", LocalPool())
    patch.undo()
    part = TrainedTable(tmp_path / "part", "tiny")
    assert len(rows(part)) == 2
    build_benchmark(REQUEST, tmp_path / "part", LocalPool())
    assert rows(part) == rows(whole)
    (row,) = summaries(tmp_path / "part")
    assert row["networks"] == 4
    assert row["trainings"] == 6
    assert row["noise"] is not None


def test_a_summary_tells_noise_from_spread() -> None:
    rng = np.random.default_rng(0)
    trainings = []
    for i in range(200):
        truth = float(rng.normal(50, 4))
        trainings += [
            Training(
                network=f"n{i}", seed=seed, parameters=i, macs=i, seconds=1, diverged=0,
                accuracies=(truth + float(rng.normal(0, 1)),),
            )
            for seed in range(2)
        ]  # fmt: skip
    found = summary(trainings)
    assert found["noise"] == pytest.approx(1.0, abs=0.15)
    assert found["retest"] == pytest.approx(2 / np.pi * np.arcsin(16 / 17), abs=0.05)
    assert found["ceiling"] == pytest.approx(2 / np.pi * np.arcsin(16 / 16.5), abs=0.03), "a mean is less noisy"
    assert abs(found["parameters"]) < 0.15


def test_the_command_builds_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "made")
    command = ["benchmark", "build", "--space", "net:plain", "--images", "digits", "--n", "10", "--epochs", "1",
               "--repeated", "0", "--size", "8", "--train", "64", "-o", folder, "--quiet"]  # fmt: skip
    assert main(command) == 0
    assert capsys.readouterr().out.strip().endswith("plain.csv")
    assert main(["benchmark", "show", "-o", folder, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("plain,10,10,")
    assert main([*command[:-1], "--quiet", "--train", "65"]) == 1
    assert "describes another benchmark" in capsys.readouterr().err
    assert main(["benchmark", "show", "-o", str(tmp_path)]) == 1
    assert "holds no benchmark" in capsys.readouterr().err
