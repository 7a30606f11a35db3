"""The drivers use nothing that macOS lacks: its bash is 3.2, its find, sed and sort are BSD's, and it has no /proc."""

import re

import pytest
from helpers import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
# What a line must not hold, and what bash, find and the others would say to it.
UNKNOWN = {
    r"-printf\b": "GNU find",
    r"\bsort\b.* -[a-zA-Z]*V": "GNU sort",
    r"\bsed\b.* -(i|r)\b": "GNU sed",
    r"\b(readlink|realpath)\b": "readlink -f is GNU's, realpath newer",
    r"/proc/|\bnproc\b|\bgrep\b.* -[a-zA-Z]*P\b|\b(date|stat)\b.* -(d|c)\b": "Linux",
    r"\b(mapfile|readarray|coproc)\b|\b(declare|local|typeset) -[a-zA-Z]*[An]": "bash 4",
    r"\$\{[^}]*(,,|\^\^|@[A-Za-z])\}|&>>|\|&|;;&": "bash 4",
    r"\$\{\w+\[-": "bash 4.3: an index from the end",
}


def problems(script: str) -> list[str]:
    """The lines of a script, without comments, that macOS does not understand."""
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in script.splitlines()]
    found = [f"{why}: {line.strip()}" for line in lines for pattern, why in UNKNOWN.items() if re.search(pattern, line)]
    return found + [f"empty under set -u: {name}" for name in empty_arrays("\n".join(lines))]


def empty_arrays(script: str) -> list[str]:
    """Arrays that begin empty and are expanded bare, outside of loops' heads: unbound for bash before 4.4."""
    begun = re.findall(r"\b(\w+)=\(\)", script)
    return [name for name in begun if re.search(rf'(?<!\+)"\$\{{{name}\[@\]\}}"', script) and not kept(name, script)]


def kept(name: str, script: str) -> bool:
    """Whether the script stops when the array has stayed empty."""
    return re.search(rf"\[ \$\{{#{name}\[@\]\}} -gt 0 \] \|\| fail", script) is not None


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_driver_runs_on_macos(script):
    assert problems(script.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "find . -name pair.txt -printf '%h'",
        "ls | sort -V",
        "sed -i s/a/b/ file",
        'readlink -f "$1"',
        "grep -q avx /proc/cpuinfo",
        "mapfile -t names <list",
        'echo "${name,,}"',
        'echo "${views[-1]}"',
        'flags=()\nrun "${flags[@]}"',
    ],
)
def test_what_macos_lacks_is_found(line):
    assert problems(line)


def test_what_macos_has_is_left_alone():
    """Empty arrays may be expanded where that is guarded; comments may say anything."""
    assert problems('flags=()\nrun ${flags[@]+"${flags[@]}"} # mapfile') == []
    assert problems('names=()\n[ ${#names[@]} -gt 0 ] || fail none\nrun "${names[@]}"') == []
