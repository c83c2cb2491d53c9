"""Small faithful copies of the datasets' layouts: the published names, headers and sheets, with tiny images of their own."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stimuli.types import Stimulus, StimulusSet


def picture(path: Path, size: tuple[int, int] = (6, 5)) -> Path:
    """An image of noise that is another one for every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return path


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sheet(path: Path, rows: Sequence[Sequence[Any]], title: str = "Sheet1") -> Path:
    from openpyxl import Workbook

    path.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(list(row))
    book.save(path)
    return path


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def pixels_are_the_files(stimuli: StimulusSet) -> bool:
    """Whether every stimulus is its own file as Pillow decodes it, and is not held."""

    def same(stimulus: Stimulus) -> bool:
        path = stimulus.pixels
        assert isinstance(path, Path) and path.name.casefold() == Path(stimulus.id).name.casefold()
        with Image.open(path) as handle:
            return digest(np.asarray(handle.convert("RGB"))) == digest(stimulus.image)

    return all(same(stimulus) for stimulus in stimuli)


KADID_HEADER = "dist_img,ref_img,dmos,var"


def kadid(
    root: Path, types: Sequence[int] = tuple(range(1, 26)), *rows: str, header: str = KADID_HEADER, references: int = 2
) -> Path:
    """Some references; every level of the types; further rows as given."""
    lines = []
    for reference in (f"I{number:02d}" for number in range(1, references + 1)):
        picture(root / "images" / f"{reference}.png")
        for type in types:
            for level in range(1, 6):
                name = picture(root / "images" / f"{reference}_{type:02d}_{level:02d}.png").name
                lines.append(f"{name},{reference}.png,{5 - level * 0.5:.2f},0.496")
    write(root / "dmos.csv", header, *lines, *rows)
    return root


def tid(root: Path) -> Path:
    """I01 and the lower-case i25, whose names on the disk differ in case from those listed."""
    picture(root / "reference_images" / "I01.BMP")
    picture(root / "reference_images" / "i25.bmp")
    names = [f"{reference}_{type:02d}_{level}.bmp" for reference in ("I01", "i25") for type in range(1, 25) for level in (1, 5)]
    for i, name in enumerate(names):
        picture(root / "distorted_images" / (name.upper() if i % 3 == 0 else name))
    write(root / "mos_with_names.txt", *(f"{5.51429 - i / 50:.5f} {name}" for i, name in enumerate(names)))
    write(root / "mos.txt", *(f"{5.51429 - i / 50:.5f}" for i in range(len(names))))
    write(root / "mos_std.txt", *(f"{0.13013 + i / 1000:.5f}" for i in range(len(names))))
    return root


CSIQ_TYPES = {"noise": ("awgn", "AWGN"), "blur": ("blur", "BLUR"), "contrast": ("contrast", "contrast"),
              "fnoise": ("fnoise", "fnoise"), "jpeg": ("jpeg", "JPEG"), "jpeg 2000": ("jpeg2000", "jpeg2000")}  # fmt: skip
CSIQ_HEADER = ("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos")


def csiq(root: Path, *, flat: bool = False, header: Sequence[str] = CSIQ_HEADER, title: str = "all_by_image") -> Path:
    """The sources 1600 (a number in the sheet) and cactus, in folders with the workbook or flat with the text file."""
    rows: list[list[Any]] = [["CSIQ"], [], [], [None, None, None, *header]]
    lines = []
    for source in (1600, "cactus"):
        picture(root / "src_imgs" / f"{source}.png")
        for number, (type, (folder, token)) in enumerate(CSIQ_TYPES.items(), start=1):
            for level in (1, 2):
                name = f"{source}.{token}.{level}.png"
                picture(root / ("dst_imgs_all" if flat else f"dst_imgs/{folder}") / name)
                rows.append([None, None, None, source, number, type, level, 0.05, level / 10])
                lines.append(f"{name}\t{level / 10}")
    if flat:
        write(root / "csiq_label.txt", *lines)
    else:
        sheet(root / "csiq.DMOS.xlsx", rows, title)
    return root


LIVE_COUNTS = (("jp2k", 227, 169), ("jpeg", 233, 175), ("wn", 174, 145), ("gblur", 174, 145), ("fastfading", 174, 145))
"""Folder, its images, and how many of them are distorted: every third of the first is a reference shown again."""
LIVE_ENTRIES = [(f"{folder}/img{i}.bmp", i % 3 == 0 and i // 3 <= images - distorted)
                for folder, images, distorted in LIVE_COUNTS for i in range(1, images + 1)]  # fmt: skip


def live(root: Path) -> Path:
    """All 982 entries; the images are 29 files, repeated under other names."""
    from scipy.io import savemat

    places = len(LIVE_ENTRIES)
    names = [f"source{i % 29}.bmp" for i in range(places)]
    originals = np.array([[original for _, original in LIVE_ENTRIES]], np.uint8)
    for name in names[:29]:
        picture(root / "refimgs" / name, (4, 4))
    content = [picture(root / f"{i}.bmp", (4, 4)).read_bytes() for i in range(29)]
    for i, (entry, _) in enumerate(LIVE_ENTRIES):
        (root / entry).parent.mkdir(exist_ok=True)
        (root / entry).write_bytes(content[i % 29])
    for i in range(29):
        (root / f"{i}.bmp").unlink()
    cells = np.empty((1, places), object)
    cells[0] = names
    savemat(root / "refnames_all.mat", {"refnames_all": cells})
    savemat(root / "dmos.mat", {"dmos": np.arange(places)[None] / 10.0, "orgs": originals})
    scores = {"dmos_new": np.arange(places)[None] / 9.0, "dmos_std": np.full((1, places), 2.5), "orgs": originals}
    savemat(root / "dmos_realigned.mat", scores)
    return root


KONIQ = (
    ("1.jpg", (0, 0, 25, 73, 7), "training"),
    ("2.jpg", (0, 3, 45, 47, 1), "test"),
    ("3.jpg", (1, 0, 20, 73, 2), "training"),
)


def koniq(root: Path, *, scores: bool = True, sets: bool = True, sizes: Sequence[str] = ("1024x768", "512x384")) -> Path:
    """Three photographs; the two files give MOS on two scales, as published."""
    one, other = ["image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore"], ["image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set"]
    for name, counts, subset in KONIQ:
        for size in sizes:
            picture(root / size / name, (8, 6) if size == "1024x768" else (4, 3))
        total, mean = sum(counts), sum(k * c for k, c in enumerate(counts, 1)) / sum(counts)
        one.append(f"{name},{','.join(map(str, counts))},{total},{mean!r},0.5,{(mean - 1) * 25}")
        other.append(f"{name},{','.join(repr(c / total) for c in counts)},{total},{(mean - 1) * 25},0.5,{subset}")
    if scores:
        write(root / "koniq10k_scores_and_distributions.csv", *one)
    if sets:
        write(root / "koniq10k_distributions_sets.csv", *other)
    return root


SPAQ_HEADER = ("Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness")


def spaq(root: Path, header: Sequence[str] = SPAQ_HEADER) -> Path:
    rows: list[Sequence[Any]] = [header]
    for i in range(1, 4):
        picture(root / "TestImage" / f"{i:05d}.jpg")
        rows.append([f"{i:05d}.jpg", 20.5 * i, 10 * i, 30.25, 40, 50, 60])
    sheet(root / "Annotations" / "MOS and Image attribute scores.xlsx", rows)
    return root


def pipal(root: Path) -> Path:
    for reference in ("A0001", "A0002"):
        picture(root / "Train_Ref" / f"{reference}.bmp")
        lines = []
        for group, count in enumerate((2, 1, 1, 1, 1, 1, 3)):
            for subtype in range(count):
                name = picture(root / "Dist_Imgs" / f"{reference}_{group:02d}_{subtype:02d}.bmp").name
                lines.append(f"{name},{1520.0648 - 10 * group}")
        write(root / "Train_Label" / f"{reference}.txt", *lines)
    return root
