"""The house, read off the code without running it: which module imports which, in rooms, as pictures for a document.

A room is a folder of modules, or a module that lies outside such folders. `floor` says which room may import which:
arrows go down. Pictures are Mermaid, which GitHub draws.
"""

import ast
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from datasets.files import DataError

PACKAGES = ("tools", "fusion", "datasets", "models")
BEGIN, END = "<!-- drawn by tools/draw_architecture.py -->", "<!-- end of what is drawn -->"

_SCRIPTS, _ROOT_PROGRAMS, _TOOL_PROGRAMS = "scripts/*.sh", "train_unsup, train_kd, test", "tools/*.py"
_LIBRARY_FLOOR = 3

Arrows = set[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Module:
    """A Python file of the project: what it is called, the project's modules that it imports, whether it is run."""

    name: str
    imports: frozenset[str]
    is_program: bool


def read_modules(root: Path) -> dict[str, Module]:
    """Every module by its name, such as "models.losses"; tests are not the house."""
    paths = [*root.glob("*.py"), *(path for package in PACKAGES for path in (root / package).rglob("*.py"))]
    names = {_name(path.relative_to(root)): path for path in sorted(paths)}
    trees = {name: ast.parse(path.read_text("utf-8")) for name, path in names.items()}
    return {
        name: Module(name, frozenset(_imports(tree, names.keys()) - {name}), _is_run(tree))
        for name, tree in trees.items()
    }


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imports(tree: ast.Module, known: Iterable[str]) -> set[str]:
    """The known modules that are imported anywhere in the file, in functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & set(known)
            found |= inside or {node.module}
    return found & set(known)


def _is_run(tree: ast.Module) -> bool:
    """Whether the file ends in `if __name__ == "__main__"`."""
    tests = (ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If))
    return any(test == "__name__ == '__main__'" for test in tests)


def room(module: Module) -> str:
    """The room of a module in the picture of the whole house."""
    first, *rest = module.name.split(".")
    if module.is_program:
        return _TOOL_PROGRAMS if rest else _ROOT_PROGRAMS
    if first == "tools":
        return "/".join([first, *rest[:1]])
    return first if first in PACKAGES else f"{first}.py"


def floor(name: str) -> int:
    """The floor of a room, counted from the roof: an arrow must lead to a higher number.

    The rooms inside tools/ share a floor and may import each other, as long as there is no circle.
    """
    floors = {_SCRIPTS: 0, _ROOT_PROGRAMS: 1, _TOOL_PROGRAMS: 1, "kdmvs.py": 2, "fusion": 4, "datasets": 5, "models": 5}
    if name.startswith("tools/") and name != _TOOL_PROGRAMS:
        return _LIBRARY_FLOOR
    return floors.get(name, 6)


def room_inside(package: str) -> Callable[[Module], str | None]:
    """The room of a module in the picture of one package: a subfolder or a file; None for modules elsewhere."""

    def inside(module: Module) -> str | None:
        first, *rest = module.name.split(".")
        return rest[0] if first == package and rest else None

    return inside


def arrows(modules: dict[str, Module], room_of: Callable[[Module], str | None]) -> Arrows:
    """(importing room, imported room) of every two rooms, without those inside one room."""
    pairs = ((room_of(module), room_of(modules[name])) for module in modules.values() for name in module.imports)
    return {(source, target) for source, target in pairs if source and target and source != target}


def script_arrows(root: Path, modules: dict[str, Module]) -> Arrows:
    """(the scripts, room) of every program that a driver names."""
    text = "\n".join(path.read_text("utf-8") for path in sorted((root / "scripts").glob("*.sh")))
    named = {match.replace("/", ".") for match in re.findall(r"((?:tools/)?\w+)\.py\b", text)}
    return {(_SCRIPTS, room(modules[name])) for name in named if name in modules and modules[name].is_program}


def circle(pairs: Arrows) -> list[str]:
    """The rooms of a circle of arrows, the first one also at the end; empty when there is none."""
    graph: dict[str, set[str]] = {}
    for source, target in pairs:
        graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def upward(pairs: Arrows) -> list[tuple[str, str]]:
    """The arrows that do not lead down."""
    return sorted(
        (source, target)
        for source, target in pairs
        if floor(source) >= floor(target) and not floor(source) == floor(target) == _LIBRARY_FLOOR
    )


def without_shortcuts(pairs: Arrows) -> Arrows:
    """The arrows that no way over other rooms stands for: what can be reached from a room stays the same."""

    def reached(start: str) -> set[str]:
        found, todo = set(), [start]
        while todo:
            here = todo.pop()
            new = {target for source, target in pairs if source == here} - found
            found |= new
            todo += new
        return found

    below = {name: reached(name) for pair in pairs for name in pair}

    def is_shortcut(source: str, target: str) -> bool:
        others = {other for start, other in pairs if start == source and other != target}
        return any(target in below[other] and source not in below[other] for other in others)

    return {pair for pair in pairs if not is_shortcut(*pair)}


def mermaid(pairs: Arrows) -> Iterator[str]:
    """The lines of a picture of the rooms and arrows."""
    names = sorted({name for pair in pairs for name in pair})
    yield "```mermaid"
    yield "flowchart TD"
    for number, name in enumerate(names):
        yield f'    r{number}["{name}"]'
    for source, target in sorted(pairs):
        yield f"    r{names.index(source)} --> r{names.index(target)}"
    yield "```"


def drawing(root: Path) -> str:
    """What docs/architecture.md shows between its marks: the house, a table of its arrows, and three packages."""
    modules = read_modules(root)
    house = arrows(modules, room) | script_arrows(root, modules)
    rooms = {name for pair in house for name in pair}
    lines = [f"{len(rooms)} rooms, {len(house)} arrows.", "", *mermaid(without_shortcuts(house))]
    lines += ["", "Every arrow, also those that a way over other rooms stands for:", ""]
    lines += ["| room | imports |", "|---|---|"]
    for name in sorted(rooms, key=lambda name: (floor(name), name)):
        targets = sorted(target for source, target in house if source == name)
        lines.append(f"| `{name}` | {', '.join(f'`{target}`' for target in targets) or 'nothing of the project'} |")
    for package in ("fusion", "datasets", "models"):
        lines += ["", f"Inside `{package}/`:", "", *mermaid(without_shortcuts(arrows(modules, room_inside(package))))]
    return "\n".join(lines)


def with_drawing(document: str, drawn: str) -> str:
    """The document with the drawing between its marks; raises DataError when it has no marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"the document has no place for the drawing: write {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{drawn}\n\n{END}{after}"
