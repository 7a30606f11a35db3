"""HTML that cannot be broken by what it shows: strings are escaped unless they are `Html`."""

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_VOID = ("img", "link", "meta", "input")
_ASSETS = Path(__file__).parent


class Html(str):
    """Text that is HTML already."""


def element(tag: str, *children: object, **attributes: object) -> Html:
    """`<tag attributes>children</tag>`; children that are no Html are escaped, attributes that are None left out.

    An attribute's underscores become hyphens, one at its end goes: `class_`, `data_scale`.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is not None:
            words.append(f'{name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Html(start) if tag in _VOID else Html(f"{start}{join(children)}</{tag}>")


def join(children: Iterable[object]) -> Html:
    """The children one after the other, escaped where they are no Html."""
    return Html("".join(child if isinstance(child, Html) else html.escape(str(child)) for child in children))


def data_block(name: str, content: Any) -> Html:
    """Data for the page's script: JSON in which nothing can end the element."""
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{name}">{text}</script>')


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> Html:
    """A table that scrolls sideways on narrow screens."""
    first = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return element(
        "div", element("table", element("thead", first), element("tbody", *body)), class_="scroll", tabindex="0"
    )


def facts(content: dict[str, object]) -> Html:
    """Names and values as a list of two columns."""
    rows = (join((element("dt", name), element("dd", value))) for name, value in content.items())
    return element("dl", *rows, class_="facts")


def section(title: str, *children: object, note: object = "") -> Html:
    """A part of the page under a heading."""
    return element("section", element("h2", title), element("p", note, class_="note") if note else Html(), *children)


def details(title: str, *children: object) -> Html:
    """A part that opens when its title is clicked."""
    return element("details", element("summary", title), *children)


def page(title: str, body: Html, scripts: Iterable[str] = ()) -> bytes:
    """A whole page, UTF-8, with the style sheet and the named scripts of this folder in it.

    Its content security policy allows these scripts and pictures inside the page, and nothing from anywhere else.
    """
    script = "".join((_ASSETS / name).read_text("utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html((_ASSETS / "page.css").read_text("utf-8"))),
    )
    end = element("script", Html(script)) if script else Html()
    whole = "<!DOCTYPE html>\n" + element("html", head, element("body", body, end), lang="en") + "\n"
    return whole.encode("utf-8", "xmlcharrefreplace")  # a lone surrogate, from an odd file name, has no UTF-8
