"""What stages carry sums to the change of the answer, is captum's conductance, and maps fall with the weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.attribution.objective import Objective
from analysis.attribution.sanity import randomised, sanity, spearman
from analysis.attribution.stages import along, conductance, live_sites
from analysis.choice import choice
from hooks.batch import Batch, bookkeeping
from hooks.checksum import weights_checksum
from hooks.inside import with_parts
from hooks.load import Mllm, load
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet


@pytest.fixture(scope="module")
def local() -> StimulusSet:
    """Two references, clean and brighter in a box."""
    rng, found = np.random.default_rng(0), []
    for i in range(2):
        base = np.repeat(np.repeat(rng.integers(60, 190, (4, 4, 3), np.uint8), 8, 0), 8, 1)
        mask = np.zeros((32, 32), bool)
        mask[8:24, 8 * i : 8 * i + 16] = True
        other = np.where(mask[..., None], np.minimum(base + 60, 255), base).astype(np.uint8)
        found += [Stimulus(f"r{i}", f"r{i}", None, None, pixels=base)]
        found += [Stimulus(f"r{i}b", f"r{i}", "brighten", 5, pixels=other, area=mask.astype(np.uint8))]
    return StimulusSet(found, "local")


@pytest.mark.parametrize("name", [pytest.param("llava", marks=pytest.mark.heavy), "qwen"])
def test_sites_that_everything_passes_carry_the_whole_change(
    name: str, local: StimulusSet, request: pytest.FixtureRequest
) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    before = weights_checksum(mllm.model)
    sites = ("vision.embed", "projector", "llm.embed", "llm.0", live_sites(mllm)[-1])
    found = conductance(mllm, local, sites=sites, steps=6, grid=2, n_boot=20, progress=False)
    assert {row["site"] for row in found.table} == set(sites) <= set(live_sites(mllm))
    objective = Objective(mllm, choice(), local[1].image, "brightness", "clean")
    ends = objective.of_images([local[0].image, local[1].image])
    assert found.change[0] == pytest.approx(ends[1] - ends[0], abs=1e-4)
    for site in sites:
        row = found.row(site)
        assert row["whole"] and row["gap"] < 0.1 and row["share"] == pytest.approx(1, abs=0.1)
        parts = [own["nats"] for own in found.table if own["site"] == site and own["set"] != "all"]
        assert sum(parts) == pytest.approx(row["nats"], abs=1e-6)
    last = live_sites(mllm)[-1]
    assert abs(found.row(last, "inside")["share"]) < 1e-6  # behind the last block the image is read no more
    assert weights_checksum(mllm.model) == before


@pytest.mark.heavy
@pytest.mark.slow
def test_captums_conductance_comes_to_it(llava: Mllm, local: StimulusSet) -> None:
    """Captum by hand with one answer per call; it takes the gradient at one end of each step, and so needs many."""
    from captum.attr import LayerConductance

    asked = choice()
    objective = Objective(llava, asked, local[1].image, "brightness", "clean", batch_size=20)
    start = objective.pixels_of(local[0].image)
    found, _ = along(objective, start, ["projector"], 18)
    module = llava.model.get_submodule(llava.stages.sites["projector"])
    own, far = found["projector"].image, []
    for steps in (20, 80):
        expected = torch.zeros_like(own)
        for label, sign in (("brightness", 1), ("clean", -1)):
            batch = asked.said(llava, [local[1].image], label)

            def score(pixels: torch.Tensor, batch: Batch = batch) -> torch.Tensor:
                assert batch.labels is not None
                k = len(pixels)
                tensors = {name: value.repeat(k, *[1] * (value.ndim - 1)) for name, value in batch.tensors.items()}
                labels = batch.labels.repeat(k, 1)
                layout = bookkeeping(llava.model, llava.stages, tensors, labels >= 0)
                return asked.likelihood(llava, Batch({**tensors, "pixel_values": pixels}, layout, labels))

            x = objective.pixels[0].clone().requires_grad_(True)
            told = LayerConductance(score, module).attribute(x, baselines=start[0], n_steps=steps)
            expected = expected + sign * told.detach().double().sum(-1).flatten()
        far.append(float((own - expected).abs().max() / expected.abs().max()))
    assert far[1] < 0.1 and far[1] < far[0] / 2
    assert np.corrcoef(own.numpy(), expected.numpy())[0, 1] > 0.998


def test_parts_of_blocks_are_sites_too(llava: Mllm, local: StimulusSet) -> None:
    found = conductance(with_parts(llava), local, sites=["llm.0", "llm.0.mlp"], steps=2, grid=2, n_boot=20, progress=False)
    assert not found.row("llm.0.mlp")["whole"] and found.row("llm.0.mlp")["gap"] is None


def test_randomised_weights_change_maps_and_are_put_back(llava: Mllm, local: StimulusSet) -> None:
    before = weights_checksum(llava.model)
    found = sanity(llava, local, methods=("input-x-gradient", "edges", "random"), grid=4, n_boot=20, progress=False)
    assert weights_checksum(llava.model) == before
    rows: dict[tuple[str, str], Any] = {(row["method"], row["randomised"]): row for row in found.table}
    everything = "llm+projector+vision"
    assert list(dict.fromkeys(key[1] for key in rows)) == ["llm", "llm+projector", everything]
    assert rows["edges", everything]["spearman"] == rows["edges", everything]["ssim"] == 1
    assert rows["input-x-gradient", everything]["spearman"] < 0.8 and abs(rows["random", "llm"]["spearman"]) < 0.7
    assert np.array_equal(found.maps["edges"]["none"], found.maps["edges"]["llm"])


def test_a_component_is_shuffled_within_each_tensor(llava: Mllm) -> None:
    own = llava.stages.parameters(llava.model, "projector")
    kept = {name: value.detach().clone() for name, value in own.items()}
    others = weights_checksum(llava.model, exclude=own)
    with pytest.raises(RuntimeError, match="inside"), randomised(llava, ["projector"]):
        for name, value in own.items():
            assert torch.equal(value.flatten().sort().values, kept[name].flatten().sort().values)
        assert any(not torch.equal(value, kept[name]) for name, value in own.items())
        assert weights_checksum(llava.model, exclude=own) == others
        raise RuntimeError("inside")
    assert all(torch.equal(value, kept[name]) for name, value in own.items())


def test_rank_correlation_and_refusals(llava: Mllm, local: StimulusSet) -> None:
    assert spearman(np.arange(4.0), np.arange(4.0) ** 3) == pytest.approx(1)
    assert spearman(np.arange(4.0), np.ones(4)) == 0
    with pytest.raises(InputError, match="Got 1 steps.*at least 2"):
        conductance(llava, local, steps=1)
    with pytest.raises(InputError, match="Unknown component 'nose'"), randomised(llava, ["nose"]):
        pass
    with pytest.raises(InputError, match="no component cannot be randomised: there are none"), randomised(llava, []):
        pass


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl", "idefics3"])
def test_families_that_pack_and_tile(family: str, local: StimulusSet, tmp_path: Path) -> None:
    from benchmarks.checkpoints import save

    save(family, tmp_path)
    mllm = load(tmp_path, device="cpu")
    found = conductance(mllm, local, sites=["projector", "llm.embed", "llm.0"], steps=12, grid=2, n_boot=20, progress=False)
    for site in ("llm.embed", "llm.0"):
        assert found.row(site)["gap"] < 0.1
