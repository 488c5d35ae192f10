"""How long does an image take on the page of `facemask serve`, where the browser predicts?

python -m benchmarks.browser IMAGES: images of a folder one after the other in headless Chromium,
from the file to the faces, as the page itself says; beside the same in Python.
"""

import re
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect, sync_playwright
from tqdm import tqdm

import facemask
from benchmarks.common import report
from benchmarks.serve import serving
from facemask.data.decode import read_rgb

IMAGES, FIRST = 60, 5  # that are measured, and before them to warm up
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 60_000  # ms


def main() -> None:
    """Measure."""
    files = sorted(Path(sys.argv[1]).iterdir())[: FIRST + IMAGES]
    rows = [
        {
            "where": name,
            "median, ms": float(np.median(times)),
            "p99, ms": float(np.quantile(times, 0.99)),
        }
        for name, times in (("browser", in_browser(files)), ("Python", in_python(files)))
    ]
    report("browser", rows, "IMAGES", images=IMAGES)


def in_browser(files: list[Path]) -> list[float]:
    """Milliseconds of each image on the page."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with serving() as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        page.goto(address)
        expect(page.locator("#state")).to_have_text(re.compile("^Ready"), timeout=WAIT)
        times = [on_page(page, file) for file in tqdm(files, "browser", unit="image")]
        browser.close()
    return times[FIRST:]


def on_page(page: Page, file: Path) -> float:
    """Choose a file on the page; return the milliseconds that stand below it in the end."""
    page.set_input_files("#files", file)
    facts = page.locator(".card").first.locator(".facts")
    expect(facts).to_have_text(re.compile(r"\d ms$"), timeout=WAIT)
    (milliseconds,) = re.findall(r"(\d+) ms$", facts.inner_text())
    page.get_by_role("button", name="Remove all").click()
    return float(milliseconds)


def in_python(files: list[Path]) -> list[float]:
    """Milliseconds of each image, read and detected on."""
    times = []
    for file in files:
        begun = time.perf_counter()
        facemask.detect(read_rgb(file))
        times.append(1000 * (time.perf_counter() - begun))
    return times[FIRST:]


if __name__ == "__main__":
    main()
