"""The house stands as docs/architecture.md says: arrows go down, there is no circle, nothing imports a program."""

from pathlib import Path

import pytest
from helpers import ROOT

from datasets.files import DataError
from tools.reports.architecture import (
    BEGIN,
    END,
    PACKAGES,
    arrows,
    circle,
    drawing,
    read_modules,
    room,
    room_inside,
    script_arrows,
    upward,
    with_drawing,
    without_shortcuts,
)

MODULES = read_modules(ROOT)
HOUSE = arrows(MODULES, room) | script_arrows(ROOT, MODULES)


def make_house(root: Path, **files: str) -> Path:
    """A checkout in small: keys such as tools__predict are files, their values the code."""
    (root / "scripts").mkdir()
    for name, code in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return root


# ---------------------------------------------------------------- this project


def test_the_picture_is_current():
    """`python tools/draw_architecture.py --write` draws it anew."""
    document = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert document == with_drawing(document, drawing(ROOT)), "run: python tools/draw_architecture.py --write"


def test_every_arrow_leads_down():
    """scripts, programs, the Python face, libraries of the tools, fusion, then datasets and models side by side."""
    assert upward(HOUSE) == []


def test_there_is_no_circle():
    """Neither between rooms, nor inside a package, nor between modules."""
    assert circle(HOUSE) == []
    for package in PACKAGES:
        assert circle(arrows(MODULES, room_inside(package))) == []
    assert circle(arrows(MODULES, lambda module: module.name)) == []


def test_no_program_is_imported():
    """What two programs need lies in a library."""
    programs = {module.name for module in MODULES.values() if module.is_program}
    imported = {(module.name, name) for module in MODULES.values() for name in module.imports & programs}
    assert imported == set()


def test_tools_holds_programs_only():
    """And the line that lets them find the packages."""
    others = {name for name, module in MODULES.items() if name.count(".") == 1 and not module.is_program}
    files = {path.stem for path in (ROOT / "tools").glob("*.py")}
    assert {name for name in others if name.startswith("tools.") and name[6:] in files} == {"tools._checkout"}


# ---------------------------------------------------------------- the rules themselves


def test_imports_in_functions_count(tmp_path):
    """An import that waits until a function runs is an arrow like any other."""
    house = make_house(
        tmp_path, models__a="def f():\n    from models import b\n    import datasets.c", models__b="", datasets__c=""
    )
    assert read_modules(house)["models.a"].imports == {"models.b", "datasets.c"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"models__a": "import datasets.b", "datasets__b": ""}, ("models", "datasets")),
        ({"fusion__a": "from tools.runtime import b", "tools__runtime__b": ""}, ("fusion", "tools/runtime")),
        ({"tools__x__a": "import kdmvs", "kdmvs": ""}, ("tools/x", "kdmvs.py")),
        ({"numba_cache": "import models.a", "models__a": ""}, ("numba_cache.py", "models")),
    ],
)
def test_arrows_that_do_not_lead_down_are_found(tmp_path, files, expected):
    """Also between two rooms of one floor, but for the libraries of the tools."""
    assert upward(arrows(read_modules(make_house(tmp_path, **files)), room)) == [expected]


def test_libraries_of_the_tools_may_use_each_other(tmp_path):
    """As long as there is no circle."""
    house = make_house(tmp_path, tools__x__a="import tools.y.b", tools__y__b="import tools.x.c", tools__x__c="")
    pairs = arrows(read_modules(house), room)
    assert upward(pairs) == []
    assert set(circle(pairs)) == {"tools/x", "tools/y"}
    assert circle(pairs - {("tools/y", "tools/x")}) == []


def test_programs_are_told_by_their_last_lines(tmp_path):
    """And the scripts by the programs that they name."""
    run = 'if __name__ == "__main__":\n    pass\n'
    house = make_house(tmp_path, test=run, tools__predict=run, tools__x__a="")
    (house / "scripts" / "run_all.sh").write_text("launch tools/predict.py; launch other.py\n")
    modules = read_modules(house)
    assert {name for name, module in modules.items() if module.is_program} == {"test", "tools.predict"}
    assert script_arrows(house, modules) == {("scripts/*.sh", "tools/*.py")}


def test_shortcuts_are_not_drawn():
    """What an arrow over another room says is said once."""
    assert without_shortcuts({("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")}) == {("a", "b"), ("b", "c"), ("a", "d")}


def test_a_document_without_marks():
    """It would be overwritten in the wrong place."""
    assert with_drawing(f"x {BEGIN} old {END} y", "new") == f"x {BEGIN}\n\nnew\n\n{END} y"
    with pytest.raises(DataError, match="no place for the drawing"):
        with_drawing("x", "new")
