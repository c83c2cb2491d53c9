"""Looks at what Snellen runs on: what is there, what is broken, and what is missing for what. Nothing is changed."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from snellen import embedded
from snellen.version import VERSION

State = Literal["ok", "missing", "broken", "note"]
DIGESTS = {
    "embedded": "3d864c139d77f27fb2aa4fdd0d3d07554425c9bfe74008aefaffdf4de5468816",
    "embedded-template": "711494366db7709e9008e68216d402ea4727485f3d5b031bb74571a7e27bf203",
}
"""SHA-256 over names and contents of the files of each packaged model (``digest``)."""
OPTIONAL = {
    "torchvision": "video halves of processors and towers from timm (Gemma 3n); images are processed without it",
    "bitsandbytes": "loading with quantization=4bit or 8bit on a CUDA GPU",
    "flash_attn": "models whose own code asks for it; attention runs by torch's own kernels without it",
    "datasets": "sets that Hugging Face's datasets saved, --images hf:DIR; all other readers do without",
    "pandas": "tables as data frames, pandas.DataFrame(result.table); CSV and JSON are written without it",
    "ipykernel": "the notebooks",
}
"""Modules that nothing of ours needs, and for what they are good."""
EXTRAS = {"dev": "tests, linting and the notebooks", "docs": "building the documentation"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")
LITTLE_MEMORY, LITTLE_DISK = 2.0, 1.0
"""In GB: a demo exam takes about 1 GB of either; models and activations of your own more."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    """``ok``; ``broken``: Snellen cannot work so; ``missing``: something optional is not there; ``note``: to be known."""
    found: str
    note: str = ""
    """What to do, or for what it is needed."""


def checks(online: bool = False) -> Iterator[Check]:
    """Look at one thing after the other; torch is imported after everything that needs no import.

    Args:
        online: also ask whether the model hub can be reached.
    """
    yield Check("snellen", "ok", VERSION, str(Path(__file__).resolve().parent))
    yield Check("python", "ok", platform.python_version(), sys.executable)
    yield Check("platform", "ok", platform.platform(), platform.machine())
    yield _caught("processor", _processor)
    yield _caught("memory", _memory)
    yield _caught("disk", _disk)
    yield _caught("writing", _writing)
    for name in embedded.PATIENTS:
        yield _caught(f"model {name}", lambda name=name: _packaged(name))  # type: ignore[misc]
    yield from _packages()
    yield from _optional()
    yield (
        _hub()
        if online
        else Check("model hub", "note", "not asked", "--online asks; local folders and the packaged models need none")
    )
    yield from _torch()
    yield _caught("transformers", _transformers)


def _caught(name: str, look: Callable[[], Check]) -> Check:
    """A check that cannot even be made is broken."""
    try:
        return look()
    except Exception as error:
        return Check(name, "broken", f"{type(error).__name__}: {error}".splitlines()[0])


def _processor() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    said = "".join(f", {name}={value}" for name, value in threads.items())
    return Check("processor", "ok", f"{usable} of {os.cpu_count()} cores usable{said}")


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    most, free, within = memory.total, memory.available, ""
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and limit.read_text().strip().isdecimal() and int(limit.read_text()) < most:
        most, within = int(limit.read_text()), " (limit of the container)"
        free = min(free, most - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    little = free < LITTLE_MEMORY * 1e9
    return Check("memory", "note" if little else "ok", f"{free / 1e9:.1f} GB of {most / 1e9:.1f} GB free{within}",
                 "little: end other programs, or lower --batch-size" * little)  # fmt: skip


def _disk() -> Check:
    usage = shutil.disk_usage(".")
    little = usage.free < LITTLE_DISK * 1e9
    return Check("disk", "note" if little else "ok", f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB free in {Path.cwd()}",
                 "little: give --out elsewhere" * little)  # fmt: skip


def _writing() -> Check:
    """Runs are written below the working directory unless ``--out`` says otherwise."""
    try:
        with tempfile.TemporaryFile(dir="."):
            return Check("writing", "ok", f"{Path.cwd()} can be written")
    except OSError as error:
        return Check("writing", "note", f"{Path.cwd()}: {error.strerror}", "give --out in a folder that can be written")


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the files in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            found.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _packaged(name: str) -> Check:
    folder = embedded.folder(name)
    if digest(folder) != DIGESTS[name]:
        return Check(f"model {name}", "broken", f"{folder} is not as it was packaged", "install Snellen again")
    return Check(f"model {name}", "ok", "every file as packaged (SHA-256)")


# ---- packages --------------------------------------------------------------------------------------------------------


def _packages() -> Iterator[Check]:
    """Dependencies against the ranges of the package's metadata."""
    try:
        from packaging.requirements import Requirement

        wanted = [Requirement(text) for text in metadata.requires("snellen") or ()]
    except (ImportError, metadata.PackageNotFoundError) as error:
        yield Check("packages", "note", f"ranges unknown ({error})", "install Snellen with pip to have them checked")
        return
    for need in wanted:
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            yield package(need.name, need.specifier)
    for extra in metadata.metadata("snellen").get_all("Provides-Extra") or ():
        own = [need.name for need in wanted if need.marker is not None and need.marker.evaluate({"extra": extra})]
        absent = [name for name in own if version(name) is None]
        note = f"{', '.join(absent)}: pip install 'snellen[{extra}]' for {EXTRAS.get(extra, extra)}" if absent else ""
        yield Check(f"extra {extra}", "missing" if absent else "ok", f"{len(own) - len(absent)} of {len(own)} installed", note)


def package(name: str, range_: Any) -> Check:
    """A dependency and its version.

    Args:
        name: of the distribution.
        range_: ``packaging.specifiers.SpecifierSet`` that the version has to be in.
    """
    found = version(name)
    if found is None:
        return Check(name, "broken", "not installed", f"pip install '{name}{range_}'")
    if not range_.contains(found, prereleases=True):
        return Check(name, "broken", found, f"needed is {range_}: pip install '{name}{range_}'")
    return Check(name, "ok", found, str(range_))


def version(name: str) -> str | None:
    """The installed version of a distribution; None if there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _optional() -> Iterator[Check]:
    for module, use in OPTIONAL.items():
        there = find_spec(module) is not None
        yield Check(
            module, "ok" if there else "missing", (version(module) or "installed") if there else "not installed", f"for {use}"
        )
    browser = next((name for name in BROWSERS if shutil.which(name)), None)
    yield Check(
        "browser", "ok" if browser else "missing", browser or "none on the path", "for snellen view --open; reports are files"
    )
    git = shutil.which("git")
    yield Check("git", "ok" if git else "missing", git or "none on the path", "for the commit of a checkout in the provenance")


# ---- what has to be imported or asked --------------------------------------------------------------------------------


def _hub() -> Check:
    """Whether the hub answers within five seconds."""
    place = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return Check("model hub", "note", "HF_HUB_OFFLINE is set", "models come from the cache or from folders alone")
    try:
        with urllib.request.urlopen(urllib.request.Request(place, method="HEAD"), timeout=5):
            return Check("model hub", "ok", f"{place} answers")
    except (OSError, ValueError) as error:
        return Check(
            "model hub", "missing", f"{place}: {error}", "for hub ids; local folders and the packaged models need none"
        )


def _torch() -> Iterator[Check]:
    """The build of torch and its devices."""
    try:
        import torch
    except Exception as error:
        yield Check(
            "device", "broken", f"torch cannot be imported: {error}".splitlines()[0], "install it anew: https://pytorch.org"
        )
        return
    yield Check("device cpu", "ok", f"{torch.get_num_threads()} threads; {dtypes('cpu')}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield _caught(f"device cuda:{index}", lambda index=index: _cuda(index))  # type: ignore[misc]
    elif shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists():
        yield Check("device cuda", "note", f"a driver is here, but torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU",
                    "install a CUDA build of torch that suits the driver: https://pytorch.org")  # fmt: skip
    else:
        yield Check("device cuda", "note", "none", "the packaged models need none; a 7B model does")
    if torch.backends.mps.is_available():
        yield Check("device mps", "ok", dtypes("mps"))


def _cuda(index: int) -> Check:
    import torch

    free, most = torch.cuda.mem_get_info(index)
    about = torch.cuda.get_device_properties(index)
    return Check(f"device cuda:{index}", "ok", f"{about.name}, {free / 1e9:.1f} GB of {most / 1e9:.1f} GB free; {dtypes(f'cuda:{index}')}",
                 f"compute capability {about.major}.{about.minor}, CUDA {torch.version.cuda}")  # fmt: skip


def dtypes(device: str) -> str:
    """The kinds of numbers that a device multiplies, found by trying."""
    import torch

    found = []
    for name in ("float32", "bfloat16", "float16"):
        try:
            one = torch.ones(8, 8, dtype=getattr(torch, name), device=device)
            if float((one @ one)[0, 0]) == 8:
                found.append(name)
        except (RuntimeError, TypeError):
            continue
    return ", ".join(found)


def _transformers() -> Check:
    from transformers import AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

    return Check("transformers", "ok", f"{AutoModelForImageTextToText.__name__} knows {len(KNOWN)} families")
