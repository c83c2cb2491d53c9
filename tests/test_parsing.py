"""Replies as models give them: what says one thing is read, what says nothing or two things is not, and nothing is guessed."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.denials import FLAWS, phrases, said
from analysis.parsing import (
    UNFLAWED,
    UNPARSED,
    distortion_json,
    exact,
    final,
    json_reply,
    letter,
    level,
    named,
    score,
    yes_no,
)
from stimuli.errors import InputError
from stimuli.questions import Question, question

PAPER, KADID, DEPICT, INSIGHT, LIQE = (
    question("distortion", name) for name in ("paper8", "kadid25", "depictqa12", "qinsight5", "liqe11")
)
SEVERITIES = ("slight", "moderate", "obvious", "serious", "catastrophic")
LEVELS = ("excellent", "good", "fair", "poor", "bad")


# ---- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("blur", "blur"), ("Blur.", "blur"), ("The image is blurry", "blur"), ("It is unblurred", UNPARSED),
        ("noise and blur", UNPARSED), ("", UNPARSED), ("I cannot say", UNPARSED), ("JPEG artifacts!", "compression"),
        ("a denoised picture", UNPARSED), ("no distortion", "clean"), ("grainy", "noise"), ("contrast", "contrast"),
        ("**Noise**", "noise"), ("`blur`", "blur"), ('"compression"', "compression"), ("jitter\n", "jitter"),
        ("The distortion in this image is: noise.", "noise"), ("noise/blur", UNPARSED), ("Either blur or noise.", UNPARSED),
        ("The blurriness is a motion blur.", "blur"), ("colourfulness", "colorfulness"), ("Colour-fulness", UNPARSED),
        ("De-noised", UNPARSED), ("un-blurred", UNPARSED), ("over-saturation", "colorfulness"), ("JPEG2000", "compression"),
        ("Over exposure.", "brightness"), ("compression artefacts", "compression"), ("noises", UNPARSED),
    ],
)  # fmt: skip
def test_a_class_is_named_by_whole_words_once(text: str, answer: str) -> None:
    assert named(text, PAPER) == answer


@pytest.mark.parametrize(
    ("text", "asked", "answer"),
    [
        ("color quantization", KADID, "color_quantization"), ("quantization", KADID, "quantization"),
        ("Colour quantisation", KADID, "color_quantization"),
        ("color quantization, not mere quantization", KADID, "color_quantization"),
        ("JPEG 2000", KADID, "jpeg2000"), ("jpeg-2000 compression", KADID, "jpeg2000"), ("JPEG", KADID, "jpeg"),
        ("JPEG2000 compression", LIQE, "jpeg2000_compression"), ("jpeg artifacts", LIQE, "jpeg_compression"),
        ("JPEG and JPEG 2000", KADID, UNPARSED), ("white noise in color component", KADID, "white_noise_color_component"),
        ("White-noise", KADID, "white_noise"), ("white_noise", KADID, "white_noise"), ("noise", KADID, UNPARSED),
        ("Non-eccentricity patch", KADID, "non_eccentricity_patch"), ("non eccentricity patches", KADID, UNPARSED),
        ("Insufficient-contrast", DEPICT, "insufficient_contrast"), ("low contrast", DEPICT, "insufficient_contrast"),
        ("The contrast", DEPICT, UNPARSED), ("over sharpening", DEPICT, "oversharpening"),
        ("over-sharpened", DEPICT, "oversharpening"), ("quantization", DEPICT, "color_quantization"),
        ("overly high saturation", DEPICT, "overly_high_saturation"), ("None", DEPICT, "clean"), ("clean", DEPICT, "clean"),
        ("null", INSIGHT, "clean"), ("none", INSIGHT, "clean"), ("darken", INSIGHT, "darken"), ("none", LIQE, UNPARSED),
        ("no distortion", LIQE, UNPARSED), ("not noisy, just other", LIQE, "other"),
    ],
)  # fmt: skip
def test_the_longest_wording_counts_however_it_is_written(text: str, asked: Question, answer: str) -> None:
    assert named(text, asked) == answer


@pytest.mark.parametrize(
    "text",
    [
        "no blur", "There is no visible blur.", "not blurry", "It isn't blurry at all", "It isn’t noisy", "without noise",
        "The image does not exhibit any blur, noise, or compression artifacts.", "neither blur nor noise", "not clean",
        "I cannot see any noise or blur", "noise-free", "Blur is not visible here", "blur: no", "Noise (none visible)? No.",
        "free of noise", "a lack of contrast", "I don't think the answer is blur", "The blur isn't noticeable.", "non-blurry",
        "hardly any noise", "very little noise", "Noise reduction was applied", "It is not clear whether there is noise",
        "The image has good contrast", "The contrast is good.", "The image is not pristine", "no (visible) blur",
        "no other distortion", "no lens distortion", "There is no color distortion", "not distorted by anything but me",
        "The distortion is not specified", "distortion", "No.", "noise and blur are absent", "The image lacks contrast.",
        "whether there is blur", "unlikely to be noise", "little noise", "No compression distortion",
        "lens distortion is not visible", "It has noise and jitter; I don't think the answer is blur", "blur: no\n",
    ],
)  # fmt: skip
def test_what_is_denied_or_praised_is_not_named(text: str) -> None:
    assert named(text, PAPER) == UNPARSED


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("noise, not blur", "noise"), ("It is not noisy but blurry", "blur"), ("noise rather than blur", "noise"),
        ("No, it is blurry.", "blur"), ("No. Blur.", "blur"), ("no doubt: blur", "blur"),
        ("There is no doubt it is blur", "blur"), ("There is no noise, the image is blurry", "blur"),
        ("not sharp because of blur", "blur"), ("no noise - the image is blurry", "blur"),
        ("blur rather than distortion", "blur"), ("no noise, only blur", "blur"),
        ("The image isn't noisy and has compression artifacts", "compression"), ("a little noise", "noise"),
        ("not only blurry", "blur"), ("no distortion other than blur", "blur"),
        ("No distortions except slight noise", "noise"), ("blur and no other distortion", "blur"),
        ("clean, apart from noise", UNPARSED), ("clean apart from noise", "noise"),
        ("The image has blur with no visible noise — nothing else.", "blur"), ("The blur is not severe.", "blur"),
    ],
)  # fmt: skip
def test_a_denial_ends_with_its_clause(text: str, answer: str) -> None:
    assert named(text, PAPER) == answer


@pytest.mark.parametrize(
    "text",
    [
        "No distortions", "There is no visible distortion.", "without any distortion", "The image is not distorted",
        "distortion-free", "free of artifacts", "It shows no signs of degradation", "None.", "No specific distortion",
        "clean, without noise", "There are no noticeable artefacts in this image.",
        "no blur, noise, or other distortion... none", "no distortion of any kind",
        "The image doesn't have any distortion, it is sharp", "No blur, no noise, no distortion",
        "distortions are not visible", "free from distortion",
    ],
)  # fmt: skip
def test_denying_all_distortions_names_clean(text: str) -> None:
    assert named(text, PAPER) == "clean"


VERBOSE = [
    ("Looking at the image closely, fine random speckles cover the sky and the wall. The edges remain crisp. The primary "
     "distortion is **noise**.", "noise"),
    ("Based on the image provided, the most apparent distortion is blur, likely due to camera shake. There is no "
     "significant noise or compression artifact visible.", "blur"),
    ("The photo seems to be heavily compressed: 8x8 blocks are visible around the edges, which isn't something noise would "
     "cause.", "compression"),
    ("<think>Could be blur. Or noise? The texture is smeared, so blur.</think><answer>blur</answer>", "blur"),
    ("reasoning about noise and jitter</think>\n\nblur", "blur"),
    ("<think>It might be noise, the grain is", UNPARSED),
    ("The image may suffer from noise as well as from blur.", UNPARSED),
    ("1. Blur: No\n2. Noise: Yes\n3. Compression: No", "noise"),
    ("The options are blur, noise, brightness, compression, contrast, colorfulness, jitter and clean. Answer: "
     "jitter", "jitter"),
    ("I would say noise or blur. The final answer is noise.", "noise"),
    ("I'm sorry, but as an AI model I can't determine the distortion of this image.", UNPARSED),
    ("This image appears to be of high quality with vivid colors, good contrast and sharp details. It does not have any "
     "noticeable distortion.", "clean"),
    ("The image is underexposed? No — the histogram looks fine. What is visible is JPEG blocking, i.e. "
     "compression.", "compression"),
    ("The image is not very clear. It looks blurry.", "blur"),
    ("Details are not visible due to noise.", "noise"),
    ("There doesn't appear to be any noise, however the image is quite blurred.", "blur"),
    ("The image quality is high with no visible signs of noise or compression artifacts, however there is a slight "
     "jitter.", "jitter"),
    ("The brightness is normal, contrast is balanced, and colorfulness is good; noise is strong.", "noise"),
    ("The image has no distortion, but the contrast is low.", UNPARSED),
    ("Noise? No, blur.", "blur"),
    ("The image appears clean and free from any noise, blur or compression.", "clean"),
    ("blur (not noise)", "blur"),
    ("None of these distortions is present.", "clean"),
    ("If I had to choose, I'd say blur.", "blur"),
    ("I'm unable to tell if the image has noise.", UNPARSED),
    ("It is nothing but noise", "noise"),
    ("<answer>noise</answer> or maybe <answer>blur</answer>", UNPARSED),
]  # fmt: skip


@pytest.mark.parametrize(("text", "answer"), VERBOSE)
def test_verbose_replies_are_read_by_what_they_conclude(text: str, answer: str) -> None:
    assert named(text, PAPER) == answer


def test_a_wording_of_two_classes_names_both() -> None:
    asked = Question("q", "?", {"a": "over-sharp", "b": "sharp"}, {"b": ("oversharp",)}, "me")
    assert named("oversharp", asked) == UNPARSED and named("sharp", asked) == "b"
    assert named("no focus", Question("q", "?", {"a": "no focus", "b": "focus"}, {}, "me")) == "a"


def test_exact_is_to_the_letter() -> None:
    assert exact("  Color quantization\n", DEPICT) == "color_quantization" and exact("None", DEPICT) == "clean"
    for text in ("color quantization", "Color quantization.", "Color Quantization", "Noisy", "", "<answer>Noise</answer>"):
        assert exact(text, DEPICT) == UNPARSED
    assert exact("JPEG2000 compression", KADID) == "jpeg2000"


# ---- levels, yes and no ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("good", 1), ("The quality of the image is fair.", 2), ("Excellent!", 0), ("good to fair", None), ("not bad", None),
        ("fairly sharp", None), ("It is poor, not bad", 3), ("", None), ("goodness", None), ("<think>bad</think>poor", 3),
        ("excellent, good", None), ("between poor and bad. Answer: bad", 4),
    ],
)  # fmt: skip
def test_a_level_is_one_word_of_the_levels(text: str, place: int | None) -> None:
    assert level(text, LEVELS) == place


def test_the_longer_level_wins() -> None:
    assert level("very good", ("good", "very good")) == 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes", True), ("yes.", True), ("No", False), ("no, it is sharp", False), ("**Yes**, the image is noisy.", True),
        ("No blur is visible.", False), ("No doubt, it is blurred", None), ("yes or no", None), ("Yes/No", None), ("", None),
        ("I see noise", None), ("The answer is no.", False), ("It is noisy. Answer: yes", True), ("Yes. No.", None),
        ("There is no blur", None), ("Nothing", None), ("Yesterday", None), ("<think>yes</think> No", False),
        ("No other distortion", None), ("Yes: no blur at all", True), ("Is it blurry? Yes!", True), ("No\n\nAnswer: Yes", None),
        ("(no)", False), ("not really", None),
    ],
)  # fmt: skip
def test_yes_and_no_are_said_rather_than_found(text: str, answer: bool | None) -> None:
    assert yes_no(text) is answer


# ---- letters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B", 1), ("B.", 1), ("(b)", 1), ("b", 1), ("b)", 1), ("[C]", 2), ("B. blur", 1), ("B: blur", 1), ("B) blur", 1),
        ("B blur", 1), ("Answer: B", 1), ("The answer is B", 1), ("The answer is B.", 1), ("**Answer:** (C)", 2),
        ("The correct option is D.", 3), ("Option A", 0), ("A", 0), ("A.", 0), ("A. High", 0), ("A is correct", 0),
        ("The answer is A because it is dark", 0), ("I would choose C, as the edges are soft.", 2), ("<answer>D</answer>", 3),
        ("<think>A? B?</think>C", 2), (r"\boxed{B}", 1), ("The image is dark.\n\nB", 1), ("Let me think. The answer: a", 0),
        ("I think (B) fits best", 1), ("Option B (not option A)", 1), ("A. High\nB. Low\nC. Medium\nAnswer: C", 2),
        ("A. High\nB. Low", None), ("(A) High (B) Low. The answer is (B)", 1),
        ("Answer: B\n\nExplanation: the sky is bright", 1), ("**B. Low**", 1), ("A blurry image", None), ("I", None),
        ("I think it is blurry", None), ("A photo of a dog", None), ("a dog", None), ("A or B", None), ("A and C", None),
        ("B/C", None), ("A, C", None), ("Both A and C", None), ("B or C.", None), ("E", None), ("", None), ("Blur", None),
        ("The answer is a blurry image", None), ("The answer is A blurry image", None), ("e.g. blur", None),
        ("The answer is not B", None), ("I wouldn't choose B", None), ("Channel B is noisy", None),
        ("It looks like plan B. It is blurry", None), ("B. no wait, C. is better", None), ("The answer is A or B", None),
        ("Can't say", None), ("D'accord", None), ("C++", None),
    ],
)  # fmt: skip
def test_a_letter_is_said_as_one(text: str, place: int | None) -> None:
    assert letter(text, 4) == place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("Low", 1), ("low.", 1), ("The lighting is low.", 1), ("High", 0), ("It is high, not low", 0), ("high and low", None),
        ("B. Low", 1), ("B. High", None), ("B. The lighting is low, not high", 1), ("A low light", 1), ("Very low", 3),
        ("Lower", None), ("Medium\n", 2), ("bright", None),
    ],
)  # fmt: skip
def test_a_choice_is_chosen_by_its_own_words(text: str, place: int | None) -> None:
    assert letter(text, 4, ["High", "Low", "Medium", "Very low"]) == place


@pytest.mark.parametrize(
    ("text", "place"), [("Yes", 0), ("No, it is sharp", 1), ("There is no blur", None), ("Yes and no", None), ("B. No", 1)]
)
def test_no_is_a_choice_only_where_it_answers(text: str, place: int | None) -> None:
    assert letter(text, 2, ["Yes", "No"]) == place


def test_letters_are_for_the_options_that_there_are() -> None:
    assert letter("C", 2) is None and letter("Z", 26) == 25 and letter("I.", 9) == 8 and letter("I am", 9) is None
    assert letter("same", 2, ["Same", "same."]) is None
    with pytest.raises(InputError, match="Got 27 options with 0 choices. Expected at most 26"):
        letter("A", 27)
    with pytest.raises(InputError, match="Got 3 options with 2 choices"):
        letter("A", 3, ["a", "b"])


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("3.5", 3.5), (" 4.25\n", 4.25), ("<answer>3.45</answer>", 3.45),
        ("<think>2 or 5</think><answer> 4 </answer>", 4), ("4/5", 4), ("4 / 5", 4), ("4 out of 5", 4),
        ("The rating is 3.5.", 3.5), ("Rating: 4", 4), ('{"rating": 3.72}', 3.72), ('```json\n{"rating": "2.10"}\n```', 2.1),
        ("I'd give it a 3.5 out of 5.", 3.5), ("I would rate this image 2.5.", 2.5),
        ("On a scale from 1 to 5, I would rate it 3", 3), ("**Score:** 4.2", 4.2), ("4 stars", 4),
        ("3. The image is blurry.", 3), ("There are 3 dogs and 2 cats. Score: 4", 4), ("Score: 4\nScore: 4.0", 4),
        ("Rating (1-5): 2", 2), ("The quality is about 4", 4), ("1. sharp\n2. noisy\nRating: 3", 3),
        ("The overall quality of this image is 3.85", 3.85), ("noisy sky\n2", 2), ("The image deserves 4/5.", 4),
        ("Answer: 5", 5), ("score of 4", 4), ("[3.20]", 3.2), ("6", None), ("0.5", None), ("-3", None), ("Score: -3", None),
        ("8/10", None), ("Score: 8/10", None), ("75", None), ("2, 3", None), ("3,5", None), ("3-4", None), ("3 or 4", None),
        ("Score: 3 or Score: 4", None), ("<answer>3</answer><answer>4</answer>", None), ("", None), ("good", None),
        ("I cannot rate it", None), ("The image shows 3 dogs.", None), ("3 dogs", None), ("4K", None),
        ("1. sharp\n2. noisy", None), ("from 1 to 5", None), ("Score: [a score]", None), ("version 3.5.1", None),
        ("70%", None), ("<think>4", None), ("4/5 of the image is blurry", None), ("three", None),
        ("The rating is between 1 and 5", None), ("I rate it 3 because 2 people are blurred", None),
        ("4 out of 5 people", None), ("1e1", None), ("1. sharp\n2. noisy\nI give it 4", 4), ("1. The image is sharp", None),
        ("1.", 1), ("3%", None), ("4-legged", None), ("1) sharp sky", None), ("(4)", 4), ("The rating of the 2 images", None),
        ("Score: 3\nThe 2 dogs", 3), ("Rating = 2", 2), ("5, good", 5), (".5", None), ("I give it 3 stars", 3),
        ("4 - good", 4),
    ],
)  # fmt: skip
def test_a_score_is_given_as_one(text: str, value: float | None) -> None:
    assert score(text, 1, 5) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Score: 75", 75), ("75 out of 100", 75), ("75/100", 75), ("75%", 75), ("Score: 82.5.", 82.5), ("Score: 105", None),
        ("0", 0), ("100", 100), ("between 0 and 100: 40", None), ("Score: 4/5", None), ("1,000", None), ("Score:−5", None),
        ("The score, from 0 to 100, is 64, as JPEG 2000 blocks are visible.", 64), ("60 or 70", None),
    ],
)  # fmt: skip
def test_a_score_lies_in_its_range(text: str, value: float | None) -> None:
    assert score(text, 0, 100) == value


# ---- JSON ------------------------------------------------------------------------------------------------------------

NOISE = {"distortion_class": "noise", "severity": "slight"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(NOISE), f"```json\n{json.dumps(NOISE, indent=1)}\n```", f"```\n{json.dumps(NOISE)}```",
        f"<think>{{maybe}}</think><answer>{json.dumps(NOISE)}</answer>", f"Here it is: {json.dumps(NOISE)} I hope this helps.",
        f"<answer>```json\n{json.dumps(NOISE)}\n```</answer>", f"{json.dumps(NOISE)}\n{json.dumps(NOISE)}",
        "{'distortion_class': 'noise', 'severity': 'slight'}", '{"distortion_class": "noise", "severity": "slight",}',
        f"The result {{below}}:\n```json\n{json.dumps(NOISE)}\n```",
        "{'distortion_class': \"noise\", 'severity': 'slight',\n}",
    ],
)  # fmt: skip
def test_json_is_found_wherever_it_stands(text: str) -> None:
    assert json_reply(text) == NOISE


@pytest.mark.parametrize(
    "text",
    [
        "", "noise", "null", "[1, 2]", '{"a": 1} {"a": 2}', '{"a": 1, "a": 2}', '{"a": "no', '"a": 1', "{'a': 'it's'}",
        "{'a': 'x\", \"b\": \"y'}", "{'a': 'say \"x\"'}", "{a: 1}", "{}{1}", '{"a": {"b": 1}, c}', "<think>{\"a\": 1}",
        "{" * 5000, '{"a":' * 5000,
    ],
)  # fmt: skip
def test_json_that_is_unclear_is_none(text: str) -> None:
    assert json_reply(text) is None


def test_mended_json_keeps_what_is_in_quotes() -> None:
    assert json_reply("{'a': None, 'b': [True, 2,], \"c\": \"None, }\"}") == {"a": None, "b": [True, 2], "c": "None, }"}
    assert json_reply('{"outer": {"inner": 1}}') == {"outer": {"inner": 1}}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"distortion_class": "blur", "severity": "obvious"}', ("blur", 3)),
        ('<think>…</think><answer>{"severity": "catastrophic", "distortion_class": "noise"}</answer>', ("noise", 5)),
        ('{"distortion_class": "null", "severity": "null"}', ("clean", None)),
        ('{"distortion_class": null, "severity": null}', ("clean", None)),
        ('{"distortion_class": "none", "severity": "none"}', ("clean", None)),
        ("{'Distortion Class': 'Darken', 'Severity': 'Slight'}", ("darken", 1)),
        ('{"distortion_class": "JPEG artifacts", "severity": "Moderate."}', ("compression", 2)),
        ('{"distortion_class": ["blur"], "severity": "slight"}', ("blur", 1)),
        ('{"distortion_class": ["blur", "noise"]}', (UNPARSED, None)),
        ('{"distortion_class": "blur and noise", "severity": "slight"}', (UNPARSED, 1)),
        ('{"distortion_class": "pixelate"}', (UNPARSED, None)),
        ('{"distortion_class": "blur", "severity": 3}', ("blur", None)),
        ('{"distortion_class": "blur", "severity": "slight to moderate"}', ("blur", None)),
        ('{"severity": "slight"}', (UNPARSED, 1)), ("The distortion is blur.", (UNPARSED, None)),
        ('{"distortion_class": 3}', (UNPARSED, None)), ('{"distortion_class": "", "severity": ""}', (UNPARSED, None)),
        ('{"distortion_class": []}', (UNPARSED, None)),
    ],
)  # fmt: skip
def test_class_and_severity_come_out_of_the_json(text: str, answer: tuple[str, int | None]) -> None:
    assert distortion_json(text, INSIGHT, SEVERITIES) == answer


def test_the_answer_stands_behind_the_reasoning() -> None:
    assert final("<think>a</think> b") == " b" and final("a</THINK>b") == "b" and final("<think>a") == "" and final("a") == "a"
    assert final("x <answer>a</answer> y <ANSWER>b") == "a\nb"


# ---- any text --------------------------------------------------------------------------------------------------------

PIECES = [
    *"ABCDI()[]{}.,:;/'\"\n-", "<think>", "</think>", "<answer>", "</answer>", "no ", "not ", "without ", "n't ", "blur",
    "noise", "clean", "none", "color quantization", "jpeg 2000", "distortion ", "answer: ", "option ", " or ", " and ",
    "Score: ", "3", "4.5", "/5", " out of ", "yes", "```json", '{"distortion_class": ', '"severity": ', "null", "artifacts",
    " is ", "free of ", "good ", " ",
]  # fmt: skip
TEXT = st.text(max_size=80) | st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def squeezed(text: str) -> str:
    plain = text.lower().replace("colour", "color").replace("artefact", "artifact").replace("isation", "ization")
    return re.sub(r"[\W_]", "", plain)


@given(TEXT, st.sampled_from([PAPER, KADID, DEPICT, INSIGHT, LIQE]))
@settings(max_examples=150, deadline=None)
def test_no_class_is_named_whose_words_are_not_there(text: str, asked: Question) -> None:
    for label in (named(text, asked), exact(text, asked), distortion_json(text, asked, SEVERITIES)[0]):
        if label != UNPARSED:
            forms = [asked.options[label], *asked.synonyms.get(label, ())] + [*UNFLAWED, *FLAWS] * (label == "clean")
            assert any(squeezed(form) in squeezed(text) for form in forms), (text, label)


@given(TEXT)
@settings(max_examples=150, deadline=None)
def test_whatever_the_text_the_answer_is_in_it_and_nothing_fails(text: str) -> None:
    place, number, verdict = letter(text, 4, ["blur", "noise", "none", "no"]), score(text, 1, 5), yes_no(text)
    words = ("blur", "noise", "none", "no")
    assert place is None or "abcd"[place] in text.lower() or words[place] in text.lower()
    assert number is None or (1 <= number <= 5 and number in {float(n) for n in re.findall(r"\d+(?:\.\d+)?|\.\d+", text)})
    assert verdict is None or ("yes" if verdict else "no") in text.lower()
    said_level = level(text, LEVELS)
    assert said_level is None or LEVELS[said_level] in text.lower()
    assert json_reply(text) is None or "{" in text


@given(
    st.sampled_from(list(KADID.options)),
    st.sampled_from(["{}", "{}.", "It is {}", "({})", "The distortion is **{}**!", "<answer>{}</answer>"]),
)
def test_every_class_is_named_by_each_of_its_wordings_in_any_frame(label: str, frame: str) -> None:
    for form in (KADID.options[label], *KADID.synonyms.get(label, ())):
        assert named(frame.format(form.upper()), KADID) == label


def test_without_a_word_for_it_nothing_is_flawless() -> None:
    known = phrases([("blur", "blur"), ("empty", "?!")])
    assert said("no distortion", known) == set() and said("no distortion", known, flawless="clean") == {"clean"}
    assert set(known) == {("blur",)} and said("good blur", known) == {"blur"} and said("good blur", known, praise=True) == set()
