"""Published programs are complete programs of the language that score networks, and mean what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eznas.evaluation import ShardExecutor, make_plan
from eznas.programs import parse
from eznas.proxies import KNOWN_PROGRAMS, ProgramProxy
from eznas.spaces import build_network, nb201
from eznas.statistics import capture, pack
from tests.eznas.estimators.small_networks import labels, noise

EACH = pytest.mark.parametrize("known", KNOWN_PROGRAMS.values(), ids=KNOWN_PROGRAMS)


NETWORKS = nb201.Settings()


def score(text: str, index: int) -> float:
    """The score that a program gives a reduced NAS-Bench-201 network."""
    plan = make_plan([parse(text)])
    network = build_network(nb201.from_index(index), NETWORKS, seed=0)
    shown = capture(
        network, noise(4, 3, 16, 16), seed=0, statistics=plan.statistics, targets=labels(4, 2), units="convolutional"
    )
    return float(ShardExecutor(pack([shown]), cache_bytes=0).run(plan)[0, 0])


def shown(index: int, *statistics: str) -> list[list[np.ndarray]]:
    """Statistics of each unit of that network."""
    network = build_network(nb201.from_index(index), NETWORKS, seed=0)
    found = capture(network, noise(4, 3, 16, 16), seed=0, statistics=statistics, units="convolutional")
    return [[layer[name].double().numpy() for name in statistics] for layer in found.layers]


@EACH
def test_it_is_a_complete_program_of_that_name(known: ProgramProxy) -> None:
    assert KNOWN_PROGRAMS[known.name] is known
    assert parse(known.program.canonical.text).canonical == known.program.canonical
    assert known.direction == 1
    assert known.units == ("all" if known.equals else "convolutional")
    assert known.seed is None
    assert known.title
    assert known.source


def test_titles_are_distinct() -> None:
    assert len({known.title for known in KNOWN_PROGRAMS.values()}) == len(KNOWN_PROGRAMS)


@EACH
def test_it_scores_small_networks_and_tells_them_apart(known: ProgramProxy) -> None:
    networks = [build_network(nb201.from_index(index), NETWORKS, seed=0) for index in (1462, 11, 13990)]
    scores = [known.score(network, noise(4, 3, 16, 16), labels(4, 2)) for network in networks]
    assert all(map(math.isfinite, scores))
    assert len(set(scores)) > 1


def norm(x: np.ndarray) -> float:
    return float(np.sqrt(np.sum(x**2)))


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(-np.log1p(np.exp(-x)))


def z(x: np.ndarray) -> np.ndarray:
    return np.asarray((x - x.mean()) / x.std(ddof=1))


@pytest.mark.parametrize(
    ("name", "statistic"), [("eznas_top_code", "convolution_input"), ("eznas_top_order", "convolution_input_grad")]
)
def test_topprog_is_the_mean_square_norm(name: str, statistic: str) -> None:
    units = shown(11, f"{statistic}.noise")
    expected = np.mean([norm(t) ** 2 for (t,) in units])
    assert score(KNOWN_PROGRAMS[name].program.text, 11) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "statistic"), [("eznas_enas_code", "activation_output"), ("eznas_enas_order", "convolution_input_grad")]
)
def test_enas_is_the_printed_formula(name: str, statistic: str) -> None:
    terms = []
    for (t,) in shown(11, f"{statistic}.perturbed"):
        exponential = np.float32(np.inf) if (n := norm(log_sigmoid(log_sigmoid(t)))) > 88.7 else np.exp(n)
        terms.append(1 / (norm(t) + exponential))
    assert score(KNOWN_PROGRAMS[name].program.text, 11) == pytest.approx(np.mean(terms), rel=1e-3)


def test_pnas_is_the_printed_formula() -> None:
    terms = []
    for u, v in shown(11, "activation_output_grad.perturbed", "activation_output_grad.data"):
        b = (v > 0).astype(float)
        terms.append(float(-np.sum(b * z(z(z(u)))) / len(u)))  # b ln b = 0
    found = score(KNOWN_PROGRAMS["eznas_pnas_code"].program.text, 11)
    assert found == pytest.approx(np.mean(terms), rel=1e-2, abs=1e-2)
