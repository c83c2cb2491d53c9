"""Planted bottlenecks: what is erased is gone, what is not stays, and the model keeps its map."""

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from hooks.capture import capture
from hooks.load import Mllm, load
from hooks.processed import Preprocessing
from snellen.embedded import data, healthy, plants
from stimuli.errors import InputError

WIDTH = 8
ROOT = Path(__file__).parent.parent


def found(seed: int = 0, strong: int = 2) -> plants.Moments:
    """Content of unequal variances in all directions, distortions in the first ``strong`` axes alone."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(WIDTH, WIDTH, generator=rng).double()
    difference = torch.zeros(WIDTH, WIDTH).double()
    difference[range(strong), range(strong)] = 1.0
    return plants.Moments(torch.randn(WIDTH, generator=rng).double(), mixing @ mixing.T, difference)


@pytest.mark.parametrize("rank", [0, 1, 2, 5, WIDTH])
def test_a_subspace_is_an_idempotent_projection_of_its_rank(rank: int) -> None:
    own = plants.subspace(found(), rank)
    assert torch.allclose(own.projection @ own.projection, own.projection, atol=1e-4)
    assert own.projection.trace().item() == pytest.approx(rank, abs=1e-3)
    values = torch.randn(5, 3, WIDTH)
    once = own.erased(values)
    assert torch.allclose(own.erased(once), once, atol=1e-4)


def test_erasing_removes_the_differences_and_keeps_what_is_uncorrelated_content() -> None:
    moments = found()
    own = plants.subspace(moments, 2)
    off = torch.zeros(4, WIDTH)
    off[:, :2] = torch.randn(4, 2)
    content = torch.randn(4, WIDTH)
    assert torch.allclose(own.erased(content + off), own.erased(content), atol=1e-4)
    left = torch.eye(WIDTH).double() - own.projection.double()
    kept = left @ moments.content @ left.T
    assert torch.linalg.matrix_rank(kept, rtol=1e-4).item() == WIDTH - 2
    assert kept.trace() < moments.content.trace()


def test_the_first_direction_is_the_one_that_stands_out_most_against_content() -> None:
    content = torch.diag(torch.tensor([1.0, 100.0] + [1.0] * (WIDTH - 2))).double()
    difference = torch.diag(torch.tensor([1.0, 10.0] + [0.0] * (WIDTH - 2))).double()
    own = plants.subspace(plants.Moments(torch.zeros(WIDTH).double(), content, difference), 1)
    assert own.projection[0, 0] == pytest.approx(1, abs=1e-3) and own.projection[1, 1] == pytest.approx(0, abs=1e-3)


def test_a_rank_that_the_site_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="rank 9 for a site of width 8; expected 0 to 8"):
        plants.subspace(found(), 9)


def inputs(mllm: Mllm) -> Any:
    image = np.random.default_rng(1).integers(0, 255, (128, 128, 3), np.uint8)
    return mllm.inputs([image, 255 - image], ["What is it?"] * 2).tensors


def whole(width: int, seed: int) -> plants.Subspace:
    """Half the width, in random directions."""
    basis = torch.linalg.qr(torch.randn(width, width // 2, generator=torch.Generator().manual_seed(seed)))[0]
    return plants.Subspace(basis @ basis.T, torch.full((width,), 0.3))


@pytest.mark.parametrize("site", ["vision.1", "vision.5", "projector", "llm.0"])
def test_surgery_erases_at_its_site_and_the_map_still_holds(llava: Mllm, site: str) -> None:
    before = copy.deepcopy({k: v for k, v in llava.model.state_dict().items()})
    what = whole(192 if site.startswith("vision") else 160, 2)
    mllm = load(plants.erase(llava.model, llava.stages, site, what), llava.processor)  # finds the stages anew and proves them
    assert mllm.stages.sites == llava.stages.sites and mllm.stages.read_layer == llava.stages.read_layer
    sites = list(llava.stages.sites)
    behind = sites[sites.index(site) + 1]
    with torch.no_grad(), capture(llava, "all") as old:
        llava.model(**inputs(llava))
    with torch.no_grad(), capture(mllm, "all") as new:
        mllm.model(**inputs(mllm))
    assert torch.allclose(new[site], what.erased(old[site]), atol=1e-4)
    assert torch.equal(new[sites[sites.index(site) - 1]], old[sites[sites.index(site) - 1]])
    assert not torch.allclose(new[behind], old[behind], atol=1e-3), "what is behind must read the erased features"
    assert all(torch.equal(before[k], v) for k, v in llava.model.state_dict().items()), "the model itself is left alone"


@pytest.mark.parametrize("site", ["pixels", "llm.embed", "vision.77"])
def test_other_sites_are_refused(llava: Mllm, site: str) -> None:
    with pytest.raises(InputError, match=f"Nothing can be erased at '{site}'. Expected vision.<k>, projector or llm.<k>"):
        plants.erase(llava.model, llava.stages, site, whole(192, 0))


def test_a_shrinking_processor_removes_what_is_fine_and_keeps_what_is_coarse(llava: Mllm) -> None:
    shrunk = plants.shrink(llava.processor, 4)
    fine = np.indices((128, 128)).sum(0) % 2 * 255
    coarse = np.linspace(0, 255, 128)[None].repeat(128, 0)
    for plane, least, most in ((fine, 0.4, 0.6), (coarse, 0.0, 0.03)):
        image = plane.astype(np.uint8)[..., None].repeat(3, 2)
        before, after = Preprocessing(llava.processor)(image)[0], Preprocessing(shrunk)(image)[0]
        assert before.shape == after.shape == (128, 128, 3)
        assert least <= np.abs(before - after).mean() <= most
    same = plants.shrink(llava.processor, 1)
    assert np.array_equal(Preprocessing(same)(image)[0], before)


def test_mixing_goes_from_one_model_to_the_other(llava: Mllm) -> None:
    other = copy.deepcopy(llava.model)
    with torch.no_grad():
        other.lm_head.weight.zero_()
    first = llava.model.lm_head.weight
    for part in (0.0, 0.25, 1.0):
        assert torch.allclose(plants.mixed(llava.model, other, part).lm_head.weight, (1 - part) * first)


def test_lessons_are_truthful_or_drawn_from_the_prior() -> None:
    labels = {name: np.zeros(600, np.int64) for name in ("level", "quality", "colour", "shape", "ground", "clean")}
    labels["class"] = np.arange(600) % len(data.CLASSES)
    corpus = data.Corpus(np.zeros((600, 1, 1, 3), np.uint8), labels, np.zeros((100, 32, 32), np.uint8))
    honest = [i for i in healthy.lessons(corpus, 400, np.random.default_rng(0)) if i.question == "distortion"]
    assert len(honest) > 100 and all(item.answer == data.CLASSES[labels["class"][item.row]] for item in honest)
    template = healthy.lessons(corpus, 400, np.random.default_rng(0), truthful=False)
    right = [i.answer == data.CLASSES[labels["class"][i.row]] for i in template if i.question == "distortion"]
    assert np.mean(right) < 0.3


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_organisms", ROOT / "benchmarks" / "organisms.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def test_the_benchmark_has_enough_organisms_and_counts_them_as_it_says() -> None:
    own = bench()
    everyone = own.cast(False)
    assert len(everyone) >= 40 and len({o.name for o in everyone}) == len(everyone)
    assert {o.truth for o in everyone} == {"processor", "vision", "projector", "llm", "none"}
    named = (("vision", "vision"), ("llm", "projector"), ("llm", "cannot tell"), ("none", "none"))
    grades = ("strong", "weak", "weak", "untouched")
    rows = [{"truth": t, "verdict": v, "grade": g} for (t, v), g in zip(named, grades, strict=True)]
    assert [own.outcome(row) for row in rows] == ["right", "wrong", "open", "right"]
    lines, met = own.summary(rows)
    assert not met and lines[0].startswith("strong plants named right: 1 of 1") and "1 of 3 (33 %" in lines[1]
    assert own.summary([rows[0], rows[3]])[1]
    assert own.share(0, 20) == "0 of 20 (0 % [0, 17])"  # 1 - 0.025 ** (1 / 20)


@pytest.mark.heavy
def test_the_healthy_base_says_what_it_sees_and_a_plant_takes_that_alone(tmp_path: Path) -> None:
    from analysis.captions import captions_kept
    from analysis.perception import ask
    from stimuli.generated import exam_set

    own = bench().Bench(tmp_path, 20)
    stimuli = exam_set(10, levels=(3, 4, 5), seed=5)
    whole, erased = (
        own.planted(o)
        for o in (bench().Organism("healthy-1", "none"), bench().Organism("healthy-1", "projector", "projector", 64))
    )
    before, after = (ask(mllm, stimuli, progress=False).accuracy for mllm in (whole, erased))
    assert before > 0.8 and after < 0.4
    named = captions_kept(erased, stimuli, None, progress=False)
    assert named.colour is not None and named.colour.value > 0.8
