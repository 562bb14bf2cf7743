"""Distributions of the response, a file each; this is their table."""

from __future__ import annotations

from bayesmixed.errors import quoted
from bayesmixed.families.base import Family
from bayesmixed.families.gaussian import gaussian
from bayesmixed.families.links import LINKS

# family -> (usual link, links that may be used, what makes it)
_FAMILIES = {"gaussian": ("identity", ("identity",), gaussian)}


def get_family(name: str, link: str | None = None) -> Family:
    """Look up a family.

    Parameters
    ----------
    name : {"gaussian"}
    link : {"identity"}, optional
        Default: the family's usual link.

    Raises
    ------
    ValueError
        For an unknown family or link; the message lists the known ones.

    Examples
    --------
    >>> get_family("gaussian").auxiliary
    ('sigma',)
    """
    if name not in _FAMILIES:
        raise ValueError(f"family must be one of {quoted(_FAMILIES)}, got {name!r}.")
    usual, allowed, make = _FAMILIES[name]
    if link is not None and link not in allowed:
        raise ValueError(f"link of family {name!r} must be None or one of {quoted(allowed)}, got {link!r}.")
    return make(LINKS[link or usual])
