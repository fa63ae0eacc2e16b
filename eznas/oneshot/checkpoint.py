"""Checkpoints of a supernet: tensors in safetensors, and beside them where the training stood.

What a file holds is data: no reader runs or unpickles anything. A file is written as a whole, and a digest of its
tensors says whether they are those that were written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field, NonNegativeInt
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from eznas.errors import RunError
from eznas.files import replace_file
from eznas.forms import Form, form_of

KEY: Final = "eznas_oneshot"
MAX_BYTES: Final = 8 * 2**30
MOMENTUM: Final = "momentum/"
WEIGHTS: Final = "weights/"
REMEDY: Final = "delete it, and train again or use another checkpoint"
_Digest = Annotated[str, Field(max_length=64)]


class EpochRecord(Form):
    """An epoch of a training.

    Attributes:
        epoch: from 1.
        loss: mean over its steps, in nats.
        learning_rate: of its last step.
        seconds: that it took.
        forgetting: mean, over some of its architectures, of the held-out accuracy at its end less that right after
            their own step, in percent; None where it was not measured.
    """

    epoch: NonNegativeInt
    loss: float
    learning_rate: float
    seconds: float
    forgetting: float | None = None


class TrainingState(Form):
    """Where a training stood after an epoch.

    Attributes:
        format, version: of the file.
        settings_digest: `OneShotConfig.digest`.
        images_digest: of the images.
        epoch: last finished.
        records: of the epochs so far.
        factor: of the learning rate.
        least, n_since: lowest loss of an epoch, and epochs since it.
        digest: of the tensors.
    """

    format: Literal["eznas-oneshot"] = "eznas-oneshot"
    version: Literal[1] = 1
    settings_digest: _Digest
    images_digest: _Digest
    epoch: NonNegativeInt = 0
    records: Annotated[tuple[EpochRecord, ...], Field(max_length=100_000)] = ()
    factor: float = 1.0
    least: float | None = None
    n_since: NonNegativeInt = 0
    digest: _Digest = ""


def write_checkpoint(path: Path, state: TrainingState, tensors: Mapping[str, Tensor]) -> TrainingState:
    """Write a checkpoint as a whole; what is there before stays if that fails.

    Returns:
        The state with the digest of the tensors.

    Raises:
        OSError: if it cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sealed = state.model_copy(update={"digest": _digest(stored)})
    replace_file(path, save(stored, metadata={KEY: sealed.model_dump_json()}))
    return sealed


def read_state(path: Path, *, verify: bool = False) -> TrainingState:
    """Where the training stood, from the head of a checkpoint.

    Args:
        path: of the file.
        verify: whether its tensors must have the digest that it names; without, they are not looked at.

    Raises:
        RunError: if it cannot be read, is no such file or is damaged.
    """
    state, tensors = _read(path, with_tensors=verify)
    if verify:
        _verify(path, state, tensors)
    return state


def read_checkpoint(path: Path, expected: Mapping[str, Tensor]) -> tuple[TrainingState, dict[str, Tensor]]:
    """A checkpoint, on the CPU.

    Args:
        path: of the file.
        expected: tensors that it must hold, with their shapes and types; beside them it may hold momenta.

    Raises:
        RunError: if it cannot be read, is no such file, is damaged or is of another supernet.
    """
    state, tensors = _read(path, with_tensors=True)
    for name, tensor in expected.items():
        found = tensors.get(f"{WEIGHTS}{name}")
        if not _fits(found, tensor):
            has = "none" if found is None else f"one of {tuple(found.shape)}"
            raise RunError(
                f"{path} is of another supernet: it needs a tensor {name!r} of {tuple(tensor.shape)} and holds {has}; "
                f"{REMEDY}"
            )
    fitting = {f"{WEIGHTS}{name}" for name in expected} | {
        f"{MOMENTUM}{name}" for name, tensor in expected.items() if _fits(tensors.get(f"{MOMENTUM}{name}"), tensor)
    }
    if not tensors.keys() <= fitting:
        n = len(tensors.keys() - fitting)
        raise RunError(f"{path} is of another supernet: it holds {n} tensors that this has not; {REMEDY}")
    _verify(path, state, tensors)
    return state, tensors


def _fits(found: Tensor | None, expected: Tensor) -> bool:
    return found is not None and found.shape == expected.shape and found.dtype == expected.dtype


def _verify(path: Path, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
    if _digest(tensors) != state.digest:
        raise RunError(f"{path} is damaged: its tensors do not have the digest that it names; {REMEDY}")


def _read(path: Path, *, with_tensors: bool) -> tuple[TrainingState, dict[str, Tensor]]:
    tensors: dict[str, Tensor] = {}
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RunError(f"{path} has more than {MAX_BYTES} bytes, at most so many are read; {REMEDY}")
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            if with_tensors:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise RunError(f"{path} is damaged: it is no whole file of safetensors ({str(error)[:80]}); {REMEDY}") from None
    if text is None:
        raise RunError(f"{path} is no checkpoint of a supernet: it does not say where a training stood; {REMEDY}")
    return form_of(TrainingState, text, where=str(path), error=RunError, remedy=REMEDY), tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.blake2b(digest_size=32)
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def averaged(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """The mean of each floating-point tensor of several checkpoints, the largest of each count: a temporal ensemble.

    Source: `Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_.
    """
    found = {}
    for name, first in parts[0].items():
        values = torch.stack([part[name] for part in parts])
        found[name] = values.mean(0) if first.is_floating_point() else values.amax(0)
    return found
