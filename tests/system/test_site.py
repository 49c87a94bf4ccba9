"""The site, as `make docs` builds it, in a browser."""

import subprocess
import sys
from pathlib import Path

from tests.support.chromium import browser
from tests.support.pages import DOCS


def test_every_page_fits_a_phone_and_shows_its_pictures(tmp_path: Path) -> None:
    """No page scrolls sideways; wide tables and code blocks scroll on their own."""
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning"]
    subprocess.run([*build, str(DOCS), str(tmp_path)], check=True)
    names = [page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")]
    assert len(names) > 40
    with browser() as started:
        tab = started.new_page(viewport={"width": 390, "height": 844})
        wrong = []
        for name in names:
            tab.goto((tmp_path / name).as_uri())
            if tab.evaluate("document.documentElement.scrollWidth") > 390:
                wrong.append(f"{name} is too wide")
            if not tab.evaluate("[...document.images].every((image) => image.naturalWidth)"):
                wrong.append(f"{name} has a broken picture")
    assert not wrong
