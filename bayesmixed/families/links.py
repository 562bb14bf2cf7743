"""Link functions."""

from __future__ import annotations

from bayesmixed.families.base import Array, Link


def _same(values: Array) -> Array:
    return values


LINKS = {"identity": Link("identity", _same, _same)}
