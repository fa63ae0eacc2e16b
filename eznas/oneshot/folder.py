"""The folder of a supernet: settings, where to go on, and the checkpoints that are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eznas.errors import ConfigError, RunError
from eznas.files import is_file
from eznas.oneshot.checkpoint import read_state
from eznas.oneshot.config import OneShotConfig, load_oneshot_config

_KEPT: Final = re.compile(r"epoch-(\d{6})\.safetensors")


@dataclass(frozen=True, slots=True)
class OneShotFolder:
    """The folder of a run.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def settings_path(self) -> Path:
        """Resolved settings, as TOML."""
        return self.path / "oneshot.toml"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints that are kept."""
        return self.path / "checkpoints"

    @property
    def latest(self) -> Path:
        """Where to go on: weights and momenta after the last epoch."""
        return self.path / "latest.safetensors"

    def kept(self, epoch: int) -> Path:
        """The checkpoint of an epoch."""
        return self.checkpoints / f"epoch-{epoch:06d}.safetensors"

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs whose weights are kept, in order."""
        names = (path.name for path in self.checkpoints.iterdir()) if self.checkpoints.is_dir() else ()
        return tuple(sorted(int(match[1]) for name in names if (match := _KEPT.fullmatch(name))))

    def config(self) -> OneShotConfig:
        """Its settings.

        Raises:
            RunError: if it is no folder of a supernet, or its settings are damaged.
        """
        if not is_file(self.settings_path):
            raise RunError(
                f"{self.path} is no run of a supernet: it has no {self.settings_path.name}; make one with eznas "
                "oneshot train"
            )
        try:
            return load_oneshot_config(self.settings_path)
        except ConfigError as error:
            raise RunError(f"The settings of {self.path} are damaged: {error}") from None

    def status(self) -> dict[str, Any]:
        """How far it is, for people.

        Raises:
            RunError: if it is no folder of a supernet, or its checkpoint is damaged.
        """
        config = self.config()
        records = read_state(self.latest).records if self.latest.exists() else ()
        epochs, seconds = config.training.epochs, sum(record.seconds for record in records)
        last = records[-1] if records else None
        return {
            "run": str(self.path),
            "epoch": len(records),
            "epochs": epochs,
            "loss": None if last is None else round(last.loss, 4),
            "minutes": round(seconds / 60, 1),
            "minutes left": round(seconds / len(records) * (epochs - len(records)) / 60, 1) if records else None,
            "checkpoints": len(self.epochs),
            "sampling": config.sampling.method,
            "architectures a step": config.sampling.per_step,
        }
