# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Do its answers follow the image or a template?
#
# Put a checkpoint folder or a hub id in place of `"embedded-template"`; nothing else changes. Every interval is over reference images.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import snellen as sn
from analysis.figures import style
from analysis.figures.agreement import PANELS, draw_agreement
from analysis.figures.protocols import draw_controls, draw_protocols

plt.rcParams["figure.dpi"] = 90
book = Path(tempfile.mkdtemp()) / "answers"  # what was answered once is never asked again
mllm = sn.load("embedded-template")
stimuli = sn.stimuli.exam_set(references=8, levels=(2, 3, 4, 5), seed=0)
how = {"out": book, "progress": False, "n_boot": 200}  # 1000 resamples for a paper

# %% [markdown]
# ## In different ways
#
# The same question as a forced choice among wordings, relative to a grey image, as lettered options in several orders, as one yes-or-no
# question per distortion, and as an open question whose answer is parsed. What names no class, or several, is *unparsed*, never guessed.

# %%
answers = {
    name: sn.ask(mllm, stimuli, kind, **options, **how)
    for name, kind, options in (
        ("forced choice", "forced-choice", {}),
        ("relative to grey", "forced-choice", {"calibrated": True}),
        ("lettered", "multiple-choice", {"orders": 2}),
        ("yes or no", "yes-no", {}),
        ("open", "open", {}),
    )
}
with style():
    figure, ax = plt.subplots(figsize=(5.4, 2.9), layout="constrained")
    draw_protocols(ax, {name: found.as_dict() for name, found in answers.items()})
    plt.show()

# %%
main = answers["forced choice"]
print(f"{main.balanced_accuracy:.1%} [{main.balanced_low:.1%}, {main.balanced_high:.1%}] right, chance {main.chance:.1%}")
print("what is said:", {name: f"{share:.0%}" for name, share in main.response_distribution.items() if share > 0.02})
print("right by chance with these answers:", f"{main.profile['if_image_ignored']:.1%}")
main.table[0]

# %% [markdown]
# ## Without the image
#
# Seven controls. An answer that follows the distortion survives another image of the same class, and falls below chance with one of another
# class. An answer that follows the template does not care.

# %%
hidden = sn.blind_controls(mllm, stimuli, **how)
with style():
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True, layout="constrained")
    draw_controls(axes, hidden.as_dict())
    plt.show()

# %% [markdown]
# ## Twice
#
# Drawn again, asked in other words, with the options in another order, and after changes that no one sees (one grey level, one row of
# pixels). Open diamonds are what answers of the same frequencies would give if they did not depend on the image: a model that always says
# the same agrees with itself, too.

# %%
again = sn.consistency(mllm, stimuli, repeats=3, orders=2, **how)
with style():
    figure, axes = plt.subplots(1, len(PANELS), figsize=(8, 3.2), sharey=True, layout="constrained")
    draw_agreement(axes, {found.as_dict()["what"]: found.as_dict() for found in again.values()})
    plt.show()

# %% [markdown]
# ## Known, but not said
#
# Join the probe's verdict at each site with the answer to the same image.

# %%
from analysis.figures.unsaid import draw_unsaid

sites = ["vision.embed", "vision.2", "vision.5", "projector", "llm.1", "llm.3"]  # or all of them
survival = sn.sweep(sn.extract(mllm, stimuli, sites, progress=False), n_boot=200, progress=False)
unsaid = sn.unsaid(survival, main, n_boot=200)
with style():
    figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
    draw_unsaid(ax, unsaid.as_dict())
    plt.show()
row = unsaid.row(unsaid.site)
print(f"at {unsaid.site}: of what the probe finds, {row['not_said_of_encoded']:.0%} is not said; the most frequent answer is "
      f"'{unsaid.template['answer']}' ({unsaid.template['share']:.0%} of all)")  # fmt: skip

# %% [markdown]
# ## Quality scores
#
# Words for levels, weighed by their likelihood. Without opinion scores, they are compared with measured severity (here SSIM).

# %%
rated = sn.quality(mllm, stimuli, ("levels", "q-bench", "q-align"), **how)
for name, found in rated.items():
    srcc = found.correlations.srcc
    print(f"{name:8} SRCC {srcc.value:.2f} [{srcc.low:.2f}, {srcc.high:.2f}] with {found.truth}")
