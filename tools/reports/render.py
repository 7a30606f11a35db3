"""HTML from templates (templates/): jinja2 escapes every value, so a page cannot be broken by what it shows."""

import base64
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import jinja2
from markupsafe import Markup

_FOLDER = Path(__file__).parent


def render_page(template: str, title: str, scripts: Iterable[str] = (), **content: object) -> bytes:
    """A whole page, UTF-8, with the style sheet and the named scripts of this folder in it."""
    script = "".join((_FOLDER / name).read_text("utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    own = {"script": Markup(script), "style": Markup((_FOLDER / "page.css").read_text("utf-8"))}
    text = _templates().get_template(template).render(title=title, policy=policy, **own, **content)
    return text.encode("utf-8", "xmlcharrefreplace")  # a lone surrogate, from an odd file name, has no UTF-8


def render_part(template: str, **content: object) -> Markup:
    """A part of a page, which other templates do not escape again."""
    return Markup(_templates().get_template(template).render(**content))


@functools.cache
def _templates() -> jinja2.Environment:
    """The templates: what they miss is an error, and data for scripts is JSON in which nothing ends the element."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return templates
