# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does my checkpoint see the faults in my images?
#
# Needed are a folder that `save_pretrained` wrote (or a hub id) and images with a list of what they are. So that this runs
# anywhere, the next cell makes both: the small model that ships with Snellen, saved as transformers saves any, and 96 images in a
# folder. Leave it out, and let `checkpoint` and `images` name yours.

# %%
import csv
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import snellen as sn
from hooks.quiet import quiet
from stimuli.distortions import distort

folder = Path(tempfile.mkdtemp())
checkpoint, images = folder / "my-checkpoint", folder / "my-images"
shipped = sn.load("embedded")
with quiet():
    shipped.model.save_pretrained(checkpoint)
    shipped.processor.save_pretrained(checkpoint)


def banded(image, level):
    """Dark lines, as a dirty scanner leaves them."""
    lines = np.arange(image.shape[0]) % 8 == 0
    return np.where(lines[:, None, None], image * (1 - 0.15 * level), image).round().astype(np.uint8)


faults = {"gaussian_blur": distort, "white_noise": distort, "banding": lambda image, type, level: banded(image, level)}
images.mkdir()
rows = []
pristine = [s for s in sn.stimuli.exam_set(references=24, levels=(3,), seed=5, measure=False) if s.type is None]
for source in pristine:
    versions = [("", "", source.image)]
    versions += [
        (type, level, make(source.image, type, level)) for level, (type, make) in zip((5, 4, 3), faults.items(), strict=True)
    ]
    for type, level, pixels in versions:
        name = f"{len(rows):03}.png"
        Image.fromarray(pixels).save(images / name)
        rows.append({"image": name, "reference": source.reference, "type": type, "level": level})
with open(images / "list.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
print(sorted(path.name for path in checkpoint.iterdir()))

# %% [markdown]
# ## The images
#
# One line per image. `reference` names the picture that it is a version of, and matters most: everything is split and
# resampled by it. No type means pristine. `mos`, masks and columns of your own may stand beside these.

# %%
print("".join((images / "list.csv").read_text().splitlines(keepends=True)[:5]))
stimuli = sn.stimuli.from_csv(images / "list.csv", check=True)
print(stimuli, stimuli.info["images"])

# %% [markdown]
# Snellen has never heard of `banding`. A taxonomy of your own declares it, and says which answers there are.

# %%
mine = folder / "mine.yaml"
mine.write_text("""\
name: mine
classes: [blur, noise, banding, clean]
types: {gaussian_blur: blur, white_noise: noise, banding: banding}
own_types: [banding]
""")
figure, axes = plt.subplots(1, 4, figsize=(7, 2), layout="constrained")
for ax, stimulus in zip(axes, stimuli[:4], strict=True):
    ax.imshow(stimulus.image)
    ax.set_title(f"{stimulus.type or 'pristine'} {stimulus.level or ''}", fontsize=9)
    ax.axis("off")

# %% [markdown]
# ## The model
#
# Stages are found from what the model declares and how its data flow, and are proven by one pass forth and back.

# %%
mllm = sn.load(checkpoint)
stages = sn.find_stages(mllm.model)
print(" → ".join(stages.sites))
print("proven in", f"{mllm.stages.proof.seconds:.1f} s;", "not read by the answer:", mllm.stages.proof.dead or "none")

# %% [markdown]
# Where they are not found, name them by module, with `*` for a number. A slip is told with what may have been meant.

# %%
from stimuli.errors import InputError

own = {
    "vision": "model.vision_tower.encoder.layers.*",
    "projector": "model.multi_modal_projector",
    "llm": "model.language_model.layers.*",
}
try:
    sn.load(checkpoint, stages={**own, "llm": "model.language_model.blocks.*"})
except InputError as error:
    print(error)
print(" → ".join(sn.load(checkpoint, stages=own).stages.sites))

# %% [markdown]
# ## Does it say what is wrong, and does it know?

# %%
answers = sn.ask(mllm, stimuli, taxonomy=mine, progress=False)
print(
    f"balanced accuracy {answers.balanced_accuracy:.1%} [{answers.balanced_low:.1%}, {answers.balanced_high:.1%}], chance {answers.chance:.1%}"
)
print({name: f"{share:.0%}" for name, share in answers.response_distribution.items()})

store = sn.extract(mllm, stimuli, out=folder / "activations", progress=False)  # the same line goes on after a kill
result = sn.sweep(store, taxonomy=mine, progress=False)
best = result.row(result.best())
print(
    f"best probe: {best['site']} {best['score']:.1%} [{best['low']:.1%}, {best['high']:.1%}], shuffled labels {best['control']:.1%}"
)

# %%
from analysis.figures import draw_survival, style

survival = {"base": result.table, "chance": answers.chance, "majority": answers.majority}
with style():
    draw_survival(plt.subplots(figsize=(8.2, 3.9))[1], survival, answers.as_dict())

# %% [markdown]
# A curve that stays above the star is information that the model has and does not say. Which stage to teach, and whether that
# cures it, is what `sn.exam` goes on to find out: `snellen exam ./my-checkpoint --images ./pristine-photos`.
#
# ## For other tools
#
# Plain arrays, a file per site, with the stimuli and their labels beside them.

# %%
done = sn.export(store, folder / "arrays", sites=["vision.3", "projector"])
print(*(f"{path.name:15} {path.stat().st_size / 1000:6.1f} kB" for path in sorted(done.folder.iterdir())), sep="\n")
print(np.load(done.folder / "projector.npy").shape)
