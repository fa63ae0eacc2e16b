"""Devices that conformance is tested on: the processor, a graphics processor where there is one, a pretended one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from eznas.testing import pretended_device

GRAPHICS = ("cuda",) if torch.cuda.is_available() else ()


@pytest.fixture(scope="module", params=("cpu", *GRAPHICS))
def device(request: pytest.FixtureRequest) -> str:
    """Where values are computed; without a graphics processor there is one device, and nothing is skipped."""
    return str(request.param)


@pytest.fixture(params=("pretended", *GRAPHICS))
def elsewhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """A device that is not the processor."""
    if request.param in GRAPHICS:
        yield request.param
    else:
        with pretended_device() as pretended:
            yield str(pretended)
