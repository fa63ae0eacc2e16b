"""Programs over banks: words are looked up, or computed once and kept; what joins them is arithmetic on arrays.

A program of the whole network falls into *words*, which look at layers, and a *sentence* of them: the operators that
take numbers of the network to a number of the network. Words are evaluated as those of any population are; joining
them gives what the interpreter would, because numbers of the network are in double precision there and here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eznas.bank.bank import Bank
from eznas.bank.block import KINDS
from eznas.bank.build import fill
from eznas.evaluation import ScoreMatrix
from eznas.programs import Constant, FailureKind, Invalid, Node, Program
from eznas.spaces import Architecture
from eznas.workers import Pool
from primitives import NETWORK_SCALAR, Primitive

Tree = str | float | tuple[Primitive, tuple["Tree", ...]]
"""A sentence: a word by its text, a constant, or an operator of sentences."""


def sentence_of(program: Program) -> Tree:
    """A complete program as a sentence of words."""

    def read(index: int) -> Tree:
        node = program.nodes[index]
        if isinstance(node, Constant):
            return node.value
        children = program.children(index)
        if isinstance(node, Primitive) and all(program.types[child] == NETWORK_SCALAR for child in children):
            return node, tuple(read(child) for child in children)
        return program.subprogram(index).canonical.text

    return read(0)


def words_of(tree: Tree) -> tuple[str, ...]:
    """The words of a sentence, each once, in order of appearance."""
    match tree:
        case str():
            return (tree,)
        case tuple():
            return tuple(dict.fromkeys(word for child in tree[1] for word in words_of(child)))
        case _:
            return ()


def nodes_of(tree: Tree, word: Callable[[str], tuple[Node, ...]]) -> tuple[Node, ...]:
    """The nodes of the program that a sentence is, in prefix order; inverse of `sentence_of`.

    Args:
        tree: the sentence.
        word: gives the nodes of a word.
    """
    match tree:
        case str():
            return word(tree)
        case tuple():
            return (tree[0], *(node for child in tree[1] for node in nodes_of(child, word)))
        case _:
            return (Constant(float(tree), NETWORK_SCALAR.level),)


def value_of(tree: Tree, word: Callable[[str], Tensor]) -> Tensor:
    """The values of a sentence from those of its words, of any one shape."""
    match tree:
        case str():
            return word(tree)
        case tuple():
            return tree[0](*(value_of(child, word) for child in tree[1]))
        case _:
            return torch.tensor(float(tree), dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Column:
    """Networks of one bank: consecutive columns of a score matrix."""

    bank: Bank
    architectures: tuple[Architecture, ...]


class BankEvaluator:
    """Scores populations on networks by way of banks; what a bank lacks is computed by the workers of a pool.

    Stands where `eznas.evaluation.PopulationEvaluator` does, and gives the same scores.

    Args:
        pool: where words are computed.
        columns: the networks, one bank after the other.
        progress: told the networks done and all of one filling.
    """

    def __init__(
        self,
        pool: Pool,
        columns: Sequence[Column],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._pool, self._columns, self._progress = pool, tuple(columns), progress
        self._known: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]] = {}

    @property
    def n_networks(self) -> int:
        """Columns of the score matrix."""
        return sum(len(column.architectures) for column in self._columns)

    def words(self, words: Sequence[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """(n_words, n_networks) values, not finite where a word failed, and the codes of failures, see `Values.kinds`.

        Args:
            words: in canonical form.
        """
        lacking = [word for word in dict.fromkeys(words) if word not in self._known]
        if lacking:
            self._fill(lacking)
            found = [column.bank.values(lacking, column.architectures) for column in self._columns]
            values = np.concatenate([one.values for one in found], axis=1)
            kinds = np.concatenate([one.kinds for one in found], axis=1)
            self._known |= {word: (values[row], kinds[row]) for row, word in enumerate(lacking)}
        if not words:
            return np.empty((0, self.n_networks)), np.empty((0, self.n_networks), dtype=np.uint8)
        rows = [self._known[word] for word in words]
        return np.stack([row for row, _ in rows]), np.stack([kinds for _, kinds in rows])

    def _fill(self, words: Sequence[str]) -> None:
        """Have the banks know these words; the columns of one bank together, so that no worker waits for a column."""
        wanted: dict[Path, tuple[Bank, dict[Architecture, None]]] = {}
        for column in self._columns:
            bank, networks = wanted.setdefault(column.bank.folder, (column.bank, {}))
            networks |= dict.fromkeys(column.architectures)
        n_all, n_before = sum(len(networks) for _, networks in wanted.values()), 0
        for bank, networks in wanted.values():
            n_before += len(networks)

            def told(done: int, of: int, before: int = n_before) -> None:
                if self._progress is not None:
                    self._progress(before - of + done, n_all)

            fill(bank, words, tuple(networks), self._pool, progress=told)
        for column in self._columns:
            column.bank.refresh()

    def evaluate(self, programs: Sequence[Program]) -> ScoreMatrix:
        """Scores of complete programs, and a reason for the first failure of each program that failed."""
        trees = [sentence_of(program.canonical) for program in programs]
        words = list(dict.fromkeys(word for tree in trees for word in words_of(tree)))
        values, kinds = self.words(words)
        place = {word: row for row, word in enumerate(words)}
        tensors = torch.from_numpy(values)
        scores = np.empty((len(programs), self.n_networks))
        failures: dict[int, tuple[int, Invalid]] = {}
        for row, tree in enumerate(trees):
            scores[row] = value_of(tree, lambda word: tensors[place[word]]).expand(self.n_networks).numpy()
            failed = ~np.isfinite(scores[row])
            if failed.any():
                network = int(failed.argmax())
                failures[row] = network, self._why(words_of(tree), kinds, place, network)
        return ScoreMatrix(scores, failures)

    def _why(self, words: Sequence[str], kinds: npt.NDArray[np.uint8], place: dict[str, int], network: int) -> Invalid:
        for word in words:
            code = int(kinds[place[word], network])
            if 0 < code <= len(KINDS):
                return Invalid(KINDS[code - 1], f"{word} has no value")
        return Invalid(FailureKind.NON_FINITE, "non-finite after the words were joined", 0)
