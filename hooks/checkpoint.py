"""Weights from disk or hub: safetensors only, quantised if asked for, adapters of PEFT, refusals in words."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from hooks.folder import first_line, no_safetensors
from hooks.quiet import quiet
from stimuli.errors import InputError

QUANTIZATIONS = ("4bit", "8bit")
LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "depth", "encoder_layers", "decoder_layers")
"""What configurations call the number of their layers."""
REMOTE = ("AutoModelForImageTextToText", "AutoModelForVision2Seq", "AutoModelForCausalLM", "AutoModel")
"""Under which auto class a repository with code of its own may offer its model, in order of preference."""


@dataclass(frozen=True)
class Source:
    """Where a checkpoint comes from."""

    path: str
    revision: str | None = None
    trust_remote_code: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """For ``from_pretrained``."""
        revision = {"revision": self.revision} if self.revision else {}
        return {"trust_remote_code": self.trust_remote_code, **revision}


def weights(source: Source, dtype: str | torch.dtype | None, device: str, device_map: Any, quantization: str | None) -> Any:
    """The model of a checkpoint with its weights; see ``hooks.load.load`` for the arguments.

    Raises:
        InputError: see ``hooks.load.load``.
    """
    config = config_of(source)
    chosen = dtype or ("float32" if device == "cpu" and device_map is None else "auto")
    if isinstance(chosen, str) and chosen != "auto" and not isinstance(getattr(torch, chosen, None), torch.dtype):
        raise InputError(f"Unknown dtype '{chosen}'. Expected float32, bfloat16 or float16. Use one of these.")
    _refuse_endless(source.path, config)
    options = {**source.options, "dtype": chosen, "device_map": device_map, "use_safetensors": True}
    if quantization is not None:
        options |= {"quantization_config": _quantized(quantization), "device_map": device_map or device}
    try:
        with quiet():
            model, found = class_of(source, config).from_pretrained(source.path, output_loading_info=True, **options)
    except InputError:
        raise
    except Exception as error:  # of whatever kind the library raises it for broken files
        if "safetensors" in str(error) and "file named" in str(error) and not Path(source.path).is_dir():
            raise InputError(no_safetensors(source.path)) from error
        raise InputError(
            f"The checkpoint '{source.path}' could not be loaded: {first_line(error)} Expected weights in safetensors, tokenizer "
            "and processor files that fit its config.json. Save it again with save_pretrained, or check the revision; if a "
            "package is missing, install it."
        ) from error
    _refuse_random(source.path, found)
    _refuse_not_finite(source.path, model)
    placed = options["device_map"] is not None or quantization_of(model) is not None
    return model if placed else model.to(device)


def _refuse_endless(path: str, config: Any) -> None:
    """Refuse a local checkpoint whose configuration asks for more layers than there are tensors: building them takes hours.

    Raises:
        InputError: it does.
    """
    files = sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else []
    try:
        there = sum(len(_names(file)) for file in files)
    except (OSError, SafetensorError):  # loading tells
        return
    most = max(_layers(config.to_dict()), default=0)
    if files and most > there:
        raise InputError(
            f"The configuration of '{path}' asks for {most} layers, and its weights hold {there} tensors. Expected at least one for each. "
            "Fetch config.json and weights anew."
        )


def _names(file: Path) -> list[str]:
    with safe_open(file, "pt") as handle:
        return list(handle.keys())


def _layers(content: Mapping[str, Any]) -> Iterator[int]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _layers(value)
        elif key in LAYERS and isinstance(value, int):
            yield value


def _refuse_random(path: str, found: Any) -> None:
    """Refuse a model of which a part was not in its checkpoint: the library fills it with random numbers.

    Raises:
        InputError: there is such a part.
    """
    missing = sorted(found.get("missing_keys", ()))
    if missing:
        raise InputError(
            f"The checkpoint '{path}' lacks {len(missing)} weights of its model (first: {missing[0]}), which would be random. Expected all of "
            "them. Save it again with save_pretrained, or fetch it anew; an adapter goes with adapter=."
        )


def _refuse_not_finite(path: str, model: Any) -> None:
    """Refuse weights that are NaN or infinite: everything measured behind them would be so, too.

    Raises:
        InputError: there are some.
    """
    plain = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    for name, value in model.named_parameters():
        if value.dtype in plain and not value.is_meta and value.numel():
            if not torch.isfinite(torch.stack(torch.aminmax(value.detach()))).all():
                raise InputError(
                    f"The checkpoint '{path}' holds NaN or infinity in {name}. Expected finite weights. Fetch it anew, or look at how it was "
                    "trained; float16 overflows where bfloat16 does not (dtype=)."
                )


def usable(device: str | None) -> str:
    """The device to load to: as given, by default the GPU where there is one.

    Raises:
        InputError: there is no such device here.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"There is no device '{device}' here ({first_line(error)}) Expected cpu, or cuda, cuda:1, mps where the machine has one. "
            "Leave it out to take the best there is."
        ) from error
    return device


def config_of(source: Source) -> Any:
    """The configuration of a checkpoint.

    Raises:
        InputError: there is none that can be read, or it asks for code that is not trusted.
    """
    from transformers import AutoConfig

    try:
        with quiet():
            return AutoConfig.from_pretrained(source.path, **source.options)
    except Exception as error:  # of whatever kind the library raises it for broken files
        advice = "Check the spelling."
        if "trust_remote_code" in str(error):
            advice = "This repository brings code of its own: read it, then say trust_remote_code=True."
        raise InputError(
            f"'{source.path}' is not a model that can be loaded: {first_line(error)} Expected 'embedded', 'embedded-template', a "
            f"local folder with config.json, or the id of a hub repository that can be reached. {advice}"
        ) from error


def class_of(source: Source, config: Any) -> Any:
    """The auto class to load: the library's, or under ``trust_remote_code`` the one the repository offers.

    Raises:
        InputError: the model takes no images and text.
    """
    import transformers
    from transformers import AutoModelForImageTextToText

    if type(config) in AutoModelForImageTextToText._model_mapping:
        return AutoModelForImageTextToText
    offered = getattr(config, "auto_map", None) or {}
    if source.trust_remote_code:
        for name in REMOTE:
            if name in offered and hasattr(transformers, name):
                return getattr(transformers, name)
    raise InputError(
        f"'{source.path}' holds a {config.model_type} model, which does not take images and text to text. Expected an "
        "image-text-to-text model such as LLaVA or Qwen2-VL. Give another folder, or trust_remote_code=True if the repository "
        "brings such a model along."
    )


def _quantized(quantization: str) -> Any:
    if quantization not in QUANTIZATIONS:
        raise InputError(
            f"Unknown quantization '{quantization}'. Expected one of {', '.join(QUANTIZATIONS)}. Use one of these."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            f"quantization='{quantization}' needs bitsandbytes, which is not installed. Expected it beside torch. Run "
            "`pip install bitsandbytes`, or load without quantization."
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=quantization == "4bit", load_in_8bit=quantization == "8bit")


def quantization_of(model: Any) -> str | None:
    """How a model's weights are quantised, or None."""
    found = getattr(getattr(model, "config", None), "quantization_config", None)
    if found is None:
        return None
    method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
    return str(getattr(method, "value", method))


def with_adapter(model: Any, adapter: str) -> Any:
    """The model with a PEFT adapter: merged into the weights, or on top of them where they are quantised.

    Raises:
        InputError: no adapter there, a pickled one, or one that does not fit.
    """
    from peft import PeftModel

    folder = Path(adapter)
    if folder.is_dir() and not (folder / "adapter_model.safetensors").is_file():
        raise InputError(
            f"The folder '{adapter}' has no adapter_model.safetensors. Expected a PEFT adapter saved by save_pretrained; a pickled "
            "adapter_model.bin is not opened. Save it again with safe_serialization=True."
        )
    try:
        wrapped = PeftModel.from_pretrained(model, adapter)
    except Exception as error:  # of whatever kind the library raises it for broken files
        raise InputError(
            f"The adapter '{adapter}' could not be put on {type(model).__name__}: {first_line(error)} Expected a PEFT adapter "
            "trained on this model. Check base_model_name_or_path in its adapter_config.json."
        ) from error
    return wrapped if quantization_of(model) is not None else wrapped.merge_and_unload()
