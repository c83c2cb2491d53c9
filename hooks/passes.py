"""Forward passes of an extraction: as far as the last wanted site, pooled on the spot, the tower once per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
import torch

from hooks.ahead import Inputs, placed
from hooks.batch import Batch, build, run
from hooks.capture import Stop, capture, fires_once
from hooks.load import Mllm
from hooks.meter import Meter
from hooks.places import cells
from hooks.pool import Pooling, pixel_rows, pool, processed_rows
from hooks.ragged import Rows
from hooks.reuse import images_once
from stimuli.errors import InputError

INPUT_SITES = ("pixels", "processed")
PLACES = 64
"""Image sizes of which the places of tokens are remembered."""


class Passes:
    """Runs a model over batches with its sites captured; a context, for the hooks."""

    def __init__(self, mllm: Mllm, sites: Sequence[str], how: Pooling, prompts: Mapping[str, str], seed: int) -> None:
        self._mllm, self._how, self._prompts, self._seed = mllm, how, dict(prompts), seed
        self._inputs = [site for site in sites if site in INPUT_SITES]
        self._sites = [site for site in sites if site not in INPUT_SITES]
        self._language = [site for site in self._sites if site.startswith("llm")]
        self._once = {site: fires_once(mllm.stages, site, unproven=False) for site in self._sites}
        self._places: dict[tuple[int, int], dict[str, torch.Tensor] | InputError] = {}
        self._now: tuple[Batch, Sequence[str], Sequence[tuple[int, int]]] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Passes:
        """Set the hooks."""
        options: dict[str, Any] = {"stop": True, "keep": self._kept}
        self._seen = self._stack.enter_context(capture(self._mllm.model, self._sites, self._mllm.stages, **options))
        return self

    def __exit__(self, *_: object) -> None:
        """Remove them."""
        self._stack.close()

    @property
    def seconds(self) -> float:
        """Time spent in hooks."""
        return self._seen.seconds

    def forget(self) -> None:
        """Let go of what a pass that failed has left."""
        self._seen.clear()
        self._now = None

    def inputs(self, images: Sequence[np.ndarray]) -> Inputs:
        """What the model is given for some images, and the sites before it; may run in another thread than the passes."""
        mllm = self._mllm
        asked = [[prompt] * len(images) for prompt in self._prompts.values()]
        batches = [build(mllm.model, mllm.processor, mllm.stages, images, prompts) for prompts in asked]
        return Inputs(batches, {site: _input_site(site, batches[0], images) for site in self._inputs})

    def __call__(self, inputs: Inputs, images: Sequence[np.ndarray], ids: Sequence[str], meter: Meter) -> dict[str, Rows]:
        """What is kept of some stimuli.

        Args:
            inputs: theirs.
            images: uint8 (H, W, 3) each.
            ids: of the stimuli.
            meter: where the time is written down.

        Returns:
            Site (with several prompts ``site@prompt`` where the prompt matters) to rows, on the device where they were computed.
        """
        result: dict[str, Rows] = dict(inputs.rows)
        batches = inputs.batches
        if not self._sites:
            return result
        sizes = [image.shape[:2] for image in images]
        several = len(self._prompts) > 1 and bool(self._language)
        with torch.inference_mode(), images_once(self._mllm.model) if several else nullcontext():
            for name, batch in zip(self._prompts, batches, strict=True):
                self._now = batch, ids, sizes
                self._pass(batch, meter)
                first = batch is batches[0]
                for site in self._sites if first else self._language:
                    key = f"{site}@{name}" if name and site.startswith("llm") else site
                    result[key] = self._pooled(site)
                self._seen.clear()
                if not self._language:
                    break
        self._now = None
        return result

    def _pass(self, batch: Batch, meter: Meter) -> None:
        tensors = placed(batch, self._mllm.device)
        with meter.model():
            try:
                run(self._mllm.model, tensors, keep=1)
            except Stop:
                pass  # the last wanted site has fired; nothing behind it needs to run

    def _pooled(self, site: str) -> Rows:
        last: Any = self._seen[site]
        return last if self._once[site] else self._rows(site, self._seen.all(site))

    def _kept(self, site: str, value: torch.Tensor) -> Any:
        return self._rows(site, value) if self._once[site] else value

    def _rows(self, site: str, value: Any) -> Rows:
        assert self._now is not None
        batch, ids, sizes = self._now
        places: list[torch.Tensor] = []
        for size in sizes if self._how.how == "grid" else ():
            known = self._places[size]
            assert not isinstance(known, InputError)  # ``unplaced`` has told
            places.append(known[site])
        return pool(batch.layout, site, value, self._how, ids=ids, seed=self._seed, places=places)

    def unplaced(self, images: Sequence[np.ndarray]) -> dict[int, InputError]:
        """The images, by place, that have no grid, with the reason; for other poolings none.

        Where the tokens of an image look is learnt once per size.
        """
        if self._how.how != "grid" or not self._sites:
            return {}
        sizes = [image.shape[:2] for image in images]
        for size in dict.fromkeys(sizes):
            if size not in self._places:
                self._learn(size, keep=sizes)
        found = {i: self._places[size] for i, size in enumerate(sizes)}
        return {i: known for i, known in found.items() if isinstance(known, InputError)}

    def _learn(self, size: tuple[int, int], keep: Sequence[tuple[int, int]]) -> None:
        old = [other for other in self._places if other not in keep]
        if len(self._places) >= PLACES and old:
            del self._places[old[0]]
        try:
            with self._seen.paused():
                self._places[size] = cells(self._mllm, size, self._sites, self._how.number, next(iter(self._prompts.values())))
        except InputError as error:
            self._places[size] = error


def _input_site(site: str, batch: Batch, images: Sequence[np.ndarray]) -> torch.Tensor:
    if site == "processed":
        return processed_rows(batch.tensors, batch.layout.patches)
    return pixel_rows(images)
