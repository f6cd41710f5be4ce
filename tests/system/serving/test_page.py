"""The page of a served run in headless Chromium: sliders, pad, code space, samples, classes; nothing from elsewhere."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import called

import aejax
from aejax.cli.train import main as train
from aejax.datasets.dataset import Dataset

pytest.importorskip("uvicorn", reason="the extra serve is not installed")
pytestmark = pytest.mark.slow
QUICK = ["log_points=1", "figures=false", "track=off", "evaluate.groups=[reconstruction]"]
RUNS = {
    "digits": ["model=vae", "data=digits", "latent_dim=20", "steps=300"],
    "letters": ["model=cvae", "data=letters", "latent_dim=2", "steps=300"],
    "emoji": ["model=ae", "data=emoji", "latent_dim=1", "steps=20"],
}
PIXELS = """id => {
  const canvas = document.getElementById(id), copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serves a run, trained when it is asked for, until the tests end."""
    above, servers = tmp_path_factory.mktemp("page"), {}

    def start(name):
        if name not in servers:
            path = above / name
            if name in RUNS:
                assert called(train, *QUICK, *RUNS[name], f"hydra.run.dir={path}") == 0
            else:
                x = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
                words = ["model=vae", "latent_dim=3", "steps=50", *QUICK]
                aejax.train(Dataset(train=x), *words, f"hydra.run.dir={path}")
            words = [sys.executable, "-m", "aejax.serve", str(path), "--port", "0"]
            server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            servers[name] = server, re.search(r"http://\S+/", server.stdout.readline())[0]
        return servers[name][1]

    yield start
    for server, _ in servers.values():
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)


@pytest.fixture
def opened(browser, address):
    """Opens the page of a run, ready; fails where it says, or asks for, anything."""
    contexts, said, asked = [], [], []

    def open_page(name, path="", **settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address(name) + path)
        if not path:
            page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not said
    assert not [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:,"))]


def pixels(page, name):
    return np.array(page.evaluate(PIXELS, name)).reshape(-1, 4)


def changed(page, name, before):
    """The pixels of a canvas once they are others than before."""
    for _ in range(100):
        page.wait_for_timeout(50)
        after = pixels(page, name)
        if after.shape != before.shape or (after != before).any():
            return after
    raise AssertionError(f"{name} has not changed")


def draw(page, *points):
    box = page.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def test_a_slider_changes_the_picture(opened, address, tmp_path):
    page = opened("digits")
    assert page.locator(".unit").count() == 16
    before, marker = pixels(page, "decoded"), page.locator("#space").get_attribute("data-marker")
    slider = page.locator(".unit input").first
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    changed(page, "decoded", before)
    assert page.locator(".unit output").first.inner_text() == f"{float(slider.input_value()):.2f}"
    page.locator("#more").click()
    assert page.locator(".unit").count() == 20
    page.locator("#space").click(position={"x": 30, "y": 40})
    assert page.locator("#space").get_attribute("data-marker") == "30,40" != marker


def test_a_drawing_is_seen_encoded_and_placed(opened):
    page = opened("digits")
    before, marker = pixels(page, "decoded"), page.locator("#space").get_attribute("data-marker")
    draw(page, (0.3, 0.2), (0.7, 0.2), (0.4, 0.8))
    after = changed(page, "decoded", before)
    page.wait_for_timeout(500)
    seen = pixels(page, "seen")
    assert seen.shape == (64, 4) and seen[:, 0].max() > 150 and (seen[:, 0] < 20).mean() > 0.3
    assert page.locator("#space").get_attribute("data-marker") != marker
    assert np.corrcoef(pixels(page, "decoded")[:, 0], seen[:, 0])[0, 1] > 0.3  # a digit like the drawn one
    page.locator("#clear").click()
    assert (changed(page, "seen", seen)[:, :3] == 0).all()
    page.locator("#pad").focus()
    for key in (" ", *["ArrowDown"] * 8, " "):
        page.keyboard.press(key)
    changed(page, "decoded", after)


def test_touch_draws_at_phone_width_and_in_the_dark(opened):
    page = opened("letters", viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 27)"
    box, before = page.locator("#pad").bounding_box(), pixels(page, "seen")
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen = changed(page, "seen", before)
    assert len(seen) == 35 and set(np.unique(seen[:, :3])) == {0, 255} and seen[17, 0] == 255
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"


def test_a_class_is_chosen_and_samples_are_drawn(opened):
    page = opened("letters")
    before = pixels(page, "decoded")
    page.locator("#label").select_option(label="t")
    letter = changed(page, "decoded", before)
    page.locator("#sample").click()
    page.wait_for_selector("#samples button:nth-child(8)")
    page.locator("#samples button").first.click()
    assert page.locator("#legend button").count() == 27
    assert len(letter) == 35


def test_what_a_run_cannot_do_is_said(opened):
    page = opened("emoji")
    assert page.locator("#sample").is_disabled()
    assert page.locator("#no-samples").inner_text() == "This model has no prior to draw from."
    assert page.locator("#color").is_visible() and not page.locator("#unit-field").is_visible()
    page = opened("real")
    assert not page.locator("#pad").is_visible() and page.locator("#no-pad").is_visible()
    before = pixels(page, "decoded")
    page.locator("#random").click()
    changed(page, "decoded", before)


def test_the_description_is_shown(opened):
    page = opened("digits", "docs")
    page.wait_for_selector("details")
    assert page.locator("details summary code:not(.method)").all_inner_texts()[:2] == ["/encode", "/decode"]
    page.locator("details").first.click()
    assert "shape [8, 8, 1] or [N, 8, 8, 1]" in page.locator("details").first.inner_text()
