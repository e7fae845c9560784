"""Read a space back from the JSON that it wrote."""

import json

from autodropout.conv_space import ConvSpace
from autodropout.errors import SpaceError
from autodropout.space import SCHEMA, Space
from autodropout.token_space import TokenSpace


def space_from_json(text: str) -> Space:
    """Return the space whose ``to_json`` gave this text.

    Raises:
        SpaceError: The text is malformed, of another schema, or describes no valid space.
    """
    try:
        document = json.loads(text)
        schema, kind = document.pop("schema"), document.pop("kind")
        if schema != SCHEMA:
            raise SpaceError(f"the space's schema is {schema!r}; this version of autodropout reads {SCHEMA}")
        match kind:
            case "conv":
                sites = {key: tuple(size) for key, size in document.pop("sites")}
                return ConvSpace(sites=sites, **document)
            case "token":
                return TokenSpace(**document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"not a space: {error}") from error
    raise SpaceError(f"the space is of kind {kind!r}; expected conv or token")
