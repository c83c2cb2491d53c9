"""What is frozen in front of the tuned part is computed once: training stays as it is, and nothing stale is ever handed out."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from transformers.utils import ModelOutput

from benchmarks import checkpoints, families
from hooks.batch import run
from hooks.load import Mllm, load
from hooks.reuse import METHOD
from hooks.stages import Stages
from stimuli.errors import InputError
from tuning.pieces import _checksum, assembled, devices_of, tensors_in
from tuning.upstream import Memory, remembered

INSIDE = "is inside the vision tower"
NOT_KEPT = {
    **{
        (family, "projector"): INSIDE
        for family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "glm4v", "glm46v")
    },
    ("mllama", "llm"): "has no get_image_features",
}
"""Families and components for which nothing is remembered, with the reason."""
ROUNDS = ([0, 1], [2, 0, 1], [2, 1], [1, 0], [0], [2, 2], [0, 1, 2])
"""Images of each pass: mixed batches in changing order, one alone, one twice."""


def lessons(mllm: Mllm, images: Sequence[Any], rounds: Any = ROUNDS) -> list[tuple[list[str], Any]]:
    """Ids and inputs of each pass; the prompts' lengths differ."""
    return [
        (
            [f"s{i}" for i in shown],
            mllm.inputs([images[i] for i in shown], [f"What is {'this ' * i}?" for i in shown], ["blur"] * len(shown)),
        )
        for shown in rounds
    ]


def loss_of(model: Any, batch: Any) -> torch.Tensor:
    keep = batch.labels.shape[1]
    logits = run(model, batch.tensors).logits[:, -keep:]
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten())


def trained(mllm: Mllm, batches: Any, component: str, memory: Memory | None = None) -> tuple[Any, list[int]]:
    """Loss and gradients of each pass, and how often the tower's first block ran in it."""
    own = mllm.stages.parameters(mllm.model, component)
    found, fired, calls = [], [], []
    mllm.model.requires_grad_(False)
    for parameter in own.values():
        parameter.requires_grad_(True)
    handle = mllm.model.get_submodule(mllm.stages.sites["vision.0"]).register_forward_hook(lambda *given: calls.append(1))
    for ids, batch in batches:
        calls.clear()
        if memory is not None:
            memory.show(ids)
        loss = loss_of(mllm.model, batch)
        loss.backward()
        grown = [p.grad.flatten() for p in own.values() if p.grad is not None]
        found.append((loss.item(), torch.cat(grown)))
        fired.append(len(calls))
        for parameter in own.values():
            parameter.grad = None
    handle.remove()
    return found, fired


def clean(model: nn.Module) -> bool:
    return not any(name in vars(module) for module in model.modules() for name in (METHOD, "forward"))


def check(mllm: Mllm, images: Sequence[Any], component: str, reason: str | None = None) -> Memory:
    """Training with a memory is training without one, and the tower rests once every image was seen."""
    batches = lessons(mllm, images)
    plain, always = trained(mllm, batches, component)
    with remembered(mllm.model, mllm.stages, component) as memory:
        found, first = trained(mllm, batches, component, memory)
        again, then = trained(mllm, batches, component, memory)
        assert memory.bytes > 0 if reason is None else memory.bytes == 0
    for loss, grown in (*zip(plain, found, strict=True), *zip(plain, again, strict=True)):
        assert grown[0] == pytest.approx(loss[0], rel=1e-4)
        torch.testing.assert_close(grown[1], loss[1], rtol=1e-4, atol=1e-5 * float(loss[1].abs().max()))
        assert float(loss[1].abs().max()) > 0
    assert clean(mllm.model) and min(always) > 0
    assert memory.reason is None if reason is None else reason in str(memory.reason)
    assert not any(then) if reason is None else then == first == always
    assert (memory.reused > 0) == (reason is None)
    return memory


def check_both(family: str, folder: Path) -> None:
    checkpoints.save(family, folder)
    mllm, images = load(folder, device="cpu"), families.pictures(families.SIZES)
    for component in ("llm", "projector"):
        check(mllm, images, component, NOT_KEPT.get((family, component)))


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_training_is_the_same_and_the_tower_rests(family: str, tmp_path: Path) -> None:
    check_both(family, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["internvl", "mistral3", "llava_next", "idefics3", "instructblip"])
def test_training_is_the_same_in_other_families(family: str, tmp_path: Path) -> None:
    """Pixel shuffle over crops, packed patches, tiles of any resolution, padded crops, and a Q-Former that reads the prompt."""
    check_both(family, tmp_path)


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_training_is_the_same_in_every_family(family: str, tmp_path: Path) -> None:
    check_both(family, tmp_path)


@pytest.mark.slow
def test_adapters_around_the_model_change_nothing(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    checkpoints.save("llava", tmp_path)
    mllm = load(tmp_path, device="cpu")
    model = mllm.model.requires_grad_(False)
    targets = [name for name, module in model.named_modules() if "language" in name and isinstance(module, nn.Linear)]
    student = get_peft_model(model, LoraConfig(r=2, target_modules=targets))
    for name, parameter in student.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    batches = lessons(mllm, families.pictures(families.SIZES))
    plain = [loss_of(student, batch).item() for _, batch in batches]
    with remembered(model, mllm.stages, "llm") as memory:
        for (ids, batch), expected in zip([*batches, *batches], [*plain, *plain], strict=True):
            memory.show(ids)
            loss = loss_of(student, batch)
            loss.backward()
            assert loss.item() == pytest.approx(expected, rel=1e-4)
        assert (memory.computed, memory.reason) == (3, None)
    assert clean(model)


# ---- a model of our own, whose features come in any container --------------------------------------------------------

STAGES = Stages({}, {"vision": ("tower",), "projector": ("connector",), "llm": ("head",)}, {}, "")


@dataclass
class Out(ModelOutput):
    first: torch.Tensor | None = None
    second: Any = None


class Pair(NamedTuple):
    first: torch.Tensor
    second: Any


class Toy(nn.Module):
    """A tower, a connector and a head; ``give`` puts the features (n, tokens, 5) into a container, ``take`` gets them out."""

    def __init__(self, give: Callable[[Any], Any] = lambda x: x, take: Callable[[Any], torch.Tensor] = lambda o: o) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tower, self.connector, self.head = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2)
        self.give, self.take, self.seen = give, take, 0
        self.requires_grad_(False).eval()
        self.head.requires_grad_(True)

    def get_image_features(self, pixels: torch.Tensor, **options: Any) -> Any:
        self.seen += len(pixels)
        return self.give(self.connector(self.tower(pixels).tanh()))

    def forward(self, pixels: torch.Tensor, **options: Any) -> torch.Tensor:
        return self.head(self.take(self.get_image_features(pixels, **options)))


def late(x: torch.Tensor) -> Out:
    output = Out(second=(x, x + 1))
    output.first = x * 2
    return output


def shown(*numbers: int, tokens: int = 2) -> tuple[list[str], torch.Tensor]:
    """Ids and pixels (n, tokens, 3) of some images."""
    pixels = [torch.randn(tokens, 3, generator=torch.Generator().manual_seed(10 * i + tokens)) for i in numbers]
    return [f"s{i}" for i in numbers], torch.stack(pixels)


def said(toy: Toy, memory: Memory, *numbers: int, tokens: int = 2, **options: Any) -> tuple[bool, int]:
    """Whether a pass with memory says what one without does, and how many images it computed."""
    ids, pixels = shown(*numbers, tokens=tokens)
    expected = toy(pixels, **options)
    before = toy.seen
    memory.show(ids)
    given = toy(pixels, **options)
    return torch.allclose(given, expected, rtol=1e-5, atol=1e-6), toy.seen - before


VALUE = 2 * 5 * 4
"""Bytes of one image's features."""


@pytest.mark.parametrize(
    ("give", "take", "size"),
    [
        (lambda x: x, lambda o: o, VALUE),
        (lambda x: x.flatten(0, 1)[None], lambda o: o.unflatten(1, (-1, 2))[0], VALUE),  # packed, with a leading 1
        (lambda x: list(x), lambda o: torch.stack(o), VALUE),
        (lambda x: tuple(x[:, i] for i in range(2)), lambda o: torch.stack(o, 1), VALUE),  # per layer, not per image
        (lambda x: (x, [x + i for i in range(9)]), lambda o: o[1][3], VALUE),
        (lambda x: {"a": x, "b": [x + 1, None], "c": torch.ones(3)}, lambda o: o["a"] * o["c"][0], VALUE + 12),
        (lambda x: Pair(x.mean(0), x), lambda o: o.second, VALUE),  # what depends on the batch is not read
        (late, lambda o: o.first + o["second"][1], 2 * VALUE),
        (lambda x: (x, [x]), lambda o: o[0] + o[1][0], VALUE),  # the same tensor twice
        (lambda x: (x, x.argmax(-1)), lambda o: o[0] + o[1][..., None], VALUE + 16),
    ],
)
def test_any_container_is_put_together_again_and_only_what_is_read_is_kept(give: Any, take: Any, size: int) -> None:
    toy = Toy(give, take)
    with remembered(toy, STAGES, "llm") as memory:
        assert said(toy, memory, 0, 1) == (True, 4)  # the trial: together and alone
        assert memory.bytes == 2 * size
        assert [said(toy, memory, *i) for i in ((1, 0), (0,), (2, 1, 1), (2, 0, 2))] == [
            (True, 0),
            (True, 0),
            (True, 1),
            (True, 0),
        ]
        assert memory.bytes == 3 * size
    assert (memory.computed, memory.reused, memory.reason) == (3, 8, None)


def test_what_the_model_did_not_read_cannot_be_used_unnoticed() -> None:
    toy = Toy(lambda x: (x, x + 1), lambda o: o[0])
    with remembered(toy, STAGES, "llm") as memory:
        assert said(toy, memory, 0, 1)[0] and said(toy, memory, 1, 0)[0]
        memory.show(["s0", "s1"])
        toy.take = lambda o: o[0] + o[1]
        with pytest.raises(RuntimeError):
            toy(shown(0, 1)[1])


def test_a_model_that_changes_its_features_gets_them_as_they_were() -> None:
    toy = Toy(lambda x: [*x, x[0]][:-1], lambda o: torch.stack([item.mul_(2) for item in o]))
    with remembered(toy, STAGES, "llm") as memory:
        for _ in range(3):
            assert said(toy, memory, 0, 1)[0]
    assert memory.reused == 4


@pytest.mark.parametrize(
    ("give", "take", "reason"),
    [
        (lambda x: x - x.mean(0), lambda o: o, "depend on the other images"),
        (lambda x: (x, x.mean()), lambda o: o[0] * o[1], "depend on the other images"),
        (lambda x: list(x - x.mean(0)), lambda o: torch.stack(o), "depend on the other images"),
        (lambda x: (x, len(x)), lambda o: o[0] * o[1], "a int in the features"),
        (lambda x: [object(), x], lambda o: o[1], "a object in the features"),
        (lambda x: x, lambda o: torch.zeros(2, 5), "no part of the features was seen to be read"),
    ],
)
def test_where_an_image_is_another_in_company_nothing_is_remembered(give: Any, take: Any, reason: str) -> None:
    toy = Toy(give, take)
    with remembered(toy, STAGES, "llm") as memory:
        said(toy, memory, 0, 1)
        assert [said(toy, memory, *i) for i in ((0, 1), (0, 1, 2))] == [(True, 2), (True, 3)]
        assert reason in str(memory.reason) and (memory.reused, memory.bytes) == (0, 0)


class Padding(Toy):
    """Takes images of several lengths, and lets the shorter ones see how long the longest is."""

    def get_image_features(self, pixels: Any, sizes: torch.Tensor) -> Any:
        longest = int(sizes.max())
        return [super(Padding, self).get_image_features(x[None])[0] + longest * self.bias for x in pixels.split(sizes.tolist())]

    def forward(self, pixels: Any, sizes: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat(self.get_image_features(pixels, sizes)))


@pytest.mark.parametrize("bias", [0.0, 0.01])
def test_images_of_several_shapes_are_tried_again(bias: float) -> None:
    toy, rows = Padding(), torch.randn(10, 3)
    toy.bias = bias
    with remembered(toy, STAGES, "llm") as memory:
        for sizes in ([2, 2], [2, 2], [2, 3], [2, 3], [3, 2], [2, 3]):
            pixels, lengths = rows[: sum(sizes)], torch.tensor(sizes)
            expected = toy(pixels, lengths)
            memory.show([str(sum(sizes[:i])) for i in range(2)])
            assert torch.allclose(toy(pixels, lengths), expected, atol=1e-6)
        assert (memory.reason is None) == (bias == 0)
        assert bias == 0 or "depend on the other images" in str(memory.reason)


def test_other_pixels_under_the_same_name_are_another_image() -> None:
    toy = Toy()
    with remembered(toy, STAGES, "llm") as memory:
        said(toy, memory, 0, 1)
        ids, pixels = shown(0, 1)
        for other in (pixels.flip(1), pixels.flip(0), pixels + 1e-3, pixels[:, :1], pixels.double().float() * -1):
            expected, before = toy(other), toy.seen
            memory.show(ids)
            assert torch.allclose(toy(other), expected, rtol=1e-5, atol=1e-6) and toy.seen == before + 2


def test_another_prompt_or_option_is_another_call() -> None:
    class Reading(Toy):
        def get_image_features(self, pixels: Any, words: Any, scale: Any = 1) -> Any:
            return super().get_image_features(pixels) * words[:, None, None] * scale

    toy = Reading()
    with remembered(toy, STAGES, "llm") as memory:
        counts = []
        for words, scale in (([1, 2], 1), ([1, 2], 1), ([2, 2], 1), ([2, 1], 1.0), ([1, 2], 2), ([1, 2], 1)):
            same, count = said(toy, memory, 0, 1, words=torch.tensor(words), scale=scale)
            assert same
            counts.append(count)
    assert counts == [4, 0, 1, 2, 2, 0]


def test_precision_is_part_of_the_call() -> None:
    toy = Toy()
    with remembered(toy, STAGES, "llm") as memory:
        assert said(toy, memory, 0, 1) == (True, 4)
        with torch.autocast("cpu", torch.bfloat16):
            assert [said(toy, memory, 0, 1)[1] for _ in range(2)] == [2, 0]
        assert said(toy, memory, 0, 1) == (True, 0)


def test_the_checksum_tells_bits_and_places() -> None:
    for kind in (torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool):
        value = (torch.arange(60).view(5, 12) % 7 > 2).to(kind) + (torch.arange(60).view(5, 12) % 5).to(kind)
        other = value.clone()
        other[4, 3] = 0 if value[4, 3] else 1
        sums = [int(_checksum(one)) for one in (value, value.flip(0), value.flip(1), other, value.roll(1))]
        assert len(set(sums)) == 5
        assert int(_checksum(value.t().contiguous().t())) == sums[0] == int(_checksum(torch.cat([value, value])[:5]))


def test_what_does_not_fit_is_computed_each_time() -> None:
    toy = Toy()
    with remembered(toy, STAGES, "llm", limit=2 * VALUE + 1) as memory:
        assert said(toy, memory, 0, 1)[0]
        assert [said(toy, memory, *i) for i in ((2, 3), (2, 3), (0, 2), (1, 0))] == [(True, 2), (True, 2), (True, 1), (True, 0)]
        assert memory.full and memory.bytes == 2 * VALUE and memory.reason is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_an_evaluation_computed_serves_training_and_one_image_at_a_time_is_enough(mode: Any) -> None:
    toy = Toy(lambda x: (list(x), x + 1), lambda o: torch.stack(o[0]))
    with remembered(toy, STAGES, "llm") as memory:
        with mode():
            assert [said(toy, memory, i % 2) for i in range(4)] == [(True, 1), (True, 1), (True, 0), (True, 0)]
        assert said(toy, memory, 1) == (True, 0)
        memory.show(["s0"])
        toy(shown(0)[1]).sum().backward()
        assert said(toy, memory, 0, 1) == (True, 2)  # two are another matter: computed, and the next two tried
        assert [said(toy, memory, 0, 1)[1] for _ in range(2)] == [4, 0] and memory.bytes == 2 * VALUE


def test_a_pass_of_which_nothing_is_said_is_computed() -> None:
    toy = Toy()
    with remembered(toy, STAGES, "llm") as memory:
        said(toy, memory, 0, 1)
        before = toy.seen
        toy(shown(0, 1)[1])
        assert (toy.seen - before, memory.computed, memory.reused) == (2, 2, 0)


# ---- reasons, and what is left behind --------------------------------------------------------------------------------


def reason_of(model: Any, first: str, stages: Stages = STAGES) -> str | None:
    with remembered(model, stages, first) as memory:
        for _ in range(3):
            memory.show(["s0", "s1"])
            model(shown(0, 1)[1])
    assert clean(model) and memory.reused == 0
    return memory.reason


def test_reasons_are_given_in_words() -> None:
    assert reason_of(Toy(), "vision") == "the vision tower is tuned, and nothing is in front of it"
    with remembered(Toy(), STAGES, "llm", limit=0) as memory:
        assert memory.reason == "nothing may be kept: the limit is 0 bytes"
    tuned = Toy()
    tuned.connector.requires_grad_(True)
    assert reason_of(tuned, "llm") == "weights in front of the component that was named first are trained"
    assert "training mode" in str(reason_of(Toy().train(), "llm"))
    assert reason_of(Toy().tower, "llm") == "Linear has no get_image_features: its image features come from several places"
    assert reason_of(Blind(), "llm") == "the forward pass of Blind does not call what would be remembered"
    inner = Stages({}, {"vision": ("tower",), "projector": ("tower.merger",), "llm": ("head",)}, {}, "")
    assert (
        reason_of(Toy(), "projector", inner)
        == "the projector (tower.merger) is inside the vision tower, whose output depends on it"
    )
    none = Stages({}, {"vision": ("token",), "projector": (), "llm": ("head",)}, {}, "")
    assert reason_of(Toy(), "projector", none) == "Toy has no vision tower in one module"
    with pytest.raises(InputError, match="Unknown component 'head'. Expected one of vision, projector, llm. Use one of these."):
        with remembered(Toy(), STAGES, "head"):
            pass


class Blind(Toy):
    def forward(self, pixels: torch.Tensor, **options: Any) -> torch.Tensor:
        return self.head(self.connector(self.tower(pixels)))


def test_arguments_that_cannot_be_cut_or_compared_are_a_reason() -> None:
    for options, reason in (({"extra": torch.ones(7)}, "cannot be cut"), ({"extra": object()}, "is given a object")):
        toy = Toy()
        with remembered(toy, STAGES, "llm") as memory:
            assert [said(toy, memory, 0, 1, **options) for _ in range(2)] == [(True, 2), (True, 2)]
        assert reason in str(memory.reason)


def test_only_the_tower_rests_where_the_projector_is_tuned() -> None:
    toy = Toy()
    calls = []
    with remembered(toy, STAGES, "projector") as memory:
        toy.connector.register_forward_hook(lambda *given: calls.append(1))
        assert [said(toy, memory, 0, 1)[0] for _ in range(3)] == [True] * 3
    assert len(calls) == 6 and (memory.computed, memory.reused) == (2, 4)


def test_everything_is_undone_also_after_an_exception() -> None:
    toy = Toy()
    own = toy.get_image_features
    toy.get_image_features = own  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError), remembered(toy, STAGES, "llm") as memory:
        twin = copy.deepcopy(toy)
        assert type(vars(twin)["forward"]) is type(own)
        memory.show(["s0", "s1"])
        toy.take = lambda o: 1 / 0
        toy(shown(0, 1)[1])
    assert vars(toy)[METHOD] is own and "forward" not in vars(toy)
    assert (memory.bytes, memory.reused) == (0, 0)
    toy.take = lambda o: o
    with remembered(toy, STAGES, "llm") as memory:  # a pass that failed has proven nothing
        memory.show(["s0", "s1"])
        toy.take = lambda o: o + None
        with pytest.raises(TypeError):
            toy(shown(0, 1)[1])
        toy.take = lambda o: o
        assert said(toy, memory, 0, 1) == (True, 4) and said(toy, memory, 0, 1) == (True, 0)


# ---- where features are kept -----------------------------------------------------------------------------------------


def test_features_are_put_where_they_were_and_kept_on_the_cpu() -> None:
    x = torch.randn(1, 2)
    part, rules, read = {"a": x, "b": [x + 1]}, {("a",): 0, ("b",): "listed", ("b", "*"): "same"}, {("a",), ("b", "*")}
    assert set(devices_of(part, rules).values()) == {torch.device("cpu")} and set(devices_of(part, rules)) == read
    kept = assembled([part], rules, read)
    assert kept["a"].device.type == "cpu" and kept["a"].data_ptr() != x.data_ptr() and torch.equal(kept["b"][0], x + 1)
    away = assembled([kept, kept], rules, read, dict.fromkeys(read, torch.device("meta")))  # a device without numbers
    assert [away["a"].device.type, *(item.device.type for item in away["b"])] == ["meta"] * 3 and away["a"].shape == (2, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_are_kept_in_the_dtype_of_the_model(dtype: torch.dtype) -> None:
    toy = Toy(lambda x: x.to(dtype), lambda o: o.float())
    with remembered(toy, STAGES, "llm") as memory:
        assert said(toy, memory, 0, 1)[0] and said(toy, memory, 1, 0) == (True, 0)
        assert memory.bytes == 2 * VALUE * dtype.itemsize // 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_keeps_nothing() -> None:
    toy = Toy().cuda()
    pixels = shown(0, 1)[1].cuda()
    with remembered(toy, STAGES, "llm") as memory:
        expected = toy(pixels)
        for _ in range(2):
            memory.show(["s0", "s1"])
            assert torch.allclose(toy(pixels), expected, atol=1e-6)
        kept = [leaf for held in vars(toy)["get_image_features"].asked.kept.values() for _, leaf in tensors_in(held[0])]
        assert memory.reused == 2 and {leaf.device.type for leaf in kept} == {"cpu"}
