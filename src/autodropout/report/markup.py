"""HTML and SVG as text, every string from outside escaped."""

from collections.abc import Iterable
from html import escape

Attribute = str | int | float | bool | None

_VOID = frozenset({"br", "meta", "link", "col", "input"})


class Markup(str):
    """Text that is HTML or SVG already; any other string is escaped."""

    __slots__ = ()


def element(name: str, *children: str | None, **attributes: Attribute) -> Markup:
    """Return an element.

    Args:
        name: Its tag.
        children: Its content in order: ``Markup`` as it is, other strings escaped, None left out.
        attributes: Its attributes; a trailing underscore is dropped, others become hyphens. True writes
            the bare name; False and None leave the attribute out; floats are written with two decimals.

    Example:
        >>> element("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(parts: Iterable[str | None]) -> Markup:
    """Return parts one after the other, escaped unless they are ``Markup``; None is left out."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts if part))


def number(value: float) -> str:
    """Return a coordinate with at most two decimals."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    match value:
        case None | False:
            return ""
        case True:
            return f" {name}"
        case float():
            return f' {name}="{number(value)}"'
        case _:
            return f' {name}="{escape(str(value))}"'
