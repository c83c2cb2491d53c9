"""What is exchanged is exactly the donor's, at exactly the chosen rows, and everything else is left as it was."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.choice import choice
from hooks.answer import Options, loglik, scored
from hooks.batch import image_token
from hooks.capture import capture
from hooks.checksum import weights_checksum
from hooks.exchange import Donation, chunks, donated, exchange, unlike
from hooks.inside import with_parts
from hooks.load import Mllm, load
from hooks.patches import Patches
from hooks.stages import Stages
from hooks.token_sets import survey, token_sets
from hooks.tokens import TokenLayout
from stimuli.errors import InputError

ASKED = choice()
SIZES = {"llava": [(128, 128)] * 2, "qwen": [(128, 128), (56, 112)]}
"""Packed images of different sizes stand in one batch."""
WORDY = ("blur or noise", "blur and noise", "red square", "red")
"""Answers of several tokens, which need several passes over the same images."""


@pytest.fixture(params=["llava", "qwen"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mllm(family: str, request: pytest.FixtureRequest) -> Mllm:
    found: Mllm = request.getfixturevalue(family)
    return found


def shown(seed: int, family: str = "llava") -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES[family]]


def ready(mllm: Mllm, images: Sequence[np.ndarray], wordings: Sequence[str] | None = None) -> Options:
    if wordings is None:
        return ASKED.prepared(mllm, images)
    return scored(mllm, list(images), [ASKED.question.prompt] * len(images), wordings)


def swapped(mllm: Mllm, own: Options, given: Options, chosen: dict[str, str], donor: Mllm | None = None) -> np.ndarray:
    """Log-likelihoods of the receiver with the donor's features at site: set."""
    batch = given.batches[0]
    seen, donation = survey(mllm, batch, list(chosen)), donated(donor or mllm, batch, list(chosen))
    rows = {site: token_sets(batch.layout, site, seen.shapes[site])[name] for site, name in chosen.items()}
    with exchange(mllm, donation, rows):
        return loglik(mllm, own)[0]


@pytest.mark.parametrize("wordings", [None, WORDY])
def test_with_everything_of_the_donor_the_answer_is_the_donors(mllm: Mllm, family: str, wordings: Sequence[str] | None) -> None:
    own, given = ready(mllm, shown(0, family), wordings), ready(mllm, shown(1, family), wordings)
    mine, theirs = loglik(mllm, own)[0], loglik(mllm, given)[0]
    assert wordings is None or len(own.batches) > 1
    assert np.abs(mine - theirs).max() > 1e-5
    for site in ("vision.embed", mllm.stages.read_layer, "projector", "llm.embed"):
        assert np.array_equal(swapped(mllm, own, given, {site: "all"}), theirs), site
    assert np.array_equal(swapped(mllm, own, given, {"llm.embed": "image"}), theirs)
    assert np.array_equal(swapped(mllm, own, given, {"llm.embed": "question"}), mine)
    assert np.array_equal(loglik(mllm, own)[0], mine)


def test_behind_a_whole_block_everything_is_the_donors(mllm: Mllm, family: str) -> None:
    """Of answers of one token; longer ones read the receiver's prompt in the blocks up to the site."""
    own, given = ready(mllm, shown(0, family)), ready(mllm, shown(1, family))
    theirs = loglik(mllm, given)[0]
    last = [site for site in mllm.stages.sites if site.startswith("llm")][-1]
    for site in (s for s in mllm.stages.sites if s.startswith("llm")):
        assert np.array_equal(swapped(mllm, own, given, {site: "all"}), theirs), site
    assert np.array_equal(swapped(mllm, own, given, {last: "last"}), theirs)
    assert np.array_equal(swapped(mllm, own, given, {last: "image"}), loglik(mllm, own)[0])


def test_ones_own_features_change_nothing(mllm: Mllm, family: str) -> None:
    parts = with_parts(mllm)
    own = ready(parts, shown(0, family))
    alone = loglik(parts, own)[0]
    chosen = {site: "all" if site.startswith("llm") else "image" for site in parts.stages.sites}
    assert np.array_equal(swapped(parts, own, own, chosen), alone)


@contextmanager
def by_hand(module: torch.nn.Module, given: torch.Tensor, rows: Sequence[tuple[int, int]] | None) -> Iterator[None]:
    """Another implementation: writes rows of a flattened output in place of the module's own."""

    def hook(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        value = output[0] if isinstance(output, tuple) else output
        new = value.detach().clone()
        for at in range(len(new)) if rows is None else rows:
            new[at] = given[at]
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def given_by(module: torch.nn.Module, mllm: Mllm, options: Options) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    handle = module.register_forward_hook(lambda m, i, o: kept.append((o[0] if isinstance(o, tuple) else o).detach().clone()))
    loglik(mllm, options)
    handle.remove()
    return kept[0]


@pytest.mark.parametrize("part", ["", ".attention", ".mlp"])
def test_an_implementation_by_hand_gives_the_same(mllm: Mllm, family: str, part: str) -> None:
    mllm = with_parts(mllm)
    own, given = ready(mllm, shown(0, family)), ready(mllm, shown(1, family))
    ids, mask = own.batches[0].tensors["input_ids"], own.batches[0].tensors["attention_mask"]
    image = [
        (i, p) for i, row in enumerate(ids) for p, token in enumerate(row) if token == image_token(mllm.model, mllm.stages)
    ]
    last = [(i, int(row.sum()) - 1) for i, row in enumerate(mask)]
    for name, places in (("image", image), ("last", last)):
        module = mllm.model.get_submodule(mllm.stages.sites[f"llm.0{part}"])
        with by_hand(module, given_by(module, mllm, given), places):
            expected = loglik(mllm, own)[0]
        found = swapped(mllm, own, given, {f"llm.0{part}": name})
        assert np.allclose(found, expected, atol=1e-6), name
        assert np.abs(found - loglik(mllm, own)[0]).max() > 1e-6, name
    module = mllm.model.get_submodule(mllm.stages.sites[f"vision.1{part}"])
    patches = [(i, p) for i in range(2) for p in range(1, 65)] if family == "llava" else None
    with by_hand(module, given_by(module, mllm, given), patches):
        expected = loglik(mllm, own)[0]
    assert np.allclose(swapped(mllm, own, given, {f"vision.1{part}": "image"}), expected, atol=1e-6)


def test_only_the_chosen_rows_are_exchanged(mllm: Mllm, family: str) -> None:
    own, given = ready(mllm, shown(0, family)).batches[0], ready(mllm, shown(1, family)).batches[0]
    donation = donated(mllm, given, ["llm.0"])
    rows = token_sets(given.layout, "llm.0", donation.shapes("llm.0"))["image"]
    with torch.no_grad(), exchange(mllm, donation, {"llm.0": rows}), capture(mllm, "llm.0") as seen:
        mllm.model(**own.tensors)
    with torch.no_grad(), capture(mllm, "llm.0") as alone:
        mllm.model(**own.tensors)
    at = own.layout.image
    assert torch.equal(seen["llm.0"][at], donation.firings["llm.0"][0][at])
    assert torch.equal(seen["llm.0"][~at], alone["llm.0"][~at]) and not torch.equal(seen["llm.0"][at], alone["llm.0"][at])


def test_another_model_may_give(mllm: Mllm, family: str) -> None:
    """A copy with another tower: with all it hands to the language model, the receiver answers as the copy does."""
    changed = copy.deepcopy(mllm.model)
    with torch.no_grad():
        for name, parameter in mllm.stages.parameters(changed, "vision").items():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    tuned, own = mllm.with_model(changed), ready(mllm, shown(0, family))
    theirs = loglik(tuned, own)[0]
    assert np.abs(theirs - loglik(mllm, own)[0]).max() > 1e-6
    assert np.array_equal(swapped(mllm, own, own, {"projector": "all"}, tuned), theirs)


def test_the_model_is_left_as_it_was(llava: Mllm) -> None:
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in llava.model.modules())

    own, given = ready(llava, shown(0)), ready(llava, shown(1))
    before = weights_checksum(llava.model), hooks(), loglik(llava, own)[0]
    swapped(llava, own, given, {"vision.2": "image", "llm.1": "last"})
    with pytest.raises(KeyboardInterrupt), exchange(llava, donated(llava, given.batches[0], ["llm.0"]), {"llm.0": None}):
        raise KeyboardInterrupt
    assert (weights_checksum(llava.model), hooks()) == before[:2] and np.array_equal(loglik(llava, own)[0], before[2])


class Twice(torch.nn.Module):
    """A tower that sends each half of its input through the same block."""

    def __init__(self) -> None:
        super().__init__()
        self.block = torch.nn.Identity()

    def forward(self, value: torch.Tensor, times: int = 2) -> torch.Tensor:
        return torch.cat([self.block(half) for half in value.chunk(times)])


def test_firings_are_counted_and_begin_anew_with_each_pass() -> None:
    stages = Stages({"vision.0": "block"}, {}, {"vision.0": "each"}, "vision.0")
    none = torch.zeros(2, 3, dtype=torch.bool)
    layout = TokenLayout(none, none, none, stages.layouts, Patches((2, 2), (1, 1)))
    mllm, given = Mllm(Twice(), None, stages, "twice", {}), -torch.arange(1.0, 13).reshape(2, 2, 3)
    donation = Donation(layout, {"vision.0": given.split(1)})
    rows = token_sets(layout, "vision.0", donation.shapes("vision.0"))["image"]
    assert rows is not None and [own.tolist() for own in rows] == [[0, 1], [2, 3]]
    own = torch.zeros(2, 2, 3)
    with exchange(mllm, donation, {"vision.0": (rows[0][:0], rows[1][1:])}):
        for _ in range(2):
            found = mllm.model(own)
            assert torch.equal(found[1, 1], given[1, 1]) and not found.flatten()[:9].any()
        with pytest.raises(InputError, match="fires more than 2 times in a pass of the receiver"):
            mllm.model(torch.zeros(4, 2, 3), times=4)
    with exchange(mllm, donation, {"vision.0": None}):
        assert torch.equal(mllm.model(own), given)


def test_what_does_not_fit_is_refused(qwen: Mllm) -> None:
    own, given = ready(qwen, shown(0, "qwen")), ready(qwen, shown(0, "qwen")[::-1])
    donation = donated(qwen, given.batches[0], ["vision.1", "llm.0"])
    rows = token_sets(given.batches[0].layout, "llm.0", donation.shapes("llm.0"))["last"]
    with pytest.raises(InputError, match=r"gave nothing at 'llm\.1'; it was captured at vision\.1, llm\.0"):
        donation.shapes("llm.1")
    with exchange(qwen, donation, {"llm.0": rows}), pytest.raises(InputError, match=r"At 'llm\.0' the receiver gives \(2, 4,"):
        with torch.no_grad():
            qwen.model(input_ids=own.batches[0].tensors["input_ids"][:, -4:])
    single = donated(qwen, ready(qwen, shown(0, "qwen")[:1]).batches[0], ["vision.1"])
    with (
        exchange(qwen, single, {"vision.1": None}),
        pytest.raises(InputError, match=r"gives \(132, 32\) and the donor gave \(100, 32\)"),
    ):
        loglik(qwen, own)
    assert unlike(own.batches[0].layout, own.batches[0].layout) is None
    assert unlike(own.batches[0].layout, given.batches[0].layout) == 0
    assert unlike(own.batches[0].layout, ready(qwen, shown(0, "qwen")[:1]).batches[0].layout) == 1


def test_sites_are_cut_into_what_fits_into_memory() -> None:
    assert chunks({"a": 3, "b": 3, "c": 5, "d": 9, "e": 1}, 6) == [("a", "b"), ("c",), ("d",), ("e",)]
    assert chunks({}) == []


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2_5_vl", "internvl", "idefics3", "llava_next", "mllama", "kosmos-2", "gemma3"])
def test_other_families_exchange_exactly(name: str, tmp_path: Path) -> None:
    from benchmarks import checkpoints
    from hooks.quiet import quiet

    with quiet():
        checkpoints.save(name, tmp_path)
        mllm = load(tmp_path, device="cpu")
    own, given = (
        ready(
            mllm,
            [np.random.default_rng(seed + i).integers(0, 256, (56, 112, 3), np.uint8) for i in range(2)],
            ("ab", "cd", "a"),
        )
        for seed in (0, 5)
    )
    mine, theirs = loglik(mllm, own)[0], loglik(mllm, given)[0]
    assert np.abs(mine - theirs).max() > 1e-6
    for site in ("vision.embed", "projector"):
        if site in mllm.stages.sites:
            assert np.allclose(swapped(mllm, own, given, {site: "all"}), theirs, atol=1e-5), site
    alive = [s for s in mllm.stages.sites if s not in (mllm.stages.proof.dead if mllm.stages.proof else ())]
    sets = {site: "all" if site.startswith("llm") else "image" for site in alive}
    assert np.allclose(swapped(mllm, own, own, sets), mine, atol=1e-5)
