"""Studies: a run from its settings to its result, and what it gives to hold.

`evolve` and `resume` run; `Study` and `Proxy` are what a notebook holds; `Problem` is what the settings mean on this
machine's data.
"""

from eznas.study.machine import Machine, cache_folder, single_threaded
from eznas.study.observer import Observer, Silent
from eznas.study.problem import Problem, prepare
from eznas.study.results import Proxy, Study, load_proxy
from eznas.study.run import capture_store, evolve, make_assessor, resume

__all__ = [
    "Machine", "Observer", "Problem", "Proxy", "Silent", "Study", "cache_folder", "capture_store", "evolve",
    "load_proxy", "make_assessor", "prepare", "resume", "single_threaded",
]  # fmt: skip
