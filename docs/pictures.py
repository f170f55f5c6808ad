"""Pictures of the demo for the documents: ``python docs/pictures.py RUN`` with a run that ``decay demo`` made.

They go to ``docs/images``. Needs the extra ``dev`` and Debian's Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from decay.printing import find_browser

IMAGES = Path(__file__).with_name("images")
WIDTH_PX, HEIGHT_PX = 1240, 940
SHOTS = (
    ("report", "header", "light", 1.0),
    ("report_strips", "#strips .strip", "light", 0.9),
    ("report_maps", "#maps", "dark", 0.5),
    ("report_charts", "#group-1", "dark", 0.5),
)
"""Name, what is shown, colours, and the share of the window's height that it is given."""
CHARTS = {"overview": "overview", "chart": "catchlight_same_disparity"}


def main(run: Path) -> None:
    """Write every picture of ``SHOTS``, and the charts of ``CHARTS``."""
    for name, chart in CHARTS.items():
        shutil.copyfile(run / "measures" / "charts" / f"{chart}.png", IMAGES / f"{name}.png")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX}, device_scale_factor=1.5)
        page.goto((run / "measures" / "report.html").resolve().as_uri())
        for name, selector, colours, share in SHOTS:
            page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            write_shot(page, selector, share, IMAGES / f"{name}.png")
        browser.close()


def write_shot(page: Page, selector: str, share: float, path: Path) -> None:
    """The window scrolled to ``selector``, as a PNG of 256 colours."""
    page.locator(selector).first.evaluate("element => window.scrollTo(0, element.offsetTop - 16)")
    if selector.startswith("#group"):
        page.locator(f"{selector} .points label").nth(3).hover()
    clip = {"x": 0, "y": 0, "width": WIDTH_PX, "height": round(share * HEIGHT_PX)}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
