"""Batches of images: shapes, normalisation, seeding, and files that are not what they should be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from eznas.benchmarks import DATASETS
from eznas.conditions import (
    IMAGE_SETS,
    LabelledImages,
    default_image_source,
    image_batch,
    images_digest,
    images_named,
)
from eznas.conditions.image_files import load_image_file
from eznas.conditions.images import _channel_moments
from eznas.errors import BenchmarkError

CIFAR10 = "cifar10_small.npz"


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("input_size", [4, 8, 16, 32])
def test_digits(input_size: int) -> None:
    images, labels = image_batch("digits", batch_size=24, input_size=input_size, rng=_rng())
    assert images.shape == (24, 3, input_size, input_size)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert labels.shape == (24,)
    assert set(labels.tolist()) <= set(range(10))
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    assert images.is_contiguous()
    assert images.isfinite().all()


def test_all_digits_are_normalised_exactly() -> None:
    images, labels = image_batch("digits", batch_size=1797, input_size=8, rng=_rng())
    assert images.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert images.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    assert torch.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_images_go_with_their_labels() -> None:
    """The mean image of each class of one draw resembles that of another draw, class by class."""
    means = []
    for seed in (1, 2):
        images, labels = image_batch("digits", batch_size=900, input_size=8, rng=_rng(seed))
        means.append(torch.stack([images[labels == digit, 0].mean(0).flatten() for digit in range(10)]))
    assert torch.cdist(means[0], means[1]).argmin(1).tolist() == list(range(10))


def test_the_generator_decides_which_images() -> None:
    first, again, other = (image_batch("digits", batch_size=8, input_size=8, rng=_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize(
    ("dataset", "file"), [("imagenet", "tinyimagenet16_120.npz"), ("cifar10", "cifar10_small.npz")]
)
def test_a_data_set_is_probed_with_its_images_or_smaller_ones(dataset: str, file: str, tmp_path: Path) -> None:
    assert default_image_source(dataset, tmp_path) == "digits"
    (tmp_path / file).touch()
    assert default_image_source(dataset, tmp_path) == {"imagenet": "imagenet16"}.get(dataset, dataset)


def test_drawn_without_replacement() -> None:
    images, _ = image_batch("digits", batch_size=1797, input_size=8, rng=_rng())
    sorted_draw = np.sort(images[:, 0].flatten(1).numpy().sum(1))
    from sklearn.datasets import load_digits

    pixels = load_digits().images
    expected = np.sort(((pixels - pixels.mean()) / pixels.std()).sum((1, 2)))
    np.testing.assert_allclose(sorted_draw, expected, atol=1e-3)


@pytest.mark.parametrize(("source", "size"), [("cifar10", 32), ("cifar100", 32), ("imagenet16", 16)])
def test_images_of_the_data_folder(data_dir: Path, source: str, size: int) -> None:
    assert default_image_source(source, data_dir) == source
    images, labels = image_batch(source, batch_size=1000, input_size=size, rng=_rng(), data_dir=data_dir)
    assert images.shape == (1000, 3, size, size)
    assert images.mean((0, 2, 3)).abs().max() < 0.06
    assert (images.std((0, 2, 3)) - 1).abs().max() < 0.06
    row = IMAGE_SETS[source]
    assert row.n_classes is not None
    assert len(set(labels.tolist())) > 0.9 * row.n_classes
    assert labels.max() < row.n_classes
    assert row.load(data_dir).images.shape[1:] == (row.size, row.size, row.channels)
    small, _ = image_batch(source, batch_size=4, input_size=8, rng=_rng(), data_dir=data_dir)
    assert small.shape == (4, 3, 8, 8)
    assert not torch.equal(small[:, 0], small[:, 1])


def test_cifar10_moments_are_the_published_ones(data_dir: Path) -> None:
    images = load_image_file(data_dir / CIFAR10, 10).images
    mean, deviation = _channel_moments(images)
    np.testing.assert_allclose(mean / 255, (0.4914, 0.4822, 0.4465), atol=0.005)
    np.testing.assert_allclose(deviation / 255, (0.2470, 0.2435, 0.2616), atol=0.005)


def test_moments_equal_their_definition() -> None:
    images = _rng().integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)
    mean, deviation = _channel_moments(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)))
    np.testing.assert_allclose(deviation, images.std((0, 1, 2)))


def test_default_source_without_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    assert {default_image_source(dataset) for dataset in DATASETS} == {"digits"}
    assert {default_image_source(dataset, tmp_path) for dataset in DATASETS} == {"digits"}
    assert default_image_source("digits") == "digits"
    assert default_image_source("a data set of one's own") == "digits"


def test_class_counts() -> None:
    counts = {name: row.n_classes for name, row in IMAGE_SETS.items()}
    assert counts == {"digits": 10, "cifar10": 10, "cifar100": 100, "imagenet16": 120}


# Bad input ------------------------------------------------------------------------------------------------------------


def test_unknown_source() -> None:
    with pytest.raises(BenchmarkError, match=r"one of digits, cifar10, .*, an .npz file, a folder or"):
        image_batch("mnist", batch_size=1, input_size=8, rng=_rng())
    with pytest.raises(BenchmarkError, match=r"'cifar-10' was asked \(nearest is 'cifar10'\)"):
        images_named("cifar-10")


def test_too_large_a_batch() -> None:
    with pytest.raises(BenchmarkError, match="A batch of 1798 images was asked of 'digits', which has 1797"):
        image_batch("digits", batch_size=1798, input_size=8, rng=_rng())


@pytest.mark.parametrize(("batch_size", "input_size", "name"), [(0, 8, "batch_size"), (1, 0, "input_size")])
def test_sizes_below_one(batch_size: int, input_size: int, name: str) -> None:
    with pytest.raises(BenchmarkError, match=f"{name} of a batch of images must be at least 1"):
        image_batch("digits", batch_size=batch_size, input_size=input_size, rng=_rng())


def test_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    with pytest.raises(
        BenchmarkError, match="'cifar10' are read from a data folder, but none is named; set EZNAS_DATA"
    ):
        image_batch("cifar10", batch_size=1, input_size=8, rng=_rng())


def test_folder_without_the_file(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"lacks cifar10_small.npz; put the images there, or use 'digits'"):
        image_batch("cifar10", batch_size=1, input_size=8, rng=_rng(), data_dir=tmp_path)


IMAGES = np.zeros((4, 8, 8, 3), np.uint8)
LABELS = np.arange(4)


def _save(folder: Path, **arrays: npt.NDArray[np.generic]) -> Path:
    np.savez(folder / CIFAR10, **arrays)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("names", [("x_train", "y_train"), ("x", "y")])
def test_both_array_names(tmp_path: Path, names: tuple[str, str]) -> None:
    arrays: dict[str, npt.NDArray[np.generic]] = {names[0]: IMAGES, names[1]: LABELS}
    folder = _save(tmp_path, **arrays)
    images, labels = image_batch("cifar10", batch_size=4, input_size=8, rng=_rng(), data_dir=folder)
    assert not images.any()  # constant images become 0, not NaN
    assert sorted(labels.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "cannot be read as an .npz file with arrays x_train and y_train, or x and y"),
        ({"x": IMAGES, "y": np.array([object()] * 4)}, "cannot be read as an .npz file"),
        ({"x": IMAGES.astype(np.float32), "y": LABELS}, "must hold uint8 images .* but it holds float32"),
        ({"x": IMAGES[..., :1], "y": LABELS}, "must hold uint8 images of shape"),
        ({"x": IMAGES, "y": LABELS[:3]}, r"labels \(3,\)"),
        ({"x": IMAGES, "y": LABELS + 7}, "must be integers in 0..9"),
        ({"x": IMAGES, "y": LABELS - 1}, "must be integers in 0..9"),
        ({"x": IMAGES, "y": LABELS / 2}, "must be integers in 0..9"),
    ],
)
def test_bad_files(tmp_path: Path, arrays: dict[str, npt.NDArray[np.generic]], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        image_batch("cifar10", batch_size=1, input_size=8, rng=_rng(), data_dir=_save(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CIFAR10).write_bytes(content)
    with pytest.raises(BenchmarkError, match=r"cannot be read as an .npz file"):
        image_batch("cifar10", batch_size=1, input_size=8, rng=_rng(), data_dir=tmp_path)


# Channels and classes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "size", "expected"),
    [
        ("digits", 8, "fc18b32a66186de3"),
        ("digits", 16, "239b98174f00eb9c"),
        ("cifar10", 8, "0f4000c2c6520314"),
        ("cifar10", 16, "620f8a92ce2dc05c"),
        ("cifar10", 32, "7916fdc441002733"),
        ("cifar100", 16, "257e352a313994c9"),
        ("imagenet16", 16, "0c1dd8442c9762a8"),
        ("imagenet16", 32, "4474b3870f533151"),
    ],
)
def test_draws_are_those_of_earlier_runs(data_dir: Path, source: str, size: int, expected: str) -> None:
    images, labels = image_batch(source, batch_size=24, input_size=size, rng=_rng(5), data_dir=data_dir)
    assert hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()[:16] == expected


def test_one_channel_of_digits_is_the_digits() -> None:
    grey, labels = image_batch("digits", batch_size=24, input_size=16, rng=_rng(), channels=1)
    colour, same = image_batch("digits", batch_size=24, input_size=16, rng=_rng())
    assert torch.equal(grey, colour[:, :1])
    assert torch.equal(labels, same)


def test_one_channel_of_colours_is_their_mean(data_dir: Path) -> None:
    grey, _ = image_batch("cifar10", batch_size=5_000, input_size=32, rng=_rng(), channels=1, data_dir=data_dir)
    assert grey.shape == (5_000, 1, 32, 32)
    assert grey.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert grey.std(correction=0).item() == pytest.approx(1.0, abs=1e-4)
    chosen = _rng().choice(5_000, size=5_000, replace=False)
    raw = load_image_file(data_dir / CIFAR10, 10).images[chosen].mean(-1)
    expected = (raw - raw.mean()) / raw.std()
    np.testing.assert_allclose(grey[:, 0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("channels", [0, 2, 4, -1])
def test_other_channels(channels: int) -> None:
    with pytest.raises(BenchmarkError, match=rf"must be 1 \(grey\) or 3 \(colour\), but it is {channels}; set pro"):
        image_batch("digits", batch_size=1, input_size=8, rng=_rng(), channels=channels)


@pytest.mark.parametrize("n_classes", [1, 2, 5])
def test_fewer_classes(n_classes: int) -> None:
    images, labels = image_batch("digits", batch_size=100, input_size=8, rng=_rng(), n_classes=n_classes)
    assert set(labels.tolist()) == set(range(n_classes))
    everything, all_labels = image_batch("digits", batch_size=1797, input_size=8, rng=_rng())
    assert {image.numpy().tobytes() for image in images} <= {
        image.numpy().tobytes() for image, label in zip(everything, all_labels, strict=True) if label < n_classes
    }


def test_more_classes_change_nothing() -> None:
    wanted, _ = image_batch("digits", batch_size=9, input_size=8, rng=_rng())
    for n_classes in (10, 1_000):
        images, _ = image_batch("digits", batch_size=9, input_size=8, rng=_rng(), n_classes=n_classes)
        assert torch.equal(images, wanted)


def test_too_large_a_batch_of_few_classes() -> None:
    with pytest.raises(BenchmarkError, match="which has 178 of the first 1 of its 10 classes; ask for fewer"):
        image_batch("digits", batch_size=179, input_size=8, rng=_rng(), n_classes=1)
    with pytest.raises(BenchmarkError, match="n_classes of a batch of images must be at least 1, but it is 0"):
        image_batch("digits", batch_size=1, input_size=8, rng=_rng(), n_classes=0)


def test_a_batch_that_no_machine_holds() -> None:
    with pytest.raises(BenchmarkError, match="would take more than 8589934592 bytes; lower batch_size or input_size"):
        image_batch("digits", batch_size=100, input_size=100_000, rng=_rng())


def test_digests() -> None:
    assert images_digest("digits") == images_digest("digits")
    read = IMAGE_SETS["digits"].load(None)
    other = LabelledImages(read.images, (read.labels + 1) % 10, 10)
    assert len({read.digest, other.digest}) == 2


def test_large_images_are_resized_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = image_batch("digits", batch_size=50, input_size=13, rng=_rng())[0]
    monkeypatch.setattr("eznas.conditions.images._VALUES_AT_ONCE", 7 * 64)
    assert torch.equal(image_batch("digits", batch_size=50, input_size=13, rng=_rng())[0], whole)


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_rows(name: str) -> None:
    row = IMAGE_SETS[name]
    assert row.name == name
    assert images_named(name) is row
    assert row.channels in (1, 3)
    assert row.n_classes is not None
    assert (row.file is None) == (name == "digits")
