"""What other steps left for a scan's page is shown as they wrote it; what is damaged is named and not shown."""

import numpy as np
import pytest
from exact_results import VIEWS
from model_files import LEFT_OUT, PHOTOS, SCAN, VERDICT, write_mesh, write_rich_result
from test_report import Page

from datasets.files import write_json
from tools.evaluation.scan_results import ScanResult
from tools.reports import beside
from tools.reports.beside import (
    downloads,
    read_left_out,
    read_measures,
    read_shown_mesh,
    read_verdict,
    size_in_words,
)
from tools.reports.cloud import Measures
from tools.reports.report import write_report
from tools.reports.settings import ReportSettings


@pytest.fixture
def result(tmp_path):
    """A scan with all of it."""
    testpath, outdir = write_rich_result(tmp_path)
    return ScanResult(outdir, SCAN, testpath)


def test_all_of_it_is_read(result):
    assert read_measures(result, "mm") == Measures("metres", (0.0, -1.0, 0.0))
    assert read_left_out(result) == LEFT_OUT
    verdict = read_verdict(result)
    assert (verdict.kind, verdict.heading, verdict.advice) == ("fair", "A fair model", ("Go <nearer>.",))
    assert len(read_shown_mesh(result).faces) > 1000


def test_downloads_lie_beside_the_page(result):
    """Those that there are, with their sizes, by ways that lead to them."""
    pages = result.folder.parent / "report"
    found = downloads(result, pages)
    assert [file.name for file in found] == [f"{SCAN}_mesh.ply", f"{SCAN}.ply", f"{SCAN}_all.ply"]
    assert all((pages / file.link).resolve().is_file() for file in found)
    assert found[-1].size == "2.4 MB"


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (12_345_678, "12 MB"), (3 * 10**15, "3000 TB")],
)
def test_sizes(size, words):
    assert size_in_words(size) == words


@pytest.mark.parametrize(
    "content", ["{", "[1]", '{"units": 7, "up": [1, "a", 0], "verdict": "superb", "sentences": 4}']
)
def test_what_is_damaged_is_not_shown(result, capsys, content):
    """And it is said, unless it is JSON of names and values, whose values mean nothing here."""
    for path in (result.cloud_path.with_name("units.json"), result.folder / "verdict.json"):
        path.write_text(content)
    assert read_measures(result, "mm") == Measures("mm", None)
    assert read_verdict(result) is None
    assert ("units.json" in capsys.readouterr().out) == (not content.startswith('{"'))


def test_a_mesh_that_is_none_or_too_large(result, capsys, monkeypatch):
    """The cloud is shown instead, and that is said."""
    path = result.cloud_path.with_name(f"{SCAN}_mesh.ply")
    monkeypatch.setattr(beside, "MOST_FACES", 10)
    assert read_shown_mesh(result) is None and "too large for a page" in capsys.readouterr().out
    write_mesh(path, np.full((3, 3), np.nan), np.zeros((3, 3)), np.array([[0, 1, 2]]))
    assert read_shown_mesh(result) is None and "not finite" in capsys.readouterr().out
    path.write_bytes(b"ply\n")
    assert read_shown_mesh(result) is None and "_mesh.ply" in capsys.readouterr().out


def test_the_page_says_all_of_it(result):
    """The verdict first; every photo with its name, used or left out and why; the files; nothing is HTML."""
    write_report(ReportSettings(result.folder.parent, testpath=result.testpath, max_views=2))
    page = Page(result.folder.parent / "report" / f"{SCAN}.html")
    for words in ("A fair model", *VERDICT["sentences"], *VERDICT["advice"], f"{VIEWS} of {VIEWS + len(LEFT_OUT)}"):
        assert words in page.text
    assert all(name in page.texts for name in LEFT_OUT) and page.texts.count("it is blurred") == len(LEFT_OUT)
    assert [picture["alt"] for picture in page.all("img") if picture["alt"] in PHOTOS] == PHOTOS
    embedded = [picture for picture in page.all("img") if picture["alt"] in PHOTOS and "src" in picture]
    assert [picture["alt"] for picture in embedded] == PHOTOS[1:-1]  # the first and the last are in the page already
    assert next(link["download"] for link in page.all("a") if "download" in link) == f"{SCAN}_mesh.ply"
    order = [page.text.index(words) for words in ("A fair model", "Measure", "Take it with you", "photos used")]
    assert order == sorted(order)


def test_advice_where_nobody_gave_any(result):
    """Near the photos of which least became points."""
    (result.folder / "verdict.json").unlink()
    confidence = result.predictions.files(1).confidence
    confidence.write_bytes(b"Pf\n96 64\n-1\n" + np.zeros((64, 96), "<f4").tobytes())
    write_report(ReportSettings(result.folder.parent, testpath=result.testpath, check="normal", conf=0.05))
    page = Page(result.folder.parent / "report" / f"{SCAN}.html")
    assert f"from near where {PHOTOS[1]} was taken: only 0% of it" in page.text
    write_json(result.folder / "verdict.json", {"verdict": "good", "sentences": [], "advice": []})
    write_report(ReportSettings(result.folder.parent, testpath=result.testpath, check="normal", conf=0.05))
    assert "next time" not in Page(result.folder.parent / "report" / f"{SCAN}.html").text
