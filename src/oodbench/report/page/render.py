"""Templates, filled in: everything is escaped that is not marked as drawn by this package."""

import json
import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from oodbench import __version__
from oodbench.tables.render import BOLD, ITALICS


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a template; everything is escaped that is not marked as drawn by this package."""
    loader = PackageLoader("oodbench.report", "page")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files("oodbench.report") / "page"
    style, script = (Markup((folder / name).read_text("utf-8")) for name in ("style.css", "script.js"))
    environment.filters["marked"] = marked
    return environment.get_template(template).render(
        context | {"style": style, "script": script, "version": __version__}
    )


def marked(text: str) -> Markup:
    """Escape a table's text; **bold**, *italics* and `code` become elements."""
    html = ITALICS.sub(r"<i>\1</i>", BOLD.sub(r"<b>\1</b>", str(escape(text))))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", html))


def as_json(content: Any) -> Markup:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
