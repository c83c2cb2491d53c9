"""Maps of the distortion answer agree with captum called by hand, find what they should, and leave the model as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.attribution import methods
from analysis.attribution.frame import averaged, cell_map, gathered, owners
from analysis.attribution.maps import local_pairs
from analysis.attribution.methods import BASELINES, GREY, METHODS, Case, Places, makers
from analysis.attribution.objective import Objective
from analysis.attribution.run import MASK, attribute, leader_table
from analysis.attribution.segments import by_masks
from analysis.attribution.tokens import _relevant, _rollout, eagerly
from analysis.choice import choice
from hooks.checksum import weights_checksum
from hooks.load import Mllm, load
from stimuli.errors import InputError
from stimuli.pairs import pairs
from stimuli.types import Stimulus, StimulusSet

SIZE = 32


@pytest.fixture(scope="module")
def local() -> StimulusSet:
    """Three references, clean and with white noise in a box."""
    rng, found = np.random.default_rng(0), []
    for i in range(3):
        base = np.repeat(np.repeat(rng.integers(60, 190, (4, 4, 3), np.uint8), SIZE // 4, 0), SIZE // 4, 1)
        mask = np.zeros((SIZE, SIZE), bool)
        mask[8 * (i % 2) : 8 * (i % 2) + 16, 4 * i : 4 * i + 12] = True
        noisy = np.clip(base + mask[..., None] * rng.normal(0, 50, base.shape), 0, 255).astype(np.uint8)
        found += [Stimulus(f"r{i}", f"r{i}", None, None, pixels=base)]
        found += [Stimulus(f"r{i}n", f"r{i}", "white_noise", 5, pixels=noisy, area=mask.astype(np.uint8) * 255)]
    return StimulusSet(found, "local")


def case_of(mllm: Mllm, local: StimulusSet, grid: int = 4) -> Case:
    stimulus = local[1]
    return Case(Objective(mllm, choice(), stimulus.image, "noise", "clean", 16), grid, Places(), stimulus.id)


def state(mllm: Mllm) -> tuple[Any, ...]:
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in mllm.model.modules())
    kinds = [str(m.config._attn_implementation) for m in mllm.model.modules() if hasattr(m, "config")]
    grads = any(p.grad is not None for p in mllm.model.parameters())
    return weights_checksum(mllm.model), hooks, kinds, grads, mllm.model.training


def test_the_objective_is_the_difference_of_two_scores(llava: Mllm, qwen: Mllm, local: StimulusSet) -> None:
    asked = choice()
    for mllm in (llava, qwen):
        image = local[1].image
        scores = asked.scores(mllm, asked.prepared(mllm, [image]))[0]
        expected = scores[asked.place("noise")] - scores[asked.place("clean")]
        objective = Objective(mllm, asked, image, "noise", "clean")
        with torch.no_grad():
            found = objective(torch.cat([objective.pixels, objective.pixels_of(local[0].image)]))
        other = objective.of_images([image, local[0].image])
        assert np.allclose([float(found[0]), other[0]], expected, atol=1e-4) and np.allclose(found.numpy(), other, atol=1e-4)
        assert abs(other[0] - other[1]) > 1e-4 and objective.passes == 4


def test_integrated_gradients_are_captums(llava: Mllm, local: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captum by hand on the whole model: one answer per call, no expansion of ours."""
    from captum.attr import IntegratedGradients

    monkeypatch.setattr(methods, "STEPS", 4)

    case, asked, total = case_of(llava, local), choice(), 0.0
    heat = makers("integrated-gradients")["integrated-gradients"](case)
    grey = np.full((SIZE, SIZE, 3), GREY, np.uint8)
    for label, sign in (("noise", 1.0), ("clean", -1.0)):

        def score(pixels: torch.Tensor, label: str = label) -> torch.Tensor:
            batch = asked.said(llava, [local[1].image] * len(pixels), label)
            batch.tensors["pixel_values"] = pixels
            return asked.likelihood(llava, batch)

        x, start = (asked.said(llava, [own], "noise").tensors["pixel_values"] for own in (local[1].image, grey))
        found = IntegratedGradients(score).attribute(x.requires_grad_(True), baselines=start, n_steps=4)
        total = total + sign * found[0].detach()
    assert isinstance(total, torch.Tensor)
    assert np.allclose(heat, gathered(total[None], case.owner, 4), atol=1e-5)
    ends = case.objective.of_images([local[1].image, grey])
    assert heat.sum() == pytest.approx(ends[0] - ends[1] + case.gaps["integrated-gradients"], abs=1e-4)


def test_occlusion_is_captums_llm_attribution_over_the_same_cells(llava: Mllm, local: StimulusSet) -> None:
    case = case_of(llava, local)
    heat = makers(["occlusion"])["occlusion"](case)
    told = averaged(by_masks(case.objective, cell_map((SIZE, SIZE), 4)), 4)
    assert np.allclose(heat, told, atol=1e-4) and heat.std() > 0
    image = local[1].image.copy()
    image[:8, 8:16] = image.reshape(-1, 3).mean(0).round()  # the second cell by hand
    without = case.objective.of_images([local[1].image, image])
    assert heat[0, 1] == pytest.approx(without[0] - without[1], abs=1e-4)


class Readout(Objective):
    """A model whose contrast is known: how far neighbouring pixels differ, which noise raises where it is."""

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.passes += len(pixels)
        return pixels.diff(dim=-1).square().flatten(1).mean(1)

    def of_images(self, images: Any) -> np.ndarray:
        self.passes += len(images)
        return np.array([np.square(np.diff(own.astype(float), axis=1)).mean() for own in images])


def test_what_the_answer_comes_from_is_found(llava: Mllm, local: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("maps", "run"):
        monkeypatch.setattr(f"analysis.attribution.{room}.Objective", Readout)
    names = ("gradient", "input-x-gradient", "integrated-gradients", "occlusion", "shapley", *BASELINES)
    found = attribute(llava, local, methods=names, grid=8, n_boot=50, points=4, progress=False)
    for name in ("gradient", "integrated-gradients"):
        assert found.row(name)["auc"] > 0.9 and found.row(name)["beyond_low"] > 0.1
    assert found.row("occlusion")["auc"] > 0.8
    assert 0.3 < found.row("random")["auc"] < 0.7
    assert [row["auc"] for row in found.table[:-1]] == sorted((row["auc"] for row in found.table[:-1]), reverse=True)
    mask, best = found.row(MASK), found.row("gradient")
    assert found.table[-1] is mask and mask["deletion"] <= best["deletion"] + 1e-9 < found.row("random")["deletion"]
    assert mask["insertion"] >= best["insertion"] - 1e-9 > found.row("random")["insertion"]
    assert best["deletion_gain_low"] > 0 and "deletion_gain" not in found.row("random")
    assert best["deletion_gain"] == pytest.approx(found.row("random")["deletion"] - best["deletion"])
    assert found.row("integrated-gradients")["gap"] < 1e-3 and found.row("gradient")["gap"] is None
    assert len(found.each) == 3 * (len(names) + 1) and found.maps["gradient"].shape == (3, 8, 8)
    assert leader_table(found).splitlines()[2].startswith(f"| {found.table[0]['method']} | {found.table[0]['auc']:.3f}")


@pytest.mark.parametrize("name", [pytest.param("llava", marks=pytest.mark.heavy), "qwen"])
def test_every_method_gives_a_map_and_leaves_the_model(
    name: str, local: StimulusSet, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "STEPS", 4)
    monkeypatch.setattr(methods, "SAMPLES", 1)
    mllm: Mllm = request.getfixturevalue(name)
    before, grid = state(mllm), 2
    found = attribute(mllm, pairs(local)[:2], grid=grid, curves=False, n_boot=20, batch_size=32, progress=False)
    assert not found.left_out and set(found.maps) == set(METHODS)
    for heat in found.maps.values():
        assert heat.shape == (2, grid, grid) and heat.dtype == np.float32 and np.isfinite(heat).all()
    assert all(found.maps[own].std() > 0 for own in METHODS)
    assert (found.maps["relevancy"] >= 0).all() and (found.maps["attention"].sum((1, 2)) < 1).all()
    assert "deletion" not in found.table[0] and found.row("integrated-gradients")["gap"] > 0
    assert state(mllm) == before


def test_attention_is_what_the_model_gives_itself(llava: Mllm, local: StimulusSet) -> None:
    case = case_of(llava, local, 8)
    heat = makers("attention")["attention"](case)
    batch = llava.inputs([local[1].image], [choice().question.prompt])
    with eagerly(llava.model), torch.no_grad():
        told = llava.model(**batch.tensors, output_attentions=True).attentions
    last = torch.stack([own[0].mean(0)[int(batch.layout.last_prompt[0])] for own in told]).mean(0)[batch.layout.image[0]]
    assert last.shape == (64,) and np.allclose(heat.ravel(), last.numpy(), atol=1e-4)  # 8 x 8 patches, one per cell


def test_relevancy_grows_as_published() -> None:
    """R + Ā R with Ā the mean over heads of positive attention times gradient (Chefer et al. 2021, equations 5 and 6), by loops."""
    rng = np.random.default_rng(0)
    weights, slopes = rng.random((2, 1, 3, 4, 4)), rng.normal(size=(2, 1, 3, 4, 4))
    found = _rollout([_relevant(torch.tensor(a), torch.tensor(g)) for a, g in zip(weights, slopes, strict=True)])
    expected = np.eye(4)
    for a, g in zip(weights, slopes, strict=True):
        bar = np.array(
            [[np.mean([max(a[0, h, i, j] * g[0, h, i, j], 0) for h in range(3)]) for j in range(4)] for i in range(4)]
        )
        expected = expected + bar @ expected
    assert np.allclose(found[0].numpy(), expected, atol=1e-5)


def test_where_numbers_stand_is_measured_behind_a_crop_and_a_resize() -> None:
    """A processor that cuts a border of 4 px, halves the rest and puts two rows of patches one after the other."""

    def process(image: np.ndarray) -> torch.Tensor:
        inner = torch.tensor(image[4:-4, 4:-4].astype(np.float32)).permute(2, 0, 1)
        small = torch.nn.functional.avg_pool2d(inner[None], 2)[0] / 127.5 - 1
        return torch.cat([torch.zeros(1, 3, 6, 12), torch.stack(small.chunk(2, 1))])  # padding in front

    at = owners(process, (32, 32), 8)
    assert at.shape == (3, 3, 6, 12) and bool((at[0] == -1).all())
    expected = torch.arange(64).view(8, 8)[1:-1, 1:-1].repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(torch.cat([at[1, 0], at[2, 0]]), expected)
    heat = gathered(torch.ones(3, 3, 6, 12), at, 8)
    assert heat[0, 0] == 0 and heat[3, 3] == 12 and heat.sum() == 432


def test_what_cannot_be_attributed_is_refused(llava: Mllm, local: StimulusSet, tmp_path: Path) -> None:
    unclean = tmp_path / "two.yaml"
    unclean.write_text(
        "name: two\nsource: a test\nclasses: [blur, noise]\ntypes:\n  gaussian_blur: blur\n  white_noise: noise\n"
    )
    options: Any = {"methods": ("random",), "progress": False, "curves": False}
    with pytest.raises(InputError, match="Unknown methods lime.*Expected some of gradient"):
        attribute(llava, local, methods=("lime",))
    with pytest.raises(InputError, match="None of the 1 stimuli has a region.*region='any'"):
        attribute(llava, [local[0]], **options)
    with pytest.raises(InputError, match=r"1 references have local distortions but no clean image \(r0\)"):
        attribute(llava, [local[1]], **options)
    with pytest.raises(InputError, match="one reference, 'r0'.*two or more"):
        attribute(llava, local[:2], **options)
    with pytest.raises(InputError, match="grid of 64 x 64 cells over an image of 32 x 32.*1 to 32"):
        attribute(llava, local, grid=64, **options)
    with pytest.raises(InputError, match="class 'clean'.*expected one of"):
        attribute(llava, local, taxonomy=unclean, **options)
    assert len(local_pairs(local, "paper8")[0]) == 3


@pytest.mark.heavy
@pytest.mark.slow
def test_integrated_gradients_explain_the_change(llava: Mllm, local: StimulusSet) -> None:
    case = case_of(llava, local)
    heat = makers("integrated-gradients")["integrated-gradients"](case)
    assert abs(case.gaps["integrated-gradients"]) < 0.05 * np.abs(heat).sum()


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl", "idefics3"])
def test_families_that_pack_and_tile(family: str, local: StimulusSet, tmp_path: Path) -> None:
    from benchmarks.checkpoints import save

    save(family, tmp_path)
    mllm = load(tmp_path, device="cpu")
    before = state(mllm)
    found = attribute(mllm, local[:4], grid=2, curves=False, n_boot=20, progress=False)
    assert {"integrated-gradients", "occlusion", "gradient", "input-x-gradient"} <= set(found.maps), found.left_out
    assert all(np.isfinite(heat).all() for heat in found.maps.values())
    case = case_of(mllm, local, 2)
    heat = makers("integrated-gradients")["integrated-gradients"](case)
    ends = case.objective.of_images([local[1].image, np.full_like(local[1].image, GREY)])
    assert heat.sum() == pytest.approx(ends[0] - ends[1] + case.gaps["integrated-gradients"], abs=2e-3)
    assert state(mllm) == before
