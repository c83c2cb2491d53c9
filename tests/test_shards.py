"""One file: streamed, checked, mapped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from hooks import shards

KINDS = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64])


@given(st.lists(st.tuples(KINDS, st.integers(0, 7), st.integers(1, 5)), min_size=1, max_size=4))
def test_the_library_reads_what_is_written_and_so_do_maps(tmp_path_factory: pytest.TempPathFactory, given: list) -> None:
    path = tmp_path_factory.mktemp("x") / "a.safetensors"
    values = {f"site.{i}": (100 * torch.randn(n, d)).to(kind) for i, (kind, n, d) in enumerate(given)}
    entries = shards.write(path, {name: shards.part(value) for name, value in values.items()})
    with safe_open(path, "pt") as library:
        assert all(torch.equal(library.get_tensor(name), value) for name, value in values.items())
    for name, value in values.items():
        raw = shards.mapped(path, name, entries[name])
        found = torch.from_numpy(np.array(raw))
        assert torch.equal(found.view(torch.bfloat16) if value.dtype == torch.bfloat16 else found, value)
        assert shards.damage(path, name, entries[name]) is None
        assert b"".join(shards.chunks(path, name, entries[name])) == raw.tobytes()
    assert [other.name for other in path.parent.iterdir()] == ["a.safetensors"]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    entries = shards.write(path, {"a": shards.part(torch.randn(3, 2)), "b": shards.part(torch.randn(2, 2))})
    whole = path.read_bytes()
    padding = whole.index(b"}}") + 2, 8 + int.from_bytes(whole[:8], "little")
    for at in range(len(whole)):
        if padding[0] <= at < padding[1]:  # spaces that mean nothing
            continue
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        assert any(shards.damage(path, name, entry) for name, entry in entries.items()), at
