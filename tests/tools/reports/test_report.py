"""The report's pages: right numbers, everything escaped, nothing from elsewhere."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from exact_results import HEIGHT, VIEWS, WIDTH, write_exact_result
from helpers import assert_nothing_half_written, error_line, run_program, succeed
from jinja2 import UndefinedError

from datasets.files import read_json, write_json
from datasets.formats.images import read_image_size
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.layouts.general import GeneralScans
from datasets.photos.names import write_photo_names
from tools.evaluation.depth import Pixels, depth_metrics
from tools.evaluation.scan_results import ScanResult
from tools.prediction.fuse import fuse
from tools.prediction.settings import FusionSettings
from tools.reports.curves import Series, chart, nice_above, nice_ticks
from tools.reports.kept import kept_pixels
from tools.reports.measures import error_limit, error_shares, errors_by_confidence, measure_scan
from tools.reports.parts import page_name
from tools.reports.render import render_page, render_part
from tools.reports.settings import ReportSettings
from tools.reports.tiles import check_picture
from tools.training.log import TrainingLog

NASTY = "<b>\"x'&amp;{index} 日本"


class Page(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements, self.texts, self._inside = [], [], ""
        self.feed(path.read_text("utf-8"))
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.texts.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """(testpath, outdir) with a report of two scans, a training and PNGs; the first half of a view is off by 3 mm."""
    root = tmp_path_factory.mktemp("report")
    testpath, outdir = write_exact_result(root, {"scan7": 1, NASTY: 2})
    path = outdir / "scan7" / "depth_est" / "00000001.pfm"
    depth = read_pfm(path)
    depth[:, : WIDTH // 2] += 3
    write_pfm(path, depth)
    log = TrainingLog(root / "log", 1)
    for step in (10, 20):
        log.scalars("train", {"total": 100 / step}, step)
    log.scalars("test", {"total": 7.5}, 20)
    log.close()
    write_json(root / "log" / "flags.json", {"trainpath": "</dl><script>alert(1)</script>"})
    write_json(outdir / "dtu_score.json", {"scans": {"7": {"overall": 0.3125, "made_from": {}}}})
    flags = ("--outdir", outdir, "--testpath", testpath, "--logdir", root / "log", "--unit", "mm", "--max_views", 3)
    printed = succeed(run_program("tools/report.py", *flags, "--png", "--picture_size", 48, "--max_points", 1000))
    assert f"report: {outdir / 'report' / 'index.html'}" in printed
    return testpath, outdir


def test_a_training_can_be_watched_before_anything_is_predicted(tmp_path):
    """With --logdir alone, and with an --outdir that is empty or not there yet: a page with the curves."""
    log = TrainingLog(tmp_path / "log", 1)
    log.scalars("train", {"total": 5.0}, 10)
    log.close()
    for flags, folder in (((), "log"), (("--outdir", tmp_path / "results"), "results")):
        out = succeed(run_program("tools/report.py", "--logdir", tmp_path / "log", *flags))
        assert "nothing is predicted there yet" in out
        shown = Page(tmp_path / folder / "report" / "index.html")
        assert "Training:" in shown.text and "total" in shown.text and "Scans" not in shown.text
    assert "none: cannot list" in error_line(run_program("tools/report.py", "--logdir", tmp_path / "none"))
    assert "--outdir or --logdir" in error_line(run_program("tools/report.py"))


def test_numbers_are_those_of_eval_depth(report):
    testpath, outdir = report
    layout = GeneralScans(testpath)
    index, scan = Page(outdir / "report" / "index.html"), Page(outdir / "report" / "scan7.html")
    for shown, scans in ((index, ["scan7", NASTY]), (scan, ["scan7"])):
        metrics = depth_metrics(layout, outdir, scans, (2.0, 4.0, 8.0))
        assert 0 < metrics["mean"] < 1
        assert f"{metrics['mean']:.2f}" in shown.texts
        assert f"{metrics['within_2']:.1%}" in shown.text
    assert "0.312" in index.texts or "0.313" in index.texts  # the score


def test_pages_show_what_there_is(report):
    """Six kinds of pictures for each of three views of five; curves of training and test in one chart; settings."""
    _, outdir = report
    scan, index = Page(outdir / "report" / "scan7.html"), Page(outdir / "report" / "index.html")
    kinds = ("image", "depth", "true depth", "error", "confidence", "check")
    expected = [f"View {view}: {kind}" for view in (0, 2, 4) for kind in kinds]
    assert [picture["alt"] for picture in scan.all("img") if ": " in picture["alt"]] == expected
    assert [picture["alt"] for picture in scan.all("img") if picture["alt"][-1:].isdigit()] == [
        f"View {view}" for view in range(VIEWS)
    ]
    assert f"3 of {VIEWS} views" in scan.text and "in mm" in scan.text and "0123abcd" in scan.text
    (shown,) = re.findall(r"([0-9,]+) of [0-9,]+ points are in this page", scan.text)
    assert 900 <= int(shown.replace(",", "")) <= 1000 and scan.all("canvas")
    labels = [drawing["aria-label"] for drawing in index.all("svg")]
    assert (
        labels.count("total over step") == 1 and "train: 10 at 10" in index.texts and "test: 7.5 at 20" in index.texts
    )
    assert "numpy" in index.texts


def test_everything_is_escaped(report):
    """Names and flags that are HTML stay text, and links lead to their pages."""
    _, outdir = report
    for path in (outdir / "report").glob("*.html"):
        shown = Page(path)
        assert NASTY in shown.text
        assert "alert(1)" not in "".join(re.findall(r"<script[^>]*>(.*?)</script>", path.read_text("utf-8"), re.S))
        links = [attributes["href"] for attributes in shown.all("a")]
        assert links and all((path.parent / unquote(link)).is_file() for link in links)
    assert "</dl><script>alert(1)</script>" in Page(outdir / "report" / "index.html").texts


def test_nothing_comes_from_elsewhere(report):
    """Every picture is inside its page; the policy forbids all else, and scripts that are not the page's own."""
    _, outdir = report
    for path in (outdir / "report").glob("*.html"):
        shown = Page(path)
        assert all(
            picture["src"].startswith("data:image/jpeg;base64,") for picture in shown.all("img") if "src" in picture
        )
        assert all(link["href"] == "data:," for link in shown.all("link"))
        assert not any("src" in script for script in shown.all("script"))
        (policy,) = (meta["content"] for meta in shown.all("meta") if "http-equiv" in meta)
        assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


def test_pictures_as_files(report):
    """Sheets of three rows of six pictures with frames, and a strip with the scales; three views of the cloud."""
    _, outdir = report
    for scan in ("scan7", NASTY):
        width, height = read_image_size(outdir / "report" / f"{scan}_views.png")
        assert width == 6 * 50 and height == 3 * (2 + 48 * HEIGHT // WIDTH) + 40
        assert read_image_size(outdir / "report" / f"{scan}_cloud.png") == (3 * 48, 48 * HEIGHT // WIDTH)
    assert_nothing_half_written(outdir)


def test_only_predictions_are_needed(report, tmp_path):
    """Without data, cloud, records and logs there is a report without errors, cloud and curves."""
    _, outdir = report
    for name in ("depth_est", "confidence", "cams", "images"):
        (tmp_path / "garden").mkdir(exist_ok=True)
        (tmp_path / "garden" / name).symlink_to(outdir / "scan7" / name)
    succeed(run_program("tools/report.py", "--outdir", tmp_path))
    index, scan = (Page(tmp_path / "report" / name) for name in ("index.html", "garden.html"))
    assert index.all("a") == [{"href": "garden.html"}] and index.all("meta")[-1]["content"] == "0; url=garden.html"
    assert "nearest" in scan.text and "median" not in scan.text and not scan.all("canvas")
    assert len([picture for picture in scan.all("img") if picture["alt"]]) == 4 * VIEWS
    assert not scan.all("svg") and "not recorded" in scan.text
    assert "garden" in index.texts and scan.text.count("garden") == 2  # its title, and its heading


def test_the_masks_are_those_of_the_cloud(report, tmp_path):
    """The thresholds that made the cloud are told, and the share of pixels kept is that of its points."""
    testpath, outdir = report
    shutil.copytree(outdir / "scan7", tmp_path / "scan7")
    layout = GeneralScans(testpath)
    for settings, words in (
        (FusionSettings("gipuma", prob_threshold=0.5, disp_threshold=0.25), "within 0.25 pixels of disparity"),
        (FusionSettings("gipuma", prob_threshold=0.5, disp_threshold=0.25, sources=2), "of the 2 that see most of"),
        (FusionSettings("gipuma", prob_threshold=0.5, disp_threshold=0.001, agree_widths=2), "or 2 times what a pixel"),
        (FusionSettings("normal", conf=0.5, thres_view=2), "more than 0.5 confidence that 2 other views confirm"),
        (FusionSettings("dynamic", conf=0.5), "confirm by the dynamic check"),
    ):
        points = fuse(tmp_path, layout, "scan7", settings).points
        (measured,) = [
            measure_scan(result, kept_pixels(result, ReportSettings(tmp_path, testpath=testpath)))
            for result in [ScanResult(tmp_path, "scan7", testpath)]
        ]
        assert words in measured.check_note and "So the cloud was made" in measured.check_note
        assert 0 < points == round(measured.kept * VIEWS * HEIGHT * WIDTH)
        flags = ReportSettings(tmp_path, testpath=testpath, check="normal", thres_view=4)
        assert "that 4 other" in kept_pixels(ScanResult(tmp_path, "scan7", testpath), flags).words


@pytest.mark.parametrize("record", ["[]", "{", '{"method": "none"}', '{"method": "gipuma", "thres_view": "many"}'])
def test_a_damaged_record_of_the_fusion_tells_nothing(report, tmp_path, record):
    """The check is the normal one, and the page says so."""
    _, outdir = report
    shutil.copytree(outdir / "scan7", tmp_path / "scan7")
    (tmp_path / "gipuma_pcd").mkdir()
    shutil.copyfile(outdir / "gipuma_pcd" / "mvsnet007_l3.ply", tmp_path / "gipuma_pcd" / "mvsnet007_l3.ply")
    (tmp_path / "scan7" / "fusion.json").write_text(record)
    words = kept_pixels(ScanResult(tmp_path, "scan7", None), ReportSettings(tmp_path)).words
    assert "3 other views" in words and "not recorded" in words


def test_views_are_called_as_their_photos(report, tmp_path):
    """Where the scan knows them; their names are text, whatever they are. A single scan names the page."""
    testpath, outdir = report
    shutil.copytree(testpath / "scan7", tmp_path / "data" / "scan7")
    write_photo_names(tmp_path / "data" / "scan7", ["a.jpg", NASTY, "c.jpg", "d.jpg"])
    shutil.copytree(outdir / "scan7", tmp_path / "depth" / "scan7")
    flags = ("--outdir", tmp_path / "depth", "--testpath", tmp_path / "data", "--picture_size", 48)
    succeed(run_program("tools/report.py", *flags))
    page = Page(tmp_path / "depth" / "report" / "scan7.html")
    titles = list(dict.fromkeys(picture["alt"].rpartition(":")[0] for picture in page.all("img") if picture["alt"]))
    assert titles == ["a.jpg", NASTY, "c.jpg", "d.jpg", "View 4"]
    assert "scan7" in page.texts and "depth – report" not in page.text and "photo" in page.texts


def test_errors_are_shown_in_other_layouts(tmp_path):
    """With --dataset, as BlendedMVS has its true depth elsewhere."""
    testpath, outdir = write_exact_result(tmp_path, {"garden": 1})
    gt = testpath / "garden" / "gt"
    (testpath / "garden" / "rendered_depth_maps").mkdir()
    for path in gt.iterdir():
        path.rename(testpath / "garden" / "rendered_depth_maps" / path.name)
    gt.rmdir()
    for name, target in (("images", "blended_images"),):
        (testpath / "garden" / name).rename(testpath / "garden" / target)
    shutil.move(testpath / "garden" / "pair.txt", testpath / "garden" / "cams" / "pair.txt")
    flags = ("--outdir", outdir, "--testpath", testpath, "--picture_size", 48)
    succeed(run_program("tools/report.py", *flags, "--dataset", "blended"))
    assert "mean error" in Page(outdir / "report" / "garden.html").text


def test_all_pages_have_the_clouds_unit(tmp_path):
    """units.json beside the clouds knows better than --unit, on the index too."""
    testpath, outdir = write_exact_result(tmp_path, {"scan7": 1, "scan8": 2})
    write_json(outdir / "gipuma_pcd" / "units.json", {"units": "metres", "source": "GPS"})
    flags = ("--outdir", outdir, "--testpath", testpath, "--picture_size", 48, "--unit", "furlongs")
    succeed(run_program("tools/report.py", *flags))
    for name in ("index", "scan7", "scan8"):
        text = Page(outdir / "report" / f"{name}.html").text
        assert "within 2 metres" in text and "mean error, metres" in text and "within 2 furlongs" not in text


def test_refined_depth_is_told(report, tmp_path):
    """The settings of the prediction have the passes of its refinement."""
    _, outdir = report
    shutil.copytree(outdir / "scan7", tmp_path / "garden")
    write_json(tmp_path / "garden" / "refine.json", {"passes": 3})
    succeed(run_program("tools/report.py", "--outdir", tmp_path))
    assert re.search(r"refine\s*3\b", Page(tmp_path / "report" / "garden.html").text)


def test_mistakes_are_one_line(report, tmp_path):
    testpath, outdir = report
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "metrics.jsonl").write_bytes(b"garbage\n")
    (tmp_path / "scan1" / "depth_est").mkdir(parents=True)
    for flags, words in (
        (("--outdir", tmp_path / "none"), "none: cannot list"),
        (("--outdir", tmp_path), "depth_est: holds no depth map"),
        (("--outdir", outdir, "--testpath", tmp_path / "none"), "--testpath"),
        (("--outdir", outdir, "--testpath", tmp_path), "pair.txt"),
        (("--outdir", outdir, "--logdir", tmp_path / "log"), "metrics.jsonl: line 1 is damaged"),
        (("--outdir", outdir, "--logdir", tmp_path / "none"), "none: cannot list"),
    ):
        assert words in error_line(run_program("tools/report.py", *flags))
    assert testpath.is_dir()


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("low, high", [(0, 1), (-3, 12.5), (84, 84.1), (5, 5), (0, 0), (1e-9, 3e-9), (-1e6, 1e7)])
def test_ticks_enclose_the_values(low, high):
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6 and ticks[0] <= low + 1e-9 * abs(low) and ticks[-1] >= high - 1e-9 * abs(high)
    assert np.diff(ticks) == pytest.approx(ticks[1] - ticks[0])


def test_curves_of_errors():
    """Two of four pixels are exact; the less confident ones are off by 3 and by their whole depth of 5."""
    pixels = Pixels(np.full(4, 5.0), np.array([5.0, 0, 8, 5]), np.array([0.9, 0.1, 0.5, 0.7]))
    shares = error_shares("all", pixels, 6.0).points
    assert shares[0].tolist() == [0, 50] and shares[-1].tolist() == [6, 100]
    assert np.interp([2.9, 3.2, 4.9], *shares.T) == pytest.approx([50, 75, 75], abs=10)
    assert errors_by_confidence("all", pixels).points.tolist() == [[25, 0], [50, 0], [75, 1], [100, 2]]
    assert error_limit(pixels) == 10 and error_limit(None) == 1


def test_round_numbers():
    assert [nice_above(value) for value in (0.9, 1, 1.01, 3, 7, 0.02)] == pytest.approx([1, 1, 2, 5, 10, 0.02])


def test_long_curves_are_drawn_as_means():
    """A hundred thousand points make a small drawing; one point makes one too."""
    x = np.arange(100_000.0)
    drawing = chart("loss", [Series("train", np.stack([x, np.sin(x)], axis=1))], "step")
    assert len(drawing) < 60_000 and "faint" in drawing
    assert "<circle" in chart("loss", [Series("train", np.array([[3.0, 4.0]]))], "step")


def test_strings_are_escaped_and_drawings_are_not():
    """A drawing stays one in a page; a name in it is text; an odd file name's lone surrogate does no harm."""
    drawing = chart("<loss>", [Series('"', np.array([[3.0, 4.0]]))], "step")
    assert "<circle" in drawing and "<strong>&lt;loss&gt;</strong>" in drawing and "&#34;: 4 at 3" in drawing
    content = {"summary": "<", "head": [], "rows": [["\udc80"]], "errors": [drawing], "losses": [], "hardware": {}}
    page = render_page("benchmark.html", "</title>", **content)
    assert drawing.encode() in page and b"<span>&lt;</span>" in page and b"&#56448;" in page
    assert b"<title>&lt;/title&gt;</title>" in page


def test_what_a_template_misses_is_an_error():
    """It is not left out."""
    with pytest.raises(UndefinedError):
        render_part("chart.html", title="loss")


def test_a_scan_called_index_keeps_the_index():
    names = ["index", "INDEX", "index_", "index__", "indexes", "scan1"]
    assert "index.html" not in {page_name(name).lower() for name in names}
    assert len({page_name(name) for name in names}) == len(names)


def test_colours_of_the_check():
    """Confirmed and confident is kept; each of the other three has a colour of its own."""
    picture = check_picture(np.array([[1, 0], [1, 0]]), np.array([[1, 1], [0, 0]]))
    assert picture[0, 0].tolist() == [42, 157, 143] and len({tuple(color) for color in picture.reshape(-1, 3)}) == 4


def test_the_record_is_not_needed_to_be_whole(report, tmp_path):
    """A prediction's record that is no JSON object is told."""
    _, outdir = report
    record = outdir / "scan7" / "prediction.json"
    before = read_json(record)
    record.write_text("[]")
    line = error_line(run_program("tools/report.py", "--outdir", outdir))
    write_json(record, before)
    assert "prediction.json: holds no names and values" in line
