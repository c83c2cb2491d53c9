# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How much of which distortion does the model get to see?
#
# ## All 25 types of KADID-10k at five levels

# %%
import tempfile
from pathlib import Path

import PIL.Image
from IPython.display import Image

import snellen as sn
from analysis.figures.sheet import contact_sheet
from stimuli.photos import photograph_at

folder = Path(tempfile.mkdtemp())
photographs = {name: photograph_at(name, 384, 512) for name in ("chelsea", "coffee", "astronaut", "china")}
cup = {"coffee": photograph_at("coffee", 192, 256)}
everything = sn.stimuli.distorted_set(cup, "kadid25", (1, 2, 3, 4, 5), design="crossed")
sheet = PIL.Image.open(contact_sheet(everything, folder / "sheet", formats=("png",))["png"]).convert("RGB")
sheet.reduce(2).save(folder / "small.jpg", quality=90)  # small enough for a notebook; the PNG has every pixel
Image(folder / "small.jpg")

# %% [markdown]
# Above each image: level, published parameter, PSNR in dB. Level is not severity: mean shift and contrast change are signed and mildest in
# the middle, and levels that change nothing are left out. Severity is measured, also by a measure of your own.

# %%
import matplotlib.pyplot as plt
import numpy as np

from stimuli.distortions import Options


def worst(reference, distorted):
    return float(np.abs(reference.astype(int) - distorted).max())


figure, axes = plt.subplots(1, 2, figsize=(8.5, 2.8), sharey=True, layout="constrained")
for panel, ordering in zip(axes, ("published", "magnitude"), strict=True):
    options = Options(ordering=ordering)
    shown = sn.stimuli.distorted_set(cup, levels=(1, 2, 3, 4, 5), design="crossed", options=options, measures={"worst": worst})
    for type, marker in (("jpeg", "o"), ("white_noise", "s"), ("mean_shift", "^"), ("contrast_change", "D")):
        own = [s for s in shown if s.type == type]
        levels = sorted({s.level for s in own})
        panel.plot(levels, [np.mean([s.psnr for s in own if s.level == level]) for level in levels], marker=marker, label=type)
    panel.set(
        title=f"levels as {ordering}" if ordering == "published" else "levels by magnitude", xlabel="level", xticks=range(1, 6)
    )
axes[0].set_ylabel("PSNR, dB")
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
print("largest change of a pixel:", {s.id: s.measured["worst"] for s in shown if s.reference == "coffee" and s.type == "jpeg"})

# %% [markdown]
# ## A part of the image, and minimal pairs
#
# The mask is kept as ground truth: for attribution, and, as the share of each patch, for probes of patches. All versions of a reference are
# distorted in the same place, so clean and distorted, or two levels, are minimal pairs.

# %%
from stimuli.regions import cell_shares

local = sn.stimuli.distorted_set(photographs, levels=(5,), region="any", seed=1, measure=False)
pairs = sn.stimuli.pairs(local)
chosen = [next(p for p in pairs if p.reference == name and p.type not in ("jitter",)) for name in photographs]
figure, axes = plt.subplots(3, 4, figsize=(8.5, 5), layout="constrained")
for column, pair in zip(axes.T, chosen, strict=True):
    column[0].imshow(pair.after.image)
    column[0].set_title(f"{pair.after.type.replace('_', ' ')}, {pair.after.level}", fontsize=9)
    column[1].imshow(np.abs(pair.after.image.astype(int) - pair.before.image).max(2), cmap="Greys", vmax=80)
    column[2].imshow(cell_shares(pair.after.mask, 12, 16), cmap="Greys", vmin=0, vmax=1)
for panel in axes.flat:
    panel.set(xticks=[], yticks=[])
for panel, name in zip(axes[:, 0], ("after", "what differs", "share of each patch"), strict=True):
    panel.set_ylabel(name, fontsize=9)
plt.show()
print(len(pairs), "pairs;", pairs[0].before.id, "→", pairs[0].after.id)

# %% [markdown]
# ## Datasets, classes, splits
#
# `sn.stimuli.kadid10k(path)`, `tid2013`, `csiq`, `live`, `koniq10k`, `spaq` and `pipal` read what is on your disk and tell what is missing;
# `from_csv` reads any list, such as one that `save` wrote, back to the last pixel. A taxonomy maps types to the answers of a question; a split
# deals references, never images, and counts what each part holds.

# %%
exam = sn.stimuli.exam_set(references=30, levels=(3, 5), size=128, measure=False)
again = sn.stimuli.from_csv(sn.stimuli.save(exam, folder / "set"))
print(all(np.array_equal(a.image, b.image) for a, b in zip(exam, again, strict=True)), again)
parts = sn.stimuli.split(again, 0.6, 0.2, 0.2, seed=0)
parts

# %% [markdown]
# ## What the model's resize leaves
#
# A processor may destroy a distortion before any weight has seen it. For each type: the share of its energy (mean squared
# difference to the clean image) that is left after the processor, and how well a linear probe of pixel statistics still tells it from
# clean images. The same two stages, `pixels` and `processed`, begin every survival curve of an exam.

# %%
from analysis.figures.processed import draw_processed
from analysis.figures.style import style
from snellen.cli_processed import image_processor

crops = {
    f"{name}-{i}": image[top : top + 256, left : left + 256]
    for name, image in photographs.items()
    for i, (top, left) in enumerate([(0, 0), (0, 256), (128, 128)])
}
shown = sn.stimuli.distorted_set(crops, levels=(5,), design="crossed", measure=False)
kept = sn.processed_survival({"112 px": image_processor("clip:112")}, shown, n_boot=200, progress=False)
with style():
    figure, axes = plt.subplots(1, 2, figsize=(8.2, 4.6), sharey=True)
    draw_processed(axes, kept.table)
    plt.show()

# %% [markdown]
# Here crops of 256 px are shown at 112 px, as an encoder does that sees a photograph much reduced. (Three crops of one photograph are not
# independent references: a figure for a paper needs your own images.) Any `Mllm`, processor or image processor can stand in the place of these:
# `snellen processed ./my-checkpoint --images ./photos`.

# %%
exam_model = sn.load("embedded")
store = sn.extract(exam_model, exam, ["vision.3", "vision.5", "projector"], progress=False)
inputs = sn.input_statistics(exam_model, exam, progress=False)
for site, acts in inputs.items():
    print(site, acts.values.shape)
