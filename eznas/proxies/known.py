"""Published proxies written as programs: the yardsticks that the language itself can express.

Programs named ``<estimator>_program`` equal the direct definition of that estimator on networks of convolutions, linear
layers, ReLUs and batch normalisation, to rounding; tests hold it. They read all convolutions and linear layers. What a
program reads is what a forward and a backward pass show, so that others have none: those that draw the weights anew
(`zen`, `swap`, `vkdnw`, the terms of AZ-NAS), need derivatives of second order (`grasp`) or of the weights for single
images (`gradsign`, `ntk`), several batches (`zico`), the outputs of every module (`meco`), distinct patterns
(`linear_regions`), a normalised linearised network (`synflow_bn`), or counts that the language lacks. NASWOT over units
lacks the activations that no convolution or linear layer follows at once.

The released code of EZNAS holds five programs, whose arguments are numbers. ``_code`` is the statistic that the code
looks up for a number; ``_order`` is the one at this place of a second list in the same file, which it does not use.
Left out are a reading of "pnas" whose statistics have different shapes, and both readings of "nasnet", which add
statistics from before and after a convolution: they fail in every unit that changes shape, as the reductions of
NAS-Bench-201 do, and the released code skips such a unit, while here a program fails with its network.

`sr_2024` is arithmetic on scores of estimators. It knows their scale: of a batch of 32 images, as in the tables that it
was found on (the largest `jacob_cov` is minus the number of images).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from eznas.conditions import Units
from eznas.programs import parse
from eznas.proxies.program import ProgramProxy


def _known(
    name: str, title: str, text: str, source: str, *, units: Units = "convolutional", equals: str | None = None
) -> ProgramProxy:
    return ProgramProxy(name=name, program=parse(text), units=units, title=title, source=source, equals=equals)


def _as_program(estimator: str, title: str, text: str) -> ProgramProxy:
    source = f"the estimator {estimator}, over all convolutions and linear layers"
    return _known(f"{estimator}_program", f"{title} (as a program)", text, source, units="all", equals=estimator)


_JACOBIANS: Final = "(first_layer (correlation_kernel convolution_input_grad.data))"
"""Correlation of the gradients of the summed logits for the images, which are what enters the first convolution."""
_LABELLED_SALIENCY: Final = "(multiply weight weight_grad.labelled)"


def _enas(statistic: str) -> str:
    """The program "enas" of T: 1 / (norm of T + exp of the norm of log sigmoid log sigmoid T)."""
    inner = f"(log_positive (sigmoid (log_positive (sigmoid {statistic}))))"
    whole = f"(invert (broadcast_add (element_norm {statistic}) (exp (element_norm {inner}))))"
    return f"(mean_layers (element_mean {whole}))"


KNOWN_PROGRAMS: Final[Mapping[str, ProgramProxy]] = MappingProxyType(
    {
        known.name: known
        for known in (
            _known(name="parameter_count", title="parameters", text="parameter_count", source="baseline"),
            _known(
                name="mac_count",
                title="MACs",
                text="mac_count",
                source="baseline; layers and products of matrices, a bias counts as one, as in NAS-Bench-201",
            ),
            _known(
                name="eznas_a_code",
                title="EZNAS-A (as released)",
                text="(mean_layers (frobenius_norm (sigmoid (log_determinant (sign activation_input_grad.data)))))",
                source="Akhauri et al. 2022, the released code: argument 8 is the activation-input gradient on data",
            ),
            _known(
                name="eznas_a_paper",
                title="EZNAS-A (as printed)",
                text="(mean_layers (frobenius_norm (sigmoid (log_determinant (sign weight_grad.noise)))))",
                source="Akhauri et al. 2022, the paper: the weight gradient on noise",
            ),
            _known(
                name="eznas_top_code",
                title='EZNAS "topprog" (as released)',
                text="(mean_layers (square (abs (frobenius_norm convolution_input.noise))))",
                source="Akhauri et al. 2022, the released code: argument 12 is the convolution input on noise",
            ),
            _known(
                name="eznas_top_order",
                title='EZNAS "topprog" (second list)',
                text="(mean_layers (square (abs (frobenius_norm convolution_input_grad.noise))))",
                source="Akhauri et al. 2022, the released code with its second list: the gradient at that input",
            ),
            _known(
                name="eznas_enas_code",
                title='EZNAS "enas" (as released)',
                text=_enas("activation_output.perturbed"),
                source="Akhauri et al. 2022, the released code: argument 19 is the change of the unit's output; 0 in "
                "units of more than about 10,000 values, where the exponential leaves float32",
            ),
            _known(
                name="eznas_enas_order",
                title='EZNAS "enas" (second list)',
                text=_enas("convolution_input_grad.perturbed"),
                source="Akhauri et al. 2022, the released code with its second list: the change of the gradient at the "
                "convolution input",
            ),
            _known(
                name="eznas_pnas_code",
                title='EZNAS "pnas" (as released)',
                text="(mean_layers (kl_divergence (z_normalise (z_normalise (z_normalise "
                "activation_output_grad.perturbed))) (positive activation_output_grad.data)))",
                source="Akhauri et al. 2022, the released code: arguments 0 and 20 are the gradient at the unit's "
                "output, its change and its value on data",
            ),
            _known(
                name="naswot_units",
                title="NASWOT over units",
                text="(log_abs_determinant (sum_layers (agreement_kernel activation_input.data)))",
                source="Mellor et al. 2021, eq. 2, over the activations of units (all but the last of NAS-Bench-201)",
            ),
            _known(
                name="sr_2024",
                title="SR-2024",
                text="(add (subtract (add metric.jacob_cov (divide (multiply 4000000.0 metric.jacob_cov) mac_count)) "
                "(multiply 4.0 metric.plain)) (add (sqrt metric.zen) (divide (multiply 4.0 metric.jacob_cov) "
                "metric.zen)))",
                source="Phan & Luong 2024, found by symbolic regression over scores of NAS-Bench-Suite-Zero, kept in "
                "the released code of MF-NAS, https://github.com/ELO-Lab/MF-NAS: jacov + 4 jacov / flops - 4 plain + "
                "sqrt(zen) + 4 jacov / zen, flops in millions",
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
"""Published proxies that the language can express, by name; each fixed beforehand to predict by a high score."""
