"""The bank: what words say of thousands of networks, computed once and kept.

`Bank` is a folder of numbers for one set of conditions; `fill` has it know what words say of networks, and
`Bank.values` gives it back as an array. Formulas of words are then arithmetic on arrays.
"""

from __future__ import annotations

from eznas.bank.bank import Bank, BankKey, Values, banks_on_disk
from eznas.bank.block import KINDS, Block
from eznas.bank.build import BankWorker, canonical, fill, word_named
from eznas.bank.evaluator import BankEvaluator, Column, Tree, nodes_of, sentence_of, value_of, words_of

__all__ = [
    "KINDS", "Bank", "BankEvaluator", "BankKey", "BankWorker", "Block", "Column", "Tree", "Values", "banks_on_disk",
    "canonical", "fill", "nodes_of", "sentence_of", "value_of", "word_named", "words_of",
]  # fmt: skip
