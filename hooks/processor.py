"""Processors without torchvision: the image path is all Snellen needs, a missing video path must not stop it."""

from __future__ import annotations

from typing import Any

from hooks.quiet import quiet


def load_processor(path: str, **options: Any) -> Any:
    """The processor of a checkpoint, by ``AutoProcessor`` or, where its video half needs torchvision, without that half.

    Without torchvision, processors with a video part (Qwen2-VL and later, LLaVA-OneVision, …) refuse to be built even for
    images. The fallback builds the same class from the tokenizer and the PIL image processor, with no video processor.

    Args:
        path: folder or hub id.
        **options: passed to ``from_pretrained`` (revision, trust_remote_code).

    Returns:
        The processor.
    """
    from transformers import AutoProcessor

    with quiet():
        try:
            return AutoProcessor.from_pretrained(path, **options)
        except (ImportError, AttributeError, ValueError, TypeError) as reason:
            return _without_video(path, reason, **options)


def _without_video(path: str, reason: Exception, **options: Any) -> Any:
    import transformers
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    name = PROCESSOR_MAPPING_NAMES.get(AutoConfig.from_pretrained(path, **options).model_type)
    if name is None:
        raise reason
    family = getattr(transformers, name)
    lenient = type(name, (family,), {"check_argument_for_proper_class": lambda self, argument, value: None})
    tokenizer = AutoTokenizer.from_pretrained(path, **options)
    images = AutoImageProcessor.from_pretrained(path, **options)
    template = getattr(tokenizer, "chat_template", None)
    return lenient(image_processor=images, tokenizer=tokenizer, video_processor=None, chat_template=template)


def describe(processor: Any) -> dict[str, str]:
    """Which classes resize and tokenise: a PIL and a torchvision backend resize slightly differently."""
    images = getattr(processor, "image_processor", None)
    return {
        "processor": type(processor).__name__,
        "image_processor": type(images).__name__,
        "tokenizer": type(getattr(processor, "tokenizer", processor)).__name__,
    }
