r"""The front of a run as a table of a paper: LaTeX with the packages booktabs and array, caption and label included.

Names from a run are text: whatever LaTeX would take for a command is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from eznas.names import one_line
from eznas.programs import to_latex, with_signs_settled
from eznas.reporting.front import listed
from eznas.reporting.words import over_samples, rule_text, short, short_names
from eznas.runs.front import Entry, Front, Measurement
from primitives.numerics import DIVISION_FLOOR, LOG_FLOOR

MOST_COLUMNS: Final = 2
"""Samples that each have a column; of more, their mean or worst tau has one."""
_SPECIAL: Final = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "²": r"\textsuperscript{2}", "·": r"\textperiodcentered{}",
    "…": r"\dots{}", "±": r"\textpm{}",
}  # fmt: skip


def front_latex(front: Front, *, among: str = "") -> str:
    """The front as a LaTeX table, discovered proxies above published ones; the pick is bold.

    Args:
        front: to show.
        among: what the pick was taken from, as the end of a sentence.
    """
    columns = list(_columns(front))
    head, *rows = zip(*[cells for _, cells in columns], strict=True)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{array}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_caption(front, among)}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9-]+', '-', front.run.name)}}}",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{{''.join(form for form, _ in columns)}}}",
        r"\toprule",
        f"{' & '.join(head)} \\\\",
        r"\midrule",
    ]
    for place, row in enumerate(rows):
        if front.discovered and place == len(front.discovered):
            lines.append(r"\midrule")
        lines.append(f"{' & '.join(row)} \\\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def escaped(text: str, limit: int = 200) -> str:
    """A text on one line as LaTeX prints it, letter by letter."""
    return "".join(_SPECIAL.get(letter, letter) for letter in one_line(text, limit))


def _columns(front: Front) -> Iterator[tuple[str, list[str]]]:
    """Form and cells of each column, the header first."""
    entries = front.entries
    yield "l", ["proxy", *(_name(entry, front.pick is entry) for entry in entries)]
    if len(front.learnt) <= MOST_COLUMNS:
        names = short_names([sample.name for sample in front.learnt], 16)
        for sample, name in zip(front.learnt, names, strict=True):
            title = r"$\tau$" if len(front.learnt) == 1 else rf"$\tau$ {escaped(name)}"
            yield "l", [title, *(_tau(entry.report.get(sample.name)) for entry in entries)]
    else:
        if front.run.aggregate != "worst":
            yield "r", [r"mean $\tau$", *(_number(front.tau(entry, "report")) for entry in entries)]
        yield "r", [r"worst $\tau$", *(_number(front.worst_tau(entry, "report")) for entry in entries)]
    if front.left_out:
        yield "r", [r"left out $\tau$", *(_number(front.left_out_tau(entry)) for entry in entries)]
    yield "r", ["nodes", *("--" if entry.size is None else str(entry.size) for entry in entries)]
    yield "r", ["cost", *("--" if entry.cost is None else f"{entry.cost:.2f}" for entry in entries)]
    wide = "0.34" if len(front.learnt) in (1, 2) else "0.46"
    form = rf">{{\raggedright\arraybackslash}}p{{{wide}\linewidth}}"
    yield form, ["formula", *map(_formula, entries)]


def _name(entry: Entry, is_pick: bool) -> str:
    name = escaped(short(entry.label))
    if entry.kind == "discovered":
        name = rf"\texttt{{{name}}}"
    return rf"\textbf{{{name}}}" if is_pick else name


def _formula(entry: Entry) -> str:
    if entry.formula is None:
        return escaped(entry.title) or "--"
    return f"${to_latex(with_signs_settled(entry.formula, entry.direction))}$"


def _tau(measured: Measurement | None) -> str:
    if measured is None:
        return "--"
    if measured.tau is None:
        return "failed"
    tau = measured.tau
    if tau.low is None or tau.high is None:
        return _number(tau.value)
    return rf"{_number(tau.value)} {{\scriptsize [{_number(tau.low)}, {_number(tau.high)}]}}"


def _number(value: float | None) -> str:
    return "--" if value is None else f"${value:.3f}$"


def _power(value: float) -> str:
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    factor = "" if mantissa == "1" else rf"{mantissa} \cdot "
    return f"{factor}10^{{{int(exponent)}}}" if exponent else mantissa


def _caption(front: Front, among: str) -> str:
    run = front.run
    if len(front.learnt) <= MOST_COLUMNS:
        figure = r"Kendall's $\tau_b$ with 95\,\% bootstrap intervals"
    else:
        kinds = "Worst" if run.aggregate == "worst" else "Mean and worst"
        figure = rf"{kinds} Kendall's $\tau_b$ over {len(front.learnt)} samples"
    networks = "held-out networks"
    if run.n_folds is not None:
        networks = f"networks that the search did not see, cross-fitted in {run.n_folds} folds"
    cards = escaped(listed(front.learnt, lambda sample: str(sample.report), len(front.learnt)), 20_000)
    outside = escaped(listed(front.left_out, lambda sample: str(sample.report), len(front.left_out)), 20_000)
    n_select = ", ".join(dict.fromkeys(f"{sample.select.n:,}" for sample in front.learnt if sample.select))
    pick = f"{rule_text(front)}{f', {among}' if among else ''}"
    words = {str(getattr(node, "name", "")) for entry in front.entries if entry.formula for node in entry.formula.nodes}
    sentences = [
        f"Proxies of run {escaped(run.name)}. {figure} on {networks} ({cards}).",
        rf"Left out is the mean $\tau_b$ on samples that nothing was learnt from ({outside})." if outside else "",
        f"Ordered by {over_samples(front)}$\\tau_b$ on the selection networks ({n_select}); bold is the pick, "
        f"{escaped(pick)}.",
        "Cost is in forward passes.",
        *(note for name, note in _GUARDED.items() if name in words),
    ]
    return " ".join(filter(None, sentences))



_GUARDED: Final = {
    "divide": rf"$\frac{{x}}{{y}}$ is $\frac{{x y}}{{y^2 + \epsilon^2}}$ with $\epsilon = {_power(DIVISION_FLOOR)}$.",
    "log": rf"$\ln|x|$ is $\ln(|x| + {_power(LOG_FLOOR)})$.",
}
"""What is meant where the value of a formula as it is written is not finite."""
