"""Extraction: values, resume after a kill, unreadable images, and only what is needed runs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hooks import extract as module
from hooks.extract import extract
from hooks.load import Mllm
from hooks.store import Store
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet


def test_all_sites_of_every_stimulus_are_stored(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    store = extract(llava, six, out=tmp_path, batch_size=4, progress=False)
    assert store.sites == ("pixels", "processed", *llava.stages.sites) and store.ids == tuple(s.id for s in six)
    assert store.read("llm.0").values.shape == (6, 160) and store.metadata("s1")["type"] == "jpeg"
    image = six[2].image
    assert store.read("pixels").values[2, 0] == pytest.approx(image[:16, :16, 0].mean() / 255, abs=1e-6)
    one = extract(llava, six[3:4], ["vision.4"], progress=False)
    assert np.allclose(one.read("vision.4").values[0], store.read("vision.4").values[3], atol=1e-4)


def test_packed_towers_are_pooled_per_image(qwen: Mllm, six: StimulusSet) -> None:
    store = extract(qwen, six, ["vision.2", "projector", "llm.1"], batch_size=3, progress=False)
    assert [store.read(s).values.shape for s in store.sites] == [(6, 32), (6, 48), (6, 48)]


class Killed(Exception):
    pass


class Dying:
    """A set of stimuli that dies on the way."""

    def __init__(self, stimuli: StimulusSet, after: int) -> None:
        self.stimuli, self.after = stimuli, after

    def __len__(self) -> int:
        return len(self.stimuli)

    def __iter__(self) -> Iterator[Stimulus]:
        for i, stimulus in enumerate(self.stimuli):
            yield replace(stimulus, pixels=self.die) if i == self.after else stimulus

    @staticmethod
    def die() -> np.ndarray:
        raise Killed


def test_a_killed_extraction_goes_on_and_equals_an_uninterrupted_one(
    llava: Mllm, six: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD", 2)
    options: dict[str, Any] = {"sites": ["projector"], "batch_size": 2, "progress": False}
    whole = extract(llava, six, out=tmp_path / "whole", **options)
    dying: Any = Dying(six, after=4)
    with pytest.raises(Killed):
        extract(llava, [*dying], out=tmp_path / "killed", **options)
    assert Store(tmp_path / "killed").ids == ("s0", "s1", "s2", "s3")
    resumed = extract(llava, six, out=tmp_path / "killed", **options)
    assert resumed.ids == whole.ids
    assert np.array_equal(resumed.read("projector").values, whole.read("projector").values)


def test_one_bad_image_is_recorded_and_skipped_unless_strict(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    mixed = StimulusSet([*six[:2], Stimulus("bad", "r9", None, None, pixels=tmp_path / "bad.png"), six[2]], "mixed")
    store = extract(llava, mixed, ["vision.0"], out=tmp_path / "a", progress=False)
    assert store.ids == ("s0", "s1", "s2") and "bad.png cannot be read" in store.skipped[0]["reason"]
    with pytest.raises(InputError, match="bad.png cannot be read"):
        extract(llava, mixed, ["vision.0"], out=tmp_path / "b", progress=False, strict=True)


def test_the_language_model_runs_only_when_it_is_wanted(llava: Mllm, six: StimulusSet) -> None:
    ran: list[int] = []
    handle = llava.model.model.language_model.register_forward_pre_hook(lambda *_: ran.append(1))
    extract(llava, six[:2], ["vision.5", "projector"], progress=False)
    assert not ran
    extract(llava, six[:2], ["llm.0"], progress=False)
    handle.remove()
    assert ran


def test_the_last_prompt_position_is_a_pool_of_llm_sites(llava: Mllm, six: StimulusSet) -> None:
    store = extract(llava, six, pool="last", progress=False)
    assert all(site.startswith("llm") for site in store.sites)
    with pytest.raises(InputError, match="reads the last prompt position"):
        extract(llava, six, ["projector"], "last", progress=False)


def test_refusals_are_in_words(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Got zero stimuli"):
        extract(llava, [], progress=False)
    with pytest.raises(InputError, match="Unknown pooling 'median'"):
        extract(llava, six, pool="median", progress=False)
    extract(llava, six[:1], ["projector"], out=tmp_path, progress=False)
    with pytest.raises(InputError, match="holds activations of another run .*prompt"):
        extract(llava, six[:1], ["projector"], out=tmp_path, prompt="Why?", progress=False)
    assert json.loads((tmp_path / "config.json").read_text())["pool"] == "mean"


def test_activations_of_an_adapted_or_changed_model_are_not_mixed_with_those_of_the_base(
    llava_folder: Path, six: StimulusSet, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    from hooks.load import load

    base = load(llava_folder, device="cpu")
    extract(base, six, ["projector"], out=tmp_path / "a", progress=False)
    extract(load(llava_folder, device="cpu"), six, ["projector"], out=tmp_path / "a", progress=False)  # the same: goes on
    get_peft_model(load(llava_folder, device="cpu").model, LoraConfig(target_modules=["q_proj"])).save_pretrained(
        tmp_path / "l"
    )
    with pytest.raises(InputError, match="adapter"):
        extract(
            load(llava_folder, device="cpu", adapter=tmp_path / "l"), six, ["projector"], out=tmp_path / "a", progress=False
        )
    mine = load(base.model, base.processor)
    extract(mine, six, ["projector"], out=tmp_path / "b", progress=False)
    with torch.no_grad():
        next(base.model.parameters()).add_(1)
    with pytest.raises(InputError, match="checksum"):
        extract(load(base.model, base.processor), six, ["projector"], out=tmp_path / "b", progress=False)
