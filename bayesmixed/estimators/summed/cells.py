"""Cells of few rows whose sums statistics reveal: rows, perhaps of a group, where columns of zeros and ones are 1 or 0.

For two such columns u and v, sum w u v is the weight of the rows where both are 1, and sum w u - sum w u v that of the
rows where u is 1 and v is not. The response's sum over a cell is known if u v is itself a column, as with an
interaction, with columns that exclude each other, and if one column contains the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bayesmixed.design.statistics import Sums
from bayesmixed.design.summed.remainder import zeros_and_ones
from bayesmixed.design.summed.summed import Summed
from bayesmixed.errors import quoted

_ROUNDING = 1e-9  # share of the total weight that counts as none


def small_cells(statistics: Summed, minimum: int) -> list[str]:
    """Columns that have nonempty cells of fewer than `minimum` rows, in words; if rows have weights, these count.

    Parameters
    ----------
    statistics : Summed
    minimum : int
    """
    sums = _about_zero(statistics.sums)
    limits = _ROUNDING * sums.products.n, minimum - _ROUNDING * sums.products.n
    common = statistics.sums.common
    at = np.flatnonzero([True, *zeros_and_ones(common)[:-1]])  # the column of ones, and X
    names, terms = ["", *statistics.common_names], ["", *statistics.common_terms]
    own = [names[k] for k in at], [terms[k] for k in at]
    found = []
    if small := _small(sums.products.VV[np.ix_(at, at)][:, :, None], *own, 0, limits):
        found.append(f"cells of {quoted(small)}")
    factors = zip(statistics.groups, sums.level_products, sums.is_binary, sums.intercept_at, strict=True)
    for group, products, is_binary, intercept in factors:
        at = np.flatnonzero(is_binary)
        names, terms = list(group.effect_names), list(group.effect_terms)
        ones = None if intercept is None else int(np.searchsorted(at, intercept))
        own = [names[k] for k in at], [terms[k] for k in at]
        if small := _small(products[np.ix_(at, at)], *own, ones, limits):
            found.append(f"cells of {quoted(small)} in groups of {group.name!r}")
    return found


def _small(
    products: np.ndarray, names: Sequence[str], terms: Sequence[str], ones: int | None, limits: tuple[float, float]
) -> list[str]:
    """Names of columns that have small cells; their `products` are (k, k, J), and `ones` is the column of ones."""
    found = set()
    for columns, weight in _cells(products, terms, ones):
        if np.any((weight > limits[0]) & (weight < limits[1])):
            found |= columns
    return [name for at, name in enumerate(names) if at in found and at != ones]


def _cells(products: np.ndarray, terms: Sequence[str], ones: int | None) -> Iterator[tuple[set[int], np.ndarray]]:
    """The weight of each kind of cells, and the columns that define them."""
    own = np.einsum("iij->ij", products)
    total = own.sum(axis=1)
    for i in range(len(own)):
        if i != ones:
            yield {i}, own[i]
        for j in range(i):
            both = products[i, j]
            if not np.any(np.abs(np.append(total, 0.0) - both.sum()) <= _ROUNDING * total.max()):
                continue  # only the sum of their product is known, no other over the cell
            yield {i, j} - {ones}, both if ones not in (i, j) else own[i if j == ones else j]
            yield {i, j}, own[i] - both
            yield {i, j}, own[j] - both
            if ones is not None:
                yield {i, j}, own[ones] - own[i] - own[j] + both
    if ones is None:
        return
    for term in set(terms) - {terms[ones]}:  # the reference level of a category
        columns = [k for k, name in enumerate(terms) if name == term]
        yield set(columns), own[ones] - own[columns].sum(axis=0)


def _about_zero(sums: Sums) -> Sums:
    """The same sums, about zero: of the columns as they are."""
    zero = [np.zeros(len(origin)) for origin in (sums.origin, *sums.effect_origins)]
    return sums.about(zero[0], tuple(zero[1:]))
