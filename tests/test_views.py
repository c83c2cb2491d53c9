"""What is shown in a stimulus's place: what each view does to the pixels, from what it is drawn, and what is sent to a worker."""

import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stimuli.errors import InputError
from stimuli.types import Stimulus
from stimuli.views import CONTROLS, IMAGE, PATCHES, UNSEEN, View, beside, instead, view

ALONE = ("blank", "grey", "noise", "shuffled", "none", *UNSEEN)
"""Views that need nothing but the stimulus."""


def stimulus(id: str = "s", reference: str = "r", shape: tuple[int, int] = (27, 20), seed: int = 0) -> Stimulus:
    """A random image that cannot be written to."""
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    image.setflags(write=False)
    return Stimulus(id, reference, None, None, pixels=image)


def shown(how: View, one: Stimulus) -> np.ndarray:
    image = how.of(one)()
    assert isinstance(image, np.ndarray)
    return image


def test_every_control_and_every_change_that_no_one_sees_has_a_view() -> None:
    others = {"other-same", "other-class"}
    assert {view(name).name for name in (*CONTROLS, *UNSEEN) if name not in others} == {*CONTROLS, *UNSEEN} - others
    assert view("image") is IMAGE and IMAGE.seed is None


@pytest.mark.parametrize("shape", [(27, 20), (16, 64), (3, 5), (2, 2)])
@pytest.mark.parametrize("name", ["image", *(name for name in ALONE if name != "none")])
def test_what_is_shown_is_an_image_of_its_own_and_the_stimulus_stays(name: str, shape: tuple[int, int]) -> None:
    one = stimulus(shape=shape)
    before = one.image.copy()
    image = shown(view(name), one)
    less = int(name.startswith("crop"))
    assert image.dtype == np.uint8 and image.shape == (shape[0] - less, shape[1] - less, 3) and image.flags.c_contiguous
    assert np.array_equal(one.image, before)
    assert np.shares_memory(image, one.image) is (name == "image")


def test_the_image_is_the_stimulus_s_own() -> None:
    one = stimulus()
    assert shown(IMAGE, one) is one.image


def test_plain_controls_are_of_one_value() -> None:
    assert set(shown(view("blank"), stimulus()).ravel()) == {255} and set(shown(view("grey"), stimulus()).ravel()) == {128}
    assert view("none").of(stimulus())() is None


def test_one_level_lighter_or_darker_stops_at_the_ends() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    one = replace(stimulus(), pixels=ramp)
    assert shown(view("lighter"), one).ravel().tolist() == [min(value + 1, 255) for value in ramp.ravel().tolist()]
    assert shown(view("darker"), one).ravel().tolist() == [max(value - 1, 0) for value in ramp.ravel().tolist()]


def test_crops_take_one_row_and_one_column() -> None:
    one = stimulus()
    assert np.array_equal(shown(view("crop-first"), one), np.delete(np.delete(one.image, 0, 0), 0, 1))
    assert np.array_equal(shown(view("crop-last"), one), np.delete(np.delete(one.image, 26, 0), 19, 1))


def test_noise_is_uniform_and_each_stimulus_s_own() -> None:
    one, other = stimulus("a", shape=(100, 90)), stimulus("b", shape=(100, 90))
    noise = shown(view("noise"), one)
    assert stats.chisquare(np.bincount(noise.ravel(), minlength=256)).pvalue > 1e-3
    assert np.array_equal(noise, shown(view("noise"), one)) and not np.array_equal(noise, shown(view("noise", seed=1), one))
    assert abs(np.corrcoef(noise.ravel(), shown(view("noise"), other).ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(noise.ravel(), one.image.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("shape", [(32, 32), (27, 20), (40, 17)])
def test_shuffling_moves_whole_squares_and_leaves_the_rest(shape: tuple[int, int]) -> None:
    one = stimulus(shape=shape)
    side = min(shape) // PATCHES
    rows, columns = shape[0] // side, shape[1] // side

    def squares(image: np.ndarray) -> list[bytes]:
        corners = [(r * side, c * side) for r in range(rows) for c in range(columns)]
        return [np.ascontiguousarray(image[y : y + side, x : x + side]).tobytes() for y, x in corners]

    mixed = shown(view("shuffled"), one)
    before, after = squares(one.image), squares(mixed)
    assert Counter(before) == Counter(after) and before != after
    assert sum(a == b for a, b in zip(before, after, strict=True)) < len(before) / 4
    assert np.array_equal(mixed[rows * side :], one.image[rows * side :])
    assert np.array_equal(mixed[:, columns * side :], one.image[:, columns * side :])
    assert np.array_equal(mixed, shown(view("shuffled"), one))
    assert not np.array_equal(mixed, shown(view("shuffled", seed=1), one))


def many(references: int = 12, types: tuple[str, ...] = ("blur", "noise", "jpeg")) -> list[Stimulus]:
    return [
        replace(stimulus(f"{type}-{r}", f"r{r}", seed=r * 10 + t), type=type)
        for r in range(references)
        for t, type in enumerate(types)
    ]


@pytest.mark.parametrize("name", ["other-same", "other-class"])
def test_another_image_is_of_another_reference_and_of_the_wanted_class(name: str) -> None:
    stimuli = many()
    labels = [str(s.type) for s in stimuli]
    how = instead(name, stimuli, labels)
    assert how.partners.keys() == {s.id for s in stimuli} and how.name == name
    for one in stimuli:
        other = how.partners[one.id]
        assert other.reference != one.reference and (other.type == one.type) is (name == "other-same")
        assert shown(how, one) is other.image
    again, another = instead(name, stimuli, labels), instead(name, stimuli, labels, seed=1)
    assert again.partners == how.partners != another.partners and (how.seed, another.seed) == (0, 1)


def test_every_fitting_image_is_drawn_as_often_as_any_other() -> None:
    stimuli = many(references=6, types=("blur", "noise"))
    labels = [str(s.type) for s in stimuli]
    drawn = Counter(instead("other-class", stimuli, labels, seed).partners["blur-0"].id for seed in range(600))
    assert drawn.keys() == {f"noise-{r}" for r in range(1, 6)} and stats.chisquare(list(drawn.values())).pvalue > 1e-3


def test_a_stimulus_without_a_fitting_image_is_shown_as_it_is() -> None:
    stimuli = many(references=3, types=("blur",))
    how = instead("other-same", stimuli, ["a", "a", "b"])
    assert how.partners.keys() == {"blur-0", "blur-1"} and shown(how, stimuli[2]) is stimuli[2].image
    assert how.identity(stimuli[2]) == ["other-same", 0, None]
    with pytest.raises(InputError, match="No stimulus has an image for 'other-class' among 3. Show more references or classes"):
        instead("other-class", stimuli, ["a"] * 3)
    with pytest.raises(InputError, match="No stimulus has an image for 'other-same'"):
        instead("other-same", [replace(s, reference="r") for s in stimuli], ["a"] * 3)


def test_two_images_stand_side_by_side_in_either_order() -> None:
    first, second = many(references=1, types=("blur", "noise"))
    pair, turned = beside([first], [second]), beside([first], [second], turned=True)
    ahead, back = pair.of(first)(), turned.of(first)()
    assert isinstance(ahead, tuple) and isinstance(back, tuple)
    assert [image is one.image for image, one in zip(ahead, (first, second), strict=True)] == [True, True]
    assert [image is one.image for image, one in zip(back, (second, first), strict=True)] == [True, True]
    assert pair.identity(first) == ["first and second", None, second.id] != turned.identity(first)


def test_the_identity_tells_views_of_a_stimulus_apart() -> None:
    stimuli = many()
    labels = [str(s.type) for s in stimuli]
    views = [
        IMAGE,
        *(view(name) for name in ALONE),
        *(view(name, seed=1) for name in ("noise", "shuffled")),
        *(instead(name, stimuli, labels) for name in ("other-same", "other-class")),
        *(
            beside(stimuli, others, turned=t)
            for t in (False, True)
            for others in (stimuli[1:] + stimuli[:1], stimuli[2:] + stimuli[:2])
        ),
    ]
    told = [json.dumps(how.identity(stimuli[0])) for how in views]
    assert len(set(told)) == len(told)


def test_what_is_sent_to_a_worker_is_small_whatever_the_number_of_partners(tmp_path: Path) -> None:
    stimuli = [Stimulus(f"s{i}", f"r{i % 80}", f"t{i % 25}", 1, pixels=tmp_path / f"{i}.png") for i in range(10_000)]
    labels = [str(s.type) for s in stimuli]
    for how in (*(instead(name, stimuli, labels) for name in ("other-same", "other-class")), beside(stimuli, stimuli[::-1])):
        assert len(how.partners) == 10_000
        assert len(pickle.dumps(how.of(stimuli[17]))) < 2000


def test_a_view_that_was_sent_shows_the_same() -> None:
    stimuli = many()
    labels = [str(s.type) for s in stimuli]
    views = [view(name) for name in ("image", *ALONE)] + [
        instead("other-same", stimuli, labels),
        beside(stimuli, stimuli[::-1]),
    ]
    for how in views:
        here, there = how.of(stimuli[1])(), pickle.loads(pickle.dumps(how.of(stimuli[1])))()
        assert type(here) is type(there)
        for one, other in zip(*(images if isinstance(images, tuple) else (images,) for images in (here, there)), strict=True):
            assert one is other is None or np.array_equal(one, other)


def test_refusals_are_in_words() -> None:
    stimuli = many(references=2)
    with pytest.raises(
        InputError, match="Unknown view 'other-same'. Expected one of image, blank, .*, shuffled. Use one of these"
    ):
        view("other-same")
    with pytest.raises(InputError, match="Unknown view 'blank'. Expected other-same or other-class"):
        instead("blank", stimuli, ["a"] * len(stimuli))
    with pytest.raises(InputError, match="Got 6 stimuli and 5 labels; expected one for each"):
        instead("other-same", stimuli, ["a"] * 5)
    with pytest.raises(InputError, match="Got 6 stimuli and 2 partners; expected one for each"):
        beside(stimuli, stimuli[:2])
