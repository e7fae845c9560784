"""Reading JSON without mercy: no duplicates, no unknown or missing fields, one schema."""

import json
from collections.abc import Mapping, Set
from typing import Any

from autodropout.errors import AutoDropoutError


def read_object(text: str, schema: int, what: str, error: type[AutoDropoutError]) -> dict[str, Any]:
    """Parse a JSON object that carries this schema number; the number is taken out of it.

    Args:
        text: The JSON.
        schema: The schema number that can be read.
        what: What the text should hold, such as ``"policy"``.
        error: Type of the error to raise.

    Raises:
        AutoDropoutError: ``error``, if the text is malformed, no object, holds a name twice, or has
            another schema.
    """
    try:
        document = json.loads(text, object_pairs_hook=lambda pairs: _without_duplicates(pairs, error))
    except (ValueError, TypeError, RecursionError) as cause:
        if isinstance(cause, error):
            raise
        raise error(f"not a {what}: malformed JSON ({cause})") from cause
    if not isinstance(document, dict):
        raise error(f"the {what} is {document!r}; expected a JSON object")
    found = document.pop("schema", None)
    if type(found) is not int or found != schema:
        raise error(f"the {what}'s schema is {found!r}; this autodropout reads schema {schema}")
    return document


def check_fields(
    document: Mapping[str, object],
    *,
    known: Set[str],
    required: Set[str],
    where: str,
    error: type[AutoDropoutError],
) -> None:
    """Refuse unknown and missing fields.

    Args:
        document: The object that was read.
        known: Fields that it may have.
        required: Fields that it must have.
        where: What to call it in the message.
        error: Type of the error to raise.

    Raises:
        AutoDropoutError: ``error``, if a field is unknown or missing.
    """
    if unknown := sorted(document.keys() - known):
        raise error(f"{where} has unknown fields {unknown}; known are {sorted(known)}")
    if missing := sorted(required - document.keys()):
        raise error(f"{where} lacks the fields {missing}")


def _without_duplicates(pairs: list[tuple[str, object]], error: type[AutoDropoutError]) -> dict[str, object]:
    document: dict[str, object] = {}
    for name, value in pairs:
        if name in document:
            raise error(f"{name!r} stands twice in the JSON; keep one of the two")
        document[name] = value
    return document
