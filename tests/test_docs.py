"""The documents name only what exists: files, headings, programs, settings, flags."""

import re
from pathlib import Path

import pytest
from helpers import ROOT

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "ckpt" / "README.md", ROOT / "tests/golden/README.md"]
)

# Folders of the checkout; a path that begins with one of them must exist, others are a user's own.
FOLDERS = ("scripts", "tools", "fusion", "datasets", "models", "lists", "docs", "ckpt", "tests")
PATH = re.compile(rf"(?<![\w/.<>])(?:\.\./)?((?:{'|'.join(FOLDERS)})/[\w./]*\w)")
PROGRAM = re.compile(r"(?<![\w/.-])([a-z]\w*\.(?:py|sh))\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")

# Files of the official release, which the documents compare with, and of other projects.
FOREIGN = {"infer.py", "normal_check_prob_enc.py"}


def prose(path: Path) -> str:
    """A document without what is drawn in it."""
    return re.sub(r"```mermaid.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def where_files_are() -> set[str]:
    """Names of all Python and shell files of the checkout."""
    folders = [ROOT / folder for folder in FOLDERS]
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.*"))]
    return {path.name for path in files if path.suffix in (".py", ".sh")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
class TestDocument:
    """Each of them."""

    def test_links_lead_somewhere(self, document):
        """To a file, and to a heading where one is named."""
        lost = []
        for link in LINK.findall(prose(document)):
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
                lost.append(link)
        assert lost == []

    def test_paths_exist(self, document):
        """Those of the checkout's folders; a pattern such as tools/*.py names its folder."""
        paths = PATH.findall(prose(document))
        assert [path for path in paths if not any((base / path).exists() for base in (ROOT, document.parent))] == []

    def test_programs_exist(self, document):
        """And scripts and modules that are named without their folder."""
        assert set(PROGRAM.findall(prose(document))) - where_files_are() - FOREIGN == set()


def test_every_program_has_a_row_in_the_reference():
    """A program that nobody finds is of no use."""
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    programs = [f"tools/{path.name}" for path in (ROOT / "tools").glob("[a-z]*.py")]
    drivers = [f"scripts/{path.name}" for path in (ROOT / "scripts").glob("run_*.sh") if path.name != "run_tests.sh"]
    assert [name for name in programs + drivers if name not in reference] == []


def test_settings_of_the_drivers_exist():
    """Each name in the drivers' table stands in its script, or in what it shares with others."""
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    rows = re.findall(r"`bash (scripts/run_\w+\.sh)[^`]*` \|(.+)\|", reference)
    assert len(rows) >= 9
    for script, settings in rows:
        text = (ROOT / script).read_text("utf-8") + (ROOT / "scripts" / "common.sh").read_text("utf-8")
        for name in re.findall(r"`([A-Z_]+)\b", settings):
            assert re.search(rf"\b{name}\b", text), f"{script}: {name}"


def test_flags_exist():
    """Every --flag that the reference names stands in a program or a library of theirs."""
    code = "\n".join(path.read_text("utf-8") for path in [*ROOT.glob("*.py"), *(ROOT / "tools").rglob("*.py")])
    flags = set(re.findall(r"`(--[a-z]\w*)", (ROOT / "docs" / "reference.md").read_text("utf-8")))
    assert len(flags) > 30
    assert {flag for flag in flags - {"--help"} if f'"{flag}"' not in code} == set()


def test_the_readme_is_short():
    """One page; what is longer stands in docs/."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_no_citation_of_a_file_that_is_not_there():
    """The method is described in docs/method.md, the formats in docs/formats.md."""
    sources = [*ROOT.glob("*.py")]
    for folder in ("tools", "fusion", "datasets", "models"):
        sources += (ROOT / folder).rglob("*.py")
    wrong = []
    for path in sources:
        text = path.read_text("utf-8")
        named = re.findall(r"\bdocs/[\w/]+\.md", text)
        if re.search(r"\bspecs\b[:, ]", text) or not all((ROOT / name).exists() for name in named):
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []
