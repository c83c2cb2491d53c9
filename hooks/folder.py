"""What a checkpoint's folder must be, looked at before a library opens anything in it; without torch, so that a typo is told at once."""

from __future__ import annotations

import json
from pathlib import Path

from stimuli.errors import InputError


def check_folder(path: str) -> None:
    """Refuse a path that cannot be a model: a folder without a config, or neither a folder nor a hub id."""
    folder = Path(path)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise InputError(
            f"The folder '{path}' has no config.json, so it is no checkpoint. Expected a folder written by "
            "save_pretrained (config.json, weights, tokenizer and processor files). Check the path."
        )
    if not folder.exists() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
        raise InputError(
            f"Unknown model '{path}': there is no such folder, and it is no hub id (owner/name). Expected 'embedded', "
            "'embedded-template', a local folder or a hub id. Check the spelling."
        )


def refuse_outside(path: str) -> None:
    """Refuse a local checkpoint whose index names weights outside of its folder.

    Raises:
        InputError: it does, or the index is damaged.
    """
    for index in Path(path).glob("*.index.json") if Path(path).is_dir() else ():
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            wrong = sorted(str(name) for name in named if Path(name).name != name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{index} is no index of weights ({first_line(error)}) Expected one as save_pretrained writes it. Fetch the checkpoint anew."
            ) from error
        if wrong:
            raise InputError(
                f"{index} names weights outside of its folder ('{wrong[0]:.200}'). Expected names of files beside it. Do not trust it."
            )


def refuse_pickle(path: str) -> None:
    """Refuse a local folder whose weights are pickled: opening a pickle runs whatever code it holds."""
    folder = Path(path)
    pickled = [file.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in folder.glob(kind)]
    if folder.is_dir() and pickled and not any(folder.glob("*.safetensors")):
        raise InputError(no_safetensors(path, ", ".join(sorted(pickled)[:3])))


def no_safetensors(path: str, files: str = "no safetensors") -> str:
    """What is said of weights that are pickles."""
    return (
        f"'{path}' holds its weights as pickles ({files}), which can run any code when opened. Expected *.safetensors. If you trust "
        f'where it comes from, convert it once: python -c "from transformers import AutoModelForImageTextToText as M; '
        f"M.from_pretrained('{path}', use_safetensors=False).save_pretrained('converted')\", and copy its tokenizer and processor "
        "files beside it."
    )


def first_line(error: Exception) -> str:
    """An error's kind and first line."""
    line = str(error).strip().split("\n")[0][:200].rstrip(".")
    return f"{type(error).__name__}: {line}."
