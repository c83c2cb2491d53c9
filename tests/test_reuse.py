"""Image features once: the same answers as without, the tower runs once, and nothing stale is ever handed out."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from transformers.utils import ModelOutput

from benchmarks import checkpoints, families
from hooks.answer import generate, option_loglik
from hooks.batch import run
from hooks.capture import capture
from hooks.load import Mllm, load
from hooks.processor import PIXELS
from hooks.prompt import encode
from hooks.reuse import METHOD, images_once, processed_once
from stimuli.types import StimulusSet

NOT_REUSED = {
    "mllama": "its forward calls the vision model itself",
    "instructblip": "its Q-Former reads the prompt inside the method",
}
"""Families whose tower runs for every prompt, with the reason."""
BOTH = pytest.mark.parametrize("family", ["llava", "qwen"])


def passes(mllm: Mllm, batches: list[dict[str, Any]], mode: Any = torch.inference_mode) -> tuple[list[torch.Tensor], list[int]]:
    """Logits of each pass, and how often the tower's first block fired in it."""
    logits, fired = [], []
    for tensors in batches:
        with mode(), capture(mllm.model, "vision.embed", mllm.stages) as seen:
            logits.append(run(mllm.model, tensors).logits)
            fired.append(len(seen.all("vision.embed")))
    return logits, fired


def clean(model: torch.nn.Module) -> bool:
    return not any(METHOD in vars(module) for module in model.modules())


def changed(tensors: dict[str, Any]) -> dict[str, Any]:
    """The same with one value of one pixel changed."""
    name = next(name for name in PIXELS if name in tensors)
    pixels = tensors[name].clone()
    pixels[(0,) * pixels.ndim] += 1
    return {**tensors, name: pixels}


def check(mllm: Mllm, images: list[np.ndarray], reused: bool, mode: Any = torch.inference_mode) -> None:
    one, two = (mllm.inputs(images, [prompt] * len(images)).tensors for prompt in ("What?", "Which one is it, please?"))
    other = mllm.inputs([255 - image for image in images], ["What?"] * len(images)).tensors
    batches = [one, two, changed(two), two, other, one]
    plain, fired = passes(mllm, batches, mode)
    with images_once(mllm.model) as reuse:
        once, seldom = passes(mllm, batches, mode)
    assert all(map(torch.equal, once, plain)) and clean(mllm.model)
    assert min(fired) > 0
    assert seldom == [fired[0], 0 if reused else fired[1], *fired[2:]]
    assert reuse.reused == int(reused)


@BOTH
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_tower_runs_once_for_the_same_pixels(family: str, mode: Any, six: StimulusSet, request: Any) -> None:
    check(request.getfixturevalue(family), [s.image for s in six[:2]], True, mode)


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_every_family_that_computes_its_features_in_one_place_reuses_them(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    check(load(tmp_path, device="cpu"), families.pictures(families.SIZES), family not in NOT_REUSED)


@BOTH
def test_pixels_that_the_caller_changes_in_place_are_computed_anew(family: str, six: StimulusSet, request: Any) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    tensors = mllm.inputs([s.image for s in six[:2]], ["What?"] * 2).tensors
    with images_once(mllm.model) as reuse:
        passes(mllm, [tensors])
        tensors["pixel_values"][(0,) * tensors["pixel_values"].ndim] += 1
        once, _ = passes(mllm, [tensors])
    assert (reuse.computed, reuse.reused) == (2, 0)
    assert torch.equal(once[0], passes(mllm, [tensors])[0][0])


@BOTH
@pytest.mark.parametrize("change", [lambda output: output.pooler_output[0].zero_(), lambda output: output.__dict__.clear()])
def test_what_is_done_to_the_output_does_no_harm(family: str, change: Any, six: StimulusSet, request: Any) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    tensors = mllm.inputs([s.image for s in six[:2]], ["What?"] * 2).tensors
    names = [name for name in ("pixel_values", "image_grid_thw") if name in tensors]
    with images_once(mllm.model), torch.inference_mode():
        for _ in range(3):
            change(getattr(mllm.model.model, METHOD)(**{name: tensors[name] for name in names}, return_dict=True))
        once, _ = passes(mllm, [tensors])
    assert torch.equal(once[0], passes(mllm, [tensors])[0][0])


@dataclass
class Out(ModelOutput):
    first: torch.Tensor | None = None
    second: Any = None


class Pair(NamedTuple):
    first: torch.Tensor
    second: Any


class Toy(torch.nn.Module):
    """A model that gives its features in some container and then does something with them."""

    def __init__(self, make: Callable[[torch.Tensor], Any], misuse: Callable[[Any], Any] = lambda output: None) -> None:
        super().__init__()
        self.make, self.misuse, self.calls = make, misuse, 0
        self.weight = torch.nn.Parameter(torch.tensor(2.0))
        self.eval()

    def get_image_features(self, pixels: Any, **options: Any) -> Any:
        self.calls += 1
        return self.make(pixels * self.weight)

    def forward(self, pixels: Any, **options: Any) -> str:
        output = self.get_image_features(pixels, **options)
        said = repr(output)
        self.misuse(output)
        return said


def late(x: torch.Tensor) -> Out:
    """Fields set late, as several families do, stand last."""
    output = Out(second=[x, (x, None)])
    output.first = x
    output.name = "extra"
    return output


@pytest.mark.parametrize(
    ("make", "misuse", "calls"),
    [
        (lambda x: x, lambda o: o.zero_(), 3),
        (lambda x: x, lambda o: o[0].add_(1), 3),  # a view counts for the whole
        (lambda x: [x, [x, None]], lambda o: o[1].clear(), 1),
        (lambda x: (x, {"a": [x]}), lambda o: o[1]["a"].append(3), 1),
        (lambda x: Pair(x, [x]), lambda o: o.second.pop(), 1),
        (late, lambda o: o.second.clear(), 1),
        (late, lambda o: setattr(o, "first", None), 1),
        (late, lambda o: o.first.mul_(2), 3),
        (lambda x: SimpleNamespace(x=x), lambda o: delattr(o, "x"), 3),  # what cannot be handed out twice is not remembered
    ],
)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_model_that_changes_its_features_gets_them_as_they_were(make: Any, misuse: Any, calls: int, mode: Any) -> None:
    toy, pixels = Toy(make, misuse), torch.arange(4.0).view(2, 2)
    with mode(), images_once(toy):
        said = [toy(pixels) for _ in range(3)]
    with mode():
        assert said == [toy(pixels)] * 3
    assert toy.calls == calls + 1


@pytest.mark.parametrize(
    ("one", "other", "reused"),
    [
        ({"pixels": torch.ones(2)}, {"pixels": torch.ones(2)}, True),
        ({"pixels": torch.ones(2)}, {"pixels": torch.ones(2, dtype=torch.float64)}, False),
        ({"pixels": torch.ones(2)}, {"pixels": torch.ones(2, 1)}, False),
        ({"pixels": torch.ones(2)}, {"pixels": torch.tensor([1.0, 1 + 1e-7])}, False),
        ({"pixels": torch.ones(2), "sizes": [(torch.ones(1), 3)]}, {"pixels": torch.ones(2), "sizes": [(torch.ones(1), 3)]}, True),
        ({"pixels": torch.ones(2), "sizes": [(torch.ones(1), 3)]}, {"pixels": torch.ones(2), "sizes": [(torch.zeros(1), 3)]}, False),
        ({"pixels": torch.ones(2), "sizes": [torch.ones(1)]}, {"pixels": torch.ones(2), "sizes": [torch.ones(1)] * 2}, False),
        ({"pixels": torch.ones(2), "layer": 1}, {"pixels": torch.ones(2), "layer": True}, False),
        ({"pixels": torch.ones(2), "layer": 1}, {"pixels": torch.ones(2)}, False),
        ({"pixels": torch.ones(2), "what": np.ones(2)}, {"pixels": torch.ones(2), "what": np.ones(2)}, False),
    ],
)  # fmt: skip
def test_only_equal_arguments_are_the_same_call(one: dict[str, Any], other: dict[str, Any], reused: bool) -> None:
    toy = Toy(lambda x: x)
    with torch.no_grad(), images_once(toy) as reuse:
        toy(**one)
        toy(**other)
    assert (reuse.computed, reuse.reused) == (2 - reused, int(reused))


def test_with_gradients_or_in_training_nothing_is_reused() -> None:
    toy, pixels = Toy(lambda x: x), torch.ones(2)
    with images_once(toy) as reuse:
        for _ in range(2):
            toy.get_image_features(pixels).sum().backward()
        with torch.no_grad():
            toy(pixels)
        assert toy.get_image_features(pixels).requires_grad
        toy.train()
        with torch.no_grad():
            toy(pixels)
            toy(pixels)
    assert (reuse.computed, reuse.reused, toy.calls) == (6, 0, 6)


def test_nothing_is_left_behind(llava: Mllm) -> None:
    toy, pixels = Toy(lambda x: x), torch.ones(2)
    own = toy.get_image_features
    toy.get_image_features = own  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError), images_once(toy):
        raise ZeroDivisionError
    assert vars(toy)[METHOD] is own
    with pytest.raises(ZeroDivisionError), images_once(llava.model):
        assert not clean(llava.model)
        raise ZeroDivisionError
    assert clean(llava.model)
    with torch.no_grad(), images_once(toy) as reuse, pytest.raises(TypeError):
        toy("no pixels")
    with torch.no_grad(), images_once(toy) as outer, images_once(toy) as inner:
        toy(pixels)
        toy(pixels)
    assert (reuse.computed, inner.computed, inner.reused, outer.computed, outer.reused) == (1, 1, 1, 1, 0)
    assert vars(toy)[METHOD] is own


def test_a_copy_made_inside_is_a_model_of_its_own() -> None:
    toy, pixels = Toy(lambda x: x), torch.ones(2)
    with torch.no_grad(), images_once(toy):
        plain = toy(pixels)
        twin = copy.deepcopy(toy)
        twin.weight.mul_(3)
        assert twin(pixels) != plain == toy(pixels)


@BOTH
def test_generated_answers_share_the_images_too(family: str, six: StimulusSet, request: Any) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images = [s.image for s in six[:2]]

    def asked() -> list[list[str]]:
        return [generate(mllm, images, [prompt] * 2, max_new_tokens=3, progress=False) for prompt in ("What?", "Which one?")]

    plain = asked()
    with images_once(mllm.model) as reuse, capture(mllm.model, "vision.embed", mllm.stages) as seen:
        assert asked() == plain
    assert reuse.reused == 1 == len(seen.all("vision.embed"))


@BOTH
@pytest.mark.parametrize("normalised", [True, False])
def test_likelihoods_of_options_run_the_tower_once_per_batch(
    family: str, normalised: bool, six: StimulusSet, request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images, options = [s.image for s in six[:3]], ["blur", "very white noise", "noise blur"]
    looks = Mock(wraps=encode)
    monkeypatch.setattr("hooks.batch.encode", looks)
    with capture(mllm.model, "vision.embed", mllm.stages) as seen:
        found = option_loglik(mllm, images, "Which?", options, length_normalised=normalised, batch_size=2, progress=False)
        assert len(seen.all("vision.embed")) == 2 and looks.call_count == 2
    for column, option in enumerate(options):
        batch = mllm.inputs(images, ["Which?"] * 3, [option] * 3, eos=False)
        with torch.no_grad():
            logits = mllm.model(**batch.tensors).logits[:, :-1].float().log_softmax(-1)
        assert batch.labels is not None
        spoken = batch.labels[:, 1:] >= 0
        own = (logits.gather(2, batch.labels[:, 1:].clamp(min=0)[..., None])[..., 0] * spoken).sum(1)
        own = own / spoken.sum(1) if normalised else own
        assert np.allclose(found[:, column], own.numpy(), atol=1e-4)
    assert clean(mllm.model)


@BOTH
def test_scored_and_generated_answers_share_the_images(family: str, six: StimulusSet, request: Any) -> None:
    """``generate`` asks for the features in other words than a forward pass does."""
    mllm: Mllm = request.getfixturevalue(family)
    images, options = [s.image for s in six[:2]], ["blur", "very white noise"]

    def asked() -> tuple[list[str], bytes, list[str]]:
        first = generate(mllm, images, ["What?"] * 2, max_new_tokens=3, progress=False)
        found = option_loglik(mllm, images, "Which?", options, progress=False)
        return first, found.tobytes(), generate(mllm, images, ["Which one?"] * 2, max_new_tokens=3, progress=False)

    plain = asked()
    with images_once(mllm.model), capture(mllm.model, "vision.embed", mllm.stages) as seen:
        assert asked() == plain
    assert len(seen.all("vision.embed")) == 1


class Choosy(Toy):
    """A model whose features depend on settings that may be left out."""

    def get_image_features(self, pixels: Any, layer: int | None = None, scale: int = 3, **options: Any) -> Any:
        return super().get_image_features(pixels) * scale + (layer or 0) + options.get("add", 0)


@pytest.mark.parametrize(
    ("other", "reused"),
    [
        ({}, True),
        ({"layer": None}, True),
        ({"scale": 3}, True),
        ({"use_cache": False}, True),
        ({"scale": None}, False),
        ({"scale": 2}, False),
        ({"layer": 0}, False),
        ({"add": 1}, False),
        ({"add": None}, False),
    ],
)
def test_arguments_given_as_they_are_by_default_are_as_good_as_left_out(other: dict[str, Any], reused: bool) -> None:
    toy, pixels = Choosy(lambda x: x), torch.ones(2)
    with torch.no_grad(), images_once(toy) as reuse:
        toy.get_image_features(pixels)
        if other.get("scale", 0) is None or other == {"add": None}:
            with pytest.raises(TypeError):
                toy.get_image_features(pixels=pixels, **other)
        else:
            assert torch.equal(
                toy.get_image_features(pixels=pixels, **other), Choosy(lambda x: x).get_image_features(pixels, **other)
            )
    assert (reuse.computed, reuse.reused) == (2 - reused, int(reused))


# ---- the image processor ---------------------------------------------------------------------------------------------


class Counting:
    """An image processor that counts its calls."""

    size = 7

    def __init__(self, inner: Any) -> None:
        self.inner, self.calls = inner, 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return self.inner(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@BOTH
def test_the_image_processor_runs_once_for_the_same_images(
    family: str, six: StimulusSet, request: Any, monkeypatch: Any
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images, others = [s.image for s in six[:2]], [s.image for s in six[2:4]]
    plan = [
        (images, "What?"),
        (images, "Which one is it?"),
        ([i.copy() for i in images], "What?"),
        (others, "What?"),
        (images, "What?"),
    ]
    plain = [mllm.inputs(shown, [prompt] * 2).tensors for shown, prompt in plan]
    counting = Counting(mllm.processor.image_processor)
    monkeypatch.setattr(mllm.processor, "image_processor", counting)
    with processed_once(mllm.processor) as reuse:
        assert mllm.processor.image_processor.size == 7
        once = [mllm.inputs(shown, [prompt] * 2).tensors for shown, prompt in plan]
    assert (reuse.computed, reuse.reused, counting.calls) == (3, 2, 3) and mllm.processor.image_processor is counting
    for one, other in zip(once, plain, strict=True):
        assert one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_a_processor_does_to_its_output_does_no_harm(llava: Mllm, six: StimulusSet) -> None:
    processor = copy.copy(llava.processor)
    with processed_once(processor):
        for _ in range(3):
            found = processor.image_processor(images=[six[0].image], return_tensors="pt")
            assert found.pop("pixel_values").shape == (1, 3, 128, 128)  # some take parts out (InternVL)


def test_other_images_or_options_are_processed_anew(llava: Mllm, six: StimulusSet) -> None:
    processor, image = copy.copy(llava.processor), six[0].image
    changed = image.copy()
    changed[3, 4, 1] ^= 1
    with processed_once(processor) as reuse:
        for images, options in (
            ([image], {}),
            ([image.copy()], {}),
            ([changed], {}),
            ([changed, image], {}),
            ([image], {"do_normalize": False}),
        ):
            processor.image_processor(images=images, return_tensors="pt", **options)
    assert (reuse.computed, reuse.reused) == (4, 1)


def test_the_image_processor_is_put_back_after_an_exception_and_may_be_missing(llava: Mllm) -> None:
    processor = copy.copy(llava.processor)
    own = processor.image_processor
    with pytest.raises(ZeroDivisionError), processed_once(processor) as reuse:
        with pytest.raises(ValueError):
            processor.image_processor(images=["no image"])
        raise ZeroDivisionError
    assert processor.image_processor is own and reuse.reused == 0
    bare = SimpleNamespace()
    with processed_once(bare) as reuse:
        pass
    assert vars(bare) == {} and reuse.computed == 0


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_every_family_s_inputs_are_the_same_where_its_images_are_processed_once(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    mllm, images = load(tmp_path, device="cpu"), families.pictures(families.SIZES)
    prompts = ("What?", "Which one is it, please?", "What?")
    plain = [mllm.inputs(images, [prompt] * 3).tensors for prompt in prompts]
    with processed_once(mllm.processor) as reuse:
        once = [mllm.inputs(images, [prompt] * 3).tensors for prompt in prompts]
    assert (reuse.computed, reuse.reused) == (1, 2)
    for one, other in zip(once, plain, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(v, other[n]) if isinstance(v, torch.Tensor) else v == other[n] for n, v in one.items())
