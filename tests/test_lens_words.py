"""The tokens that stand for classes, and the states that are read with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import lens_words
from analysis.choice import choice
from analysis.lens_words import image_positions, prompted, readable, states, words
from benchmarks import checkpoints
from hooks.batch import run
from hooks.capture import capture
from hooks.head import head
from hooks.load import Mllm, load
from hooks.quiet import quiet
from stimuli.errors import InputError
from stimuli.types import StimulusSet


def spelt(monkeypatch: pytest.MonkeyPatch, *front: int) -> None:
    """A tokenizer of letters, with some tokens in front of each word."""
    monkeypatch.setattr(
        lens_words, "continuation", lambda tokenizer, end, word: [*front, *(ord(letter) - 80 for letter in word)]
    )


def test_words_of_one_token(llava: Mllm) -> None:
    found = words(llava, "paper8")
    assert found.prefix == () and not found.shared and not found.notes and found.lengths == (1,) * 8
    rows = found.table(llava.processor.tokenizer)
    assert [row["text"].strip() for row in rows] == list(choice().wordings) and rows[0]["class"] == "blur"


def test_words_of_letters_share_tokens_and_a_beginning(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    spelt(monkeypatch, 7, 8)
    found = words(llava, "paper8")
    assert found.prefix == (7, 8) and found.tokens[0] == ord("b") - 80 and found.lengths[0] == 6
    assert found.shared["blur"] == ("brightness",) and set(found.shared) == {
        "blur", "brightness", "compression", "contrast", "colorfulness", "clean",
    }  # fmt: skip
    assert [note.split(" ")[0] for note in found.notes] == ["All", "First", "Only"]
    assert found.table(llava.processor.tokenizer)[0]["shared"] == "brightness"


def test_words_that_do_not_part_are_refused(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens_words, "continuation", lambda tokenizer, end, word: [3] if word == "noise" else [3, 4])
    with pytest.raises(InputError, match="cannot be told apart by one token: that of 'noise' begins all the others.*wording"):
        words(llava, "paper8")
    monkeypatch.setattr(lens_words, "continuation", lambda tokenizer, end, word: [3, 4])
    with pytest.raises(InputError, match="cannot be told apart"):
        words(llava, "paper8")


@pytest.mark.parametrize("front", [(), (5, 6)])
@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_states_are_those_of_the_image_and_the_last_token(
    name: str, front: Any, six: StimulusSet, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    spelt(monkeypatch, *front)
    own, images = words(mllm, "paper8"), [six[0].image, six[1].image[:84]]
    batch = prompted(mllm, own, images)
    found = dict(states(mllm, batch, own, ["projector", "llm.0"]))
    assert found["projector"].last is None and found["projector"].image is not None
    with torch.no_grad(), capture(mllm, "llm.0") as seen:
        run(mllm.model, batch.tensors)
    assert found["llm.0"].last is not None and found["llm.0"].image is not None
    for i in range(2):
        there = batch.layout.padding[i].logical_not().nonzero()[-1]
        ids = batch.tensors["input_ids"][i, : int(there) + 1]
        assert tuple(ids[len(ids) - len(front) :].tolist()) == front
        assert torch.equal(found["llm.0"].last[i], seen["llm.0"][i, int(there)])
        assert torch.equal(found["llm.0"].image[i], seen["llm.0"][i][batch.layout.image[i]])


def test_sites_in_the_stream(llava: Mllm) -> None:
    own, blocks = head(llava), [site for site in llava.stages.sites if site.startswith("llm.")]
    assert readable(llava, own, None) == ("projector", *blocks)
    assert readable(llava, own, None, projector=False) == tuple(blocks)
    assert readable(llava, own, ["llm.1", "llm.0"]) == ("llm.0", "llm.1")
    with pytest.raises(InputError, match="cannot read the site 'vision.0'.*Expected some of projector, llm.embed.*a probe"):
        readable(llava, own, ["vision.0"])
    with pytest.raises(InputError, match="Unknown site 'llm.x'"):
        readable(llava, own, ["llm.x"])


def test_the_image_is_in_the_sequence(llava: Mllm, qwen: Mllm) -> None:
    for mllm in (llava, qwen):
        assert image_positions(mllm, words(mllm, "paper8"), ["llm.1"], (64, 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "there"),
    [
        ("florence2", False),
        *(pytest.param(*own, marks=pytest.mark.heavy) for own in (("mllama", False), ("idefics3", True), ("kosmos-2", True))),
    ],
)
def test_a_family_whose_image_is_elsewhere(family: str, there: bool, tmp_path: Path) -> None:
    with quiet():
        checkpoints.save(family, tmp_path)
        mllm = load(tmp_path, device="cpu")
    own, sites = words(mllm, "paper8"), readable(mllm, head(mllm), None)
    assert image_positions(mllm, own, sites, (112, 112)) is there
    if family == "florence2":
        assert sites == ("llm.0", "llm.1")
    images = list(np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8))
    for site, seen in states(mllm, prompted(mllm, own, images), own, sites, there):
        assert (seen.image is not None) == there
        assert seen.last is None if site == "projector" else seen.last is not None and seen.last.shape == (2, 32)
