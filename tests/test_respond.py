"""Questions asked for real: true answers, each computed once, whatever the batch, the number of processes and the moment of a kill."""

import copy
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from hooks.asks import Ask, Responses
from hooks.book import PART, Book
from hooks.capture import capture
from hooks.load import Mllm, load
from hooks.respond import respond
from snellen.embedded import architecture
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import beside, instead, view
from tests.speakers import speaking

ROOT = Path(__file__).parent.parent
OPTIONS = ("blur", "white noise", "white balance", "jpeg")
SCORED = Ask("scored", "Which one?", options=OPTIONS)
FREE = Ask("free", "What is it?", max_new_tokens=4)
DRAWN = Ask("drawn", "What does it show?", temperature=1.0, repeats=3, max_new_tokens=4)
HIDDEN = Ask("hidden", "What is it?", view=view("noise"), max_new_tokens=2)
TEXT = Ask("text", "What is it?", view=view("none"), max_new_tokens=2)
ASKS = (SCORED, FREE, DRAWN, HIDDEN, TEXT)
BOTH = pytest.mark.parametrize("family", ["llava", pytest.param("qwen", marks=pytest.mark.slow)])
ask = partial(respond, progress=False)


@contextmanager
def passes(mllm: Mllm) -> Iterator[list[int]]:
    """The number of stimuli in every forward pass inside the block."""
    sizes: list[int] = []
    handle = mllm.model.register_forward_pre_hook(lambda m, a, k: sizes.append(len(k["input_ids"])), with_kwargs=True)
    yield sizes
    handle.remove()


def same(one: Mapping[str, Responses], other: Mapping[str, Responses], tolerance: float = 1e-4) -> None:
    """Texts to the last letter, likelihoods and confidences as closely as batches allow."""
    assert one.keys() == other.keys()
    for name, found in one.items():
        assert (found.ids, found.texts) == (other[name].ids, other[name].texts)
        assert np.array_equal(found.tokens, other[name].tokens)
        assert np.allclose(found.loglik, other[name].loglik, rtol=0, atol=tolerance)
        assert np.allclose(found.confidence, other[name].confidence, rtol=0, atol=tolerance, equal_nan=True)


# ---- truth -----------------------------------------------------------------------------------------------------------


def corner(pixels: torch.Tensor) -> int:
    """The first value of an image, 0 to 255, from what the processor made of it."""
    return round((float(pixels[0, 0, 0]) * architecture.STD + architecture.MEAN) * 255)


def by_pixels(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str | Mapping[str, float]:
    question = prompt.split("ASSISTANT:")[0].removeprefix("USER: ").replace("<image>\n", "").strip()
    if "Which" in question:
        blur = 0.1 + 0.6 * corner(torch.as_tensor(pixels)) / 255
        return {"blur": blur, "white noise": 0.15, "white balance": 0.05}
    if pixels is None:
        return f"{question} nothing"
    seen = " and ".join(str(corner(own)) for own in pixels.reshape(-1, 3, 128, 128))
    return f"{question} {seen} after {drawn}"


@pytest.fixture
def speaker(llava: Mllm) -> Mllm:
    return speaking(llava, by_pixels)


def test_answers_are_the_model_s_and_stand_in_the_order_of_the_stimuli(speaker: Mllm, six: StimulusSet) -> None:
    corners = [int(s.image[0, 0, 0]) for s in six]
    prompts = Ask("own", tuple(f"Number {i}" for i in range(6)), max_new_tokens=64)
    pair = Ask("pair", "Both?", view=beside(six, [*six[1:], six[0]]), max_new_tokens=64)
    other = instead("other-class", six, [str(s.type) for s in six])
    swapped = Ask("swapped", "Other?", view=other, max_new_tokens=64)
    text = Ask("text", tuple(f"Text {i}" for i in range(6)), view=view("none"), max_new_tokens=64)
    found = ask(speaker, six, [prompts, pair, SCORED, swapped, text], batch_size=4)
    assert all(one.ids == tuple(s.id for s in six) and one.ask.name == name for name, one in found.items())
    assert found["own"].first == [f"Number {i} {value} after 0" for i, value in enumerate(corners)]
    assert found["pair"].first == [
        f"Both? {a} and {b} after 0" for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    assert found["swapped"].first == [f"Other? {int(other.partners[s.id].image[0, 0, 0])} after 0" for s in six]
    assert found["text"].first == [f"Text {i} nothing" for i in range(6)]
    blur = 0.1 + 0.6 * np.array(corners) / 255
    assert np.allclose(
        np.exp(found["scored"].loglik), np.stack([blur, 0 * blur + 0.15, 0 * blur + 0.05, 0 * blur], 1), atol=1e-6
    )
    lengths = [len(speaker.processor.tokenizer(f" {option}", add_special_tokens=False)["input_ids"]) for option in OPTIONS]
    assert found["scored"].tokens.tolist() == lengths and found["scored"].texts == ((),) * 6
    assert found["scored"].confidence.shape == (6, 0) and found["own"].loglik.shape == (6, 0)
    assert found["own"].confidence == pytest.approx(np.ones((6, 1))) and found["own"].skipped == {}


def test_system_and_prefix_reach_the_model(llava: Mllm, six: StimulusSet) -> None:
    heard: list[str] = []

    def rule(prompt: str, pixels: Any, drawn: int) -> str:
        heard.append(prompt)
        return "noise"

    found = ask(speaking(llava, rule), six[:1], [replace(FREE, system="You judge images.", prefix="I see")])
    assert found["free"].texts == (("noise",),)
    assert set(heard) == {"USER: <image>\nYou judge images. What is it? ASSISTANT: I see"}


@pytest.mark.slow
def test_drawn_answers_are_distributed_as_the_model_says(llava: Mllm, six: StimulusSet) -> None:
    truth = {"blur": 0.5, "noise": 0.3, "white noise": 0.2}
    mllm = speaking(llava, lambda prompt, pixels, drawn: truth)
    found = ask(mllm, six, [replace(DRAWN, repeats=25)], batch_size=6)["drawn"]
    counts = Counter(text for texts in found.texts for text in texts)
    assert stats.chisquare([counts[wording] for wording in truth], [150 * p for p in truth.values()]).pvalue > 1e-3
    assert len(set(found.texts)) == 6 and found.confidence.shape == (6, 25)
    sure = {"blur": 0.5, "noise": 0.3, "white noise": (0.2 + 1) / 2}  # the end token is left out
    assert np.allclose(found.confidence, [[sure[text] for text in texts] for texts in found.texts], atol=1e-6)


# ---- the same whatever the batch -------------------------------------------------------------------------------------


@BOTH
def test_answers_do_not_depend_on_batch_workers_or_company(
    family: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    whole = ask(mllm, six, ASKS, batch_size=6)
    same(ask(mllm, six, ASKS, batch_size=4, workers=0), whole)
    alone = [ask(mllm, six[i : i + 1], ASKS, batch_size=1) for i in (0, 4)]
    for i, one in zip((0, 4), alone, strict=True):
        assert [found.texts[0] for found in one.values()] == [found.texts[i] for found in whole.values()]
        assert np.allclose(one["scored"].loglik[0], whole["scored"].loglik[i], atol=1e-4)
    turned = ask(mllm, six[::-1], ASKS[::-1], batch_size=6)
    assert all(turned[name].texts[::-1] == found.texts for name, found in whole.items())
    drawn = whole["drawn"].texts
    assert all(len(set(texts)) > 1 for texts in drawn) and len(set(drawn)) == 6
    other = ask(mllm, six, [replace(DRAWN, seed=1)], batch_size=6)["drawn"].texts
    assert all(one != another for one, another in zip(drawn, other, strict=True))


# ---- computed once ---------------------------------------------------------------------------------------------------


def test_what_is_answered_is_not_asked_again(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    first = ask(llava, six, ASKS, tmp_path, batch_size=3)
    with passes(llava) as seen:
        renamed = [replace(one, name=f"{one.name}!") for one in ASKS]
        again = ask(llava, six, renamed[::-1], tmp_path, batch_size=2)
        same(
            {name.removesuffix("!"): found for name, found in again.items()},
            {one.name: first[one.name] for one in ASKS[::-1]},
            0,
        )
        part = ask(llava, six[2:4], ASKS, tmp_path)
        assert part["drawn"].texts == first["drawn"].texts[2:4] and np.array_equal(
            part["scored"].loglik, first["scored"].loglik[2:4]
        )
    assert seen == []


def test_only_what_is_new_is_asked(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    few = ask(llava, six, [replace(DRAWN, repeats=2)], tmp_path, batch_size=6)["drawn"]
    with passes(llava) as seen:
        more = ask(llava, six, [DRAWN], tmp_path, batch_size=6)["drawn"]
        assert sum(seen) <= 6 * DRAWN.max_new_tokens  # one repeat of three
    assert [texts[:2] for texts in more.texts] == list(few.texts)
    with passes(llava) as seen:
        ask(llava, six, [DRAWN, SCORED], tmp_path, batch_size=6)
    assert seen == [6, 6]  # one beginning for both whites, one for the others
    ask(llava, six[:4], [FREE], tmp_path)
    with passes(llava) as seen:
        ask(llava, six, [FREE, SCORED], tmp_path, batch_size=6)
    assert set(seen) == {2} and len(seen) <= FREE.max_new_tokens


@BOTH
def test_tower_and_processor_run_once_for_all_questions_about_a_batch(
    family: str, six: StimulusSet, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    asks = [
        SCORED,
        FREE,
        replace(SCORED, name="more", prompt="And which?"),
        DRAWN,
        replace(FREE, name="other", prompt="What else is there?"),
    ]
    looks: list[int] = []
    real = mllm.processor.image_processor

    class Looking:
        def __call__(self, images: Any, **options: Any) -> Any:
            looks.append(len(images))
            return real(images, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(mllm.processor, "image_processor", Looking())
    with capture(mllm.model, "vision.embed", mllm.stages) as seen:
        together = ask(mllm, six, asks, batch_size=3)
    assert len(seen.all("vision.embed")) == 2 == len(looks)
    for one in asks:
        same({one.name: together[one.name]}, ask(mllm, six, [one], batch_size=3))


# ---- stopped and gone on with ----------------------------------------------------------------------------------------


class Stopped(BaseException):
    """As Ctrl-C is: no error that anything catches."""


@contextmanager
def stopping(mllm: Mllm, after: int) -> Iterator[None]:
    left = [after]

    def count(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped

    handle = mllm.model.register_forward_pre_hook(count)
    try:
        yield
    finally:
        handle.remove()


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The answers in one file; a half-written line is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [row for row in rows if "key" in row]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [row for path in folder.glob(PART) for row in lines_of(path)]


def test_stopped_at_any_moment_it_goes_on_and_equals_an_uninterrupted_run(
    llava: Mllm, six: StimulusSet, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"batch_size": 2, "workers": 1}
    whole = ask(llava, six, ASKS, tmp_path / "whole", **options)
    before, stops = set(threading.enumerate()), 0
    for after in (0, 1, 7, 2, 15, 11, 3, 9, 9999):
        with stopping(llava, after):
            try:
                same(ask(llava, six, ASKS, tmp_path / "stopped", **options), whole, 1e-5)
            except Stopped:
                stops += 1
        assert set(threading.enumerate()) == before
    assert stops == 8 and not hasattr(vars(llava.model.model), "get_image_features")
    keys = Counter(row["key"] for row in lines(tmp_path / "stopped"))
    assert set(keys.values()) == {1} and len(keys) == len(lines(tmp_path / "whole")) == 6 * 7


def test_lines_that_were_damaged_are_asked_again_and_only_those(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    whole = ask(llava, six, [FREE, SCORED], tmp_path, batch_size=6)
    (path,) = tmp_path.glob(PART)
    found = path.read_text().splitlines()
    free, scored = ([i for i, line in enumerate(found) if f'"{kind}"' in line] for kind in ("free", "scored"))
    found[free[1]] = found[free[1]].replace('"text": "', '"text": "x')
    path.write_text("\n".join(found[: scored[-1]]) + "\n" + found[scored[-1]][:-20])  # the last is half-written
    with passes(llava) as seen:
        same(ask(llava, six, [FREE, SCORED], tmp_path, batch_size=6), whole)
    assert set(seen) == {1}
    with passes(llava) as seen:
        same(ask(llava, six, [FREE, SCORED], tmp_path), whole)
    assert seen == []


# ---- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [None, "night"])
def test_processes_share_the_work_and_the_last_has_everything(
    job: str | None, llava: Mllm, six: StimulusSet, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"batch_size": 2, "world_size": 2, "job": job}
    whole = ask(llava, six, [FREE, SCORED], batch_size=2)
    with pytest.raises(
        InputError, match="2 of 6 stimuli have no answers yet: other processes .* run the same with one process"
    ):
        ask(llava, six, [FREE, SCORED], tmp_path, rank=0, **options)
    assert {row["id"] for row in lines(tmp_path)} == {"s0", "s1", "s4", "s5"}
    with passes(llava) as seen:
        same(ask(llava, six, [FREE, SCORED], tmp_path, rank=1, **options), whole)
    assert set(seen) == {2} and len(seen) <= FREE.max_new_tokens + 2
    with passes(llava) as seen:
        same(ask(llava, six, [FREE, SCORED], tmp_path), whole)
    assert seen == [] and set(Counter(row["key"] for row in lines(tmp_path)).values()) == {1}
    assert len(list(tmp_path.glob(PART))) == 2


def test_what_another_process_answers_meanwhile_is_there_in_the_end(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    twin, begun = replace(llava, model=copy.deepcopy(llava.model)), list[int]()
    options: dict[str, Any] = {"batch_size": 2, "world_size": 2, "job": "night"}

    def other(*_: Any) -> None:
        if not begun:
            begun.append(1)
            with pytest.raises(InputError, match="4 of 6 stimuli have no answers yet"):
                ask(twin, six, [SCORED], tmp_path, rank=1, **options)

    handle = llava.model.register_forward_pre_hook(other)
    found = ask(llava, six, [SCORED], tmp_path, rank=0, **options)
    handle.remove()
    same(found, ask(llava, six, [SCORED], batch_size=2))


def test_a_job_is_dealt_out_by_what_its_first_process_found(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    ask(llava, six[:2], [FREE], tmp_path)
    options: dict[str, Any] = {"batch_size": 2, "world_size": 2, "job": "second"}
    with pytest.raises(InputError, match="2 of 6 stimuli have no answers yet"):
        ask(llava, six, [FREE], tmp_path, rank=0, **options)
    assert {row["id"] for row in lines(tmp_path)} == {"s0", "s1", "s2", "s3"}
    assert len(ask(llava, six, [FREE], tmp_path, rank=1, **options)["free"].ids) == 6
    with pytest.raises(InputError, match="Got 2 processes and no folder; expected out="):
        ask(llava, six, [FREE], world_size=2)
    with pytest.raises(InputError, match="Got rank 2 of 2; expected 0 to 1"):
        ask(llava, six, [FREE], tmp_path, rank=2, world_size=2)


# ---- folders, disks and bad stimuli ----------------------------------------------------------------------------------


def test_another_model_s_folder_and_a_foreign_one_are_refused_before_anything_is_asked(
    llava: Mllm, qwen: Mllm, six: StimulusSet, tmp_path: Path
) -> None:
    ask(llava, six[:1], [FREE], tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with passes(qwen) as seen:
        with pytest.raises(InputError, match="holds the answers of another model .*Llava.* → .*Qwen2VL"):
            ask(qwen, six[:1], [FREE], tmp_path / "a")
        with pytest.raises(InputError, match="is not empty and holds no answers"):
            ask(qwen, six[:1], [FREE], tmp_path / "b")
        with pytest.raises(InputError, match="two are called 'free'"):
            ask(qwen, six[:1], [FREE, FREE], tmp_path / "c")
        with pytest.raises(InputError, match="Got zero stimuli"):
            ask(qwen, [], [FREE], tmp_path / "c")
    assert seen == [] and not (tmp_path / "c").exists()


def test_a_full_disk_is_said_and_the_run_goes_on_later(
    llava: Mllm, six: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = ask(llava, six, [FREE, SCORED], batch_size=2), [0]
    real = os.fsync

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr("hooks.manifest.os.fsync", full)
    with pytest.raises(InputError, match="Answers cannot be written to .*No space left.*run the same again: it goes on"):
        ask(llava, six, [FREE, SCORED], tmp_path, batch_size=2)
    monkeypatch.undo()
    assert 4 <= len(lines(tmp_path)) < 12
    same(ask(llava, six, [FREE, SCORED], tmp_path, batch_size=2), whole)


def test_an_image_that_cannot_be_read_is_left_out_and_told(
    llava: Mllm, six: StimulusSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = [six[0], replace(six[1], pixels=tmp_path / "gone.png"), *six[2:]]
    found = respond(llava, mixed, [FREE, SCORED, TEXT], tmp_path / "a", batch_size=3)
    assert all(one.ids == ("s0", "s2", "s3", "s4", "s5") and one.skipped.keys() == {"s1"} for one in found.values())
    assert "gone.png" in found["free"].skipped["s1"]
    told = capsys.readouterr().err
    assert "16 answers in" in told and "left out: s1: " in told  # that without an image is answered
    plain = ask(llava, [six[0], *six[2:]], [FREE, SCORED, TEXT], batch_size=3)
    same(found, plain)
    with pytest.raises(InputError, match="gone.png"):
        ask(llava, mixed, [FREE], tmp_path / "b", batch_size=3, strict=True)
    mended = ask(llava, six, [FREE, SCORED, TEXT], tmp_path / "a", batch_size=3)
    assert len(mended["free"].ids) == 6 and mended["free"].skipped == {}


class Refusing:
    """An image processor that does not take images of some heights, nor more than so many together."""

    def __init__(self, inner: Any, heights: Sequence[int] = (), most: int = 99) -> None:
        self.inner, self.heights, self.most = inner, heights, most

    def __call__(self, images: Any, **options: Any) -> Any:
        if any(image.shape[0] in self.heights for image in images):
            raise ValueError("bad aspect ratio")
        if len(images) > self.most:
            raise ValueError("they cannot be stacked")
        return self.inner(images, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_an_image_that_the_processor_rejects_is_left_out_and_told(
    llava: Mllm, six: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [replace(six[i], pixels=six[i].image[:100]) if i in (1, 2) else six[i] for i in range(6)]
    plain = ask(llava, [six[0], *six[3:]], [FREE, SCORED])
    monkeypatch.setattr(llava.processor, "image_processor", Refusing(llava.processor.image_processor, [100]))
    found = ask(llava, odd, [FREE, SCORED], tmp_path / "a", batch_size=3)
    assert found["free"].ids == ("s0", "s3", "s4", "s5") and found["free"].skipped.keys() == {"s1", "s2"}
    assert "rejects a question with 100 x 128 x 3 (ValueError: bad aspect ratio)" in found["free"].skipped["s1"]
    same(found, plain)
    again = ask(llava, odd, [FREE, SCORED], tmp_path / "a", batch_size=3)  # those that are left are all rejected again
    same(again, found)
    assert again["free"].skipped == found["free"].skipped
    with pytest.raises(InputError, match="bad aspect ratio"):
        ask(llava, odd, [FREE], strict=True)
    with pytest.raises(InputError, match="None of the 1 stimuli could be shown to the model. 's1': .*bad aspect ratio"):
        ask(llava, odd[1:2], [FREE])


def test_a_model_that_takes_none_of_the_first_images_is_said_at_once(
    llava: Mllm, six: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llava.processor, "image_processor", Refusing(llava.processor.image_processor, [128]))
    read: list[str] = []
    many = [replace(six[0], id=f"m{i}", pixels=partial(_noted, read, f"m{i}", six[0].image)) for i in range(40)]
    with pytest.raises(
        InputError, match=r"None of the first 4 stimuli can be shown to the model \('image'\). 'm0': .*bad aspect ratio"
    ):
        ask(llava, many, [FREE], batch_size=4)
    assert len(read) <= 12


def _noted(read: list[str], id: str, image: np.ndarray) -> np.ndarray:
    read.append(id)
    return image


def test_files_that_cannot_be_read_say_nothing_about_the_model(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    bad = [Stimulus(f"bad{i}", "b", None, None, pixels=tmp_path / f"{i}.png") for i in range(3)]
    found = ask(llava, [*bad, *six], [FREE], batch_size=3)
    assert found["free"].ids == tuple(s.id for s in six) and found["free"].skipped.keys() == {"bad0", "bad1", "bad2"}
    with pytest.raises(InputError, match="None of the 3 stimuli could be shown to the model. 'bad0': .*0.png"):
        ask(llava, bad, [FREE])


def test_images_that_only_go_in_smaller_batches_are_asked_in_these(
    llava: Mllm, six: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ask(llava, six, [FREE, SCORED], batch_size=6)
    monkeypatch.setattr(llava.processor, "image_processor", Refusing(llava.processor.image_processor, most=2))
    with passes(llava) as seen:
        same(ask(llava, six, [FREE, SCORED], batch_size=6), plain)
    assert max(seen) == 2


# ---- memory ----------------------------------------------------------------------------------------------------------


@contextmanager
def scarce(mllm: Mllm, most: int) -> Iterator[list[int]]:
    """A model with memory for so many stimuli at a time."""
    sizes: list[int] = []

    def check(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    handle = mllm.model.register_forward_pre_hook(check, with_kwargs=True)
    yield sizes
    handle.remove()


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_batch_that_does_not_fit_is_halved_from_then_on(workers: int, llava: Mllm, six: StimulusSet) -> None:
    plain = ask(llava, six, ASKS, batch_size=4)
    with scarce(llava, 1) as sizes:
        same(ask(llava, six, ASKS, batch_size=4, workers=workers), plain)
    assert sizes[:3] == [4, 2, 1] and set(sizes[3:]) == {1}


def test_a_stimulus_that_does_not_even_fit_alone_is_left_out(llava: Mllm, six: StimulusSet) -> None:
    image = np.concatenate([six[1].image] * 9)
    shown = [six[0], replace(six[1], pixels=image), *six[2:]]
    real, plain = llava.processor, ask(llava, [six[0], *six[2:]], [FREE, SCORED])
    assert real.image_processor is not None

    def check(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        pixels = kwargs.get("pixel_values")
        if pixels is not None and any(float((own - large).abs().max()) < 1e-6 for own in pixels):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    large = llava.inputs([image], ["What?"]).tensors["pixel_values"][0]
    handle = llava.model.model.register_forward_pre_hook(check, with_kwargs=True)
    found = ask(llava, shown, [SCORED, FREE], batch_size=6)
    handle.remove()
    assert found["free"].ids == ("s0", "s2", "s3", "s4", "s5")
    assert found["free"].skipped == {"s1": "It does not fit into memory, not even alone in its batch."}
    same({name: found[name] for name in plain}, plain)


def test_answers_that_are_no_numbers_are_left_out_and_asked_again_later(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    plain = ask(llava, six, [SCORED, FREE], tmp_path / "plain", batch_size=6)

    def overflow(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return output.index_fill(0, torch.tensor([2]), torch.nan)

    for asks in ([SCORED], [FREE]):
        handle = llava.model.lm_head.register_forward_hook(overflow)
        found = ask(llava, six, asks, tmp_path / "a", batch_size=6)[asks[0].name]
        handle.remove()
        assert found.ids == ("s0", "s1", "s3", "s4", "s5") and not np.isnan(found.loglik).any()
        assert (
            f"Its answer to '{asks[0].name}' has NaN for a probability. Load the model in another dtype" in found.skipped["s2"]
        )
    same(ask(llava, six, [SCORED, FREE], tmp_path / "a", batch_size=6), plain)


def test_other_errors_of_the_model_get_out_and_leave_nothing_running(llava: Mllm, six: StimulusSet, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    handle = llava.model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ask(llava, six, [FREE], tmp_path, workers=2)
    handle.remove()
    assert set(threading.enumerate()) == before and lines(tmp_path) == []


def test_a_model_that_takes_no_question_without_an_image_is_said_with_the_view(llava: Mllm, six: StimulusSet) -> None:
    def needs(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if "pixel_values" not in kwargs and "mm_encoder_outputs" not in kwargs:
            raise TypeError("forward() missing 1 required positional argument: 'pixel_values'")

    handle = llava.model.register_forward_pre_hook(needs, with_kwargs=True)
    try:
        with pytest.raises(
            InputError, match=r"cannot answer 'text', a question with no image \('none'; TypeError: .*Leave this question"
        ):
            ask(llava, six, [replace(TEXT, options=OPTIONS)])
    finally:
        handle.remove()


def test_no_more_images_are_in_memory_for_many_stimuli_than_for_few(llava: Mllm) -> None:
    made: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def image(value: int) -> np.ndarray:
        found = np.full((128, 128, 3), value, np.uint8)
        made.append(weakref.ref(found))
        return found

    def note(*_: Any) -> None:
        alive.append(sum(one() is not None for one in made))

    many = [Stimulus(f"s{i}", f"r{i}", None, None, pixels=partial(image, i)) for i in range(48)]
    handle = llava.model.register_forward_pre_hook(note)
    found = ask(llava, many, [replace(FREE, max_new_tokens=1), replace(HIDDEN, max_new_tokens=1)], batch_size=4, workers=2)
    handle.remove()
    assert len(found["free"].ids) == 48 and len(made) == 96 and max(alive) <= 3 * 4


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_neither_tokenizer_nor_processor_is_in_two_threads_at_a_time(llava: Mllm, six: StimulusSet) -> None:
    """Inputs are made by one thread while another answers, and by this one too where memory runs out."""
    processor = copy.copy(llava.processor)
    tokenizer = processor.tokenizer = copy.deepcopy(llava.processor.tokenizer)
    inside: Counter[str] = Counter()
    clashes: list[tuple[str, int]] = []
    threads: set[int] = set()

    def watched(kind: type, method: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **options: Any) -> Any:
            mine = self is processor or self is tokenizer
            name = type(self).__name__
            inside[name] += mine
            time.sleep(0.002 * mine)
            if mine:
                threads.add(threading.get_ident())
                if inside[name] > 1:
                    clashes.append((name, inside[name]))
            try:
                return getattr(kind, method)(self, *args, **options)
            finally:
                inside[name] -= mine

        return call

    for one, methods in ((processor, ["__call__"]), (tokenizer, ["__call__", "batch_decode", "decode"])):
        kind = type(one)
        one.__class__ = type(kind.__name__, (kind,), {method: watched(kind, method) for method in methods})
    mllm = replace(llava, processor=processor)
    with scarce(llava, 2):
        found = ask(mllm, six, [FREE, SCORED, DRAWN, HIDDEN], batch_size=3, workers=2)
    assert len(threads) > 1 and clashes == []
    same(found, ask(llava, six, [FREE, SCORED, DRAWN, HIDDEN], batch_size=3))


# ---- what a run tells of itself --------------------------------------------------------------------------------------


def test_a_run_measures_itself(llava: Mllm, six: StimulusSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = respond(llava, six, [FREE, DRAWN, SCORED], tmp_path, batch_size=3)
    assert "30 answers in" in capsys.readouterr().err
    model = {k: v for k, v in json.loads((tmp_path / "model.json").read_text()).items() if k != "crc32"}
    (run,) = Book(tmp_path, model).runs
    assert (run["free_answers"], run["scored_answers"]) == (24, 6) and 0 < run["model_share"] < 1
    counted = sum(row.get("tokens", 0) for row in lines(tmp_path) if "text" in row)
    assert run["generated_tokens"] == counted > 0
    respond(llava, six, [FREE, DRAWN, SCORED], tmp_path)
    assert capsys.readouterr().err == "" and len(Book(tmp_path, model).runs) == 1
    row = next(row for row in lines(tmp_path) if row["question"] == "drawn" and row["id"] == "s1" and row["repeat"] == 2)
    assert row["view"] == "image" and row["text"] == found["drawn"].texts[1][2]


# ---- killed for real -------------------------------------------------------------------------------------------------

KILLS = 12


@pytest.mark.heavy
def test_killed_again_and_again_it_completes_to_the_last_bit(llava_folder: Path, tmp_path: Path) -> None:
    """Every kill strikes a real run, forked from a process that holds the model, at a moment drawn at random."""
    command = [sys.executable, "-m", "tests.test_respond", str(llava_folder), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] >= KILLS and report["moments"] > 3, report


def kill_again_and_again(model: Path, folder: Path) -> None:
    """Ask whole, then in processes that are killed, then in two at a time; prints how many kills struck, at how many different states."""
    torch.set_num_threads(1)
    mllm = load(model, device="cpu")
    images = np.random.default_rng(0).integers(0, 255, (12, 128, 128, 3), np.uint8)
    shown = [Stimulus(f"s{i}", f"r{i}", None, None, pixels=image) for i, image in enumerate(images)]
    work = partial(ask, mllm, shown, ASKS, batch_size=2, workers=1)
    whole, draw, struck, states = work(folder / "whole"), random.Random(0), 0, set()
    start = time.monotonic()
    assert child(partial(work, folder / "timed")) == 0
    seconds = time.monotonic() - start
    while struck < KILLS:
        struck += child(partial(work, folder / "killed"), draw.uniform(0, seconds / 2)) == -signal.SIGKILL
        states.add(len(lines(folder / "killed")))
        if len(lines(folder / "killed")) > 70:  # nearly everything is there: begin anew
            shutil.rmtree(folder / "killed")
    assert child(partial(work, folder / "killed")) == 0
    same(work(folder / "killed"), whole, 1e-5)
    pair = [forked(partial(work, folder / "pair", rank=rank, world_size=2, job="both")) for rank in range(2)]
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pair)
    assert codes in ([0, 0], [0, 3]), codes  # whoever ends first may find the other's answers missing
    keys = [row["key"] for row in lines(folder / "pair")]
    assert len(keys) == len(set(keys)) == 84 and min(len(lines_of(path)) for path in (folder / "pair").glob(PART)) > 20
    with passes(mllm) as seen:
        same(work(folder / "pair"), whole, 1e-5)
    assert seen == []
    print(json.dumps({"kills": struck, "moments": len(states)}))


def forked(work: Callable[[], Any]) -> int:
    """Begin some work in a process of its own; its status is 3 where the work of others is missing."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except InputError as error:
            os._exit(3 if "have no answers yet" in str(error) else 1)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return pid


def child(work: Callable[[], Any], kill_after: float | None = None) -> int:
    """The exit status of some work, negative for a signal."""
    pid = forked(work)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    kill_again_and_again(*map(Path, sys.argv[1:3]))
