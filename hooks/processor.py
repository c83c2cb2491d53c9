"""Processors without torchvision: the image path is all Snellen needs, a missing video path must not stop it."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from typing import Any

from hooks.folder import first_line
from hooks.quiet import quiet
from stimuli.errors import InputError

PIXELS = ("pixel_values", "pixel_values_images", "flattened_patches")
"""Under which name a processor hands over the image, whatever the family."""
VIDEO_ONLY = {"num2words": str}
"""Functions that a processor's module imports for video alone, with what stands in for them where they are missing."""


class _NoVideo:
    """Stands for a video processor where there is none: every setting of it is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def load_processor(path: str, **options: Any) -> Any:
    """The processor of a checkpoint, by ``AutoProcessor`` or, where its video half needs torchvision, without that half.

    Without torchvision, processors with a video part (Qwen2-VL and later, LLaVA-OneVision, …) refuse to be built even for
    images. The fallback builds the same class from the tokenizer, the PIL image processor and the stored settings.

    Args:
        path: folder or hub id.
        **options: passed to ``from_pretrained`` (revision, trust_remote_code).

    Returns:
        The processor.

    Raises:
        InputError: tokenizer or processor files are missing or broken.
    """
    from transformers import AutoProcessor

    with quiet():
        try:
            return AutoProcessor.from_pretrained(path, **options)
        except Exception as reason:  # of whatever kind the library raises it
            try:
                return _without_video(path, reason, **options)
            except Exception as error:
                raise InputError(
                    f"The processor of '{path}' could not be loaded: {first_line(error)} Expected tokenizer, "
                    "preprocessor_config.json or processor_config.json beside the weights. Copy them from the original "
                    "checkpoint, or give your own as processor=."
                ) from error


def _without_video(path: str, reason: Exception, **options: Any) -> Any:
    from transformers import AutoConfig, ProcessorMixin
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    stored = ProcessorMixin.get_processor_dict(path, **options)[0]
    name = stored.get("processor_class") or PROCESSOR_MAPPING_NAMES.get(AutoConfig.from_pretrained(path, **options).model_type)
    if name is None:
        raise reason
    kind = _processor_class(name)
    module = sys.modules[kind.__module__]
    for function, stand_in in VIDEO_ONLY.items():
        if getattr(module, function, True) is None:
            setattr(module, function, stand_in)
    lenient = type(name, (kind,), {"check_argument_for_proper_class": lambda self, argument, value: None})
    parts = {part: _part(part, path, options) for part in kind.get_attributes()}
    known = set(inspect.signature(kind.__init__).parameters) - set(parts)
    return lenient(**parts, **{key: value for key, value in stored.items() if key in known})


def _part(part: str, path: str, options: dict[str, Any]) -> Any:
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer

    if part == "video_processor":
        return _NoVideo()
    if part.endswith("tokenizer"):
        inner = {"subfolder": part} if part != "tokenizer" else {}
        return AutoTokenizer.from_pretrained(path, **options, **inner)
    kind = AutoImageProcessor if part == "image_processor" else AutoFeatureExtractor
    return kind.from_pretrained(path, **options)


def _processor_class(name: str) -> Any:
    """The class itself; one whose module imports the torchvision image processor gets that one's PIL twin instead."""
    import transformers

    found = getattr(transformers, name)
    if not getattr(found, "is_dummy", False):
        return found
    stem = re.sub("Processor$", "", name).lower()
    package = f"transformers.models.{stem}"
    missing = f"{package}.image_processing_{stem}"
    sys.modules[missing] = importlib.import_module(f"{package}.image_processing_pil_{stem}")
    try:
        return getattr(importlib.import_module(f"{package}.processing_{stem}"), name)
    finally:
        del sys.modules[missing]


def describe(processor: Any) -> dict[str, Any]:
    """Which classes resize and tokenise, and how they resize: backends and settings change what the model sees."""
    images = getattr(processor, "image_processor", None)
    kind = type(images).__name__
    backend = "pil" if kind.endswith("Pil") else "torchvision" if "torchvision" in str(type(images).__mro__) else "other"
    settings = {
        name: _plain(getattr(images, name, None)) for name in ("do_resize", "size", "do_center_crop", "crop_size", "resample")
    }
    return {
        "processor": type(processor).__name__,
        "image_processor": kind,
        "image_backend": backend,
        "image_settings": {name: value for name, value in settings.items() if value is not None},
        "tokenizer": type(getattr(processor, "tokenizer", processor)).__name__,
    }


def _plain(value: Any) -> Any:
    """A setting as JSON can hold it."""
    if value is None or isinstance(value, bool | int | float | str):
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    return (
        {key: _plain(item) for key, item in vars(value).items() if item is not None}
        if hasattr(value, "__dict__")
        else str(value)
    )
