"""report.html in headless Chromium: drawn, sorted, filtered, clicked, and nothing asked of the network."""

import shutil
import time

import numpy as np
import pytest
from made import make_grid, make_run
from PIL import Image

from aejax.cli.compare import main

pytest.importorskip("vl_convert", reason="the extra report is not installed")
pytestmark = pytest.mark.slow
EVIL = "<img src=x onerror=alert(1)></script>\"'&"


def write_report(folder, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main([*words, "--report"])
    return folder / "report.html"


def draw(run, seed):
    """Leaves a picture of reconstructions as large as a real one."""
    pixels = np.random.default_rng(seed).integers(0, 2, (40, 135), np.uint8) * 255
    (run / "figures").mkdir()
    Image.fromarray(pixels).resize((1350, 400), Image.Resampling.NEAREST).save(run / "figures" / "reconstructions.png")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    make_grid(folder / "sweep", dims=(2, 4, 8), seeds=3)
    draw(folder / "sweep" / "0", 0)
    run = make_run(folder / "evil", {"recon/mse": 0.01, "separation/knn_accuracy": 0.99}, model=EVIL, seed=9)
    run.note(name=EVIL)
    (folder / "sweep" / "5" / "metrics.json").write_text("{")
    return write_report(folder, "sweep", "evil")


@pytest.fixture
def opened(browser, report):
    """The page of the report, drawn; fails where it says or asks for anything."""
    page, said, asked = browser.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector("body[data-ready]")
    yield page
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]


def column(page, place, table="groups"):
    return page.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])", f"rows => rows.map(row => row.cells[{place}].textContent)"
    )


def test_the_page_holds_table_charts_and_names_what_is_left_out(opened, report):
    assert len(column(opened, 0)) == 13
    assert EVIL in column(opened, 0)
    assert opened.locator("img[src=x]").count() == 0
    assert "1 damaged: sweep/5 (metrics.json cannot be read" in opened.inner_text("#notes")
    titles = opened.locator("figure h4").all_inner_texts()
    assert titles == [
        "Reconstruction against separation",
        "Error against code size",
        "Separation against code size",
        "Noise in training, noise in testing",
        "Training",
    ]
    assert opened.locator("figure svg.marks").count() == 5
    marks = opened.locator("#chart0 path[aria-roledescription='point']")
    assert marks.count() == 36  # of 37 runs one is damaged
    assert "PCA" in opened.inner_text("#chart1") and "mean image" in opened.inner_text("#chart1")
    assert opened.locator("#chart3 path[aria-roledescription='rect mark']").count() > 4
    ink = opened.locator("#chart3 g.tinted_marks text").first
    assert ink.evaluate("each => getComputedStyle(each).fill") in ("rgb(255, 255, 255)", "rgb(17, 17, 17)")
    assert "letters: binary 2 x 2 x 1" in opened.inner_text("#about") and "aejax.compare" in opened.inner_text("#about")
    assert report.stat().st_size < 8e6


def test_headers_sort_by_value_and_tell_so(opened):
    header = opened.locator("#groups th", has_text="recon/mse")
    header.locator("button").focus()
    opened.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    rising = [float(text.split()[0]) for text in column(opened, 3)]
    assert rising == sorted(rising)
    opened.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert [float(text.split()[0]) for text in column(opened, 3)] == rising[::-1]


def test_the_filter_keeps_the_rows_that_fit(opened):
    conditions = {"vae": 6, "model=vae latent_dim<=4": 4, "latent_dim>2": 8, "latent_dim=2,8 noise!=flip": 5, "nix": 0}
    for text, rows in conditions.items():
        opened.fill("#filter", text)
        assert len(column(opened, 0)) == rows, text
        assert opened.inner_text("#left") == f"{rows} of 13 rows"


def test_a_click_opens_a_run_beside_the_one_before(opened):
    assert opened.input_value("#a") == "0"
    assert opened.locator("#show-a img").count() == 1
    opened.locator("#all summary").click()
    opened.locator("#runs tbody button", has_text="vae letters d=8 s=2").last.click()
    assert opened.locator("#show-a a").inner_text() == "sweep/35"
    assert opened.locator("#show-b a").inner_text() == "sweep/0"
    assert opened.locator("#show-a svg.marks path[aria-roledescription='circle']").count() == 4
    assert "4 of 4 test examples" in opened.inner_text("#show-a")
    chart = opened.text_content("#show-a svg.marks")
    assert "principal component 1" in chart and "class" in chart
    told = opened.inner_text("#differences")
    assert "latent_dim" in told and "steps" not in told
    assert "latent_dim\t8\t2" in told and "model\tvae\tae" in told


def test_hover_names_a_run_and_a_click_on_its_mark_opens_it(opened):
    mark = opened.locator("#chart0 path[aria-roledescription='point']").last  # nothing covers it: that of EVIL
    mark.scroll_into_view_if_needed()
    mark.hover()
    opened.wait_for_selector("#vg-tooltip-element.visible")
    assert EVIL in opened.inner_text("#vg-tooltip-element")
    name = mark.get_attribute("aria-label")
    mark.click()
    assert opened.evaluate("document.activeElement.id") == "h-two"
    assert opened.locator("#a option:checked").inner_text().split(" (")[0] in name


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_and_text_is_readable(browser, report, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(report.as_uri())
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = page.evaluate(
        "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
    )
    light = {"light": (0, 1), "dark": (1, 0)}[scheme]
    assert [round(sum(map(int, each[4:-1].split(","))) / 765) for each in (ink, paper)] == list(light)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#filter").is_visible()
    page.close()


def test_256_runs_are_8_megabytes_at_the_most_and_open_in_2_seconds(browser, tmp_path):
    make_grid(tmp_path / "sweep", dims=(2, 4, 8, 16), seeds=16)
    draw(tmp_path / "sweep" / "0", 0)
    picture = tmp_path / "sweep" / "0" / "figures"
    for number in range(1, 256):
        shutil.copytree(picture, tmp_path / "sweep" / str(number) / "figures")
    path = write_report(tmp_path, "sweep")
    assert path.stat().st_size <= 8e6
    seconds = []
    for _ in range(3):
        page, began = browser.new_page(), time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("#chart0 svg")
        seconds.append(time.perf_counter() - began)
        page.wait_for_selector("body[data-ready]")
        assert page.locator("#runs tbody tr").count() == 256
        page.close()
    assert min(seconds) <= 2, seconds
