"""docs/first_steps.ipynb works from its first cell to its last, and holds no outputs."""

import json
import tempfile

from helpers import ROOT

from datasets.formats.ply import read_ply

NOTEBOOK = ROOT / "docs" / "first_steps.ipynb"


def code_cells() -> list[str]:
    """The code of each cell; what Jupyter would show of its last line is only computed."""
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_nothing_is_stored():
    """Outputs would be those of somebody's machine, and differ in every commit."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert notebook["nbformat"] == 4 and len(code_cells()) > 5
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def test_cells_run_in_order(tmp_path, monkeypatch):
    """In one process, one after the other; the depth is right and the cloud is written."""
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict[str, object] = {}
    for number, code in enumerate(code_cells(), 1):
        exec(compile(code, f"cell {number}", "exec"), names)
    assert names["scan"].views == [0, 1, 2, 3, 4, 5]
    assert names["error"] < 5  # mm, of a scene 425 to 935 mm away
    points, colours = read_ply(names["folder"] / "garden.ply")
    assert len(points) == len(names["cloud"]) > 1000 and colours.shape == points.shape
    assert names["depth"].shape == (128, 160)
