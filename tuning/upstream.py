"""What the frozen parts in front of the tuned ones make of an image, computed once and kept in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hooks.reuse import METHOD
from hooks.stages import COMPONENTS, Stages
from stimuli.errors import InputError
from tuning.pieces import Call, Path, Unfit, assembled, cut_up, devices_of, found_rules, keys_of, tensors_in

LIMIT = 4 << 30
"""Bytes that are kept."""


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
    again on the first with images of several shapes; where it does not hold, nothing is remembered. "The same" allows for rounding
    (``tuning.pieces.NEAR``): 1e-4 of the features' size in float32, 1 % in float16, and 5 % in bf16 or under autocast, which a real but
    small dependence on the batch would pass. New images are computed one by one and not as a batch: what is remembered of an image is
    then the same bits whichever others were new with it, so that a run that was stopped goes on as it would have, and no packed output has to
    be split at places that were proven for other images. In passes that reuse, hooks on the skipped modules do not fire, and what the
    model does not read of their outputs is on torch's ``meta`` device, where using it is an error.

    Args:
        model: the plain model inside any wrapper; left as it was after the block, also after an exception.
        stages: its map.
        first: the first component that is tuned: ``vision`` (then nothing is remembered), ``projector`` or ``llm``.
        limit: bytes that are kept, on the CPU and in the dtype that they were computed in; what does not fit is computed each time. 0 for
            none.

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
        self.kept: dict[Any, tuple[Any, dict[Path, torch.device]]] = {}
        """By key, what is read of an image's output, on the CPU, and the devices it was on."""
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
        pieces = cut_up(call, len(ids))
        keys = keys_of(pieces, ids if len(pieces) == len(ids) else ())
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
        devices = devices_of(parts[keys[0]], self.rules) if keys[0] in parts else self.kept[keys[0]][1]
        rows = [parts[key] if key in parts else self.kept[key][0] for key in keys]
        return assembled(rows, self.rules, self.read, devices)

    def _alone(self, piece: Call) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return self.own(*piece[0], **piece[1])

    def _tried(self, call: Call, pieces: dict[Any, Call], keys: list[Any], kind: str) -> Any:
        """The true output of a batch, compared with those of its images alone; what is read of it is watched until the pass ends."""
        with torch.inference_mode(False), torch.enable_grad():
            true = self.own(*call[0], **call[1])
        if any(leaf.requires_grad for _, leaf in tensors_in(true)):
            raise Unfit("weights in front of the component that was named first are trained")
        self.memory.computed += len(keys)
        with torch.inference_mode(False), torch.no_grad():
            parts = {keys[0]: true} if kind == "alone" else {key: self._alone(piece) for key, piece in pieces.items()}
            try:
                rules = found_rules(true, [parts[key] for key in keys])
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
        kept = assembled([part], self.rules, self.read)
        size = sum({id(leaf): leaf.nbytes for _, leaf in tensors_in(kept)}.values())
        if self.memory.bytes + size > self.memory.limit:
            self.memory.full = True
            return
        self.kept[key] = kept, devices_of(part, self.rules)
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
        for path, leaf in tensors_in(value, rules):
            self.watched.setdefault(id(leaf), []).append((read, path))
        self.waiting.append((value, read, then))

    def settle(self) -> None:
        for _, read, then in self.waiting:
            then(read)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for _, leaf in tensors_in((args, kwargs or {})):
            for read, path in self.watched.get(id(leaf), ()):
                read.add(path)
        return func(*args, **(kwargs or {}))
