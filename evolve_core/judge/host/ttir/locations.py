"""Where in the kernel's source an operation comes from, out of MLIR's ``loc(…)``."""

from __future__ import annotations

from dataclasses import dataclass, field

from .ir import Location

_MOST_STEPS = 256
"""Steps through one location. Inlining nests as deep as calls do; a cycle, which only hostile text has, ends here."""
_TRITONS_OWN = ("/triton/language/", "/triton/experimental/")


@dataclass(frozen=True, slots=True)
class At:
    """``"file":line:column``."""

    location: Location


@dataclass(frozen=True, slots=True)
class Within:
    """A name, a call site or a fusion of other locations, innermost first; an entry may be an alias (``#loc3``)."""

    parts: tuple[Place, ...]


Place = At | Within | str | None


@dataclass
class Aliases:
    """``#loc3 = loc(…)``: the definitions stand behind their uses in the text, so they are looked up at the end."""

    places: dict[str, Place] = field(default_factory=dict)
    _found: dict[str, Location | None] = field(default_factory=dict)

    def resolve(self, place: Place) -> Location | None:
        """The innermost place outside Triton's own library, else the outermost; None where the text says nothing."""
        if isinstance(place, str):
            if place not in self._found:
                self._found[place] = self._walk(place)
            return self._found[place]
        return self._walk(place)

    def _walk(self, place: Place) -> Location | None:
        waiting: list[Place] = [place]
        last: Location | None = None
        for _ in range(_MOST_STEPS):
            if not waiting:
                break
            current = waiting.pop()
            if isinstance(current, At):
                last = current.location
                if not any(part in last.file for part in _TRITONS_OWN):
                    return last
            elif isinstance(current, Within):
                waiting.extend(reversed(current.parts))
            elif isinstance(current, str):
                waiting.append(self.places.get(current))
        return last
