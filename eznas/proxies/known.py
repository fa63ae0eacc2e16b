"""Published proxies written as programs: the yardsticks that the language itself can express.

Programs named ``<estimator>_program`` equal the direct definition of that estimator on networks of convolutions, linear
layers, ReLUs and batch normalisation, to rounding; tests hold it. They read all convolutions and linear layers. What a
program reads is what a forward and a backward pass show, so these estimators have none: those that draw the weights
anew (`zen`, `swap`, `vkdnw` and the parts of AZ-NAS), need derivatives of second order (`grasp`) or of the weights for
single images (`gradsign`, `ntk`), several batches (`zico`), the outputs of every module (`meco`), or distinct patterns
(`linear_regions`). NASWOT over units lacks the activations that no convolution or linear layer follows at once.
"""

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
        units: the layers it reads, ``"convolutional"`` units or ``"all"``.
        estimator: name of the published estimator it equals; None for one that only the language defines.
    """

    name: str
    title: str
    text: str
    direction: int
    source: str
    units: str = "convolutional"
    estimator: str | None = None

    @property
    def program(self) -> Program:
        """The text as a program."""
        return parse(self.text)


def _as_program(estimator: str, title: str, text: str) -> KnownProgram:
    return KnownProgram(
        name=f"{estimator}_program",
        title=f"{title} (as a program)",
        text=text,
        direction=1,
        source=f"the estimator {estimator}, over all convolutions and linear layers",
        units="all",
        estimator=estimator,
    )


_JACOBIANS: Final = "(first_layer (correlation_kernel convolution_input_grad.data))"
"""Correlation of the gradients of the summed logits for the images, which are what enters the first convolution."""
_LABELLED_SALIENCY: Final = "(multiply weight weight_grad.labelled)"

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
            _as_program("l2_norm", "l2 norm", "(sum_layers (frobenius_norm weight))"),
            _as_program("grad_norm", "gradient norm", "(sum_layers (frobenius_norm weight_grad.labelled))"),
            _as_program("plain", "plain", f"(sum_layers (sum {_LABELLED_SALIENCY}))"),
            _as_program("snip", "SNIP", f"(sum_layers (sum (abs {_LABELLED_SALIENCY})))"),
            _as_program(
                "fisher",
                "Fisher",
                "(multiply 0.5 (sum_layers (multiply (filter_size weight) "
                "(map_energy (multiply convolution_output.labelled convolution_output_grad.labelled)))))",
            ),
            _as_program(
                "synflow", "log synflow", "(log (sum_layers (sum (abs (multiply weight weight_grad.linearised)))))"
            ),
            _as_program("jacob_cov", "jacob_cov", f"(spectral_score {_JACOBIANS})"),
            _as_program("epe_nas", "EPE-NAS up to 100 classes", f"(class_separation {_JACOBIANS} same_class)"),
            _as_program("epe_nas_as_released", "EPE-NAS as released", f"(class_separation {_JACOBIANS} same_class)"),
        )
    }
)
