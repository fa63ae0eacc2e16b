"""What all pages share: how templates are filled, what they print of a value, and words of time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup


def rendered(template: str, **content: Any) -> str:
    """A page: what is given stands in it as text, unless it is markup, which is ours (`markup`)."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eznas.reporting", "."), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=printable,
    )  # fmt: skip
    environment.filters["breakable"] = breakable
    return environment.get_template(template).render(**content)


def printable(value: Any) -> Any:
    """What a template prints of a value: text without control characters; markup is ours and stays."""
    from markupsafe import Markup

    if isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() or c == "\n" else " " for c in str(value))


def markup(svg: str) -> Markup:
    """A drawing of ours, to stand in a page as it is."""
    from markupsafe import Markup

    return Markup(svg)


_AFTER = re.compile(r"(?<=[/|,;(+])(?=\S)|(?<=\S)(?=\\[a-z])")
_IN_NAMES = re.compile(r"(?<=[/_])(?=\S)")


def breakable(text: str, *, is_name: bool = False) -> Markup:
    """A formula or the text of a network that a narrow page breaks between its parts, and copies as it is.

    Args:
        text: any.
        is_name: whether it is a name, which breaks after underscores too.
    """
    from markupsafe import Markup, escape

    parts = (_IN_NAMES if is_name else _AFTER).split(str(text))
    return Markup("<wbr>").join(escape(printable(part)) for part in parts)


def duration(seconds: float) -> str:
    """``2 h 5 min``, ``5 min 3 s`` or ``3 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
