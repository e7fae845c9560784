"""Read a space back from the JSON that it wrote."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from autodropout.conv_space import ConvSpace
from autodropout.errors import SpaceError
from autodropout.space import SCHEMA, Space, checked
from autodropout.strict_json import check_fields, read_object
from autodropout.token_space import TokenSpace


def space_from_json(text: str) -> Space:
    """Return the space whose ``to_json`` gave this text.

    Raises:
        SpaceError: The text is malformed, has a duplicate, unknown or missing field, is of another
            schema, or describes no valid space.
    """
    document = read_object(text, SCHEMA, "space", SpaceError)
    match document.pop("kind", None):
        case "conv":
            _check(document, ConvSpace)
            return ConvSpace(**document | {"sites": _pairs(document["sites"])})
        case "token":
            _check(document, TokenSpace)
            return TokenSpace(**document)
        case kind:
            raise SpaceError(f"the space is of kind {kind!r}; expected conv or token")


def _check(document: Mapping[str, Any], kind: type[ConvSpace] | type[TokenSpace]) -> None:
    known = {f.name for f in fields(kind)}
    check_fields(document, known=known, required={"sites"}, where="the space", error=SpaceError)


def _pairs(sites: Any) -> dict[str, Any]:
    match sites:
        case [*pairs] if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            keys = checked("sites", [key for key, _ in pairs])
            if all(isinstance(key, str) for key in keys):
                return dict(pairs)
    raise SpaceError(f"sites is {sites!r}; expected pairs of a key and a map size")
