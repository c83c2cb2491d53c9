"""Words that praise or blame, read by hand: negation, hedges, whole words."""

import pytest
import yaml

from analysis.description_words import FILE, attributes, longest, mentions, words

SENTENCES = {
    "The image is clear and sharp.": "+clear +sharp",
    "The image is unclear.": "-unclear",
    "It is un-clear": "-unclear",
    "The image is not blurry.": "+not blurry",
    "It isn't sharp.": "-not sharp",
    "It isn’t noisy or blurry.": "+not noisy +not blurry",
    "The image can't be called sharp.": "-not sharp",
    "There is no visible noise.": "+not noise",
    "No distortion is visible in the image.": "+not distortion",
    "It is free of artifacts and without noise.": "+not artifacts +not noise",
    "A noise-free, crisp picture.": "+not noise +crisp",
    "It does not suffer from any noticeable motion blur.": "+not motion blur",
    "It does not seem to be in focus.": "-not in focus",
    "It does not present any noise.": "+not noise",
    "There is no noise, blur or compression artifacts.": "+not noise +not blur +not compression artifacts",
    "Noise and blur are not visible.": "+not noise +not blur",
    "The noise is barely visible.": "+not noise",
    "no blur and no noise": "+not blur +not noise",
    "It is neither sharp nor clear.": "-not sharp -not clear",
    "It is not sharp. Nor is it vivid.": "-not sharp -not vivid",
    # a negation ends with its clause, and goes on over words of the same tendency only
    "The image is not blurry and the noise is strong.": "+not blurry -noise",
    "The picture is not sharp, noisy and dull.": "-not sharp -noisy -dull",
    "Without blur, with vivid colors and good contrast.": "+not blur +vivid +good",
    "There are no people in the blurry image.": "-blurry",
    "There is no dog, noise is strong.": "-noise",
    "No dog but noise": "-noise",
    "Colours are vivid; however, the image doesn't look sharp.": "+vivid -not sharp",
    "The image is sharp rather than blurry.": "+sharp +not blurry",
    # two negators undo each other, and "not only" is none
    "The image is not free of noise.": "-noise",
    "There is no loss of detail.": "+detail",
    "Compression does not affect the sharpness.": "-compression +sharpness",
    "It is not only sharp but also vivid.": "+sharp +vivid",
    "It is, no doubt, noisy": "-noisy",
    # low, little, less; after "is" they are about what stands before
    "Low noise and low contrast.": "+not noise -not contrast",
    "The noise level is low.": "+not noise",
    "The sharpness is very low.": "-not sharpness",
    "Most of the texture details are lost.": "-not details",
    "Details are lacking. Contrast is insufficient.": "-not details -not contrast",
    "It is less blurry than usual.": "+not blurry",
    "A little girl is blurred.": "-blurred",
    "A blurry low quality picture": "-blurry -not quality",
    "Taken in low light with noise.": "-noise",
    # hedges count for nothing, but "a little" is not "little"
    "The image is slightly blurry.": "-blurry",
    "The image is not very clear.": "-not clear",
    "There is a little noise, and a few artifacts.": "-noise -artifacts",
    "There is little noise, and few artifacts.": "+not noise +not artifacts",
    "The image is not too dark.": "+not too dark",
    # names of attributes say nothing unless they are denied
    "The contrast and the sharpness of the image": "",
    "It lacks sharpness and contrast.": "-not sharpness -not contrast",
    "This image has high quality, with rich details.": "+high quality +rich details",
    "The overall quality of this image is poor.": "-poor",
    # words about the scene
    "Clear skies over clear water, a dark dog in the bright sun": "",
    "Clear signs of compression are present.": "-compression",
    "The background is blurred but the subject is in focus.": "+in focus",
    "A sharpshooter denoised the clearance": "",
    "NOT SHARP!": "-not sharp",
    "not": "",
    "": "",
}  # fmt: skip


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_are_read_as_a_person_would(text: str) -> None:
    assert " ".join(f"{'-+'[own.positive]}{own}" for own in mentions(text)) == SENTENCES[text]


def test_words_have_their_attribute() -> None:
    found = mentions("Sharp, noisy, underexposed, low contrast, faded, blocky and good.")
    assert [own.attribute for own in found] == list(attributes())


def test_the_lexicon_says_everything_once_in_lower_case_with_a_source() -> None:
    entry = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    lists = [own[kind] for own in entry["attributes"].values() for kind in ("positive", "negative", "named")]
    lists += [value for value in entry.values() if isinstance(value, list)]
    phrases = [phrase for own in lists for phrase in own]
    assert all(isinstance(phrase, str) for phrase in phrases), "a bare no or on is a truth value in YAML"
    assert [phrase for phrase in phrases if " ".join(words(phrase)) != phrase] == []
    assert sorted(phrases) == sorted(set(phrases)) and entry["source"].startswith("ours")


def test_the_longest_phrase_wins() -> None:
    phrases = {("a",): 1, ("a", "b", "c"): 2, ("b",): 3}
    assert list(longest(list("abcab"), phrases)) == [("a b c", 2), ("a", 1), ("b", 3)]
    assert list(longest(list("xy"), {})) == [("x", None), ("y", None)]
