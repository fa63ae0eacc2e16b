"""Running a network once without leaving a trace, and the same each time; networks that cannot be, refused by reason.

This module needs nothing but torch and the standard library, because exported proxies carry its source with them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

FORWARD_SEED = 0
"""Of whatever a network draws in a forward pass."""


class Unfit(ValueError):
    """A network does not have what is looked at: one tensor of logits, so many classes, a layer with weights."""


def refuse_hidden(network: nn.Module) -> None:
    """Refuses a network whose layers cannot be seen, so that it is not taken for one without layers.

    Raises:
        Unfit: if it is, or holds, a scripted, traced or exported module.
    """
    for name, module in network.named_modules():
        is_scripted = isinstance(module, torch.jit.ScriptModule)
        graph = None if is_scripted else getattr(module, "graph", None)
        nodes = graph.nodes if isinstance(graph, torch.fx.Graph) else ()
        if is_scripted or any(isinstance(node.target, torch._ops.OpOverload) for node in nodes):
            made_by = "torch.jit.script or torch.jit.trace" if is_scripted else "torch.export"
            which = f"its module {name!r}" if name else "it"
            raise Unfit(
                f"{type(network).__name__} hides its layers, because {which} was made by {made_by}; give the nn.Module "
                f"that it was made from."
            )


@contextmanager
def own_draws(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Seeded draws inside, every generator as it was found afterwards; what a network prints goes to stderr.

    On a graphics processor convolutions are also computed in full single precision and the same way each time.

    These are torch's on the CPU and on `device`, Python's, NumPy's global one if NumPy is loaded, and those that a
    module of `network` holds as an attribute, which start where they are. Others, such as a NumPy generator in a
    variable of the network's module file, are out of reach.

    Raises:
        RuntimeError: if the network asks to end the program.
    """
    numpy_random = getattr(sys.modules.get("numpy"), "random", None)
    python_state = random.getstate()
    numpy_state = None if numpy_random is None else numpy_random.get_state()
    kinds: tuple[Any, ...] = (torch.Generator, random.Random)
    if numpy_random is not None:
        kinds = (*kinds, numpy_random.Generator, numpy_random.RandomState)
    values = [value for module in network.modules() for value in vars(module).values()]
    found = {kind for kind in set(map(type, values)) if issubclass(kind, kinds)}  # asking each value takes far longer
    held = [value for value in values if type(value) in found]
    restored = [_restoring(generator) for generator in held]
    is_cuda = device.type == "cuda"
    precision = (
        torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False
        )
        if is_cuda
        else nullcontext()
    )
    with torch.random.fork_rng([device] if is_cuda else []), precision, redirect_stdout(sys.stderr):
        try:
            random.seed(FORWARD_SEED)
            if numpy_random is not None:
                numpy_random.seed(FORWARD_SEED)
            torch.default_generator.manual_seed(FORWARD_SEED)
            if is_cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(FORWARD_SEED)
            yield
        except SystemExit as leave:
            raise RuntimeError(f"it called sys.exit({leave.code!r})") from leave
        finally:
            random.setstate(python_state)
            if numpy_random is not None:
                numpy_random.set_state(numpy_state)
            for restore in restored:
                restore()


def _restoring(generator: Any) -> Callable[[], Any]:
    """What puts a generator of torch, Python or NumPy back to its present state."""
    if isinstance(generator, torch.Generator):
        state = generator.get_state()
        return lambda: generator.set_state(state)
    if isinstance(generator, random.Random):
        inner = generator.getstate()
        return lambda: generator.setstate(inner)
    if hasattr(generator, "bit_generator"):
        bits = generator.bit_generator
        position = bits.state
        return lambda: setattr(bits, "state", position)
    legacy = generator.get_state()
    return lambda: generator.set_state(legacy)


@contextmanager
def as_found(network: nn.Module, *, training: bool = True) -> Iterator[None]:
    """Puts `network` in train mode, or not, and on leaving restores every module's mode and every buffer's value.

    Modes are set module by module and not by ``network.train()``, which a network may override.
    """
    modules = list(network.modules())
    in_other_mode = [module for module in modules if module.training != training]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in modules
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        for module in in_other_mode:
            module.training = training
        yield
    finally:
        for module in in_other_mode:
            module.training = not training
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                module._buffers[name] = buffer.copy_(value)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread on the CPU: the sums of a convolution depend in their last bits on how many threads share them."""
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def magnitudes(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by its absolute value, in double precision; counters as copies."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: t.detach().abs().double() if t.is_floating_point() else t.detach().clone() for name, t in tensors}


def called_with(network: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Any:
    """What `network` returns with the tensors of `state` in place of its own, by name, each of which it may share.

    Left to find shared tensors by itself, ``functional_call`` would leave those of `state` in a module that a network
    holds in several places.
    """
    named = {id(own): state[name] for name, own in (*network.named_parameters(), *network.named_buffers())}
    places = {
        f"{prefix}.{name}" if prefix else name: named[id(own)]
        for prefix, module in network.named_modules()
        for name, own in (*module._parameters.items(), *module._buffers.items())
        if own is not None
    }
    return functional_call(network, places, (inputs,), tie_weights=False)


def require_logits(network: nn.Module, logits: Tensor, n_images: int) -> None:
    """Refuses the output of a network whose gradients nobody could read as those of its logits.

    Raises:
        Unfit: if `logits` are neither (batch, n_classes) nor (batch,), or not one row for each image.
    """
    if logits.dim() not in (1, 2) or len(logits) != n_images:
        raise Unfit(
            f"{type(network).__name__} must return logits of shape (batch, n_classes), but for {n_images} images it "
            f"returned {tuple(logits.shape)}; pool and flatten what it returns, or score the part that classifies."
        )


def require_gradient(total: Tensor) -> None:
    """Refuses what no gradient leads back from: all gradients would be 0 and say nothing of the network.

    Raises:
        Unfit: if `total` was computed without gradients.
    """
    if not total.requires_grad:
        raise Unfit(
            "No gradient leads from the logits back to anything: the network computes them under torch.no_grad(), "
            "detached or outside of torch; remove that, or choose a proxy that needs no gradient"
        )
