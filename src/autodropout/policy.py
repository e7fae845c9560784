"""Which site gets which pattern: what a search proposes and the zoo stores."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Literal, Self

from autodropout.atomic import write_text
from autodropout.errors import PatternError, UsageError
from autodropout.pattern import ConvPattern, Pattern, TokenPattern
from autodropout.strict_json import check_fields, read_object

Schedule = Literal["constant", "ramp", "early", "late"]

SCHEMA = 1
ROLES = ("query", "key", "value", "softmax", "output", "ffn", "residual")
SCHEDULES: tuple[Schedule, ...] = ("constant", "ramp", "early", "late")

_LATER = (("backward_rate", 0.0),)
_KEY = re.compile(r"[^\s:]+")
_KINDS: dict[str, type[Pattern]] = {"conv": ConvPattern, "token": TokenPattern}


@dataclass(frozen=True, slots=True)
class Policy:
    """Sites mapped to patterns: what a search proposes and the zoo stores.

    Args:
        sites: Key to pattern. A key is an exact site (``"layer1.0.bn2"``), a role (``"role:query"``)
            or a glob whose ``*`` stops at dots (``"layer1.*.bn2"``). The most specific key wins.
        schedule: How strength follows the progress p of training: ``"constant"`` 1, ``"ramp"`` p,
            ``"early"`` 1 in the first half and 0 after it, ``"late"`` 0 in the first half and 1 after it.

    Raises:
        PatternError: A key, a pattern or the schedule is invalid.

    Example:
        >>> policy = Policy({"role:ffn": TokenPattern(size="whole", share_t=True, rate=0.1)})
        >>> Policy.from_json(policy.to_json()) == policy
        True
    """

    sites: Mapping[str, Pattern]
    schedule: Schedule = "constant"
    key: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.sites, Mapping):
            raise PatternError(f"sites is {self.sites!r}; expected a mapping from keys to patterns")
        for key, pattern in self.sites.items():
            _check_key(key)
            if not isinstance(pattern, ConvPattern | TokenPattern):
                raise PatternError(f"{key!r} maps to {pattern!r}; expected a ConvPattern or a TokenPattern")
        if self.schedule not in SCHEDULES:
            raise PatternError(f"schedule is {self.schedule!r}; expected one of {', '.join(SCHEDULES)}")
        object.__setattr__(self, "sites", _FrozenDict(sorted(self.sites.items())))
        object.__setattr__(self, "key", hashlib.sha256(self._canonical().encode()).hexdigest()[:12])

    def __hash__(self) -> int:
        return hash(self.key)

    def strength(self, progress: float) -> float:
        """Return the factor on every pattern's rate at this progress, 0 at the start and 1 at the end."""
        return scheduled(self.schedule, progress)

    def scaled(self, factor: float) -> "Policy":
        """Return the policy for larger inputs: every size and stride times ``factor``, at least 1.

        Sizes that are off or ``"whole"`` and strides of 0 stay as they are.
        """
        return Policy({key: pattern.scaled(factor) for key, pattern in self.sites.items()}, self.schedule)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, every field written (``backward_rate`` if not 0), a schema."""
        return json.dumps(self._document(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Read what ``to_json`` wrote.

        Raises:
            PatternError: The text is malformed, has a duplicate or unknown field, or another schema.
        """
        document = read_object(text, SCHEMA, "policy", PatternError)
        check_fields(
            document,
            known={"schedule", "sites"},
            required={"sites"},
            where="the policy",
            error=PatternError,
        )
        sites = document["sites"]
        if not isinstance(sites, dict):
            raise PatternError(f"the policy's sites are {sites!r}; expected an object of keys and patterns")
        return cls(
            {key: _pattern_from(key, value) for key, value in sites.items()},
            document.get("schedule", "constant"),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy as JSON; what the file held stays whole until then.

        Raises:
            UsageError: The file cannot be written.
        """
        try:
            write_text(Path(path), self.to_json())
        except OSError as error:
            raise UsageError(
                f"{os.fspath(path)} cannot be written ({error.strerror}); make room or name another file"
            ) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Policy":
        """Read a policy from a JSON file.

        Raises:
            PatternError: The file is no valid policy; the message names it.
            OSError: The file cannot be read.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf8"))
        except (PatternError, UnicodeDecodeError) as error:
            raise PatternError(f"{os.fspath(path)}: {error}") from error

    def _document(self) -> dict[str, object]:
        sites = {key: _pattern_document(pattern) for key, pattern in self.sites.items()}
        return {"schema": SCHEMA, "schedule": self.schedule, "sites": sites}

    def _canonical(self) -> str:
        return json.dumps(self._document(), separators=(",", ":"), sort_keys=True)


def scheduled(schedule: Schedule, progress: float) -> float:
    """Return the strength that a schedule has at this progress, 0 at the start and 1 at the end."""
    match schedule:
        case "constant":
            return 1.0
        case "ramp":
            return min(max(progress, 0.0), 1.0)
        case "early":
            return 1.0 if progress < 0.5 else 0.0
        case "late":
            return 0.0 if progress < 0.5 else 1.0


class _FrozenDict(dict[str, Pattern]):
    """A dict without its verbs of change; unlike MappingProxyType it can be pickled and copied."""

    def _refuse(self, *_: object, **__: object) -> None:
        raise TypeError("a policy cannot be changed; build a new one")

    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]
    clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Pattern]]]:
        return type(self), (dict(self),)


def _pattern_document(pattern: Pattern) -> dict[str, object]:
    kind = "conv" if isinstance(pattern, ConvPattern) else "token"
    named = {f.name: getattr(pattern, f.name) for f in fields(pattern)}
    # What came later is left out where it does nothing, so that older policies keep their JSON and their key.
    return {"kind": kind} | {name: value for name, value in named.items() if (name, value) not in _LATER}


def _pattern_from(key: str, document: object) -> Pattern:
    if not isinstance(document, dict):
        raise PatternError(f"{key!r} maps to {document!r}; expected an object with a kind")
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise PatternError(f"{key!r} has kind {kind!r}; expected one of {', '.join(_KINDS)}")
    given = {name: value for name, value in document.items() if name != "kind"}
    known = fields(_KINDS[kind])
    check_fields(
        given,
        known={f.name for f in known},
        required={f.name for f in known if f.default is MISSING},
        where=repr(key),
        error=PatternError,
    )
    try:
        return _KINDS[kind](**given)
    except PatternError as error:
        raise PatternError(f"{key!r}: {error}") from error


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise PatternError(
            f"key {key!r} is no string; expected a site, a role such as 'role:query', or a glob"
        )
    if key.startswith("role:"):
        if key[5:] not in ROLES:
            raise PatternError(f"{key!r} names no role; roles are {', '.join(ROLES)}")
    elif not _KEY.fullmatch(key):
        raise PatternError(f"key {key!r} is no site name: it is empty or has a space or a colon")
