"""Images of one's own: archives, folders, functions, and what is wrong with them."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from eznas.conditions import image_batch, images_digest, images_named
from eznas.conditions.image_files import MAX_BYTES
from eznas.errors import BenchmarkError

Array = npt.NDArray[Any]


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _batch(source: str | Path, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return image_batch(str(source), **{"batch_size": 2, "input_size": 8, "rng": _rng(), **options})


IMAGES = _rng(1).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


# Archives -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "_train"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_archives(tmp_path: Path, suffix: str, save: Callable[..., None], order: Any) -> None:
    save(tmp_path / "mine.npz", **{f"x{suffix}": np.asarray(IMAGES, order=order), f"y{suffix}": LABELS})
    images, labels = _batch(tmp_path / "mine.npz", batch_size=6)
    chosen = _rng().choice(6, size=6, replace=False)
    assert labels.tolist() == LABELS[chosen].tolist()
    expected = (IMAGES - IMAGES.mean((0, 1, 2))) / IMAGES.std((0, 1, 2))
    np.testing.assert_allclose(images.numpy(), expected[chosen].transpose(0, 3, 1, 2), atol=1e-5)
    assert images_named(str(tmp_path / "mine.npz")).load(None).n_classes == 3


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (IMAGES[..., 0], LABELS),
        (IMAGES[..., :1], LABELS[:, None]),
        (IMAGES[..., :1] / 255.0, LABELS.astype(np.uint8)),
        (IMAGES[..., :1].astype(np.float32) - 100, LABELS.astype(np.int16)),
    ],
)
def test_forms(tmp_path: Path, images: Array, labels: Array) -> None:
    """Grey images give the same batch whatever the unit of their pixels."""
    np.savez(tmp_path / "mine.npz", x=images, y=labels)
    np.savez(tmp_path / "plain.npz", x=IMAGES[..., 0], y=LABELS)
    for channels in (1, 3):
        found, wanted = (_batch(tmp_path / name, channels=channels) for name in ("mine.npz", "plain.npz"))
        torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=0)
        assert torch.equal(found[1], wanted[1])


def test_oblong_images_are_brought_to_a_square(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=IMAGES[:, :5], y=LABELS)
    assert _batch(tmp_path / "mine.npz")[0].shape == (2, 3, 8, 8)


def test_digests_tell_contents_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=IMAGES, y=LABELS)
    np.savez_compressed(tmp_path / "same.npz", x=IMAGES, y=LABELS)
    np.savez(tmp_path / "other.npz", x=IMAGES, y=LABELS[::-1])
    one, same, other = (images_digest(str(tmp_path / f"{name}.npz")) for name in ("one", "same", "other"))
    assert one == same != other


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "cannot be read as an .npz file with arrays x_train and y_train, or x and y"),
        ({"x": IMAGES, "y": np.array([object()] * 6)}, "y holds Python objects or records, not numbers"),
        ({"x": np.zeros(6, [("a", "u1")]), "y": LABELS}, "x holds Python objects or records"),
        ({"x": IMAGES.transpose(0, 3, 1, 2), "y": LABELS}, "but it holds uint8 .6, 3, 8, 8.; convert them, with"),
        ({"x": IMAGES.astype(np.int32), "y": LABELS}, "must hold uint8 or floating-point images"),
        ({"x": IMAGES.astype("U3"), "y": LABELS}, "must hold uint8 or floating-point images"),
        ({"x": IMAGES[0, 0], "y": LABELS}, "must hold uint8 or floating-point images of shape"),
        ({"x": IMAGES[:, :0], "y": LABELS}, "holds no pixels: its images have shape .6, 0, 8, 3."),
        ({"x": IMAGES[:, :, :0], "y": LABELS}, "holds no pixels"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "holds no pixels"),
        ({"x": IMAGES, "y": LABELS[:3]}, r"holds 6 images and labels of shape \(3,\)"),
        ({"x": IMAGES, "y": LABELS - 1}, "must be integers in 0..999999"),
        ({"x": IMAGES, "y": LABELS + 10**6}, "must be integers in 0..999999"),
        ({"x": IMAGES, "y": LABELS / 2}, "must be integers in 0..999999"),
        ({"x": IMAGES * np.nan, "y": LABELS}, "must be finite and within -1000..1000"),
        ({"x": IMAGES * 1e3, "y": LABELS}, "must be finite and within -1000..1000"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
    _refused(tmp_path / "bad.npz", message)


def _refused(source: str | Path, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as caught:
        _batch(source)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def _header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _archive(path: Path, x: bytes, *, kind: int = zipfile.ZIP_STORED, flags: int = 0) -> Path:
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("x.npy", x)
        archive.writestr("y.npy", labels.getvalue())
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= flags
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (_header("(1000000000000, 8, 8, 3)"), f"states 192000000000000 bytes, and at most {MAX_BYTES} are read"),
        (_header("(6, 8, 8, 3000000)"), f"states 1152000000 bytes, and at most {MAX_BYTES} are read"),
        (_header("(1000, 8, 8, 3)") + b"0" * 64, "states 192000 bytes and has"),
        (_header("(6, 8, 8, 3)") + b"0" * 64, "states 1152 bytes and has 64"),
        (_header("(-6, -8, 8, 3)"), "x states"),
        (_header("(-6, 8, 8, 3)"), "x states"),
        (_header("(6, 8, 8, 3)", "'|O'"), "Python objects"),
        (_header("(" * 500), "cannot be read"),
        (_header("(6, 8, 8, 3)", "__import__('os').getcwd()"), "cannot be read"),
        (b"\x93NUMPY\x09\x00", "unknown format version .9, 0."),
        (b"", "cannot be read"),
        (b"\x1b[31m" * 100, "cannot be read"),
    ],
)
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_hostile_arrays(tmp_path: Path, x: bytes, message: str, kind: int) -> None:
    _refused(_archive(tmp_path / "bad.npz", x, kind=kind), message)


@pytest.mark.parametrize(
    ("kind", "flags"), [(zipfile.ZIP_LZMA, 0), (zipfile.ZIP_BZIP2, 0), (0, 1), (0, 0x20), (0, 0x40)]
)
def test_archives_that_numpy_does_not_write(tmp_path: Path, kind: int, flags: int) -> None:
    x = io.BytesIO()
    np.save(x, IMAGES)
    path = _archive(tmp_path / "bad.npz", x.getvalue(), kind=kind, flags=flags)
    _refused(path, "is encrypted or patched" if flags else "is compressed in another way than numpy.savez does")


def test_a_missing_archive(tmp_path: Path) -> None:
    _refused(tmp_path / "none.npz", "There is no file of images at .*none.npz; name an .npz file")


@pytest.mark.parametrize("text", ["", "cifar", "a\0b", "x" * 100_000, "\x1b[31m", "ssh://x/y"])
def test_no_source(text: str) -> None:
    _refused(text, "Images must come from one of digits, cifar10, cifar100, imagenet16, an .npz file, a folder or")


# Folders --------------------------------------------------------------------------------------------------------------


def _folder(root: Path, sizes: dict[str, list[tuple[int, int]]], *, mode: str = "RGB", suffix: str = "png") -> Path:
    rng = _rng(2)
    for name, images in sizes.items():
        (root / name).mkdir(parents=True)
        for number, (width, height) in enumerate(images):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{number}.{suffix}")
    return root


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "ppm"])
def test_folders(tmp_path: Path, suffix: str) -> None:
    folder = _folder(tmp_path / "birds", {"wren": [(8, 8)] * 3, "owl": [(8, 8)] * 2}, suffix=suffix)
    (folder / "owl" / "notes.txt").write_text("not an image")
    (folder / ".cache").mkdir()
    images, labels = _batch(folder, batch_size=5)
    assert images.shape == (5, 3, 8, 8)
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 1]  # owl, wren
    read = images_named(str(folder)).load(None)
    assert (read.images.shape, read.n_classes) == ((5, 8, 8, 3), 2)
    expected = np.asarray(Image.open(folder / "owl" / f"1.{suffix}"))
    assert np.array_equal(read.images[1], expected)


def test_sizes_of_a_folder_become_equal(tmp_path: Path) -> None:
    read = images_named(str(_folder(tmp_path / "a", {"x": [(20, 9), (12, 30)], "y": [(300, 200)]}))).load(None)
    assert read.images.shape == (3, 9, 12, 3)
    large = images_named(str(_folder(tmp_path / "b", {"x": [(300, 200)]}))).load(None)
    assert large.images.shape == (1, 128, 128, 3)


def test_grey_folders(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "grey", {"x": [(8, 8)], "y": [(8, 8)]}, mode="L")
    assert images_named(str(folder)).load(None).images.shape == (2, 8, 8, 1)
    _folder(tmp_path / "grey", {"z": [(8, 8)]})
    assert images_named(str(folder)).load(None).images.shape == (3, 8, 8, 3)


def test_deep_grey_images_keep_their_shades(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    shades = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(shades).save(tmp_path / "x" / "deep.png")
    read = images_named(str(tmp_path)).load(None)
    assert np.array_equal(read.images[0, ..., 0], shades >> 8)


def test_bad_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refused(tmp_path, "must hold 1 to 20000 images .* but it has 0 subfolders with 0 images; sort them so")
    folder = _folder(tmp_path / "birds", {"wren": [(8, 8)] * 3})
    (folder / "wren" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n\x1b[31m")
    _refused(folder, "The image '.*bad.png' cannot be read .*; replace or remove it")
    (folder / "wren" / "bad.png").unlink()
    monkeypatch.setattr("eznas.conditions.own_images.MAX_IMAGES", 2)
    _refused(folder, "1 to 2 images .* it has 1 subfolders with 3 images")


def test_pictures_too_large_to_unfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = _folder(tmp_path / "small", {"x": [(8, 8)]})
    with monkeypatch.context() as patch:
        patch.setattr("eznas.conditions.own_images.MAX_PIXELS", 63)
        _refused(small, "cannot be read .it is 8x8, more than 63 pixels or none.; replace or remove it")
        patch.setattr("eznas.conditions.own_images.MAX_FILE_BYTES", 10)
        _refused(small, "it is larger than 10 bytes")
    (tmp_path / "x").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.new("1", (20_000, 20_000)).save(tmp_path / "x" / "bomb.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _refused(tmp_path, "bomb.png' cannot be read")


# Functions ------------------------------------------------------------------------------------------------------------

MODULE = """
import numpy as np, torch
images = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
labels = [0, 1, 2, 0, 1, 2]
arrays = lambda: (images, np.array(labels))
tensors = lambda: [torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor(labels)]
floats = lambda: (torch.from_numpy(images).permute(0, 3, 1, 2) / 255.0, labels)
lists = lambda: ((images / 255.0).tolist(), labels)
def fails(): raise ValueError("no \\x1b images\\nhere")
number = lambda: 5
three = lambda: (images, labels, 3)
ragged = lambda: ([[1], [1, 2]], labels)
thing = 5
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_pictures.py").write_text(MODULE)
    (tmp_path / "own_broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("name", ["arrays", "tensors", "floats", "lists"])
def test_functions(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "mine.npz", x=IMAGES, y=LABELS)
    found, wanted = (_batch(source) for source in (f"python:own_pictures:{name}", tmp_path / "mine.npz"))
    torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=0)
    assert torch.equal(found[1], wanted[1])


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("python:own_pictures:fails", "it failed with ValueError: no images here; correct that function"),
        ("python:own_pictures:number", "must return .images, labels. as arrays, but it failed with TypeError"),
        ("python:own_pictures:three", "must return .images, labels. as arrays, but it failed with ValueError"),
        ("python:own_pictures:ragged", "must return .images, labels. as arrays"),
        ("python:own_pictures:thing", "must be a function that returns .images, labels., but it is a int"),
        ("python:own_pictures:none", "cannot be imported .AttributeError"),
        ("python:own_missing:none", "cannot be imported .ModuleNotFoundError: .*; run from the folder that holds it"),
        ("python:own_broken:none", "cannot be imported .ZeroDivisionError: division by zero"),
        ("python:own_pictures", "Images come from python:package.module:function"),
        ("python:own-pictures:x", "Images come from python:package.module:function"),
        ("python:" + "x" * 1_000, "Images come from python:package.module:function"),
    ],
)
def test_bad_functions(text: str, message: str) -> None:
    _refused(text, message)
