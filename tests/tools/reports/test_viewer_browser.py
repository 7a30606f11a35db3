"""The model in a page, in a real browser at a desk's and a phone's width: drags, pinches, picks, photos, files."""

import re
import shutil

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, browser
from helpers import wait_until
from model_files import PHOTOS, SCAN, START, even_pixels, place_of, write_numbered_ply, write_rich_result

from datasets.predictions import Predictions
from tools.reports.report import write_report
from tools.reports.settings import ReportSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver in the PATH"),
]

DESK = (
    "--window-size=1280,1000",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--force-device-scale-factor=1",
)
PHONE = {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2, "touch": True}}
CANVAS = "#viewer canvas"
DARK = (16, 21, 29)  # behind the model
START_TIME = 2.0  # seconds of computing until the model is drawn
LARGEST_PAGE = 8_000_000  # bytes


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """outdir with the page of a scan that has a mesh, points' numbers and photos' names."""
    testpath, outdir = write_rich_result(tmp_path_factory.mktemp("model"))
    write_report(ReportSettings(outdir, testpath=testpath))
    return outdir


@pytest.fixture(scope="module")
def desk(result, tmp_path_factory):
    """A wide window, whose downloads go to a folder: (browser, folder)."""
    folder = tmp_path_factory.mktemp("desk")
    files = folder / "files"
    with browser(folder, *DESK, prefs={"download.default_directory": str(files)}) as page:
        yield page, files


@pytest.fixture
def page(result, desk):
    """The page at its start; afterwards nothing may have complained."""
    shown, _ = desk
    shown.open(result / "report" / f"{SCAN}.html")
    shown.settle()
    yield shown
    assert shown.complaints() == []


def drawn(picture: np.ndarray) -> np.ndarray:
    """Which pixels [H, W] of a picture of the model differ from what is behind it."""
    return np.abs(picture.astype(int) - DARK).max(axis=2) > 24


def is_alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures show the same, but for pixels on edges."""
    return (np.abs(one.astype(int) - other).max(axis=2) > 40).mean() < 0.01


def land(page) -> None:
    """Wait until the camera has arrived where it was sent."""
    page.settle()
    wait_until(lambda: page.run(f"return document.querySelector('{CANVAS}').dataset.flying") == "false")
    page.settle()


def text(page, selector: str) -> str:
    return page.run(f"return document.querySelector({selector!r}).textContent")


def pressed(page, selector: str) -> bool:
    return page.run(f"return document.querySelector({selector!r}).getAttribute('aria-pressed')") == "true"


# ---------------------------------------------------------------- at a desk


def test_it_opens_on_the_model_from_the_middle_photo(result, page):
    """At once, the surface, as the photo shows it: the middle of the canvas has the colours of the photo's middle.

    The index of a single scan leads to it.
    """
    page.open(result / "report" / "index.html")
    wait_until(lambda: page.run("return location.pathname").endswith(f"{SCAN}.html"))
    page.settle()
    assert page.computing(result / "report" / f"{SCAN}.html") < START_TIME
    assert page.run(f"return document.querySelector('{CANVAS}').dataset.renderer") == "webgl"
    assert pressed(page, "[data-layer=surface]") and pressed(page, "[data-mode=colour]")
    width, height = page.run(f"const c = document.querySelector('{CANVAS}'); return [c.clientWidth, c.clientHeight]")
    seen, photo = page.picture(CANVAS), Predictions(result / SCAN).image(START)
    scale = min(width / photo.shape[1], height / photo.shape[0]) / 1.04
    for x, y in ((0, 0), (-20, 10), (25, -12)):  # pixels of the photo from its middle
        column, row = photo.shape[1] // 2 + x, photo.shape[0] // 2 + y
        expected = photo[row - 1 : row + 2, column - 1 : column + 2].mean(axis=(0, 1))
        left, top = round(width / 2 + (x + 0.5) * scale), round(height / 2 + (y + 0.5) * scale)
        found = seen[top - 9 : top + 9, left - 9 : left + 9].mean(axis=(0, 1))
        np.testing.assert_allclose(found, expected, atol=22)


def test_mouse_and_keys_move_it(page):
    """A drag turns, the right button moves, the wheel zooms, keys do it too, and a button leads back."""
    page.run("document.querySelector('#viewer .hint').hidden = true")  # it fades once the model was moved
    start = page.picture(CANVAS)
    page.drag(CANVAS, 160, 30)
    page.settle()
    turned = page.picture(CANVAS)
    assert (drawn(start) != drawn(turned)).mean() > 0.02
    page.click("[data-do=reset]")
    land(page)
    assert is_alike(page.picture(CANVAS), start)
    page.wheel(CANVAS, 900)
    page.settle()
    far = page.picture(CANVAS)
    assert 0.02 < drawn(far).mean() < 0.6 * drawn(start).mean()
    page.keys(CANVAS, "++++")
    page.settle()
    assert drawn(page.picture(CANVAS)).mean() > 1.3 * drawn(far).mean()
    page.keys(CANVAS, "0")
    land(page)
    assert is_alike(page.picture(CANVAS), start)


def test_it_is_shown_in_every_way(page):
    """Colour, shape, height, views, confidence; the scale has the right ends; points instead of the surface."""
    pictures = {}
    for mode in ("colour", "shape", "height", "views", "confidence"):
        page.click(f"[data-mode={mode}]")
        page.settle()
        pictures[mode] = page.picture(CANVAS).astype(int)
        if mode in ("height", "views", "confidence"):
            ends = page.run("return [...document.querySelectorAll('.scale span')].map((end) => end.textContent)")
            expected = {"views": ["2", "4"], "confidence": ["0", "1"]}
            assert ends == expected.get(mode, ends)
            assert mode != "height" or re.fullmatch(r"[\d.]+ metres", ends[1])
    for one in pictures:
        for other in pictures:
            assert one == other or np.abs(pictures[one] - pictures[other]).mean() > 3, (one, other)
    assert np.ptp(pictures["shape"][200:300, 500:600], axis=2).max() < 6  # grey
    page.click("[data-mode=colour]")
    page.click("[data-layer=points]")
    page.settle()
    assert 0.2 < drawn(page.picture(CANVAS)).mean() < 0.999 and not pressed(page, "[data-layer=surface]")


def picked_distance(result, page, kind="mouse") -> tuple[float, float]:
    """(told, true) distance of two places on even ground, picked as the page opens."""
    seen = Predictions(result / SCAN).view(START)
    size = page.run(f"const c = document.querySelector('{CANVAS}'); return [c.clientWidth, c.clientHeight]")
    pixels = even_pixels(seen.depth)
    page.click("[data-do=measure]", kind=kind)
    for pixel in pixels:
        page.click(CANVAS, *place_of(seen.camera, seen.depth, size, pixel), kind=kind)
    page.settle()
    found = re.match(r"Distance: ([\d.]+) metres", text(page, ".measured b"))
    kept = np.zeros(seen.depth.shape, bool)
    for column, row in pixels:
        kept[row, column] = True
    ends = seen.camera.lift(seen.depth, kept)
    return float(found[1]), float(np.linalg.norm(ends[0] - ends[1]))


@pytest.mark.parametrize("layer", ["surface", "points"])
def test_two_points_are_measured(result, page, layer):
    """Their distance in metres, as units.json says; a click beside the model says so, and Escape ends it."""
    page.click(f"[data-layer={layer}]")
    told, true = picked_distance(result, page)
    assert told == pytest.approx(true, rel=0.02)
    assert text(page, ".marks text").endswith("metres") and "from (" in text(page, ".measured span")
    assert page.run("return document.querySelector('.known').hidden")
    page.keys(CANVAS, "\ue00c")
    assert page.run("return document.querySelector('.measured').hidden")


def test_units_are_not_called_metres(result, page, tmp_path):
    """Without a known scale the distance is in units, until a visitor knows one."""
    shutil.copytree(result.parent, tmp_path / "copy")
    outdir = tmp_path / "copy" / "out"
    (outdir / "gipuma_pcd" / "units.json").unlink()
    write_report(ReportSettings(outdir))
    page.open(outdir / "report" / f"{SCAN}.html")
    page.click("[data-do=measure]")
    for x in (-150, 150):
        page.click(CANVAS, x, 60)
    page.settle()
    assert re.match(r"Distance: [\d.]+ units$", text(page, ".measured b"))
    assert "real size of this model is not known" in text(page, ".measured span")
    page.keys(".known input", "2.5")
    page.click(".known button")
    assert text(page, ".measured b") == "Distance: 2.5 metres, by the length that you gave"


def picture_at(page, amount: int, selector: str) -> np.ndarray:
    """Of an element, int [H, W, 3], with the slider at so many per cent of the photo."""
    page.run(f"document.querySelector('.photo-bar input').value = {amount}")
    page.run("document.querySelector('.photo-bar input').dispatchEvent(new Event('input'))")
    opacity = "return Number(getComputedStyle(document.querySelector('.over')).opacity)"
    wait_until(lambda: page.run(opacity) == amount / 100)
    return page.picture(selector).astype(int)


def test_a_photo_and_its_view(page):
    """The camera flies to a photo's place: laid over the model it fits, beside it both are seen, and it closes."""
    page.click(".thumb")
    land(page)
    assert text(page, ".photo-bar .name") == PHOTOS[0]
    model, photo = (picture_at(page, amount, selector) for amount, selector in ((0, CANVAS), (100, "#viewer .over")))
    height, width = photo.shape[:2]
    top, left = (model.shape[0] - height) // 2, (model.shape[1] - width) // 2
    under = model[top : top + height, left : left + width]
    middle = (slice(height // 4, -height // 4), slice(width // 4, -width // 4))
    shifted = [np.abs(np.roll(photo, step, axis=1) - under)[middle].mean() for step in (-24, 0, 24)]
    assert shifted[1] < 0.8 * min(shifted[0], shifted[2])  # nowhere else does it fit as well
    page.click("[data-photo=beside]")
    page.settle()
    widths = page.run(
        "return ['.beside', 'canvas'].map((name) => document.querySelector('#viewer ' + name).clientWidth)"
    )
    assert abs(widths[0] - widths[1]) < 20 and min(widths) > 400
    page.click(".photo-bar [data-step='1']")
    assert text(page, ".photo-bar .name") == PHOTOS[1]
    page.click("[data-close]")
    assert page.run("return document.querySelector('.photo-bar').hidden")


def test_files_are_taken_away(result, page, desk):
    """A click on a file's link saves it, whole."""
    _, files = desk
    page.click(f"a[download='{SCAN}_all.ply']")
    saved = files / f"{SCAN}_all.ply"
    original = result / "gipuma_pcd" / saved.name
    wait_until(lambda: saved.exists() and saved.stat().st_size == original.stat().st_size)
    assert saved.read_bytes() == original.read_bytes()


def test_a_cloud_of_default_size_starts_at_once(result, page, tmp_path):
    """A million points: what the page holds of them is drawn within two seconds, in a page that can be sent."""
    shutil.copytree(result.parent, tmp_path / "copy")
    outdir = tmp_path / "copy" / "out"
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(1_000_000, 3))
    xyz = (50 * xyz / np.linalg.norm(xyz, axis=1, keepdims=True)).astype(np.float32)
    (outdir / "gipuma_pcd" / f"{SCAN}_mesh.ply").unlink()
    numbers = rng.integers(2, 9, len(xyz)), rng.random(len(xyz))
    write_numbered_ply(outdir / "gipuma_pcd" / f"{SCAN}.ply", xyz, rng.integers(0, 256, xyz.shape), *numbers)
    write_report(ReportSettings(outdir))
    file = outdir / "report" / f"{SCAN}.html"
    assert file.stat().st_size < LARGEST_PAGE
    assert page.computing(file) < START_TIME
    assert re.search(r"2\d\d,\d{3} of 1,000,000 points .* thinned evenly", text(page, ".model > .note"))


# ---------------------------------------------------------------- on a phone


@pytest.mark.parametrize("flags", [DESK[1:3], ("--disable-3d-apis",)], ids=["webgl", "plain"])
def test_on_a_phone(result, tmp_path, flags):
    """Fingers turn, zoom and pick; nothing is wider than the screen, with a photo above the model too."""
    with browser(tmp_path, *flags, mobileEmulation=PHONE) as page:
        assert page.computing(result / "report" / f"{SCAN}.html") < START_TIME
        start = page.picture(CANVAS)
        told, true = picked_distance(result, page, kind="touch")
        assert told == pytest.approx(true, rel=0.03)
        page.click("[data-do=measure]", kind="touch")
        page.settle()
        page.pinch(CANVAS, 120, 40)
        page.settle()
        assert drawn(page.picture(CANVAS)).mean() < 0.8 * drawn(start).mean()
        page.drag(CANVAS, 90, 20, kind="touch")
        page.settle()
        page.click("[data-do=reset]", kind="touch")
        land(page)
        assert is_alike(page.picture(CANVAS), start)
        page.click(".thumb:nth-of-type(2)", kind="touch")
        page.click("[data-photo=beside]", kind="touch")
        land(page)
        assert page.run("return document.querySelector('#viewer .beside').getBoundingClientRect().height") > 100
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        assert page.complaints() == []
