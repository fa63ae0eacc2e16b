"""Published proxies written as programs: the yardsticks that the language itself can express."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from eznas.programs import Program, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProgram:
    """A published proxy as a program.

    Attributes:
        name: how users and tables call it.
        title: for people.
        text: the program.
        direction: +1 if a higher score predicts a higher accuracy; fixed beforehand.
        source: paper and reading.
    """

    name: str
    title: str
    text: str
    direction: int
    source: str

    @property
    def program(self) -> Program:
        """The text as a program."""
        return parse(self.text)


KNOWN_PROGRAMS: Final[Mapping[str, KnownProgram]] = MappingProxyType(
    {
        known.name: known
        for known in (
            KnownProgram(
                name="parameter_count", title="parameters", text="parameter_count", direction=1, source="baseline"
            ),
            KnownProgram(
                name="mac_count",
                title="MACs",
                text="mac_count",
                direction=1,
                source="baseline; convolutions and linear layers, the benchmark's convention",
            ),
            KnownProgram(
                name="eznas_a_code",
                title="EZNAS-A (as released)",
                text="(mean_layers (frobenius_norm (sigmoid (log_determinant (sign activation_input_grad.data)))))",
                direction=1,
                source="Akhauri et al. 2022, the released code: argument 8 is the activation-input gradient on data",
            ),
            KnownProgram(
                name="eznas_a_paper",
                title="EZNAS-A (as printed)",
                text="(mean_layers (frobenius_norm (sigmoid (log_determinant (sign weight_grad.noise)))))",
                direction=1,
                source="Akhauri et al. 2022, the paper: the weight gradient on noise",
            ),
            KnownProgram(
                name="naswot_units",
                title="NASWOT over units",
                text="(log_abs_determinant (sum_layers (agreement_kernel activation_input.data)))",
                direction=1,
                source="Mellor et al. 2021, eq. 2, over the activations of units (all but the last of NAS-Bench-201)",
            ),
        )
    }
)
