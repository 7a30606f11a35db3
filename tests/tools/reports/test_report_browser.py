"""A report's pages in a real browser: nothing complains, the cloud is drawn and turns, pictures open."""

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, browser
from exact_results import write_exact_result
from helpers import run_program, succeed

from datasets.formats.images import write_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver in the PATH"),
]

NASTY = '<img src=x onerror="document.title=1">'
DARK = (16, 21, 29)  # behind the cloud


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report of two scans, one with a name that is HTML."""
    root = tmp_path_factory.mktemp("report")
    testpath, outdir = write_exact_result(root, {"garden": 1, NASTY: 2})
    succeed(run_program("tools/report.py", "--outdir", outdir, "--testpath", testpath, "--unit", "mm"))
    return outdir / "report"


def drawn(picture: np.ndarray) -> np.ndarray:
    """Which pixels [H, W] of the middle of a cloud's picture differ from what is behind it."""
    height, width = picture.shape[:2]
    middle = picture[height // 5 : -height // 5, width // 5 : -width // 5].astype(int)
    return np.abs(middle - DARK).max(axis=2) > 24


def test_with_webgl(pages, tmp_path):
    """On a desktop: the cloud is drawn with WebGL, as the processor can do it too."""
    with browser(tmp_path, "--window-size=1280,1400", "--use-angle=swiftshader", "--enable-unsafe-swiftshader") as page:
        page.open(pages / "index.html")
        assert page.run("return [...document.images].every((image) => image.naturalWidth > 1)")
        assert page.run("return document.querySelectorAll('.card').length") == 2
        page.run("document.querySelector('.card[href^=garden]').click()")
        page.settle()
        assert page.run("return document.querySelector('h1').textContent") == "garden"
        assert page.run("return document.querySelector('#viewer canvas').dataset.renderer") == "webgl"
        before = page.picture("#viewer canvas")
        assert 0.2 < drawn(before).mean() < 0.999
        page.drag("#viewer canvas", 120, 40)
        page.settle()
        after = page.picture("#viewer canvas")
        assert drawn(after).mean() > 0.1 and (drawn(before) != drawn(after)).mean() > 0.02
        write_image(tmp_path / "turned.png", after)

        assert page.run(
            "return [...document.querySelectorAll('.tile img')].every("
            "(image) => Math.abs(image.width / image.height - image.naturalWidth / image.naturalHeight) < 0.05)"
        )
        page.run("document.querySelector('button.tile').click()")
        assert page.run("return document.getElementById('lightbox').open")
        assert page.run("return document.querySelector('#lightbox .title').textContent") == "View 0: image"
        page.run("document.querySelector('#lightbox [data-step=\"1\"]').click()")
        assert page.run("return document.querySelector('#lightbox .title').textContent") == "View 0: depth"
        assert page.run("return document.querySelector('#lightbox .legend').textContent").startswith("depth in mm")
        assert page.complaints() == []


def test_on_a_phone_without_webgl(pages, tmp_path):
    """A narrow screen is not left sideways, and the processor draws the cloud; a name that is HTML stays a name."""
    phone = {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2, "touch": True}}
    with browser(tmp_path, "--disable-3d-apis", mobileEmulation=phone) as page:
        for file in sorted(pages.glob("*.html")):
            page.open(file)
            page.settle()
            assert page.run("return document.documentElement.scrollWidth <= innerWidth"), file
            if file.name != "index.html":
                assert page.run("return document.querySelector('#viewer canvas').dataset.renderer") == "2d"
                assert 0.2 < drawn(page.picture("#viewer canvas")).mean() < 0.999
        page.open(pages / f"{NASTY}.html")
        assert page.run("return document.querySelector('h1').textContent") == NASTY
        assert page.run("return document.title").startswith(NASTY)
        assert page.run("return document.querySelectorAll('img[src=x], [onerror]').length") == 0
        assert page.complaints() == []
