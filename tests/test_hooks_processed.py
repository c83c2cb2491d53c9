"""What processors made of an image comes back to the last bit where nothing was resized, in every layout."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hooks.load import Mllm
from hooks.processed import Preprocessing, processed_images
from stimuli.errors import InputError

SIDE = 56
NEARLY = 1 / 255 / 100


def pil(family: str, name: str, **settings: Any) -> Any:
    """One of the library's image processors without torchvision."""
    module = importlib.import_module(f"transformers.models.{family}.image_processing_pil_{family}")
    return getattr(module, f"{name}ImageProcessorPil")(**settings)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (height, width, 3), np.uint8)


def pixels(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


WHOLE: dict[str, Callable[[], Any]] = {
    "clip": lambda: pil("clip", "CLIP", do_resize=False, do_center_crop=False),
    "padded to the larger": lambda: pil("pixtral", "Pixtral", size={"longest_edge": 112}, patch_size=square(14)),
    "packed in blocks": lambda: pil("qwen2_vl", "Qwen2VL", min_pixels=28 * 28, max_pixels=28 * 28 * 64),
    "packed in rows": lambda: pil("siglip2", "Siglip2", patch_size=14, max_num_patches=40, do_resize=False),
    "packed, channels last": lambda: pil("cosmos3_edge", "Cosmos3Edge", patch_size=14, do_resize=False),
    "small images": lambda: pil("paddleocr_vl", "PaddleOCRVL", size={"shortest_edge": 28**2, "longest_edge": 28**2 * 64}),
    "not normalised": lambda: pil("vit", "ViT", do_resize=False, do_normalize=False),
    "not rescaled": lambda: pil("vit", "ViT", do_resize=False, do_normalize=False, do_rescale=False),
}


@pytest.mark.parametrize("layout", WHOLE)
def test_without_resize_the_files_pixels_come_back(layout: str) -> None:
    processor = WHOLE[layout]()
    shown = (
        [photo(SIDE, SIDE, 1), photo(SIDE, 2 * SIDE, 2)] if "pack" in layout or "padded" in layout else [photo(SIDE, SIDE)] * 2
    )
    tensors = dict(processor(images=shown, return_tensors="pt"))
    for image, tiles in zip(shown, processed_images(tensors, processor, 2), strict=True):
        (tile,) = tiles
        assert tile.dtype == np.float32 and tile.shape == image.shape
        assert np.abs(tile - pixels(image)).max() < NEARLY
        (alone,) = Preprocessing(processor)(image)
        assert np.abs(alone - pixels(image)).max() < NEARLY


def test_tiles_of_the_internvl_kind_come_back_and_the_overview_behind_them() -> None:
    processor = pil("got_ocr2", "GotOcr2", size=square(SIDE), crop_to_patches=True, max_patches=2)
    image = photo(SIDE, 2 * SIDE)
    left, right, overview = Preprocessing(processor)(image)
    assert np.abs(np.concatenate([left, right], 1) - pixels(image)).max() < NEARLY and overview.shape == (SIDE, SIDE, 3)
    tensors = dict(processor(images=[image, photo(SIDE, SIDE)], return_tensors="pt"))
    assert [len(tiles) for tiles in processed_images(tensors, processor, 2)] == [3, 1]
    del tensors["num_patches"]
    with pytest.raises(InputError, match="Got 4 tiles of 2 images, and nothing says which are whose"):
        processed_images(tensors, processor, 2)


def test_tiles_that_come_in_a_tensor_of_their_own_belong_to_the_image() -> None:
    processor = pil("deepseek_ocr2", "DeepseekOcr2", size=square(SIDE), tile_size=SIDE)
    image = photo(SIDE, 2 * SIDE)
    overview, left, right = Preprocessing(processor)(image)
    assert np.abs(np.concatenate([left, right], 1) - pixels(image)).max() < NEARLY and overview.shape == (SIDE // 2, SIDE, 3)
    tensors = dict(processor(images=[photo(SIDE, SIDE), image], return_tensors="pt"))
    assert [len(tiles) for tiles in processed_images(tensors, processor, 2)] == [1, 3]


def test_tiles_of_the_llava_next_kind_come_back_without_empty_tiles_and_borders() -> None:
    grids = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE]]
    processor = pil("llava_next", "LlavaNext", size={"shortest_edge": SIDE}, crop_size=square(SIDE), image_grid_pinpoints=grids)
    wide, narrow = photo(SIDE, 2 * SIDE), photo(SIDE, SIDE - 16)
    first, second = processed_images(dict(processor(images=[wide, narrow], return_tensors="pt")), processor, 2)
    assert len(first) == 3 and len(second) == 2, "the empty tile that fills up the batch is left out"
    assert np.abs(np.concatenate(first[1:], 1) - pixels(wide)).max() < NEARLY
    assert second[1].shape == (SIDE, SIDE, 3), "the border is black like an image's could be"
    _, cut = Preprocessing(processor)(narrow)
    assert cut.shape == narrow.shape and np.abs(cut - pixels(narrow)).max() < NEARLY, "the ramp tells that it is none"


def test_what_is_padded_with_grey_is_cut_away() -> None:
    processor = pil("deepseek_vl", "DeepseekVL", size=square(96), min_size=14)
    (tile,) = Preprocessing(processor)(photo(48, 96))
    assert tile.shape == (48, 96, 3) and np.abs(tile - pixels(photo(48, 96))).max() < NEARLY


def test_patches_with_places_of_their_own_and_strips_come_back() -> None:
    image = photo(96, 144)
    for processor in (pil("gemma4", "Gemma4", do_resize=False), pil("minicpmv4_6", "MiniCPMV4_6")):
        (tile,) = Preprocessing(processor)(image)
        height, width = tile.shape[:2]
        whole = pixels(np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)))
        assert np.abs(tile - whole).max() < NEARLY


def test_a_whole_model_and_its_processor_give_the_same(llava: Mllm, qwen: Mllm) -> None:
    image = photo(128, 128)
    (tile,) = Preprocessing(llava)(image)
    assert np.abs(tile - pixels(image)).max() < NEARLY
    (packed,), (alone,) = Preprocessing(qwen)(image), Preprocessing(qwen.processor.image_processor)(image)
    assert np.array_equal(packed, alone) and packed.shape == (140, 140, 3)
    batch = llava.inputs([image, photo(128, 128, 5)], ["What?", "What is it?"])
    both = processed_images(batch.tensors, llava.processor.image_processor, 2)
    assert np.array_equal(both[0][0], tile) and np.abs(both[1][0] - pixels(photo(128, 128, 5))).max() < NEARLY


def test_what_cannot_be_put_back_together_is_refused_in_words() -> None:
    clip = pil("clip", "CLIP")
    with pytest.raises(InputError, match="Got tensors named input_ids; expected pixels under one of pixel_values"):
        processed_images({"input_ids": torch.zeros(1, 3)}, clip, 1)
    with pytest.raises(InputError, match="Got pixels of shape 1 x 7 x 13 for 1 image.*cannot be put back together"):
        processed_images({"pixel_values": torch.zeros(1, 7, 13)}, clip, 1)
    with pytest.raises(
        InputError, match="MobileViTImageProcessorPil makes of an image of 64 x 48 px cannot be put back together"
    ):
        Preprocessing(pil("mobilevit", "MobileViT"))(photo(48, 64))  # it turns red into blue
    with pytest.raises(InputError, match="cannot be put back together"):
        Preprocessing(pil("pix2struct", "Pix2Struct"))(photo(48, 64))  # it normalises by the image's own mean
    with pytest.raises(InputError, match=r"The processor rejects an image of shape 1 x 5000 x 3"):
        Preprocessing(pil("qwen2_vl", "Qwen2VL"))(photo(1, 5000))


def test_tiles_that_depend_on_the_content_are_refused() -> None:
    class Whimsical:
        """Shows a bright image twice."""

        def __call__(self, images: list[np.ndarray], return_tensors: str) -> dict[str, torch.Tensor]:
            (image,) = images
            times = 2 if image.mean() > 220 else 1
            return {"pixel_values": torch.from_numpy(pixels(image).transpose(2, 0, 1)).expand(times, -1, -1, -1)}

        do_rescale, rescale_factor = True, 1 / 255

    view = Preprocessing(Whimsical())
    assert len(view(photo(32, 32))) == 1
    with pytest.raises(InputError, match="makes 2 and 1 tiles of two images of the same size.*depend on the content"):
        view(np.full((32, 32, 3), 250, np.uint8))
