# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How do I keep what every stage holds of 10,000 images?
#
# Put a checkpoint folder or a hub id in place of `"embedded"`; nothing else changes.

# %%
import tempfile
from pathlib import Path

import snellen as sn

folder = Path(tempfile.mkdtemp())
mllm = sn.load("embedded")
stimuli = sn.stimuli.exam_set(references=40, levels=(3, 5), seed=0)
store = sn.extract(mllm, stimuli, out=folder / "mean", progress=False)
print(len(store.ids), "stimuli,", len(store.sites), "sites,", f"{store.bytes / 1e6:.1f} MB")

# %% [markdown]
# Each batch is on disk before the next but one is computed. Run the same cell again after a kill, and it computes what is
# missing; run it now, and there is nothing to do. What the run measured of itself is kept with it.

# %%
sn.extract(mllm, stimuli, out=folder / "mean", progress=False)  # nothing to do
store.runs[-1]

# %% [markdown]
# A site is memory-mapped: opening it reads nothing, and no other site with it.

# %%
acts = store.read("projector")
acts.values.shape, acts.of(stimuli[0].id)[:5], store.metadata(stimuli[1].id)["type"]

# %% [markdown]
# ## Where in the image
#
# `grid:8` keeps a mean for each cell of the image. Here only the right half of an image is blurred or covered with noise: how
# far does each cell move, at each site, against the clean image? (Relative to the cell's own length; the frame marks the half
# that was changed.)

# %%
import matplotlib.pyplot as plt
import numpy as np

from stimuli.distortions import distort
from stimuli.types import Stimulus, StimulusSet

clean = next(s for s in stimuli if s.type is None).image
shown = {"clean": clean}
for type in ("gaussian_blur", "white_noise"):
    half = clean.copy()
    half[:, 64:] = distort(clean, type, 5, seed=0, reference="r")[:, 64:]
    shown[type] = half
three = StimulusSet([Stimulus(name, "r", None, None, pixels=image) for name, image in shown.items()], "halves")
sites = ["vision.embed", "vision.1", "vision.3", "vision.5", "projector", "llm.3"]
grid = sn.extract(mllm, three, sites, "grid:8", progress=False)

figure, axes = plt.subplots(2, 7, figsize=(11, 3.6), layout="constrained")
for row, type in zip(axes, ("gaussian_blur", "white_noise"), strict=True):
    row[0].imshow(shown[type])
    row[0].set_ylabel(type.replace("_", " "))
    for panel, site in zip(row[1:], sites, strict=True):
        cells = {name: grid.read(site).of(name).reshape(8, 8, -1) for name in ("clean", type)}
        moved = np.linalg.norm(cells[type] - cells["clean"], axis=-1) / np.linalg.norm(cells["clean"], axis=-1)
        image = panel.imshow(moved, vmin=0, vmax=1.2, cmap="cividis")
        panel.add_patch(plt.Rectangle((3.5, -0.5), 4, 8, fill=False, color="w", lw=1.5))
        if type == "gaussian_blur":
            panel.set_title(site, fontsize=9)
for panel in axes.flat:
    panel.set(xticks=[], yticks=[])
figure.colorbar(image, ax=axes, label="change of the cell", shrink=0.8)
plt.show()

# %% [markdown]
# Which token looks where is measured, not assumed: cell after cell of an image is changed with the model's blocks turned into
# the identity. So this works for tiles, windows and merged patches as well, and is refused for projectors whose tokens look
# everywhere.
#
# ## Tokens
#
# `none` keeps every image token in the model's own precision, `random:64` some of them, the same at every site; `offsets` says
# whose rows are whose.

# %%
tokens = sn.extract(mllm, stimuli[:16], ["vision.3", "projector"], "random:10", progress=False).read("vision.3")
tokens.values.shape, tokens.offsets[:4], tokens.of(stimuli[3].id).shape

# %% [markdown]
# ## Several prompts
#
# The vision tower runs once per image; each site of the language model is kept once per prompt.

# %%
prompts = {"distortion": "Which distortion does this image show, if any?", "colour": "What colour is the shape?"}
both = sn.extract(mllm, stimuli[:64], ["llm.1", "llm.3"], "last", prompt=prompts, progress=False)
for layer in ("llm.1", "llm.3"):
    one, other = (both.read(f"{layer}@{name}").values for name in prompts)
    print(
        layer,
        "cosine between the two prompts:",
        round(float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one, other, strict=True)])), 3),
    )

# %% [markdown]
# ## What was left out
#
# An image that cannot be read, that the processor rejects, or that gives NaN is recorded with the reason; nothing else suffers.

# %%
(folder / "broken.png").write_bytes(b"no image")
mixed = StimulusSet([*stimuli[:3], Stimulus("broken", "b", None, None, pixels=folder / "broken.png")], "mixed")
left = sn.extract(mllm, mixed, ["projector"], progress=False)
print(len(left.ids), "stored;", left.skipped[0]["id"], "left out:", left.skipped[0]["reason"].replace(str(folder), "…"))
