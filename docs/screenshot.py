"""The top of a report as a picture, by headless Chromium.   python docs/screenshot.py report.html docs/report.png"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH = 1240


def main(report, picture):
    """Draws the page as far as the end of its charts."""
    with sync_playwright() as play:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(Path(report).absolute().as_uri())
        page.wait_for_selector("body[data-ready]")
        box = page.locator("#charts").bounding_box()
        size = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 20}
        page.screenshot(path=picture, full_page=True, clip=size)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
