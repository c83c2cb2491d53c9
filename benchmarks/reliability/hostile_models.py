"""Checkpoints from anyone: pickles, code, paths that leave, weights that lie, configurations that ask for the moon."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.reliability.mutate import mutated
from benchmarks.reliability.watch import CANARY, Case, command

Change = Callable[[Path], Any]
CODE = f"import os\nopen(os.environ['{CANARY}'], 'w').close()\n"


class Running:
    """What runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """What unpickling calls."""
        return (exec, (CODE,))


@cache
def good() -> Path:
    """A small random LLaVA, as saved."""
    from snellen.embedded import architecture, data

    folder = Path(tempfile.mkdtemp(prefix="hostile-model-"))
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = dict(architecture.VISION)
    try:
        architecture.VISION.update(sizes)
        model = architecture.model(3, sizes)
    finally:
        architecture.VISION.update(vision)
    architecture.save(model, architecture.processor(architecture.tokenizer(data.sentences())), folder)
    return folder


prepare = good


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """By hand, and so many with a file that was good."""
    for name, change in _by_hand().items():
        yield Case("checkpoints", name, _writer(change), _load)
        if name in ("pickled weights", "remote code", "nested config", "no config"):
            yield Case(
                "checkpoints", f"stages: {name}", _writer(change), lambda folder, out: command("stages", folder, "--prove")
            )
    yield Case(
        "checkpoints", "pickled adapter", _writer(_adapter), lambda folder, out: _load(folder, out, adapter=folder / "adapter")
    )
    rng = random.Random(seed)
    files = [path.name for path in sorted(good().iterdir()) if path.is_file()]
    for i in range(count):
        name = files[i % len(files)]
        content = mutated((good() / name).read_bytes(), rng)
        yield Case(
            "checkpoints",
            f"{i}-{name}",
            _writer(lambda folder, name=name, content=content: (folder / name).write_bytes(content)),
            _load,
        )


def _writer(change: Change) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        made = folder / "model"
        shutil.copytree(good(), made)
        change(made)
        return made

    return write


def _load(folder: Path, out: Path, **options: Any) -> None:
    from hooks.load import load

    load(folder, device="cpu", **options)


# ---- what is done to it ----------------------------------------------------------------------------------------------


def _edit(name: str, **changed: Any) -> Change:
    """Keys of a JSON file; ``a__b`` is b within a."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        for key, value in changed.items():
            *above, last = key.split("__")
            place = content
            for step in above:
                place = place[step]
            place[last] = value
        (folder / name).write_text(json.dumps(content))

    return change


def _raw(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def _weights(alter: Callable[[dict[str, Any]], Any]) -> Change:
    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        alter(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return change


def _pickled(name: str, keep: bool = False) -> Change:
    def change(folder: Path) -> None:
        if not keep:
            (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Running()))

    return change


def _index(target: str) -> Change:
    def change(folder: Path) -> None:
        from safetensors.torch import load_file

        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        named = dict.fromkeys(load_file(folder.parent / "outside.safetensors"), target)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": named}))

    return change


def _code(folder: Path) -> None:
    """Code of its own in every place that may name some."""
    (folder / "evil.py").write_text(CODE + "class Evil: pass\n")
    (folder / "__init__.py").write_text(CODE)
    automatic = {name: "evil.Evil" for name in ("AutoConfig", "AutoModel", "AutoModelForImageTextToText", "AutoProcessor", "AutoTokenizer",
                                                "AutoImageProcessor")}  # fmt: skip
    for file in ("config.json", "processor_config.json", "tokenizer_config.json"):
        if (folder / file).is_file():
            _edit(file, auto_map=automatic)(folder)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(CODE)


def _alone(folder: Path) -> None:
    """A model that exists in its own code alone."""
    _code(folder)
    _edit("config.json", model_type="evil")(folder)


def _adapter(folder: Path) -> None:
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    (folder / "adapter" / "adapter_model.bin").write_bytes(pickle.dumps(Running()))


def _own_adapter(folder: Path) -> None:
    """An adapter beside the weights, which the library would put on unasked; pickled."""
    _adapter(folder)
    for file in (folder / "adapter").iterdir():
        file.rename(folder / file.name)


def _by_hand() -> dict[str, Change]:
    import torch

    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    template = (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x{% endfor %}{% endfor %}{% endfor %}"
    )
    return {
        "as it was": lambda folder: None,
        "no config": lambda folder: (folder / "config.json").unlink(),
        "config: a list": _raw("config.json", b"[1, 2]"),
        "config: not JSON": _raw("config.json", b"\0\0"),
        "nested config": _raw("config.json", b'{"model_type": "llava", "text_config": ' + b"[" * 100_000),
        "unknown kind": _edit("config.json", model_type="none_such"),
        "no kind": _edit("config.json", model_type=None),
        "text alone": _edit("config.json", model_type="llama"),
        "giant vocabulary": _edit("config.json", text_config__vocab_size=10**9),
        "giant width": _edit("config.json", text_config__hidden_size=10**6),
        "endless layers": _edit("config.json", text_config__num_hidden_layers=10**6),
        "negative width": _edit("config.json", text_config__hidden_size=-32),
        "no heads": _edit("config.json", text_config__num_attention_heads=0),
        "words for numbers": _edit("config.json", vision_config__hidden_size="many"),
        "other image token": _edit("config.json", image_token_index=5),
        "layer that is not there": _edit("config.json", vision_feature_layer=99),
        "pickled weights": _pickled("pytorch_model.bin"),
        "pickled .pt": _pickled("model.pt"),
        "pickle beside": _pickled("pytorch_model.bin", keep=True),
        "pickle called safetensors": lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps(Running())),
        "pickled adapter beside": _own_adapter,
        "remote code": _code,
        "remote code alone": _alone,
        "index that leaves": _index("../outside.safetensors"),
        "index of nothing": _index("none.safetensors"),
        "index of the system": _index("/etc/passwd"),
        "index: a list": _raw("model.safetensors.index.json", b"[]"),
        "weights: link out": lambda folder: (
            (folder / "model.safetensors").unlink(),
            (folder / "model.safetensors").symlink_to("/etc/passwd"),
        ),
        "weights: link to zeros": lambda folder: (
            (folder / "model.safetensors").unlink(),
            (folder / "model.safetensors").symlink_to("/dev/zero"),
        ),
        "weights: empty": _raw("model.safetensors", b""),
        "weights: header of 2^63": _raw("model.safetensors", struct.pack("<Q", 2**63) + header),
        "weights: header of 100 MB": _raw("model.safetensors", struct.pack("<Q", 100_000_000) + header),
        "weights: beyond the file": _raw("model.safetensors", struct.pack("<Q", len(header)) + header),
        "weights: overlapping": _raw("model.safetensors", struct.pack("<Q", 2 * len(header)) + header * 2 + bytes(8)),
        "weights: NaN": _weights(lambda own: own[sorted(own)[0]].fill_(float("nan"))),
        "weights: infinity": _weights(lambda own: own[sorted(own)[3]].view(-1)[:1].fill_(float("inf"))),
        "weights: one missing": _weights(lambda own: own.pop(sorted(own)[4])),
        "weights: none": _weights(lambda own: own.clear()),
        "weights: one more": _weights(lambda own: own.update({"../../x": torch.zeros(3)})),
        "weights: other shape": _weights(lambda own: own.update({sorted(own)[2]: torch.zeros(7)})),
        "weights: whole numbers": _weights(lambda own: own.update({k: v.to(torch.int8) for k, v in own.items()})),
        "giant images": _edit("processor_config.json", image_processor__size={"shortest_edge": 200_000}),
        "negative images": _edit("processor_config.json", image_processor__size={"shortest_edge": -5}),
        "template: endless": _raw("chat_template.jinja", template.encode()),
        "template: power": _raw("chat_template.jinja", b"{{ 9 ** 9 ** 9 }}"),
        "template: doubled": _raw(
            "chat_template.jinja",
            b"{% set own = namespace(x='ab') %}{% for a in range(40) %}{% set own.x = own.x ~ own.x %}{% endfor %}{{ own.x }}",
        ),
        "template: squared": _raw(
            "chat_template.jinja",
            b"{% set own = namespace(x=9) %}{% for a in range(40) %}{% set own.x = own.x * own.x %}{% endfor %}{{ own.x % 7 }}",
        ),
        "template: padded": _raw("chat_template.jinja", b"{{ 'x' * 10000000000 }}"),
        "template: long": _raw("chat_template.jinja", b"{% for a in range(50000) %}{{ 'x' * 100 }}{% endfor %}"),
        "template: itself": _raw("chat_template.jinja", b"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"),
        "template: words for numbers": _raw("chat_template.jinja", b"{{ 'x' + 1 }}"),
        "template: number": _raw("chat_template.jinja", b"{{ messages[0] + messages[9] }}"),
        "template: escape": _raw("chat_template.jinja", b"{{ ''.__class__.__mro__[1].__subclasses__() }}"),
        "template: open": _raw("chat_template.jinja", b"{% for x in %}"),
        "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
        "tokenizer: empty": _raw("tokenizer.json", b"{}"),
    }
