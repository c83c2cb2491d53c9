"""Extraction: values, resume after a kill, unreadable images, and only what is needed runs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hooks import shards
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


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_extraction_goes_on_and_equals_an_uninterrupted_one(
    llava: Mllm, six: StimulusSet, tmp_path: Path, workers: int
) -> None:
    options: dict[str, Any] = {"sites": ["projector"], "batch_size": 2, "progress": False, "workers": workers}
    whole = extract(llava, six, out=tmp_path / "whole", **options)
    dying: Any = Dying(six, after=4)
    with pytest.raises(Killed):
        extract(llava, [*dying], out=tmp_path / "killed", **options)
    assert Store(tmp_path / "killed").ids == ("s0", "s1", "s2", "s3")
    resumed = extract(llava, six, out=tmp_path / "killed", **options)
    assert resumed.ids == whole.ids and [run["images"] for run in resumed.runs] == [4, 2]
    assert np.array_equal(resumed.read("projector").values, whole.read("projector").values)
    assert len(extract(llava, six, out=tmp_path / "killed", **options).runs) == 2  # nothing is left to do, and nothing is


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


def test_a_pass_ends_behind_the_last_wanted_layer_and_gives_the_same(llava: Mllm, six: StimulusSet) -> None:
    ran: list[int] = []
    layers = llava.model.model.language_model.layers
    handles = [layer.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, layer in enumerate(layers)]
    short = extract(llava, six[:2], ["llm.1"], progress=False)
    assert max(ran) == 1 < len(layers) - 1
    whole = extract(llava, six[:2], progress=False)
    for handle in handles:
        handle.remove()
    assert max(ran) == len(layers) - 1
    assert np.array_equal(short.read("llm.1").values, whole.read("llm.1").values)


def test_several_prompts_share_one_run_of_the_tower(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    prompts = {"what": "What colour is the shape?", "how": "How is the quality of this image?"}
    ran: list[int] = []
    handle = llava.model.model.vision_tower.register_forward_pre_hook(lambda *_: ran.append(1))
    wanted = ["vision.2", "projector", "llm.3"]
    both = extract(llava, six, wanted, prompt=prompts, batch_size=3, progress=False, out=tmp_path)
    assert len(ran) == 2  # two batches
    handle.remove()
    assert both.sites == ("vision.2", "projector", "llm.3@what", "llm.3@how") and both.config["prompt"] == prompts
    for name, prompt in prompts.items():
        one = extract(llava, six, wanted, prompt=prompt, batch_size=3, progress=False)
        assert np.array_equal(one.read("llm.3").values, both.read(f"llm.3@{name}").values)
        assert np.array_equal(one.read("projector").values, both.read("projector").values)
    with pytest.raises(InputError, match="names without '@'"):
        extract(llava, six, prompt={"a@b": "What?"}, progress=False)


@pytest.mark.parametrize("fixture", ["llava", "qwen"])
def test_tokens_are_stored_as_the_model_gave_them(fixture: str, six: StimulusSet, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(fixture)
    wanted = ["vision.1", "llm.1"]
    tokens = extract(mllm, six, wanted, "none", batch_size=4, progress=False)
    few = extract(mllm, six, wanted, "random:5", batch_size=3, seed=3, progress=False)
    half = extract(mllm, six, wanted, "none", dtype="bfloat16", progress=False)
    means = extract(mllm, six, wanted, batch_size=4, progress=False)
    for site in wanted:
        acts, some = tokens.read(site), few.read(site)
        assert acts.offsets is not None and len(acts.offsets) == 7 and some.values.shape[0] == 30
        assert half.read(site).tensor.dtype == torch.bfloat16
        for i, stimulus in enumerate(six):
            rows = acts.of(stimulus.id)
            assert np.allclose(rows.mean(0), means.read(site).values[i], atol=1e-5)
            assert np.allclose(half.read(site).of(stimulus.id), rows, rtol=1e-2, atol=1e-2)
            distances = np.abs(some.of(stimulus.id)[:, None] - rows[None]).max(-1)
            assert (distances.min(1) < 1e-4).all()  # each is one of its tokens


def test_a_grid_tells_left_from_right(llava: Mllm, qwen: Mllm) -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    left, right = image.copy(), image.copy()
    left[:, :64], right[:, 64:] = 255, 255
    pair = StimulusSet([Stimulus("l", "l", None, None, pixels=left), Stimulus("r", "r", None, None, pixels=right)], "pair")
    for mllm in (llava, qwen):
        store = extract(mllm, pair, ["vision.embed", "projector"], "grid:2", progress=False)
        cells = store.read("vision.embed").values.reshape(2, 4, -1)  # one row per cell, of raster order
        assert np.abs(cells[0, 0] - cells[1, 1]).mean() < np.abs(cells[0, 0] - cells[1, 0]).mean() / 2
        assert store.config["pool"] == "grid:2" and store.read("projector").values.shape[1] % 4 == 0


def test_images_that_have_no_grid_are_left_out(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    long = Stimulus("long", "x", None, None, pixels=np.zeros((128, 600, 3), np.uint8))
    mixed = StimulusSet([six[0], long, six[1]], "mixed")
    store = extract(llava, mixed, ["projector"], "grid:4", out=tmp_path, progress=False)
    assert store.ids == ("s0", "s1") and store.skipped[0]["id"] == "long"
    plain = extract(llava, six[:2], ["projector"], "grid:4", progress=False)
    assert np.allclose(store.read("projector").values, plain.read("projector").values, atol=1e-5)
    with pytest.raises(InputError, match="None of the first 2 stimuli can be shown.*column"):
        extract(llava, [long, replace(long, id="again")], ["projector"], "grid:4", progress=False)


class Scarce:
    """A model with memory for so many images at a time."""

    def __init__(self, mllm: Mllm, limit: int) -> None:
        self.sizes: list[int] = []

        def check(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            self.sizes.append(len(kwargs["pixel_values"]))
            if self.sizes[-1] > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

        self.handle = mllm.model.register_forward_pre_hook(check, with_kwargs=True)


def test_a_batch_that_does_not_fit_is_halved_from_then_on(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    plain = extract(llava, six, ["projector"], batch_size=4, progress=False)
    scarce = Scarce(llava, 1)
    store = extract(llava, six, ["projector"], batch_size=4, progress=False, out=tmp_path)
    scarce.handle.remove()
    assert scarce.sizes == [4, 2, 1, 1, 1, 1, 1, 1] and store.ids == plain.ids
    assert np.allclose(store.read("projector").values, plain.read("projector").values, atol=1e-4)
    nothing = Scarce(llava, 0)
    empty = extract(llava, six[:1], ["projector"], progress=False)
    nothing.handle.remove()
    assert empty.ids == () and "not even alone" in empty.skipped[0]["reason"]


def test_other_errors_of_the_model_are_not_taken_for_want_of_memory(llava: Mllm, six: StimulusSet) -> None:
    handle = llava.model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract(llava, six, ["projector"], progress=False)
    handle.remove()


def test_stimuli_that_give_nan_are_left_out_by_id_with_the_site(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    def spoil(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        spoilt = output.clone()
        spoilt[1, 0, 0] = float("inf")
        return spoilt

    handle = llava.model.model.multi_modal_projector.register_forward_hook(spoil)
    for pool in ("mean", "none"):
        store = extract(llava, six[:3], ["vision.1", "projector"], pool, out=tmp_path / pool, progress=False)
        assert store.ids == ("s0", "s2") and [row["id"] for row in store.skipped] == ["s1"]
        assert "NaN or infinity at projector." in store.skipped[0]["reason"] and len(store.read("vision.1").ids) == 2
    with pytest.raises(InputError, match="'s1' was refused: its activations hold NaN or infinity"):
        extract(llava, six[:3], ["projector"], progress=False, strict=True)
    handle.remove()
    assert extract(llava, six[:3], ["vision.1", "projector"], out=tmp_path / "mean", progress=False).skipped == []


def test_a_processor_that_rejects_everything_is_said_at_once(
    llava: Mllm, six: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("wrong number of channels")

    monkeypatch.setattr("hooks.passes.build", broken)
    with pytest.raises(InputError, match="None of the first 6 stimuli can be shown.*'s0'.*wrong number of channels"):
        extract(llava, six, ["projector"], progress=False)


def test_a_first_batch_of_unreadable_files_is_left_out_like_any_other(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    bad = [Stimulus(f"bad{i}", "b", None, None, pixels=tmp_path / f"{i}.png") for i in range(2)]
    store = extract(llava, [*bad, *six], ["projector"], batch_size=2, progress=False)
    assert len(store.ids) == 6 and [row["id"] for row in store.skipped] == ["bad0", "bad1"]


def test_a_full_disk_is_said_and_what_was_written_stays(
    llava: Mllm, six: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"sites": ["projector"], "batch_size": 2, "progress": False, "out": tmp_path}
    real, calls = shards.write, []

    def full(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(*given)

    monkeypatch.setattr(shards, "write", full)
    with pytest.raises(InputError, match="cannot be written.*No space left.*run the same again: it goes on"):
        extract(llava, six, **options)
    assert Store(tmp_path).ids == ("s0", "s1")
    assert extract(llava, six, **options).ids == tuple(s.id for s in six)


def test_the_run_measures_itself(llava: Mllm, six: StimulusSet, capsys: pytest.CaptureFixture[str]) -> None:
    store = extract(llava, six, batch_size=2)
    (run,) = store.runs
    assert run["images"] == 6 and run["skipped"] == 0 and run["bytes"] >= store.bytes * 0.9
    assert 0 < run["model_share"] < 1 < run["overhead"] and run["images_per_second"] > 0
    assert run["model_seconds"] + run["hook_seconds"] <= run["seconds"]
    assert "6 stimuli in" in capsys.readouterr().err


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
