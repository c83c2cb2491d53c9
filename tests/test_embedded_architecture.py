"""The patients are genuine LLaVA folders."""

import numpy as np
import pytest
import torch

from snellen.embedded import PATIENTS, architecture, data, folder


@pytest.mark.parametrize("patient", PATIENTS)
def test_a_patient_loads_by_plain_transformers_and_is_small(patient: str) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder(patient))
    processor = AutoProcessor.from_pretrained(folder(patient))
    assert type(model).__name__ == "LlavaForConditionalGeneration" and model.dtype == torch.float32
    size = sum(path.stat().st_size for path in folder(patient).iterdir())
    assert size < 8 * 2**20
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    content = [{"type": "image"}, {"type": "text", "text": "What does this image show?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert text == architecture.prompt("What does this image show?")
    batch = processor(images=[image], text=[text], return_tensors="pt")
    assert int((batch["input_ids"] == model.config.image_token_id).sum()) == architecture.IMAGE_TOKENS
    assert torch.equal(batch["pixel_values"], architecture.pixel_values(image[None])), "the pixels must pass unresized"
    with torch.no_grad():
        assert torch.isfinite(model(**batch).logits).all()


def test_every_option_of_the_distortion_question_is_one_token_and_any_text_is_encodable() -> None:
    tokenizer = architecture.tokenizer(data.sentences())
    for word in (*data.CLASSES, *data.QUALITIES):
        assert len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) == 1
    text = " a zebra façade 象 with <b>"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
