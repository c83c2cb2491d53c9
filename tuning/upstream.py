"""What the frozen parts in front of the tuned ones make of an image, computed once and kept in memory."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hooks.reuse import METHOD, PLAIN
from hooks.stages import COMPONENTS, Stages
from stimuli.errors import InputError

LIMIT = 4 << 30
"""Bytes that are kept."""
NEAR = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""How far one image's features may be from those it has in a batch, relative to their size: other kernels round otherwise."""
MOST = 40
"""Pieces (crops) per stimulus, above which a call is not taken apart."""

Path = tuple[Any, ...]
"""Where in nested containers something is."""
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Unfit(Exception):  # noqa: N818 - a finding, not an error
    """Why something cannot be remembered, in words."""


class Memory:
    """What is kept, and what became of the images inside the block."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.computed = 0
        """Images (or crops, where a model takes each as an image) computed."""
        self.reused = 0
        """Those handed out of memory."""
        self.reason: str | None = None
        """Why nothing is remembered, in words, if so."""
        self.bytes = 0
        self.full = False
        """Whether something did not fit any more."""
        self._next: tuple[str, ...] | None = None
        self._ids: tuple[str, ...] | None = None
        self._inside = self._called = False
        self._wanted = True
        self._reads: _Reads | None = None

    def show(self, ids: Sequence[str]) -> None:
        """Say which stimuli the next forward pass is about, in order; one of which nothing is said is computed as ever."""
        self._next = tuple(ids)

    def _pass(self, model: nn.Module, own: Callable[..., Any], call: Call) -> Any:
        """One forward pass; in a trial, what it reads of the features is watched."""
        self._ids, self._next, self._called = self._next, None, False
        self._reads = _Reads() if self._wanted and self._ids else None
        try:
            with self._reads or nullcontext():
                output = own(*call[0], **call[1])
            if self._reads:
                self._wanted = False
                self._reads.settle()
            if self._ids and not self._called:
                self.reason = (
                    self.reason or f"the forward pass of {type(model).__name__} does not call what would be remembered"
                )
            return output
        finally:
            self._ids = self._reads = None


@contextmanager
def remembered(model: nn.Module, stages: Stages, first: str, limit: int = LIMIT) -> Iterator[Memory]:
    """Compute what stands in front of the first tuned component once per stimulus; later passes skip it.

    With ``llm`` this is everything up to the projector's output, with ``projector`` the vision tower. Features are kept by stimulus
    and by a checksum of everything that the part is given, so that other pixels, another prompt or precision never get them, and
    only those that the model reads. That an image has the same features in a batch as alone is tried on the first batch, and
    again on the first with images of several shapes; where it does not hold, nothing is remembered. In passes that reuse, hooks
    on the skipped modules do not fire, and what the model does not read of their outputs is on torch's ``meta`` device, where using it
    is an error.

    Args:
        model: the plain model inside any wrapper; left as it was after the block, also after an exception.
        stages: its map.
        first: the first component that is tuned: ``vision`` (then nothing is remembered), ``projector`` or ``llm``.
        limit: bytes that are kept, on the device where they were computed; what does not fit is computed each time. 0 for none.

    Yields:
        The memory, to be told of the stimuli (``Memory.show``) before each pass.

    Raises:
        InputError: unknown component.
    """
    if first not in COMPONENTS:
        raise InputError(f"Unknown component '{first}'. Expected one of {', '.join(COMPONENTS)}. Use one of these.")
    memory, undo = Memory(limit), []
    names = dict(model.named_modules())
    frozen = COMPONENTS[: COMPONENTS.index(first)]
    try:
        if limit <= 0:
            raise Unfit(f"nothing may be kept: the limit is {limit} bytes")
        places = _places(model, stages, first)
        upstream = [names[name] for part in frozen for name in stages.components[part] if name in names]
        wrapped: list[tuple[nn.Module, str, Callable[[Call], Any]]]
        wrapped = [(model, "forward", partial(memory._pass, model, model.forward))]
        wrapped += [(module, name, _Frozen(getattr(module, name), memory, upstream)) for module, name in places]
        for module, name, asked in wrapped:
            undo.append((module, name, vars(module).get(name)))
            setattr(module, name, _Instead(getattr(module, name), asked))
    except Unfit as error:
        memory.reason = str(error)
    try:
        yield memory
    finally:
        for module, name, before in reversed(undo):
            delattr(module, name)
            if before is not None:
                setattr(module, name, before)


def _places(model: nn.Module, stages: Stages, first: str) -> list[tuple[nn.Module, str]]:
    """The methods whose outputs are kept.

    Raises:
        Unfit: there is none.
    """
    if first == "vision":
        raise Unfit("the vision tower is tuned, and nothing is in front of it")
    if first == "llm":
        found = [(module, METHOD) for module in model.modules() if callable(getattr(type(module), METHOD, None))]
        if not found:
            raise Unfit(f"{type(model).__name__} has no {METHOD}: its image features come from several places")
        return found
    modules = {name for name, _ in model.named_modules() if name}
    towers = [name for name in stages.components["vision"] if name in modules]  # a component may hold single parameters
    roots = [name for name in towers if not any(name.startswith(other + ".") for other in towers)]
    inner = [name for name in stages.components["projector"] if any(f"{name}.".startswith(root + ".") for root in roots)]
    if inner:
        raise Unfit(f"the projector ({inner[0]}) is inside the vision tower, whose output depends on it")
    if not roots:
        raise Unfit(f"{type(model).__name__} has no vision tower in one module")
    return [(model.get_submodule(name), "forward") for name in roots]


class _Instead:
    """A method in the place of a module's own."""

    def __init__(self, own: Callable[..., Any], asked: Callable[[Call], Any]) -> None:
        self.own, self.asked = own, asked
        self.__wrapped__ = own  # generation reads the signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.asked((args, kwargs))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the model that is made inside the block has the method of its own."""
        return copy.deepcopy(self.own, memo)


class _Frozen:
    """A frozen part, as a function of its arguments, that remembers."""

    def __init__(self, own: Callable[..., Any], memory: Memory, upstream: Sequence[nn.Module]) -> None:
        self.own, self.memory, self.upstream, self.off = own, memory, upstream, False
        self.rules: dict[Path, Any] = {}
        self.read: set[Path] = set()
        self.proven: set[str] = set()
        """Of ``alone``, ``equal`` and ``mixed``, the kinds of batches that were tried."""
        self.kept: dict[Any, Any] = {}
        self.bytes = 0

    def __call__(self, call: Call) -> Any:
        memory = self.memory
        if self.off or memory._inside or memory._ids is None:
            return self.own(*call[0], **call[1])
        memory._inside = memory._called = True
        try:
            return self._asked(call, memory._ids)
        except Unfit as error:
            self.give_up(str(error))
            memory.computed += len(memory._ids)
            return self.own(*call[0], **call[1])
        finally:
            memory._inside = False

    def give_up(self, reason: str) -> None:
        self.off, self.memory.reason = True, self.memory.reason or reason
        self.forget()

    def forget(self) -> None:
        self.memory.bytes -= self.bytes
        self.kept, self.bytes = {}, 0

    def _asked(self, call: Call, ids: tuple[str, ...]) -> Any:
        if any(part.training for part in self.upstream):
            raise Unfit("the frozen parts are in training mode, where dropout makes their outputs random; use eval()")
        pieces = _pieces(call, len(ids))
        keys = _keys(pieces, ids if len(pieces) == len(ids) else ())
        kind = "alone" if len(keys) == 1 else "equal" if len({key[-1] for key in keys}) == 1 else "mixed"
        new = {key: piece for key, piece in zip(keys, pieces, strict=True) if key not in self.kept}
        known = bool(self.proven - {"alone"} if kind == "equal" else self.proven if kind == "alone" else self.proven & {kind})
        if not known and self.memory._reads is not None and (kind == "alone" or len(set(keys)) > 1):
            return self._tried(call, dict(zip(keys, pieces, strict=True)), keys, kind)
        self.memory._wanted |= not known
        if not known or (self.memory.full and len(new) == len(set(keys))):
            self.memory.computed += len(keys)
            return self.own(*call[0], **call[1])
        parts = {key: self._alone(piece) for key, piece in new.items()}
        self.memory.computed += len(new)
        self.memory.reused += len(keys) - len(new)
        for key, part in parts.items():
            self.keep(key, part)
        return _assembled([parts[key] if key in parts else self.kept[key] for key in keys], self.rules, self.read)

    def _alone(self, piece: Call) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return self.own(*piece[0], **piece[1])

    def _tried(self, call: Call, pieces: dict[Any, Call], keys: list[Any], kind: str) -> Any:
        """The true output of a batch, compared with those of its images alone; what is read of it is watched until the pass ends."""
        with torch.inference_mode(False), torch.enable_grad():
            true = self.own(*call[0], **call[1])
        if any(leaf.requires_grad for _, leaf in _tensors(true)):
            raise Unfit("weights in front of the component that was named first are trained")
        self.memory.computed += len(keys)
        with torch.inference_mode(False), torch.no_grad():
            parts = {keys[0]: true} if kind == "alone" else {key: self._alone(piece) for key, piece in pieces.items()}
            try:
                rules = _rules(true, [parts[key] for key in keys])
            except Unfit as error:
                self.give_up(str(error))
                return true
        assert self.memory._reads is not None
        self.memory._reads.watch(true, rules, lambda read: self.settle(rules, read, kind, parts))
        return true

    def settle(self, rules: dict[Path, Any], read: set[Path], kind: str, parts: Mapping[Any, Any]) -> None:
        """Take over what a trial has found, once it is known what the model reads."""
        before = self.read if self.proven - {"alone"} else set()
        read = read | before
        if not read or any(rules.get(path) is None for path in read):
            self.give_up(
                "what it makes of several images is not what it makes of each: the features depend on the other images of a batch, "
                "or cannot be put together again"
                if read
                else "no part of the features was seen to be read"
            )
        elif before and any(rules[path] != self.rules.get(path) for path in read):
            self.give_up("the features of images of several shapes are put together otherwise than those of one shape")
        else:
            if read != self.read:
                self.forget()
            self.rules, self.read = rules, read
            self.proven = {kind} | (self.proven if before else set())
            for key, part in parts.items():
                self.keep(key, part)

    def keep(self, key: Any, part: Any) -> None:
        """Keep what is read of one image's output, while there is room."""
        kept = _assembled([part], self.rules, self.read)
        size = sum({id(leaf): leaf.nbytes for _, leaf in _tensors(kept)}.values())
        if self.memory.bytes + size > self.memory.limit:
            self.memory.full = True
            return
        self.kept[key] = kept
        self.memory.bytes += size
        self.bytes += size


class _Reads(TorchFunctionMode):
    """Which of some tensors any function of torch is given, their shapes included."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, list[tuple[set[Path], Path]]] = {}
        self.waiting: list[tuple[Any, set[Path], Callable[[set[Path]], None]]] = []

    def watch(self, value: Any, rules: Mapping[Path, Any], then: Callable[[set[Path]], None]) -> None:
        """Watch the tensors in ``value``, which are kept alive; at the end, ``then`` gets the places of those that were read."""
        read: set[Path] = set()
        for path, leaf in _tensors(value, rules):
            self.watched.setdefault(id(leaf), []).append((read, path))
        self.waiting.append((value, read, then))

    def settle(self) -> None:
        for _, read, then in self.waiting:
            then(read)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for _, leaf in _tensors((args, kwargs or {})):
            for read, path in self.watched.get(id(leaf), ()):
                read.add(path)
        return func(*args, **(kwargs or {}))


# ---- taking calls apart ----------------------------------------------------------------------------------------------


def _pieces(call: Call, stimuli: int) -> list[Call]:
    """A call about a batch as calls about one image each (or about one crop, where only those can be told apart).

    A cut in another place than between stimuli does no harm: pieces are known by what is in them, and proven by their outputs.

    Raises:
        Unfit: the arguments cannot be cut.
    """
    args, kwargs = call
    values = [*args, *kwargs.values()]
    lengths = {len(leaf) for _, leaf in _tensors(values) if leaf.ndim}
    for count in dict.fromkeys([stimuli, *sorted(lengths)]):
        if count in lengths and count <= MOST * stimuli:
            cut = [_cut(value, count, values) for value in values]
            if all(len(parts) == count for parts in cut):
                rows = zip(*cut, strict=True)
                return [(row[: len(args)], dict(zip(kwargs, row[len(args) :], strict=True))) for row in rows]
    raise Unfit("its arguments cannot be cut into those of single images")


def _cut(value: Any, count: int, values: Sequence[Any]) -> Sequence[Any]:
    """One argument in as many parts, by row, or as another argument counts the rows (grids); empty if it cannot be."""
    if isinstance(value, list | tuple) and any(True for _ in _tensors(value)):
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


def _keys(pieces: Sequence[Call], ids: Sequence[str]) -> list[Any]:
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


def _tensors(value: Any, rules: Mapping[Path, Any] | None = None) -> Iterator[tuple[Path, torch.Tensor]]:
    return ((path, leaf) for path, leaf in _leaves(value, rules) if isinstance(leaf, torch.Tensor))


def _rules(true: Any, parts: Sequence[Any], path: Path = ()) -> dict[Path, Any]:
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
            found |= _rules(item, [own[name] for own in inner if own is not None], (*path, name))
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


def _assembled(
    parts: Sequence[Any], rules: Mapping[Path, Any], read: set[Path], path: Path = (), done: dict[Any, Any] | None = None
) -> Any:
    """The output of a batch, made of copies of those of its images; what is not read is empty and on no device.

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
            done[which] = _joined(parts, rules[path])
        return done[which]
    if items is None:
        return first
    if rules.get(path) == "listed":
        return type(first)(_assembled([item], rules, read, (*path, "*"), done) for part in parts for item in part)
    inner = [_items(part) or {} for part in parts]
    return _rebuilt(first, {name: _assembled([own[name] for own in inner], rules, read, (*path, name), done) for name in items})


def _joined(parts: Sequence[torch.Tensor], rule: int | str) -> torch.Tensor:
    with torch.inference_mode(False), torch.no_grad():
        try:
            return parts[0].clone() if isinstance(rule, str) else torch.cat(list(parts), rule)
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
