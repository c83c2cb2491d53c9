"""The page in a browser: it asks nobody, says nothing wrong, and does what it promises by pointer, by keys and on paper."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.report import render
from tests.browser import BROWSER, Browser
from tests.exams import folder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = folder(tmp_path_factory.mktemp("exam") / "run")
    return render(json.loads((made / "results.json").read_text()), made, {})


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser()
    yield found
    found.close()


def texts(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.run(f"[...document.querySelectorAll({selector!r})].map(one => one.innerText)")
    return found


TIP = "document.querySelector('.tip').innerText"


def test_it_asks_nobody_and_no_name_breaks_out(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.problems == [] and browser.requests == [page.as_uri()]
    assert browser.run("document.title") == "Snellen: mine"
    assert "<script>document.title" in browser.run("document.body.innerText"), "hostile names are shown as they are"
    assert browser.run("document.querySelectorAll('script').length") == 2
    browser.run("document.head.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))")
    browser.run("fetch('https://example.invalid/').catch(() => 0)")
    assert browser.run("document.title") == "Snellen: mine" and len(browser.problems) >= 2, "the policy forbids both"
    assert all("Content Security Policy" in problem for problem in browser.problems), browser.problems


def test_a_site_tells_its_numbers_to_the_pointer_and_to_the_keys(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.point("document.querySelectorAll('.curve .column')[1]")
    assert browser.run(TIP).splitlines() == [
        "vision.0", "probe 80.0 % [70.0, 90.0]", "shuffled labels 30.0 % [25.0, 40.0]", "content 90.0 %", "8 dimensions"
    ]  # fmt: skip
    browser.run("document.querySelector('.curve .column').focus()")
    browser.press("ArrowRight")
    browser.press("End")
    assert browser.run("document.activeElement.getAttribute('aria-label')") == "answer: said 40.0 % [30.0, 50.0]"
    browser.press("Escape")
    assert browser.run(TIP) == ""


def test_an_image_in_the_plane_is_shown_with_its_answers(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.point("document.querySelector('.plane .dot[data-id=\"a-noise\"]')")
    told = browser.run(TIP)
    assert browser.run("document.querySelector('.tip img').naturalWidth") == 8
    for line in ("white_noise, level 3", "noise", "25.1 dB", "✓ noise", "says with llm tuned", "a-noise"):
        assert line in told, line
    browser.run("document.querySelector('.plane').focus()")
    browser.press("ArrowRight")
    assert "white_blur, level 3; truth blur; says ✓ blur, after tuning ✓ blur" in texts(browser, "[role=status]")
    browser.run("document.querySelector('.planes .legend button').click()")
    assert browser.run("document.querySelectorAll('.plane .dot.off').length") == 16, "all but the blurred, in both panels"


def test_tables_sort_by_number_with_dashes_last(browser: Browser, page: Path) -> None:
    browser.open(page)
    first = "document.querySelector('#verdict ~ .scroll table')"
    column = f"[...{first}.tBodies[0].rows].map(row => row.cells[1].innerText.split(' ')[0])"
    assert browser.run(column) == ["50.0", "–", "-20.0"]
    for order, expected in (("ascending", ["-20.0", "50.0", "–"]), ("descending", ["50.0", "-20.0", "–"])):
        browser.run(f"{first}.tHead.rows[0].cells[1].querySelector('button').click()")
        assert browser.run(column) == expected
        assert browser.run(f"{first}.tHead.rows[0].cells[1].getAttribute('aria-sort')") == order


def test_the_gallery_filters_and_opens_an_image_beside_its_reference(browser: Browser, page: Path) -> None:
    browser.open(page)
    choose = "((name, value) => {{ const one = [...document.querySelectorAll('#gallery label')].find(x => x.innerText.startsWith(name))"
    choose = (
        choose.replace("{{", "{") + ".querySelector('select'); one.value = value; one.dispatchEvent(new Event('change')); })"
    )
    status = "document.querySelector('#gallery [role=status]').innerText"
    assert browser.run(status) == "all 12 images"
    browser.run(f"{choose}('type', 'white_noise')")
    assert browser.run(status) == "4 of 12 images"
    browser.run(f"{choose}('as loaded', 'unparsed')")
    assert browser.run(status) == "2 of 12 images" and all(
        "– names no class" in card for card in texts(browser, "#gallery .card")
    )
    browser.run(f"{choose}('llm tuned', 'right'); {choose}('level', '3')")
    assert browser.run(status) == "1 of 12 images"
    browser.run("document.querySelector('#gallery .card').click()")
    assert browser.run("document.querySelector('dialog').open") and "<script>" in browser.run(
        "document.querySelector('dialog').innerText"
    )
    browser.press("ArrowRight")
    assert browser.run("document.querySelectorAll('dialog .stage img').length") == 2
    browser.press("Escape")
    assert not browser.run("document.querySelector('dialog').open")


def test_the_slider_moves_by_keys_and_shows_a_map_where_there_is_one(browser: Browser, page: Path) -> None:
    browser.open(page)
    clip = "document.querySelectorAll('#pairs .stage img')[1].style.clipPath"
    assert browser.run(clip) == "inset(0px 0px 0px 50%)" and browser.run("document.querySelector('#pairs .stage svg')") is None
    browser.run("document.querySelector('#pairs input[type=range]').focus()")
    browser.press("ArrowRight")
    assert browser.run(clip) == "inset(0px 0px 0px 51%)"
    browser.run("(one => { one.value = 1; one.dispatchEvent(new Event('change')); })(document.querySelector('#pairs select'))")
    cells = "[...document.querySelectorAll('#pairs .stage .cell')].map(one => +one.getAttribute('fill-opacity'))"
    assert browser.run(cells) == [0.75 * share for share in (0.1, 0.9, 0.2, 0.3)]
    assert browser.run("document.querySelectorAll('#pairs .mask').length") == 1


CONTRAST = """(() => {
  const parts = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const shine = text => parts(text).map(x => x / 255).map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0);
  const behind = one => { for (; one; one = one.parentElement) { const c = getComputedStyle(one).backgroundColor;
    if (c !== "rgba(0, 0, 0, 0)") return c; } };
  const bad = [];
  for (const one of document.querySelectorAll("p, li, td, th button, caption, figcaption, small, a, dt, dd, summary, h1, label, .chart text")) {
    const svg = one.closest("svg");
    const [a, b] = [shine(getComputedStyle(one)[svg ? "fill" : "color"]), shine(behind(one))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5 && one.textContent.trim()) bad.push(one.outerHTML.slice(0, 80) + (a + .05) / (b + .05));
  }
  return bad;
})()"""


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1100, "dark")])
def test_it_fits_and_can_be_read(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width=width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") == width, "nothing is wider than the window"
    dark = browser.run("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert browser.run(CONTRAST) == []


def test_what_is_no_text_has_one_and_paper_has_everything(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page, scheme="dark", media="print")
    unnamed = "[...document.querySelectorAll('img:not([alt]), table:not(:has(caption)), svg:not([aria-label]):not([aria-hidden])')].length"
    assert browser.run(unnamed) == 0
    assert (
        browser.run(
            "[...document.querySelectorAll('select, input')].filter(one => !one.labels.length && !one.ariaLabel).length"
        )
        == 0
    )
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "paper is white"
    assert browser.run(
        "[...document.querySelectorAll('.tools, .screen, nav')].every(one => getComputedStyle(one).display === 'none')"
    )
    browser.paper(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert browser.run("[...document.querySelectorAll('details')].every(one => one.open)")
