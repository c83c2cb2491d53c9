"""Results as JSON and back: plain values, arrays, and our own frozen dataclasses; a file can name nothing else and run nothing.

Format 1: ``{"snellen": 1, "result": …}``. What JSON does not know is an object with the one key ``~`` and its kind:
``{"~": "array", "dtype": "<f8", "shape": [2], "data": base64}``, ``tuple``, ``map`` (keys that are no words), ``float`` (nan, inf),
``result`` (module, class and fields).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import singledispatch
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from stimuli.errors import InputError

FORMAT = 1
DTYPE = re.compile(r"[<|](b1|[iu][1248]|f(2|4|8|16))")
"""The types of numbers that are written, as numpy names them."""
ROOMS = ("stimuli", "hooks", "probes", "tuning", "analysis", "snellen")


def dumps(result: Any) -> str:
    """A result as JSON.

    Raises:
        InputError: it holds something that is neither a value, an array nor one of our results.
    """
    return json.dumps({"snellen": FORMAT, "result": _out(result)}, ensure_ascii=False, allow_nan=False) + "\n"


def load_result(path: str | Path) -> Any:
    """The result that a file holds.

    Raises:
        InputError: no such file, or not one that ``Result.save`` wrote.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read a result from {path} ({error}). Expected a JSON file that .save(path) wrote.") from None
    try:
        return loads(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def loads(text: str) -> Any:
    """What ``dumps`` wrote, from its text.

    Raises:
        InputError: not such a text.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or set(found) != {"snellen", "result"}:
            raise InputError("This is no saved result. Expected a JSON file that .save(path) wrote.")
        if found["snellen"] != FORMAT:
            raise InputError(
                f"The result has format {found['snellen']!r}. Expected {FORMAT}. Open it with the version that wrote it."
            )
        return _in(found["result"])
    except InputError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
        binascii.Error,
    ) as error:
        raise InputError(f"The saved result is damaged ({type(error).__name__}: {error}). Save it again.") from None


@singledispatch
def _out(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        own = {one.name: _out(getattr(value, one.name)) for one in fields(value) if one.init}
        return {"~": "result", "module": type(value).__module__, "class": type(value).__qualname__, "fields": own}
    if value is None:
        return None
    raise InputError(
        f"A result holds a {type(value).__name__}, which cannot be saved. Expected numbers, text, arrays, lists, mappings and results."
    )


@_out.register(bool)
@_out.register(int)
@_out.register(str)
def _(value: Any) -> Any:
    return value


@_out.register
def _(value: float) -> Any:
    return float(value) if np.isfinite(value) else {"~": "float", "is": repr(float(value))}


@_out.register
def _(value: np.generic) -> Any:
    return _out(value.item())


@_out.register
def _(value: np.ndarray) -> Any:
    if value.dtype.kind == "U":
        return {"~": "words", "shape": list(value.shape), "data": value.ravel().tolist()}
    if value.dtype.kind not in "biuf":
        raise InputError(f"An array of {value.dtype} cannot be saved. Expected numbers, booleans or text.")
    little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    data = base64.b64encode(little.tobytes()).decode("ascii")
    return {"~": "array", "dtype": little.dtype.str, "shape": list(value.shape), "data": data}


@_out.register
def _(value: list) -> Any:
    return [_out(item) for item in value]


@_out.register(tuple)
@_out.register(set)
@_out.register(frozenset)
def _(value: Any) -> Any:
    items = value if isinstance(value, tuple) else sorted(value)
    return {"~": type(value).__name__, "items": [_out(item) for item in items]}


@_out.register
def _(value: Mapping) -> Any:
    if all(isinstance(key, str) for key in value) and "~" not in value:
        return {key: _out(item) for key, item in value.items()}
    return {"~": "map", "items": [[_out(key), _out(item)] for key, item in value.items()]}


@_out.register
def _(value: Path) -> Any:
    return str(value)


def _in(value: Any) -> Any:
    if isinstance(value, list):
        return [_in(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "~" not in value:
        return {key: _in(item) for key, item in value.items()}
    return _KINDS[value["~"]](value)


def _array(value: dict[str, Any]) -> np.ndarray:
    if not DTYPE.fullmatch(str(value["dtype"])):  # of other texts numpy makes records and objects, or raises what it likes
        raise InputError(f"The saved result has an array of {value['dtype']!r:.80}. Expected numbers. Save it again.")
    dtype = np.dtype(value["dtype"])
    return (
        np.frombuffer(base64.b64decode(value["data"], validate=True), dtype)
        .reshape(value["shape"])
        .astype(dtype.newbyteorder("="))
    )


def _result(value: dict[str, Any]) -> Any:
    """One of our dataclasses, by name; nothing outside our rooms is ever imported."""
    module, name = value["module"], value["class"]
    parts = module.split(".") if isinstance(module, str) else [""]
    ours = parts[0] in ROOMS and all(part.isidentifier() and not part.startswith("_") for part in parts)
    found = getattr(import_module(module), name, None) if ours and find_spec(module) is not None else None
    if not (isinstance(found, type) and is_dataclass(found) and found.__module__ == module):
        raise InputError(f"The saved result names {module}.{name}, which is no result of this version. Save it again with it.")
    return found(**{key: _in(item) for key, item in value["fields"].items()})


_KINDS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "array": _array,
    "words": lambda value: np.array(value["data"], str).reshape(value["shape"]),
    "float": lambda value: {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}[value["is"]],
    "tuple": lambda value: tuple(_in(item) for item in value["items"]),
    "set": lambda value: {_in(item) for item in value["items"]},
    "frozenset": lambda value: frozenset(_in(item) for item in value["items"]),
    "map": lambda value: {_in(key): _in(item) for key, item in value["items"]},
    "result": _result,
}
