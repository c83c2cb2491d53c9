"""The stages of a multimodal LLM: which module is which site, and which parameters belong to which component.

``hooks.resolve.find_stages`` finds them, ``Stages.verify`` proves them by running the model.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stimuli.errors import InputError

if TYPE_CHECKING:
    from hooks.verify import Proof

COMPONENTS = ("vision", "projector", "llm")


@dataclass(frozen=True)
class Stages:
    """The ordered sites of one model and its three components."""

    sites: Mapping[str, str]
    """Site to module name, in the order of the data's way: ``vision.embed``, ``vision.0`` …, ``projector``, ``llm.embed``
    (the hidden states that enter the first decoder layer), ``llm.0`` …."""
    components: Mapping[str, tuple[str, ...]]
    """``vision``, ``projector``, ``llm`` to the names of the modules whose parameters are theirs."""
    layouts: Mapping[str, str]
    """Site to layout: ``image`` (crops, tokens, d), ``map`` (crops, d, h, w), ``packed`` (all tokens, d), ``each`` (one firing
    per crop), ``sequence`` (n, positions, d), ``prefixed`` (the image in front) or ``decoder`` (no image positions)."""
    read_layer: str
    """The vision site that the projector reads; blocks after it are dead ends for the answer."""
    widths: Mapping[str, int | None] = field(default_factory=dict)
    """Site to features per token, as far as the weights' shapes tell."""
    image_token: int | None = None
    """The id of the image's placeholder in the prompt, if the self-test found it."""
    extra: int = 0
    """Class or register tokens in front of each image in a packed tower, if the self-test found any."""
    live: Mapping[str, int] = field(default_factory=dict)
    """Parts of a projector of whose rows only so many leading ones reach the answer (a Q-Former's queries, not its text)."""
    proof: Proof | None = None
    """The outcome of the self-test; None for a map that was not run."""

    def component(self, site: str) -> str:
        """The component a site belongs to: ``pixels`` and ``processed`` are ``input``."""
        name = site.split(".")[0]
        return name if name in COMPONENTS else "input"

    def parameters(self, model: nn.Module, component: str) -> dict[str, nn.Parameter]:
        """The named parameters of one component; no parameter belongs to two.

        Parts that images do not pass (audio towers, image generators) belong to none.

        Raises:
            InputError: unknown component.
        """
        if component not in self.components:
            raise InputError(f"Unknown component '{component}'. Expected one of {', '.join(COMPONENTS)}. Use one of these.")
        named = dict(model.named_parameters())
        return {name: value for name, value in named.items() if self._owner(name) == component}

    def _owner(self, parameter: str) -> str:
        """The component with the longest module name that contains the parameter (a merger sits inside its tower)."""
        owners = [
            (len(module), component)
            for component, modules in self.components.items()
            for module in modules
            if not module or parameter == module or parameter.startswith(module + ".")
        ]
        return max(owners)[1] if owners else "other"

    def check(self, sites: object) -> tuple[str, ...]:
        """Sites by name or ``"all"``, in order.

        Raises:
            InputError: an unknown site; the nearest are named.
        """
        if sites == "all":
            return tuple(self.sites)
        wanted = [sites] if isinstance(sites, str) else list(sites)  # type: ignore[call-overload]
        for site in wanted:
            if site not in self.sites:
                near = difflib.get_close_matches(str(site), self.sites, n=3) or list(self.sites)
                raise InputError(
                    f"Unknown site '{site}'. The nearest sites of this model are {', '.join(near)}; "
                    "`snellen stages MODEL` lists them all."
                )
        return tuple(site for site in self.sites if site in wanted)

    def verify(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> Stages:
        """Prove this map by one small forward and backward pass; see ``hooks.verify.verify``.

        Args:
            model: the model.
            inputs: of one forward pass with an image and text, best of two stimuli whose images differ in size.

        Returns:
            The map with ``proof``: sites in order of firing, layouts as seen, dead ends marked.

        Raises:
            InputError: a site does not fire, fits no layout, or image features reach positions that are no placeholders.
        """
        from hooks.batch import bookkeeping
        from hooks.verify import verify

        return verify(model, inputs, self, bookkeeping(model, self, inputs))
