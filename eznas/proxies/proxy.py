"""A proxy: whatever gives an untrained network a number; a higher one predicts a higher accuracy."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from eznas.programs import Invalid


@runtime_checkable
class Proxy(Protocol):
    """What scores a network: a program, a published estimator, an aggregate of several, or a user's own object.

    Attributes:
        name: for people, tables and columns of files.
        direction: +1 if higher values of its formula predict a higher accuracy, else -1; scores have it in them.
        needs: what it must be given or may take of a network: of ``"images"``, ``"labels"`` and ``"gradients"``.
        cost: in forward passes of the network, an estimate.
    """

    @property
    def name(self) -> str: ...

    @property
    def direction(self) -> int: ...

    @property
    def needs(self) -> frozenset[str]: ...

    @property
    def cost(self) -> float: ...

    def outcome(self, network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float | Invalid:
        """The score of a network as it is, or why it has none; network and global generators are left as found.

        Args:
            network: maps `inputs` to one tensor of logits.
            inputs: (batch, channels, height, width) float32, on the device of the network.
            targets: (batch,) int64 class of each image, if the proxy needs them.

        Raises:
            ConfigError: if what it needs is not given.
        """
        ...

    def score(self, network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
        """As `outcome`, for those who want a number.

        Raises:
            ScoreError: if there is no score; says why.
        """
        ...
