"""Counting in blocks gives what the definition gives, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from eznas.fitness.concordance import WIDTH, Order, concordance, total_concordance


@pytest.mark.parametrize("n", [2, 3, WIDTH - 1, WIDTH, WIDTH + 1, 3 * WIDTH, 150])
@pytest.mark.parametrize("n_values", [1, 3, 40, 10**6], ids="{} values".format)
def test_concordances_equal_their_definition(n: int, n_values: int) -> None:
    rng = np.random.default_rng(n)
    scores = np.concatenate([rng.integers(n_values, size=(5, n)), rng.normal(size=(3, n))])
    scores[5, : n // 2] = -np.inf
    for y in (rng.integers(n_values, size=n).astype(float), rng.normal(size=n)):
        signs = [np.sign(np.subtract.outer(row, row)) for row in np.nan_to_num(scores, neginf=-1e9)]
        expected = np.stack([(sign * np.sign(np.subtract.outer(y, y))).sum(axis=1) for sign in signs])
        x, order = Order.of(scores), Order.of(y[None])
        np.testing.assert_array_equal(concordance(x, order), expected)
        np.testing.assert_array_equal(total_concordance(x, order), expected.sum(axis=1))
        np.testing.assert_array_equal(x.untied, [np.abs(sign).sum(axis=1) for sign in signs])
        np.testing.assert_array_equal(x.n_untied, x.untied.sum(axis=1))
