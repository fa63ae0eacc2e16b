"""Programs over banks score as the interpreter does, and fall into words and sentences without loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eznas.bank import Bank, BankEvaluator, Column, nodes_of, sentence_of, words_of
from eznas.conditions import Conditions
from eznas.evaluation import evaluate
from eznas.programs import Invalid, Program, parse
from eznas.proxies import ProgramProxy, statistics_for
from eznas.randomness import stream
from eznas.spaces import families, nb201, space_named
from eznas.workers import LocalPool
from primitives import EXTENDED, GENERAL
from tests.strategies import random_programs

PROGRAMS = [*random_programs(GENERAL, 31, 60), *random_programs(EXTENDED, 32, 20)]
OF_CELLS = Conditions(settings=nb201.Settings(), images="digits", batch_size=3)
OF_FAMILIES = Conditions(settings=space_named(families.NAME).settings(), images="digits", batch_size=3)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.text[:60])
def test_a_sentence_is_its_program(program: Program) -> None:
    program = program.canonical
    tree = sentence_of(program)
    assert Program(nodes_of(tree, lambda word: parse(word).nodes)).digest == program.digest
    assert all(parse(word).is_complete for word in words_of(tree))


def test_words_are_what_looks_at_layers() -> None:
    tree = sentence_of(parse("(add (log parameter_count) (multiply 2.0 (sum_layers (mean weight))))"))
    assert words_of(tree) == ("parameter_count", "(sum_layers (mean weight))")
    kernel = "(spectral_entropy (sum_layers (correlation_kernel convolution_input.data)))"
    assert sentence_of(parse(kernel)) == kernel, "a kernel of the network belongs to the word"


def test_scores_are_those_of_the_interpreter(tmp_path: Path) -> None:
    cells = tuple(space_named("nb201").sample(stream(2, "evaluator"), 3))
    others = tuple(space_named(families.NAME).named("residual:random:2"))
    columns = [
        Column(Bank.open(tmp_path, OF_CELLS), cells), Column(Bank.open(tmp_path, OF_FAMILIES), others),
    ]  # fmt: skip
    matrix = BankEvaluator(LocalPool(), columns).evaluate(PROGRAMS)
    column = 0
    n_finite = 0
    for conditions, networks in ((OF_CELLS, cells), (OF_FAMILIES, others)):
        inputs, targets = conditions.batch(conditions.batch_size)
        for arch in networks:
            proxies = [ProgramProxy(name="p", program=program).bound(conditions) for program in PROGRAMS]
            shown = statistics_for(proxies, conditions.network(arch), inputs, targets)
            for row, program in enumerate(PROGRAMS):
                outcome = evaluate(program, shown)
                if isinstance(outcome, Invalid):
                    assert not np.isfinite(matrix.scores[row, column])
                    assert row in matrix.failures
                else:
                    assert matrix.scores[row, column] == pytest.approx(outcome, rel=1e-5, abs=1e-9), program.text
                    n_finite += 1
            column += 1
    assert n_finite > 0.7 * matrix.scores.size
