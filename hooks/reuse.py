"""The image features of a model, computed once where several prompts or answers ask about the same images."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

METHOD, FORWARD = "get_image_features", "forward"
"""How transformers names the way from pixels to the language model, in every family that has it in one place; and a module's own."""
PLAIN = (torch.Tensor, torch.dtype, torch.device, str, bool, int, float, type(None))
"""What can be compared, and handed out twice; a call that takes or gives anything else is not remembered."""
_NOTED: list[set[nn.Module]] = []
"""Of each call that is being computed, the modules that it has passed so far."""


@dataclass
class Reuse:
    """What became of the calls for image features inside the block, those that such a call makes itself not counted."""

    computed: int = 0
    reused: int = 0
    inside: bool = False
    """Whether a call is being computed."""


@contextmanager
def images_once(model: nn.Module, towers: Sequence[str] = ()) -> Iterator[Reuse]:
    """Compute the image features of consecutive forward passes about the same pixels once, by vision tower and projector.

    Every module with a method ``get_image_features`` remembers the last call of it. An equal call is given the same tensors, in
    containers of its own; if one of the tensors was changed in place meanwhile, it is computed anew. Families without the
    method, or whose forward does not call it (Mllama), run as without this, and so does a pass with gradients or in training.
    Where the prompt enters the method (InstructBLIP's Q-Former), only passes about the same prompt share it.

    In a pass that reuses, the sites of vision and projector do not fire: capture them in the first pass, and do not end a pass at
    one of them. Weights, hooks and precision must stay as they are inside the block, but for ``hooks.edit.edit``, under which nothing
    is reused that was computed by way of a module that it changes. The features stay in memory until the block ends.

    Args:
        model: the model; left as it was after the block, also after an exception.
        towers: names of modules whose last output is remembered too, such as an encoder's: while a projector is edited, the features
            are computed anew from what the encoder gave.

    Yields:
        How many calls were computed and how many reused.
    """
    reuse, wrapped = Reuse(), []
    try:
        holders = [module for module in model.modules() if callable(getattr(type(module), METHOD, None))]
        wanted = [(module, METHOD, reuse) for module in holders]
        wanted += [(model.get_submodule(name), FORWARD, Reuse()) for name in dict.fromkeys(towers)]
        for module, name, counted in wanted:
            own = vars(module).get(name)
            setattr(module, name, _Remembering(module, getattr(module, name), counted))
            wrapped.append((module, name, own))
        yield reuse
    finally:
        for module, name, own in wrapped:
            delattr(module, name)
            if own is not None:
                setattr(module, name, own)


def forget(model: nn.Module, changed: Set[nn.Module]) -> None:
    """Drop what is remembered of a model and was computed by way of some of its modules."""
    for module in model.modules():
        for name in (METHOD, FORWARD):
            method = vars(module).get(name)
            while isinstance(method, _Remembering):
                method.forget(changed)
                method = method.method


@contextmanager
def processed_once(processor: Any) -> Iterator[Reuse]:
    """Resize and normalise the images of consecutive calls of a processor once, if they are the same images.

    The image processor remembers its last call; an equal one is given the same tensors in a container of its own. Processors without
    an image processor run as without this.

    Args:
        processor: left as it was after the block, also after an exception.

    Yields:
        How many calls were computed and how many reused.
    """
    reuse, own = Reuse(), getattr(processor, "image_processor", None)
    if own is None:
        yield reuse
        return
    processor.image_processor = _Processing(own, reuse)
    try:
        yield reuse
    finally:
        processor.image_processor = own


class _Processing:
    """An image processor that remembers its last call; everything else of it is as it was."""

    def __init__(self, inner: Any, reuse: Reuse) -> None:
        self._inner, self._reuse = inner, reuse
        self._memo: tuple[Any, Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._memo and _equal(self._memo[0], (args, kwargs)):
            self._reuse.reused += 1
        else:
            self._reuse.computed += 1
            self._memo = None
            self._memo = (args, kwargs), self._inner(*args, **kwargs)
        return copy.copy(self._memo[1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass(frozen=True)
class _Memo:
    """A call of a method."""

    given: Any
    output: Any
    versions: list[int]
    """How often the tensors of the output had changed."""
    passed: Set[nn.Module]
    """The modules that took part."""


class _Remembering:
    """A method in the place of a module's own, with a memo of its last call."""

    def __init__(self, module: nn.Module, method: Callable[..., Any], reuse: Reuse) -> None:
        self.module, self.method, self.reuse = module, method, reuse
        self.memo: _Memo | None = None
        self.signature = inspect.signature(method)
        update_wrapper(self, method, updated=())  # generation reads the signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.reuse.inside:
            return self.method(*args, **kwargs)
        learns = torch.is_grad_enabled() or any(part.training for part in self.module.modules())
        if self.memo and not learns and self._is_as_before(args, kwargs) and _versions(self.memo.output) == self.memo.versions:
            self.reuse.reused += 1
            for passed in _NOTED:
                passed |= self.memo.passed
            return _rebuilt(self.memo.output)
        self.reuse.computed += 1
        self.reuse.inside = True
        try:
            return self.method(*args, **kwargs) if learns else self._computed((args, kwargs))
        finally:
            self.reuse.inside = False

    def _is_as_before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a call is the remembered one.

        ``generate`` leaves out what a forward pass gives as it is by default, and says nothing of a cache, which features have not.
        """
        assert self.memo is not None
        return _equal(*(self._named(*given) for given in (self.memo.given, (args, kwargs))))

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = self.signature.bind(*args, **{name: value for name, value in kwargs.items() if name != "use_cache"})
        bound.apply_defaults()
        return dict(bound.arguments)

    def _computed(self, given: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        """The output, remembered if all of it can be; outside inference mode, where tensors count their changes in place."""
        self.memo = None  # its memory is free before the next needs it
        with torch.inference_mode(False), torch.no_grad():
            key = _rebuilt(given, lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf)
            before, (args, kwargs) = _versions(key), _rebuilt(key)
            with _noted(self.module) as passed:
                output = self.method(*args, **kwargs)
        if before != _versions(key) or not all(map(_plain, _leaves((key, output)))):
            return output
        self.memo = _Memo(key, output, _versions(output), passed)
        return _rebuilt(output)

    def forget(self, changed: Set[nn.Module]) -> None:
        """Drop the memo if some of these modules took part in it."""
        if self.memo and changed & self.memo.passed:
            self.memo = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the model that is made inside the block has the method of its own."""
        return copy.deepcopy(self.method, memo)


@contextmanager
def _noted(module: nn.Module) -> Iterator[Set[nn.Module]]:
    """The modules that are called inside the block; all there are where some are compiled, which calls within cannot be seen."""
    parts = set(module.modules())
    if any(hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None for part in parts):
        yield parts
        return
    passed: set[nn.Module] = set()
    handle = register_module_forward_pre_hook(lambda called, inputs: passed.add(called))
    _NOTED.append(passed)
    try:
        yield passed
    finally:
        _NOTED[:] = [own for own in _NOTED if own is not passed]
        handle.remove()


def _plain(leaf: Any) -> bool:
    return isinstance(leaf, PLAIN) and not (isinstance(leaf, torch.Tensor) and leaf.is_inference())


def _versions(value: Any) -> list[int]:
    """How often each tensor was changed in place."""
    return [leaf._version for leaf in _leaves(value) if isinstance(leaf, torch.Tensor)]


def _equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        same = (one.dtype, one.device, one.shape) == (other.dtype, other.device, other.shape)
        return same and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one is other or np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _leaves(value: Any) -> list[Any]:
    """What is in nested containers, each object once."""
    found: list[Any] = []
    _rebuilt(value, found.append)
    return found


def _rebuilt(value: Any, leaf: Callable[[Any], Any] = lambda leaf: leaf, done: dict[int, Any] | None = None) -> Any:
    """Nested lists, tuples and dictionaries (model outputs too) anew, with something else or the same in them."""
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)]
    new: Any
    if isinstance(value, dict):
        new = type(value).__new__(type(value))  # no constructor, which would put the fields into another order
        put = OrderedDict.__setitem__ if isinstance(value, OrderedDict) else dict.__setitem__
        for name, item in value.items():
            put(new, name, _rebuilt(item, leaf, done))
        for name, item in getattr(value, "__dict__", {}).items():
            vars(new)[name] = _rebuilt(item, leaf, done)
    elif isinstance(value, list | tuple):
        items = [_rebuilt(item, leaf, done) for item in value]
        new = type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    else:
        new = leaf(value)
    done[id(value)] = new
    return new
