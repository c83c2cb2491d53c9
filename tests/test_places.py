"""Where each row looks is measured, and equals what is known of small models; rows without a place are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import checkpoints
from hooks import places
from hooks.batch import run
from hooks.capture import capture
from hooks.load import Mllm, load
from hooks.places import cells
from hooks.quiet import quiet
from stimuli.errors import InputError


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tiny checkpoints by family, each made once."""
    made: dict[str, Mllm] = {}

    def family(name: str) -> Mllm:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            with quiet():
                checkpoints.save(name, folder)
                made[name] = load(folder, device="cpu")
        return made[name]

    return family


def shares(rows: int, columns: int, grid: int) -> torch.Tensor:
    """How much of each patch, in raster order, lies in each cell: (rows * columns, grid * grid)."""
    down, across = (
        torch.tensor(
            [[max(0.0, min((i + 1) * grid, (j + 1) * n) - max(i * grid, j * n)) / grid for j in range(grid)] for i in range(n)]
        )
        for n in (rows, columns)
    )
    return torch.einsum("ri,cj->rcij", down, across).reshape(rows * columns, grid * grid)


def features(mllm: Mllm, image: np.ndarray, site: str) -> torch.Tensor:
    batch = mllm.inputs([image], ["What?"])
    with torch.inference_mode(), capture(mllm, site) as seen:
        run(mllm.model, batch.tensors)
    return batch.layout.rows(site, seen.all(site))[0]


def hooks_of(mllm: Mllm) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in mllm.model.modules())


@contextmanager
def unchanged(mllm: Mllm) -> Iterator[None]:
    """The model gives the same and has the same hooks after the block."""
    image = np.random.default_rng(5).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    last = list(mllm.stages.sites)[-1]
    before, hooks, mode = features(mllm, image, last), hooks_of(mllm), mllm.model.training
    yield
    assert torch.equal(features(mllm, image, last), before)
    assert (hooks_of(mllm), mllm.model.training) == (hooks, mode)


def test_patches_in_raster_order(llava: Mllm) -> None:
    with unchanged(llava):
        found = cells(llava, (128, 128), ["llm.0", "vision.embed", "vision.3", "projector"], 4, "What?")
    assert list(found) == ["vision.embed", "vision.3", "projector", "llm.0"]
    for weights in found.values():
        assert weights.dtype == torch.float32 and weights.device.type == "cpu" and not weights.requires_grad
        assert torch.allclose(weights, shares(8, 8, 4))


def test_weights_are_shares_of_area(llava: Mllm) -> None:
    found = cells(llava, (128, 128), ["vision.embed", "llm.1"], 5, "What?")
    for site, mean, most in (("vision.embed", 0.01, 0.15), ("llm.1", 0.02, 0.3)):
        apart = (found[site] - shares(8, 8, 5)).abs()
        assert float(apart.mean()) < mean and float(apart.max()) < most, site


def test_merge_order_in_a_packed_tower_and_raster_order_behind_it(qwen: Mllm) -> None:
    with unchanged(qwen):
        found = cells(qwen, (56, 112), ["vision.embed", "vision.2", "projector", "llm.0"], 2, "What?")
    merged = shares(4, 8, 2).reshape(2, 2, 4, 2, 4).transpose(1, 2).reshape(32, 4)
    for site in ("vision.embed", "vision.2"):
        assert torch.allclose(found[site], merged) and not torch.allclose(found[site], shares(4, 8, 2)), site
    for site in ("projector", "llm.0"):
        assert torch.allclose(found[site], shares(2, 4, 2)), site


def test_windows_are_read_in_their_own_order(families: Any) -> None:
    mllm = families("qwen2_5_vl")
    found = cells(mllm, (112, 224), ["vision.embed", "llm.embed"], 4, "What?")
    assert torch.allclose(found["llm.embed"], shares(4, 8, 4))
    windows = [8 * half + column + 4 * row for half in (0, 1) for column in range(4) for row in (0, 1)]  # of 2 x 1 cells each
    assert found["vision.embed"].argmax(1).tolist() == [cell for cell in windows for _ in range(8)]
    assert torch.allclose(found["vision.embed"].sum(0), torch.full((16,), 8.0))


@pytest.mark.parametrize("family", ["gemma4", "aria"])
def test_padded_patches_are_no_rows_of_the_image(family: str, families: Any) -> None:
    if family == "gemma4":
        pytest.importorskip("transformers.models.gemma4.processing_gemma4", reason="its processor needs torchvision there")
    for size in ((56, 112), (112, 112)):
        rows = cells(families(family), size, ["vision.0"], 2, "What?")["vision.0"]
        assert bool((rows.sum(1) > 0.99).all()) and len(rows) > 0


def test_tiles_thumbnail_and_separators(families: Any) -> None:
    found = cells(families("llava_next"), (112, 112), ["projector", "llm.1"], 2, "What?")
    assert found["projector"].argmax(1).tolist() == [0, 1, 2, 3, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    looks = found["llm.1"]
    assert torch.allclose(looks[:4], torch.eye(4))  # the thumbnail, then four rows of tiles with a separator each
    assert torch.allclose(looks[4:].reshape(4, 5, 4)[:, :4], shares(4, 4, 2).reshape(4, 4, 4))
    assert not bool(looks[4:].reshape(4, 5, 4)[:, 4].any())


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "llava_next", "idefics3", "florence2"])
def test_left_is_told_from_right(family: str, families: Any) -> None:
    mllm = families(family)
    split, left = np.zeros((112, 112, 3), np.uint8), np.zeros((112, 112, 3), np.uint8)
    split[:, 56:], right = 255, left + np.uint8(255)
    weights = cells(mllm, (112, 112), ["vision.embed"], 2, "What?")["vision.embed"]
    inner = weights.max(1, keepdim=True).values > 0.99  # rows that look across the border are left out
    pool = (weights * inner).T
    pooled = {name: pool @ features(mllm, image, "vision.embed") for name, image in (("s", split), ("l", left), ("r", right))}
    for cell, (same, other) in enumerate([("l", "r"), ("r", "l")] * 2):
        near, far = ((pooled["s"][cell] - pooled[name][cell]).norm() for name in (same, other))
        assert float(near) < 0.2 * float(far), cell


@pytest.mark.parametrize("family", ["blip-2", "idefics2"])
def test_rows_that_mix_all_places_are_refused(family: str, families: Any) -> None:
    mllm = families(family)
    with unchanged(mllm):
        assert cells(mllm, (112, 112), ["vision.embed"], 4, "What?")["vision.embed"].sum() == pytest.approx(16)
        for site in ("projector", "llm.0"):
            with pytest.raises(InputError, match=r"mix places: the typical row looks at 1\d of 16 cells"):
                cells(mllm, (112, 112), [site], 4, "What?")


def test_rows_that_look_elsewhere_in_another_image_are_refused() -> None:
    place, seed = torch.eye(16), torch.Generator().manual_seed(0)
    assert torch.equal(places._weights("projector", torch.stack([place, 3 * place]), 4), place)
    wandering = place[torch.randperm(16, generator=seed)]
    with pytest.raises(InputError, match="looks at 2 of 16 cells, and 0% of those"):
        places._weights("projector", torch.stack([place, wandering]), 4)


def test_faint_responses_and_silent_rows_count_nothing() -> None:
    response = torch.eye(4) + 0.04 * (1 - torch.eye(4))
    silent = torch.full((1, 4), 1e-6)
    found = places._weights("projector", torch.cat([response, silent]).expand(2, -1, -1), 2)
    assert torch.equal(found, torch.cat([torch.eye(4), torch.zeros(1, 4)]))


def test_sites_without_image_positions_are_refused(families: Any) -> None:
    with pytest.raises(InputError, match=r"No row of 'llm.embed' changes with the image.*cross-attention"):
        cells(families("mllama"), (112, 112), ["llm.2"], 2, "What?")
    with pytest.raises(InputError, match="'llm.0' belongs to a decoder"):
        cells(families("florence2"), (112, 112), ["llm.0"], 2, "What?")


def test_cells_that_are_cut_away_are_named(families: Any) -> None:
    with pytest.raises(InputError, match=r"looks at 8 of 16 cells.*: \(0, 0\), \(0, 3\), \(1, 0\), .*image of 56 x 112 pixels"):
        cells(families("llava"), (56, 112), ["vision.embed"], 4, "What?")


@pytest.mark.parametrize(("size", "grid"), [((3, 128), 4), ((128, 3), 4), ((128, 128), 0)])
def test_an_image_too_small_for_the_grid_is_refused(llava: Mllm, size: tuple[int, int], grid: int) -> None:
    with pytest.raises(InputError, match=f"grid of {grid} x {grid} cells over an image of {size[0]} x {size[1]} pixels"):
        cells(llava, size, ["projector"], grid, "What?")


def test_the_model_is_left_alone_when_something_breaks(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    with unchanged(llava), monkeypatch.context() as patch:
        patch.setattr(places, "run", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            cells(llava, (128, 128), ["projector"], 2, "What?")
    with pytest.raises(InputError, match="Unknown site 'projektor'"):
        cells(llava, (128, 128), ["projektor"], 2, "What?")


def test_half_precision(llava_folder: Path) -> None:
    mllm = load(llava_folder, device="cpu", dtype="bfloat16", verify=False)
    found = cells(mllm, (128, 128), ["vision.embed", "llm.0"], 4, "What?")
    assert mllm.model.dtype == torch.bfloat16
    for weights in found.values():
        assert weights.dtype == torch.float32 and torch.allclose(weights, shares(8, 8, 4))


def test_one_cell_is_the_mean(llava: Mllm) -> None:
    found = cells(llava, (64, 96), ["llm.0"], 1, "What?")
    assert torch.equal(found["llm.0"], torch.ones(64, 1))
