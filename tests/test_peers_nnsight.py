"""An exchange is what nnsight, an independent implementation of interventions, makes of it by its own tracing."""

import copy
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from analysis.choice import choice
from hooks.answer import Options
from hooks.exchange import donated, exchange
from hooks.inside import with_parts
from hooks.load import Mllm
from hooks.token_sets import survey, token_sets

pytestmark = pytest.mark.slow
ASKED = choice()
LLAVA = ("vision.1", "vision.3.attention", "vision.5.mlp", "projector", "llm.0", "llm.1.attention", "llm.1.mlp", "llm.2")
QWEN = ("vision.1", "vision.2.mlp", "projector", "llm.0.attention", "llm.0.mlp", "llm.0")


@pytest.fixture(scope="module")
def nnsight(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library without the method ``save`` that it puts on every object of the process, other tests' too."""
    config = tmp_path_factory.mktemp("nnsight") / "config.yaml"
    config.write_text("APP:\n  PYMOUNT: false\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNSIGHT_CONFIG", str(config))
        found = importlib.import_module("nnsight")
    assert not hasattr(object(), "save")
    return found


def ready(mllm: Mllm, seed: int) -> Options:
    rng = np.random.default_rng(seed)
    return ASKED.prepared(mllm, [rng.integers(0, 256, (128, 128, 3), np.uint8) for _ in range(2)])


def traced(nnsight: Any, model: Any, name: str, own: Options, given: Options, at: Sequence[Any]) -> np.ndarray:
    """Scores when nnsight reads the output of a module about one batch and puts some of it into a trace about another."""
    peer = nnsight.NNsight(model)
    module: Any = peer
    for part in name.split("."):
        module = module[int(part)] if part.isdigit() else getattr(module, part)
    with torch.no_grad():
        with peer.trace(**given.batches[0].tensors):
            theirs = nnsight.save(module.output)
        with peer.trace(**own.batches[0].tensors):
            if isinstance(theirs, tuple):
                module.output[0][at] = theirs[0][at]
            else:
                module.output[at] = theirs[at]
            logits = nnsight.save(peer.output.logits)
    spoken = torch.log_softmax(logits[torch.arange(2), own.batches[0].layout.last_prompt], -1)
    return np.stack([spoken[:, row[0]].numpy() for row in own.tokens], 1)


def places(mllm: Mllm, site: str, own: Options, name: str) -> Any:
    """Where a set stands in what a module gives, found without ours: by ids, and as the towers are built."""
    tensors = own.batches[0].tensors
    if site.startswith("llm"):
        if name == "last":
            return torch.arange(2), tensors["attention_mask"].sum(1) - 1
        config = mllm.model.config
        token = getattr(config, "image_token_id", None) or config.image_token_index
        return tuple((tensors["input_ids"] == token).nonzero().T)
    if "image_grid_thw" in tensors:
        return slice(None)
    return slice(None), slice(1 if site.startswith("vision") else 0, None)  # a class token stands in front of the patches


@pytest.mark.parametrize(("family", "sites"), [("llava", LLAVA), ("qwen", QWEN)])
def test_an_exchange_is_what_nnsight_makes_of_it(
    family: str, sites: Sequence[str], nnsight: Any, request: pytest.FixtureRequest
) -> None:
    mllm = with_parts(request.getfixturevalue(family))
    model = copy.deepcopy(mllm.model)  # nnsight leaves its own forward on every module
    own, given = ready(mllm, 0), ready(mllm, 1)
    plain = ASKED.scores(mllm, own)
    seen = survey(mllm, given.batches[0], sites)
    donation = donated(mllm, given.batches[0], sites)
    for site in sites:
        sets = token_sets(seen.layout, site, seen.shapes[site])
        for name in ("image", "last") if site.startswith("llm") else ("image",):
            with exchange(mllm, donation, {site: sets[name]}):
                ours = ASKED.scores(mllm, own)
            theirs = traced(nnsight, model, mllm.stages.sites[site], own, given, places(mllm, site, own, name))
            moved = np.abs(ours - plain).max()
            assert np.abs(ours - theirs).max() < min(1e-4, moved / 5), (site, name)
