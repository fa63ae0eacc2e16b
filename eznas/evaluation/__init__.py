"""Evaluation: programs over statistics. `evaluate` is the definition; `PopulationEvaluator` is what runs."""

from eznas.evaluation.evaluator import MEMORY_BYTES, PopulationEvaluator, network_of
from eznas.evaluation.execute import CACHE_BYTES, TILE_BYTES, ShardExecutor
from eznas.evaluation.interpreter import FAILURES, evaluate
from eznas.evaluation.plan import Plan, make_plan
from eznas.evaluation.scores import ScoreMatrix

__all__ = [
    "CACHE_BYTES", "FAILURES", "MEMORY_BYTES", "TILE_BYTES", "Plan", "PopulationEvaluator", "ScoreMatrix",
    "ShardExecutor", "evaluate", "make_plan", "network_of",
]  # fmt: skip
