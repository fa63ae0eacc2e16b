"""Studies: a run from its settings to its result, and what it gives to hold.

`evolve`, `resume` and `extend` run; `Study` is what a notebook holds; `score` and `make_aggregate` are the command
line's; `Problem` is what the settings mean on this machine's data.
"""

from eznas.study.chosen import chosen_front
from eznas.study.evaluate import capture_stores, make_assessor, make_evaluator
from eznas.study.machine import Machine, cache_folder, open_workers, single_threaded
from eznas.study.observer import Observer, Silent
from eznas.study.problem import Given, Problem, prepare
from eznas.study.results import Study, load_proxy
from eznas.study.run import evolve, extend, resume
from eznas.study.seeds import evolve_seeds, holds_seeds, resume_seeds, seed_fronts

__all__ = [
    "Given", "Machine", "Observer", "Problem", "Silent", "Study", "cache_folder", "capture_stores",
    "chosen_front", "evolve", "evolve_seeds", "extend", "holds_seeds", "load_proxy", "make_assessor", "make_evaluator",
    "open_workers", "prepare", "resume", "resume_seeds", "seed_fronts", "single_threaded",
]  # fmt: skip
