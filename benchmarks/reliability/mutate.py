"""Good files made bad: cut, flipped, spliced, with numbers and words that parsers stumble over; a seed gives the same ones again."""

from __future__ import annotations

import random
import struct
import zlib

NUMBERS = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WORDS = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b'"', b"'", b"{", b"[" * 50, b"null", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 400,
    b"../../x", b"/etc/passwd", b"=1+1", b"@SUM(A1)", b"<script>alert(1)</script>", b"!!python/object/apply:os.system ['touch x']", b"&a *a",
    b"%s%n", b"\\", b"\xc3\x28", "\u202e".encode(), b"true", b": ", b"- ", b"\t", b"\n\n", b"{}", b"[]", b"~", b"__class__",
)  # fmt: skip


def mutated(good: bytes, rng: random.Random) -> bytes:
    """A file with one to four things wrong with it."""
    made = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(HOW)(made, rng)
    return bytes(made)


def _place(made: bytearray, rng: random.Random) -> int:
    """Anywhere, but half the time near the beginning, where headers are."""
    return rng.randrange(max(1, len(made) if rng.random() < 0.5 else min(len(made), 128)))


def _flip(made: bytearray, rng: random.Random) -> None:
    if made:
        made[_place(made, rng)] ^= 1 << rng.randrange(8)


def _byte(made: bytearray, rng: random.Random) -> None:
    if made:
        made[_place(made, rng)] = rng.choice((0, 255, rng.randrange(256)))


def _cut(made: bytearray, rng: random.Random) -> None:
    del made[_place(made, rng) :]


def _hole(made: bytearray, rng: random.Random) -> None:
    start = _place(made, rng)
    del made[start : start + rng.randrange(1, 64)]


def _again(made: bytearray, rng: random.Random) -> None:
    start = _place(made, rng)
    made[start:start] = made[start : start + rng.randrange(1, 200)] * rng.choice((1, 2, 20))


def _word(made: bytearray, rng: random.Random) -> None:
    start = _place(made, rng)
    made[start : start + rng.choice((0, 0, 4))] = rng.choice(WORDS)


def _number(made: bytearray, rng: random.Random) -> None:
    form = rng.choice((">I", "<I", ">H", "<H", "<Q"))
    size = struct.calcsize(form)
    start = _place(made, rng)
    if start + size <= len(made):
        made[start : start + size] = struct.pack(form, rng.choice(NUMBERS) & (256**size - 1))


def _swap(made: bytearray, rng: random.Random) -> None:
    one, two = sorted((_place(made, rng), _place(made, rng)))
    made[one : one + 16], made[two : two + 16] = made[two : two + 16], made[one : one + 16]


HOW = (_flip, _byte, _cut, _hole, _again, _word, _number, _swap)


def checked(png: bytes) -> bytes:
    """A PNG whose chunks have right checksums again, so that a decoder looks at what is in them."""
    made, at = bytearray(png), 8
    while at + 12 <= len(made):
        size = int.from_bytes(made[at : at + 4], "big")
        end = at + 8 + size
        if end + 4 > len(made):
            break
        made[end : end + 4] = struct.pack(">I", zlib.crc32(made[at + 4 : end]))
        at = end + 4
    return bytes(made)
