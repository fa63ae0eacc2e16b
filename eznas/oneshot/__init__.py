"""One-shot estimators: a supernet whose shared weights stand in for the training of every cell.

* `supernet`: the shared weights, made of the modules of NAS-Bench-201; `sampling`: which cells a step trains.
* `darts`: the same of DARTS cells; `residual`: of ResNets and ResNeXts, by first channels; `sharing`: the spaces.
* `config`: settings; `train`: training in a folder; `folder`: what is there; `checkpoint`: weights on disk.
* `estimate`: accuracy and loss with inherited weights, as proxies.
"""

from __future__ import annotations

from eznas.oneshot.checkpoint import EpochRecord, TrainingState, read_checkpoint, read_state, write_checkpoint
from eznas.oneshot.config import OneShotConfig, load_oneshot_config, to_toml
from eznas.oneshot.darts import DartsSupernet
from eznas.oneshot.estimate import KINDS, PREFIX, Estimate, Evaluator, OneShotProxy, oneshot_proxy, recalibrate
from eznas.oneshot.folder import OneShotFolder
from eznas.oneshot.residual import ResidualSupernet
from eznas.oneshot.sampling import drawn_cells, group_of, groups, representatives
from eznas.oneshot.sharing import SHARINGS, Sharing
from eznas.oneshot.supernet import Supernet
from eznas.oneshot.train import train_supernet

__all__ = [
    "KINDS", "PREFIX", "SHARINGS", "DartsSupernet", "EpochRecord", "Estimate", "Evaluator", "OneShotConfig",
    "OneShotFolder", "OneShotProxy", "ResidualSupernet", "Sharing", "Supernet", "TrainingState", "drawn_cells",
    "group_of", "groups", "load_oneshot_config", "oneshot_proxy", "read_checkpoint", "read_state", "recalibrate",
    "representatives", "to_toml", "train_supernet", "write_checkpoint",
]  # fmt: skip
