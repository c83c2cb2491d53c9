"""What a language model does behind its last block: final norm, output embeddings, and a scale or cap of the logits.

Found and proven by one small forward pass, not by names: a lens that leaves out the norm, or Gemma's cap, reads another model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from hooks.batch import run
from hooks.capture import features, refuse_compiled
from hooks.load import Mllm
from stimuli.errors import InputError

SIDE = 224
"""Of the image of noise that is shown, in pixels."""
REQUEST = "Say one word."
CLOSE = {torch.float32: 1e-4, torch.float64: 1e-8}
"""How near the logits must be to the model's own, as a share of their spread; 0.03 in half precision."""


@dataclass(frozen=True)
class Head:
    """From the last block's output to logits, as the model does it."""

    last: str
    """The site whose output enters."""
    norm: str | None
    """The module between the last block and the output embeddings; None where there is none."""
    output: str
    """The module of the output embeddings."""
    before: float
    """What enters them is this times the norm's output (T5: d^-½)."""
    scale: float
    """The logits are this times theirs (Cohere, Granite)."""
    cap: float | None
    """And then cap · tanh(logits / cap) (Gemma)."""
    width: int
    """Features per state."""
    vocabulary: int
    """Logits per state."""
    model: Any = field(repr=False)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits of states, (…, width) to float32 (…, vocabulary), on the head's device; computed in the model's own precision.

        Raises:
            InputError: another width.
        """
        if states.shape[-1] != self.width:
            raise InputError(
                f"Got states of shape {tuple(states.shape)}; expected {self.width} features on the last axis, as '{self.last}' has. "
                "Give states of the language model's residual stream."
            )
        if self.norm is not None:
            states = _called(self.model.get_submodule(self.norm), states)
        found = _called(self.model.get_submodule(self.output), states if self.before == 1 else self.before * states)
        return _finished(found, self.scale, self.cap).float()

    __call__ = logits


def head(mllm: Mllm) -> Head:
    """Find and prove the head of a model by one small forward pass; the model is left as it is.

    Raises:
        InputError: no output embeddings, or what lies in front of them or behind them is not of the kinds known here.
    """
    last, output = _last(mllm), _output(mllm.model)
    steps, logits = _trace(mllm, last, output)
    states, entered, given = steps[last][1], *steps[output]
    norm, before = _between(mllm, {k: v for k, v in steps.items() if k not in (last, output)}, states, entered)
    scale, cap = _behind(mllm, given, logits)
    found = Head(last, norm, output, before, scale, cap, states.shape[-1], logits.shape[-1], mllm.model)
    with torch.no_grad():
        again = found.logits(states)
    if not _near(again, logits, mllm.model.dtype):
        raise _refusal(mllm, f"calling '{norm}' and '{output}' again does not give the model's own logits")
    return found


def _last(mllm: Mllm) -> str:
    blocks = [site for site in mllm.stages.sites if re.fullmatch(r"llm\.\d+", site)]
    if not blocks:
        raise _refusal(mllm, "its map has no decoder blocks (llm.0, llm.1, …)")
    return max(blocks, key=lambda site: int(site.rpartition(".")[2]))


def _output(model: Any) -> str:
    own = getattr(model, "get_output_embeddings", lambda: None)()
    found = next((name for name, module in model.named_modules() if module is own and own is not None), None)
    if found is None:
        raise InputError(
            f"{type(model).__name__} declares no output embeddings (get_output_embeddings). Expected a model that says words. Load it "
            "with its language-model head."
        )
    return found


# ---- one forward pass, seen from the last block on ---------------------------------------------------------------------------

_Steps = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Module (the last block under its site's name) to what entered and what left it, in order of leaving."""


def _trace(mllm: Mllm, last: str, output: str) -> tuple[_Steps, torch.Tensor]:
    """What entered and left every module from the last block on, and the model's logits, at the last position: (1, 1, …).

    Elsewhere something may be added between blocks, such as features of the image at its own positions (Qwen3-VL).
    """
    refuse_compiled(mllm.model)
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    batch = mllm.inputs([image], [REQUEST])
    with torch.no_grad(), _watched(mllm, last) as steps:
        logits = run(mllm.model, batch.tensors, keep=1).logits
    if output not in steps or last not in steps:
        raise _refusal(mllm, f"its output embeddings '{output}' are not called behind '{last}'")
    return {name: (one[:, -1:], other[:, -1:]) for name, (one, other) in steps.items()}, logits[:, -1:]


@contextmanager
def _watched(mllm: Mllm, last: str) -> Iterator[_Steps]:
    steps: _Steps = {}
    block = mllm.model.get_submodule(mllm.stages.sites[last])

    def seen(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
            if module is block:
                steps.clear()
                value = features(output, last).detach()
                steps[last] = (value, value)
            elif last in steps and isinstance(output, torch.Tensor) and output.ndim == 3:
                entered = next((v for v in (*inputs, *keywords.values()) if isinstance(v, torch.Tensor) and v.ndim == 3), None)
                if entered is not None and entered.shape[:2] == output.shape[:2]:
                    steps[name] = (entered.detach(), output.detach())

        return hook

    with ExitStack() as stack:
        for name, module in mllm.model.named_modules():
            stack.callback(module.register_forward_hook(seen(name), with_kwargs=True).remove)
        yield steps


def _between(mllm: Mllm, steps: _Steps, states: torch.Tensor, entered: torch.Tensor) -> tuple[str | None, float]:
    """The module between the last block and the output embeddings, and by what its output is multiplied."""
    for factor in (1.0, states.shape[-1] ** -0.5):
        if _same(states, entered, factor):
            return None, factor
        fitting = [name for name, (own, left) in steps.items() if _same(own, states) and _same(left, entered, factor)]
        if fitting:
            return fitting[-1], factor
    raise _refusal(mllm, "no single module leads from its last block's output to what enters its output embeddings")


def _behind(mllm: Mllm, given: torch.Tensor, logits: torch.Tensor) -> tuple[float, float | None]:
    """Scale and cap that lead from the output embeddings' output to the logits: as the config says, and proven."""
    config = mllm.model.config.get_text_config() if hasattr(mllm.model.config, "get_text_config") else mllm.model.config
    known = {name: getattr(config, name, None) for name in ("logit_scale", "logits_scaling", "lm_head_multiplier")}
    scales = [
        1.0,
        *(1 / v if name == "logits_scaling" else float(v) for name, v in known.items() if isinstance(v, int | float)),
    ]
    cap = getattr(config, "final_logit_softcapping", None)
    for scale, bound in product(scales, (None, *([float(cap)] if cap else []))):
        if _near(_finished(given, scale, bound), logits, mllm.model.dtype):
            return scale, bound
    raise _refusal(mllm, "its logits are neither what its output embeddings give nor that scaled and capped as its config says")


def _finished(logits: torch.Tensor, scale: float, cap: float | None) -> torch.Tensor:
    scaled = logits if scale == 1 else logits * scale
    return scaled if cap is None else torch.tanh(scaled / cap) * cap


def _called(module: nn.Module, states: torch.Tensor) -> torch.Tensor:
    """A module's output for states in its own precision and on its own device."""
    weight = next((p for p in module.parameters() if p.is_floating_point()), None)
    return module(states if weight is None else states.to(weight.device, weight.dtype))


def _same(one: torch.Tensor, other: torch.Tensor, factor: float = 1.0) -> bool:
    if one.shape != other.shape:
        return False
    own, wanted = one.float().cpu(), other.float().cpu()
    return torch.equal(own, wanted) if factor == 1 else torch.allclose(factor * own, wanted, rtol=1e-2, atol=1e-6)


def _near(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> bool:
    if one.shape != other.shape:
        return False
    own, wanted = one.float().cpu(), other.float().cpu()
    return float((own - wanted).abs().max()) <= CLOSE.get(dtype, 0.03) * float(wanted.std() + 1e-6)


def _refusal(mllm: Mllm, why: str) -> InputError:
    return InputError(
        f"Cannot read the states of {type(mllm.model).__name__} with its own head: {why}. Expected a decoder whose last block is "
        "followed by at most one norm, the output embeddings, and a scale or cap that the config names. Use probes instead of lenses."
    )
