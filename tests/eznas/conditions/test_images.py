"""Batches of images: shapes, normalisation, seeding, and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from eznas.benchmarks import DATASETS
from eznas.conditions import IMAGE_FILES, N_CLASSES, default_image_source, image_batch
from eznas.conditions.images import _channel_moments, load_image_file
from eznas.errors import BenchmarkError


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
    assert len(set(labels.tolist())) > 0.9 * N_CLASSES[source]
    assert labels.max() < N_CLASSES[source]
    small, _ = image_batch(source, batch_size=4, input_size=8, rng=_rng(), data_dir=data_dir)
    assert small.shape == (4, 3, 8, 8)
    assert not torch.equal(small[:, 0], small[:, 1])


def test_cifar10_moments_are_the_published_ones(data_dir: Path) -> None:
    images, _ = load_image_file(data_dir / IMAGE_FILES["cifar10"], 10)
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


def test_class_counts() -> None:
    assert dict(N_CLASSES) == {"digits": 10, "cifar10": 10, "cifar100": 100, "imagenet16": 120}


# Bad input ------------------------------------------------------------------------------------------------------------


def test_unknown_source() -> None:
    with pytest.raises(BenchmarkError, match="one of digits, cifar10, cifar100, imagenet16, but 'mnist' was asked"):
        image_batch("mnist", batch_size=1, input_size=8, rng=_rng())
    with pytest.raises(BenchmarkError, match="'mnist' was asked"):
        default_image_source("mnist")


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
    np.savez(folder / IMAGE_FILES["cifar10"], **arrays)  # type: ignore[arg-type]
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
    (tmp_path / IMAGE_FILES["cifar10"]).write_bytes(content)
    with pytest.raises(BenchmarkError, match=r"cannot be read as an .npz file"):
        image_batch("cifar10", batch_size=1, input_size=8, rng=_rng(), data_dir=tmp_path)
