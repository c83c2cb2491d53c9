"""Token sets are what is known by hand of batched and packed models, and of layouts made up for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hooks.batch import image_token
from hooks.load import Mllm
from hooks.patches import Patches
from hooks.token_sets import Regions, numbers, row_shape, split_rows, survey, token_sets
from hooks.tokens import TokenLayout
from stimuli.errors import InputError

PROMPT = "Which distortion does this image have?"


def images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def sets_of(mllm: Mllm, sites: list[str], *sizes: tuple[int, int], masks: Any = None) -> tuple[Any, Mapping[str, Any]]:
    batch = mllm.inputs(images(*sizes), [PROMPT] * len(sizes))
    seen = survey(mllm, batch, sites)
    regions = Regions(mllm, PROMPT, 4)
    found = {}
    for site in sites:
        shares = None if masks is None else [None if mask is None else regions.shares(site, mask) for mask in masks]
        found[site] = token_sets(batch.layout, site, seen.shapes[site], shares)
    return batch, found


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_the_prompt_is_image_question_and_last(family: str, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    sizes = ((128, 128), (56, 112)) if family == "qwen" else ((128, 128), (128, 128))
    batch, found = sets_of(mllm, ["llm.embed", "llm.1"], *sizes)
    ids, mask = batch.tensors["input_ids"], batch.tensors["attention_mask"].bool()
    for own in found.values():
        for i in range(2):
            start, there = i * ids.shape[1], mask[i].nonzero()[:, 0]
            image = (ids[i] == image_token(mllm.model, mllm.stages)).nonzero()[:, 0]
            assert own["image"][i].tolist() == (start + image).tolist() and len(image) > 3
            assert own["last"][i].tolist() == [start + int(there[-1])]
            asked = sorted(set(there.tolist()) - set(image.tolist()) - {int(there[-1])})
            assert own["question"][i].tolist() == [start + at for at in asked] and len(asked) > 3
            assert own["all"][i].tolist() == (start + there).tolist()
    if family == "qwen":
        assert len(own["image"][0]) != len(own["image"][1])


def test_a_vision_site_has_its_image_and_everything(llava: Mllm, qwen: Mllm) -> None:
    _, found = sets_of(llava, ["vision.2", "projector"], (128, 128), (128, 128))
    cls = 1 + np.arange(64)
    assert [own.tolist() for own in found["vision.2"]["image"]] == [cls.tolist(), (65 + cls).tolist()]
    assert [own.tolist() for own in found["projector"]["image"]] == [list(range(64)), list(range(64, 128))]
    assert set(found["vision.2"]) == {"all", "image"} and found["vision.2"]["all"] is None
    batch, found = sets_of(qwen, ["vision.1", "projector"], (128, 128), (56, 112))
    first, second = batch.tensors["image_grid_thw"].prod(1).tolist()
    assert [own.tolist() for own in found["vision.1"]["image"]] == [list(range(first)), list(range(first, first + second))]
    assert [len(own) for own in found["projector"]["image"]] == [first // 4, second // 4]


def test_the_region_is_where_the_mask_is(llava: Mllm) -> None:
    mask = np.zeros((128, 128), bool)
    mask[:, :64] = True
    sites = ["vision.embed", "vision.2", "projector", "llm.0"]
    _, found = sets_of(llava, sites, (128, 128), (128, 128), masks=[None, mask])
    for site in sites:
        image, region, outside = (found[site][name][1] for name in ("image", "region", "outside"))
        left = (torch.arange(64) % 8) < 4
        assert region.tolist() == image[left].tolist() and outside.tolist() == image[~left].tolist(), site
        assert not len(found[site]["region"][0]) and not len(found[site]["outside"][0])


@pytest.mark.parametrize(("edge", "columns"), [(76, 4), (84, 6)])
def test_a_token_belongs_to_the_region_by_half_of_its_weight(llava: Mllm, edge: int, columns: int) -> None:
    """Tokens of 16 px, cells of 32 px: the mask ends within a cell."""
    mask = np.zeros((128, 128), bool)
    mask[:, :edge] = True
    _, found = sets_of(llava, ["vision.embed"], (128, 128), masks=[mask])
    own = found["vision.embed"]
    assert own["region"][0].tolist() == own["image"][0][(torch.arange(64) % 8) < columns].tolist()


def test_packed_rows_of_a_region_are_found_in_the_towers_own_order(qwen: Mllm) -> None:
    """Patches of Qwen2-VL come in blocks of two by two; the language model sees one token per block."""
    mask = np.zeros((112, 112), bool)
    mask[:56] = True
    _, found = sets_of(qwen, ["vision.embed", "llm.embed"], (112, 112), masks=[mask])
    assert found["vision.embed"]["region"][0].tolist() == list(range(32))
    assert found["llm.embed"]["region"][0].tolist() == found["llm.embed"]["image"][0][:8].tolist()


def test_a_part_of_a_block_has_the_places_of_its_block(llava: Mllm) -> None:
    regions, mask = Regions(llava, PROMPT, 4), np.zeros((128, 128), bool)
    mask[:64, :64] = True
    assert torch.equal(regions.shares("vision.1.attention", mask), regions.shares("vision.1", mask))
    assert regions.shares("llm.1.mlp", mask).sum() == pytest.approx(16, abs=0.5)


def made(kinds: Mapping[str, str], counts: tuple[int, ...], crops: tuple[int, ...]) -> TokenLayout:
    image = torch.zeros(len(counts), 12, dtype=torch.bool)
    for i, count in enumerate(counts):
        image[i, 1 : 1 + count] = True
    empty = torch.zeros_like(image)
    return TokenLayout(image, empty, empty, kinds, Patches(counts, crops))


def test_maps_crops_and_single_firings_are_numbered_in_their_own_order() -> None:
    layout = made({"map": "map", "crops": "image", "each": "each"}, (4, 8), (1, 2))
    shape = torch.Size((3, 7, 2, 2))
    assert [own.tolist() for own in token_sets(layout, "map", (shape,))["image"] or ()] == [[0, 1, 2, 3], list(range(4, 12))]
    assert [len(own) for own in token_sets(layout, "crops", (torch.Size((3, 4, 7)),))["image"] or ()] == [4, 8]
    each = (torch.Size((1, 4, 7)),) * 3
    rows = token_sets(layout, "each", each)["image"] or ()
    assert [own.tolist() for own in rows] == [[0, 1, 2, 3], list(range(4, 12))]
    places = split_rows((rows[0][:1], rows[1][3:6]), "each", each)
    assert [None if own is None else own[1].tolist() for own in places] == [[0], [3], [0, 1]]
    inside = split_rows((torch.tensor([5]),), "map", (shape,))[0]
    assert inside is not None and [at.tolist() for at in inside] == [[1], [0], [1]]


def test_an_image_in_front_and_a_decoder_have_their_own_sets() -> None:
    layout = made({"llm.0": "prefixed", "llm.decoder.0": "decoder"}, (0, 0), (1, 1))
    found = token_sets(layout, "llm.0", (torch.Size((2, 15, 7)),))
    assert [own.tolist() for own in found["image"] or ()] == [[0, 1, 2], [15, 16, 17]]
    assert [own.tolist() for own in found["last"] or ()] == [[14], [29]]
    assert (found["question"] or ())[0].tolist() == list(range(3, 14))
    spoken = TokenLayout(
        layout.image, layout.padding, torch.zeros(2, 4, dtype=torch.bool), layout.layouts, encoder_decoder=True
    )
    decoder = token_sets(spoken, "llm.decoder.0", (torch.Size((2, 4, 7)),))
    assert set(decoder) == {"all", "last"} and [own.tolist() for own in decoder["all"] or ()] == [[0], [4]]


def test_numbers_are_views_of_the_right_shape() -> None:
    for kind, shape in (("map", (2, 5, 3, 3)), ("image", (2, 9, 5)), ("packed", (18, 5)), ("sequence", (2, 9, 5))):
        one, two = numbers(kind, (torch.Size(shape),) * 2)
        count = int(np.prod(row_shape(kind, torch.Size(shape))))
        assert one.shape == shape and int(two.min()) == count == 18
        assert one.untyped_storage().nbytes() == 8 * count


def test_shares_that_do_not_fit_are_refused(llava: Mllm) -> None:
    layout = made({"crops": "image"}, (4, 4), (1, 1))
    with pytest.raises(InputError, match="gave 4 image rows, and where 3 of them look was measured"):
        token_sets(layout, "crops", (torch.Size((2, 4, 7)),), [torch.ones(3), None])


@pytest.mark.slow
def test_a_site_that_mixes_places_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    from benchmarks import checkpoints
    from hooks.load import load
    from hooks.quiet import quiet

    with quiet():
        checkpoints.save("idefics2", tmp_path)
        mllm = load(tmp_path, device="cpu")
    regions, mask = Regions(mllm, PROMPT, 2), np.zeros((112, 112), bool)
    mask[:56] = True
    assert 0 < float(regions.shares("vision.embed", mask).sum())
    with pytest.raises(InputError, match="mix places"):
        regions.shares("projector", mask)
