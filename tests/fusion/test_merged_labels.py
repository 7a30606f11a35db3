"""Labels of several teachers become one set."""

import numpy as np
import pytest
from helpers import error_line, run_program, succeed

from datasets.files import DataError
from datasets.formats.pfm import read_pfm
from datasets.results import LABEL_RECORD, LabelFiles
from fusion.labels import write_label
from fusion.merged_labels import Label, labelled_views, merge_scan, merged


def label(*pixels: tuple[float, float]) -> Label:
    """A label of one row, of (mean, deviation)."""
    return Label(*np.array(pixels, np.float32).T[:, None])


def test_what_one_labels_or_both_agree_on_is_kept():
    """Agreement makes the mean, and the deviation of an equal mixture; disagreement makes nothing."""
    a = label((100, 1), (100, 1), (0, 0), (100, 1), (0, 0))
    b = label((0, 0), (100.5, 1), (50, 2), (103, 1), (0, 0))
    mean, deviation = merged([a, b], 0.01)
    np.testing.assert_allclose(mean, [[100, 100.25, 50, 0, 0]])
    np.testing.assert_allclose(deviation, [[1, np.sqrt(1 + 0.25**2), 2, 0, 0]], rtol=1e-5)
    np.testing.assert_allclose(merged([a, b], 0.01, both=True).mean, [[0, 100.25, 0, 0, 0]])


def write_labels(folder, *labels: Label | None) -> None:
    for view, of in enumerate(labels):
        if of is not None:
            write_label(folder / "scan1", view, *of, f"{folder.name} {of.mean.sum()}")
    (folder / "scan1" / LABEL_RECORD).write_text("{}")


def test_views_that_one_lacks(tmp_path):
    """They have the other's labels, or none."""
    a, b = tmp_path / "a", tmp_path / "b"
    write_labels(a, label((1, 0.1)), label((1, 0.1)))
    write_labels(b, label((0, 0)), None, label((2, 0.1)))
    folders = [a / "scan1", b / "scan1"]
    assert merge_scan(folders, tmp_path / "any" / "scan1", 0.01) == {0: 1, 1: 1, 2: 1}
    assert merge_scan(folders, tmp_path / "both" / "scan1", 0.01, both=True) == {0: 0, 1: 0, 2: 0}
    assert labelled_views(tmp_path / "any" / "scan1") == [0, 1, 2]
    write_labels(b, label((1, 0.1), (1, 0.1)))
    with pytest.raises(DataError, match="differs in size"):
        merge_scan(folders, tmp_path / "any" / "scan1", 0.01)


def test_program_merges_and_a_rerun_follows_its_inputs(tmp_path):
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "out"
    write_labels(a, label((4, 0.1), (0, 0)))
    write_labels(b, label((0, 0), (8, 0.1)))
    flags = ("--labels", a, b, "--outdir", out)
    assert "labels of 1 views, 100.0% of the pixels" in succeed(run_program("tools/merge_labels.py", *flags))
    write_labels(b, label((0, 0), (9, 0.1)))
    succeed(run_program("tools/merge_labels.py", *flags))
    np.testing.assert_array_equal(read_pfm(LabelFiles(out / "scan1", 0).mean), [[4, 9]])
    assert (out / "scan1" / LABEL_RECORD).exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--labels", "{a}", "--outdir", "out"), "names one folder"),
        (("--labels", "{a}", "{b}", "--outdir", "{b}"), "is one of --labels"),
        (("--labels", "{a}", "{b}", "--outdir", "out"), "b/scan1: holds no labels"),
    ],
)
def test_mistakes_are_one_line(tmp_path, flags, message):
    write_labels(tmp_path / "a", label((1, 0.1)))
    (tmp_path / "b").mkdir()
    flags = [flag.format(a=tmp_path / "a", b=tmp_path / "b") for flag in flags]
    assert message in error_line(run_program("tools/merge_labels.py", *flags))
