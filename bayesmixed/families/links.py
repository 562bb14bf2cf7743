"""Link functions."""

from __future__ import annotations

from typing import Any

from bayesmixed.families.base import Array, Link


class Identity(Link):
    """The linear predictor is the mean."""

    name = "identity"

    def link(self, mu: Array) -> Array:
        return mu

    def inverse(self, eta: Array) -> Array:
        return eta

    def marginal(self, m: Array, v: Array) -> Array:
        return m

    def pymc(self, pm: Any, eta: Any) -> Any:
        return eta


LINKS: dict[str, Link] = {link.name: link for link in (Identity(),)}
