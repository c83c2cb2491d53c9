"""Calls about a batch taken apart into calls about single images, and their outputs put together again: by rules that are tried."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from hooks.reuse import PLAIN

NEAR = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""How far one image's features may be from those it has in a batch, relative to their size (own and root mean square): other kernels
round otherwise. In bf16, and under autocast to it, that is 5 %: a dependence on the batch that is smaller goes unnoticed there."""
MOST = 40
"""Pieces (crops) per stimulus, above which a call is not taken apart."""

Path = tuple[Any, ...]
"""Where in nested containers something is."""
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Unfit(Exception):  # noqa: N818 - a finding, not an error
    """Why something cannot be remembered, in words."""


def cut_up(call: Call, stimuli: int) -> list[Call]:
    """A call about a batch as calls about one image each (or about one crop, where only those can be told apart).

    A cut in another place than between stimuli does no harm: pieces are known by what is in them, and proven by their outputs.

    Raises:
        Unfit: the arguments cannot be cut.
    """
    args, kwargs = call
    values = [*args, *kwargs.values()]
    lengths = {len(leaf) for _, leaf in tensors_in(values) if leaf.ndim}
    for count in dict.fromkeys([stimuli, *sorted(lengths)]):
        if count in lengths and count <= MOST * stimuli:
            cut = [_cut(value, count, values) for value in values]
            if all(len(parts) == count for parts in cut):
                rows = zip(*cut, strict=True)
                return [(row[: len(args)], dict(zip(kwargs, row[len(args) :], strict=True))) for row in rows]
    raise Unfit("its arguments cannot be cut into those of single images")


def _cut(value: Any, count: int, values: Sequence[Any]) -> Sequence[Any]:
    """One argument in as many parts, by row, or as another argument counts the rows (grids); empty if it cannot be."""
    if isinstance(value, list | tuple) and any(True for _ in tensors_in(value)):
        return [value[i : i + 1] for i in range(count)] if len(value) == count else []
    if not isinstance(value, torch.Tensor) or not value.ndim:
        return [value] * count
    if len(value) == count:
        return value.split(1)
    for other in values:
        if isinstance(other, torch.Tensor) and other.ndim in (1, 2) and len(other) == count and _whole(other):
            rows = other.prod(1) if other.ndim == 2 else other
            if int(rows.min()) >= 0 and int(rows.sum()) == len(value):
                return value.split(rows.tolist())
    return []


def _whole(value: torch.Tensor) -> bool:
    return not value.is_floating_point() and value.dtype != torch.bool


def keys_of(pieces: Sequence[Call], ids: Sequence[str]) -> list[Any]:
    """What tells each piece from every other: id, checksums of all tensors, and everything else, the shapes last.

    Raises:
        Unfit: an argument cannot be compared.
    """
    found = []
    sums: list[torch.Tensor] = []
    for i, piece in enumerate(pieces):
        leaves = list(_leaves(piece))
        odd = [leaf for _, leaf in leaves if not isinstance(leaf, PLAIN)]
        if odd:
            raise Unfit(f"it is given a {type(odd[0]).__name__}, which cannot be compared with another")
        own = [leaf for _, leaf in leaves if isinstance(leaf, torch.Tensor)]
        sums += map(_checksum, own)
        shapes = tuple((tuple(leaf.shape), leaf.dtype, leaf.device) for leaf in own)
        rest = tuple((path, type(leaf), None if isinstance(leaf, torch.Tensor) else leaf) for path, leaf in leaves)
        kind = own[0].device.type if own else "cpu"
        cast = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)
        found.append((ids[i] if ids else None, len(own), (*rest, cast), shapes))
    values = iter(torch.stack([value.to(sums[0].device) for value in sums]).tolist())  # one wait for the device
    return [(name, tuple(next(values) for _ in range(count)), *rest) for name, count, *rest in found]


def _checksum(value: torch.Tensor) -> torch.Tensor:
    """Integer sum of the bits, each value weighted by a hash of its place: the same however it is computed."""
    flat = value.detach().contiguous().flatten()
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()]
    weights = torch.arange(1, flat.numel() + 1, device=flat.device) * -7046029254386353131
    weights = (weights ^ (weights >> 29)) * -4658895280553007687 | 1
    return (flat.view(width).long() * weights).sum()


# ---- taking outputs apart and putting them together ------------------------------------------------------------------


def _items(value: Any) -> dict[Any, Any] | None:
    """What is in a container, by key or number (model outputs have attributes beside); None for anything else."""
    if isinstance(value, dict):
        return {**value, **{name: item for name, item in getattr(value, "__dict__", {}).items() if name not in value}}
    return dict(enumerate(value)) if isinstance(value, list | tuple) else None


def _leaves(value: Any, rules: Mapping[Path, Any] | None = None, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """What is in nested containers and where; all items of lists of one per image are in one place."""
    items = _items(value)
    if items is None:
        yield path, value
        return
    each = (rules or {}).get(path) == "listed"
    for name, item in items.items():
        yield from _leaves(item, rules, (*path, "*" if each else name))


def tensors_in(value: Any, rules: Mapping[Path, Any] | None = None) -> Iterator[tuple[Path, torch.Tensor]]:
    """The tensors in nested containers, each with where it is; the rules say where containers end."""
    return ((path, leaf) for path, leaf in _leaves(value, rules) if isinstance(leaf, torch.Tensor))


def found_rules(true: Any, parts: Sequence[Any], path: Path = ()) -> dict[Path, Any]:
    """How the outputs of single images make that of their batch, by place.

    Tensors are joined along a dimension (0 or 1), or are the ``same``, or None: no rule gives what the batch gave. A list is
    ``listed`` (one list after the other) or, as are other containers, put together item by item.

    Raises:
        Unfit: no rule gives the containers or what is in them beside tensors.
    """
    if isinstance(true, torch.Tensor):
        return {path: _joint(true, parts)}
    items, inner = _items(true), [_items(part) for part in parts]
    if items is None:
        if isinstance(true, PLAIN) and all(type(part) is type(true) and part == true for part in parts):
            return {path: "same"}
    elif all(own is not None and own.keys() == items.keys() for own in inner):
        found: dict[Path, Any] = {}
        for name, item in items.items():
            found |= found_rules(item, [own[name] for own in inner if own is not None], (*path, name))
        return found
    elif isinstance(true, list | tuple) and all(isinstance(part, list | tuple) for part in parts):
        flat = [item for part in parts for item in part]
        if len(flat) == len(true) and all(isinstance(item, torch.Tensor) for item in (*flat, *true)):
            same = all(map(_close, true, flat))
            return {path: "listed", (*path, "*"): "same" if same else None}
    raise Unfit(f"a {type(true).__name__} in the features of a batch is not made up of what single images have there")


def _joint(true: torch.Tensor, parts: Sequence[torch.Tensor]) -> int | str | None:
    for dim in (0, 1):
        if true.ndim > dim and all(
            part.ndim == true.ndim and part.shape[:dim] + part.shape[dim + 1 :] == true.shape[:dim] + true.shape[dim + 1 :]
            for part in parts
        ):
            if _close(true, torch.cat(list(parts), dim)):
                return dim
    return "same" if all(_close(true, part) for part in parts) else None


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    near = max(NEAR.get(one.dtype, 0.0), NEAR[torch.bfloat16] if torch.is_autocast_enabled(one.device.type) else 0.0)
    size = float(one.float().square().mean().sqrt().nan_to_num()) if one.numel() else 0.0
    return torch.allclose(one.float(), other.float(), rtol=near, atol=near * size, equal_nan=True)


def devices_of(value: Any, rules: Mapping[Path, Any]) -> dict[Path, torch.device]:
    """Where each tensor in nested containers lies."""
    return {path: leaf.device for path, leaf in tensors_in(value, rules)}


def assembled(
    parts: Sequence[Any],
    rules: Mapping[Path, Any],
    read: set[Path],
    devices: Mapping[Path, torch.device] | None = None,
    path: Path = (),
    done: dict[Any, Any] | None = None,
) -> Any:
    """The output of a batch, made of copies of those of its images; what is not read is empty and on no device.

    Args:
        parts: outputs of single images.
        rules: of ``found_rules``.
        read: places of what is read.
        devices: where each place is put; by default the CPU.
        path: the place of ``parts``.
        done: what was joined already.

    Raises:
        Unfit: they do not fit together.
    """
    done = {} if done is None else done  # a tensor that is in two places is copied once
    first, which = parts[0], tuple(map(id, parts))
    items = _items(first)
    if isinstance(first, torch.Tensor):
        if path not in read:
            return torch.empty(0, dtype=first.dtype, device="meta")
        if which not in done:
            done[which] = _joined(parts, rules[path], torch.device("cpu") if devices is None else devices[path])
        return done[which]
    if items is None:
        return first
    if rules.get(path) == "listed":
        return type(first)(assembled([item], rules, read, devices, (*path, "*"), done) for part in parts for item in part)
    inner = [_items(part) or {} for part in parts]
    made = {name: assembled([own[name] for own in inner], rules, read, devices, (*path, name), done) for name in items}
    return _rebuilt(first, made)


def _joined(parts: Sequence[torch.Tensor], rule: int | str, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False), torch.no_grad():
        try:
            if isinstance(rule, str):
                return parts[0].to(device, copy=True)
            return torch.cat([part.to(device) for part in parts], rule)
        except RuntimeError as error:
            raise Unfit("the features of images of several shapes do not fit together") from error


def _rebuilt(value: Any, made: dict[Any, Any]) -> Any:
    """A container of the same kind with other items."""
    if not isinstance(value, dict):
        return type(value)(*made.values()) if hasattr(value, "_fields") else type(value)(made.values())
    new = type(value).__new__(type(value))  # no constructor, which would put the fields into another order
    put = OrderedDict.__setitem__ if isinstance(value, OrderedDict) else dict.__setitem__
    for name in value:
        put(new, name, made[name])
    if hasattr(value, "__dict__"):
        vars(new).update({name: made[name] for name in vars(value)})
    return new
