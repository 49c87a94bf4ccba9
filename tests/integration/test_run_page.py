"""The page of a run in a real browser: offline, without scripts, by keyboard, on any screen."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page

from deploy.local import LocalStack
from producer.console.humanize import escape_controls
from producer.report.run_report import write_run_report
from tests.support.chromium import browser as started_browser
from tests.support.run_records import HOSTILE, counts, failure, outcome, put_outputs, record

PICTURES: Final = ("astronaut.png", "chelsea.png", "rocket.jpg")

_CONTRASTS: Final = """() => {
  const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = rgba(colour).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("svg")) continue;
    const colours = [getComputedStyle(element).color, behind(element)];
    const [low, high] = colours.map(light).sort((a, b) => a - b);
    found[colours.join(" on ")] = (high + 0.05) / (low + 0.05);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a page that has every section."""
    put_outputs(stack.s3(), [Path(name).stem for name in PICTURES])
    done = [outcome(name) for name in PICTURES]
    folder = tmp_path_factory.mktemp("report")
    whole = record(
        counts=counts(failed=29, cancelled=2, sent=1_300),
        failures=[failure(key, message=f"{key}: {key}") for key in HOSTILE * 5],
        suspicions={"tiny_mask": 1},
        suspicious=[outcome("chelsea.png", foreground_share=0.002)],
        slowest=[outcome(key, seconds=9 - at) for at, key in enumerate(HOSTILE)],
        sample=[*done, outcome("gone.png"), *(outcome(key, mask=None) for key in HOSTILE)],
    )

    def no_warning(sentence: str) -> None:
        raise AssertionError(sentence)

    write_run_report(whole, str(folder), s3=stack.s3, warn=no_warning)
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A blank page of a browser without a network, 1280 pixels wide."""
    with browser.new_context(offline=True) as context:
        yield context.new_page()


def test_the_page_is_complete_without_a_network(page: Page, report: str) -> None:
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report)
    assert [url for url in requests if not url.startswith("data:image/")] == [report]
    assert complaints == []
    widths = page.eval_on_selector_all(
        "img", "all => all.map((image) => Math.min(image.naturalWidth, image.clientWidth))"
    )
    assert len(widths) == 3 * len(PICTURES) + 3
    assert min(widths) >= 60
    assert page.get_by_text("no longer exists").count() == 3 + 2 * len(HOSTILE)


def test_untrusted_text_adds_no_element(page: Page, report: str) -> None:
    page.goto(report)
    assert page.locator("script, h1:text-is('own'), img[onerror], [src='x']").count() == 0
    keys = page.locator("#failures ~ details tbody th").all_text_contents()
    assert keys[: len(HOSTILE)] == [f"s3://photos/{escape_controls(key)}" for key in HOSTILE]


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_fits_the_screen_with_enough_contrast(
    page: Page, report: str, width: int, scheme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(report)
    page.eval_on_selector_all("details", "all => all.forEach((one) => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.eval_on_selector_all(
        "body *",
        """all => all.filter((one) => one.scrollWidth > one.clientWidth + 1
          && getComputedStyle(one).display !== "inline" && !one.closest("svg")
          && !(one.closest(".table") && one.closest(".table").tabIndex === 0))
          .map((one) => one.outerHTML.slice(0, 200))""",
    )
    assert wide == []
    contrasts = page.evaluate(_CONTRASTS)
    assert len(contrasts) >= 5
    assert {pair: value for pair, value in contrasts.items() if value < 4.5} == {}


def test_everything_is_reachable_by_tab(page: Page, report: str) -> None:
    page.goto(report)
    focused = """() => {
      const one = document.activeElement;
      const style = getComputedStyle(one);
      const box = one.getBoundingClientRect();
      const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
      const seen = box.bottom > 0 && box.top < innerHeight && box.width > 0;
      const name = one.getAttribute("aria-label") || one.textContent.trim();
      return [one.localName, name, outlined && seen];
    }"""
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == ["a", "Skip to the figures", True]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(report)
    reached = []
    while True:
        page.keyboard.press("Tab")
        name, label, visible_focus = page.evaluate(focused)
        if name == "body":
            break
        assert visible_focus, label
        reached.append((name, label))
        if name == "summary":
            page.keyboard.press("Enter")
        assert len(reached) < 50
    assert [name for name, _ in reached[:2]] == ["a", "a"]
    assert reached[-6:] == [
        ("summary", "Show as a table"),
        ("div", "Throughput as a table"),
        ("summary", "All 30, by source"),
        ("div", "Failures by source"),
        ("summary", "Outcomes by worker"),
        ("div", "Outcomes by worker"),
    ]
    targets = page.eval_on_selector_all("nav a", "all => all.map((a) => a.hash)")
    assert len(targets) == 8
    assert all(page.locator(f"h2{target}").count() == 1 for target in targets)


def test_headings_landmarks_and_charts_have_names(page: Page, report: str) -> None:
    page.goto(report)
    levels = page.eval_on_selector_all(
        "h1, h2, h3, h4, h5, h6", "all => all.map((one) => Number(one.localName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role
    assert page.get_by_role("region", name="Throughput", exact=True).count() == 1
    chart = page.get_by_role("img", name="Images per minute")
    assert "60 bars" in (chart.locator("desc").text_content() or "")
    assert "1 gap." in (chart.locator("desc").text_content() or "")
    edges = chart.locator("rect").evaluate_all(
        """all => all.map((one) => [one.classList.contains("gap"), one.getBoundingClientRect()])
          .map(([gap, box]) => [gap, box.left, box.right])"""
    )
    [(left, right)] = [(left, right) for gap, left, right in edges if gap]
    bars = [(left + right) / 2 for gap, left, right in edges if not gap]
    assert len(bars) == 60
    assert right - left > 100
    assert not [middle for middle in bars if left < middle < right]
    assert page.get_by_alt_text("Cut-out of chelsea.png").count() == 2


def test_the_page_works_without_scripts_and_prints_completely(
    browser: Browser, report: str
) -> None:
    with browser.new_context(offline=True, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(report)
        page.emulate_media(media="print", color_scheme="dark")
        region = page.get_by_role("region", name="Failures by source")
        assert region.is_visible()
        body = page.evaluate("getComputedStyle(document.body).color")
        assert body == "rgb(27, 31, 36)", "expected dark text in print"
        page.emulate_media(media="screen", color_scheme="light")
        assert not region.is_visible()
        page.locator("summary", has_text="by source").press("Enter")
        assert region.is_visible()
        page.get_by_role("link", name="Sample").click()
        assert page.url.endswith("#sample")
