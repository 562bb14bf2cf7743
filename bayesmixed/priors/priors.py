"""The prior of every parameter of a model, and where each is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

import numpy as np

from bayesmixed.distributions import Prior, Truncated
from bayesmixed.priors.swept import sweep_matrix


@dataclass(frozen=True)
class Priors:
    """The prior of every parameter of one model, on the user's scale.

    A prior that the user states is one of the coefficient, or standard deviation, as the formula is written: at X = 0.
    A default is stated on *swept* columns, from which the columns they contain are taken out, so that it does not
    depend on where a covariate has its zero. `swept` and `group_swept` say how.

    Attributes
    ----------
    intercept : Prior or None
        Of the intercept at the place that `print` shows; None in a model without one. Where there is a `threshold`, of
        its negative.
    common : dict of str to Prior
        By column label: of the swept column's coefficient.
    group_sd : dict of str to dict of str to Prior
        By factor and effect: of the swept column's effect.
    lkj_eta : dict of str to float
        By factor with correlated effects: shape of the LKJ distribution (1: uniform over correlations), again of the
        swept columns' effects.
    auxiliary : dict of str to Prior
        E.g. ``{"sigma": HalfStudentT(4, 56)}``.
    swept : dict of str to dict of str to float
        By column label: the fit that is subtracted from the column, as coefficients of ``"Intercept"`` and of other
        labels. ``{"Days": {"Intercept": 4.5}}``: Days less 4.5, so that the prior of the intercept is one at
        Days = 4.5. A column that is not there is not swept; ``{}``: all priors are those of coefficients at X = 0.
    group_swept : dict of str to dict of str to dict of str to float
        By factor: the same for its effects' columns, within a correlated block.
    threshold : str
        Of an ordered response: the threshold whose negative is the intercept, such as ``"low|medium"``. `print` shows
        its prior in place of the intercept's. The gaps between neighbouring thresholds are among `auxiliary`.

    Examples
    --------
    >>> from bayesmixed import Normal, HalfNormal
    >>> print(Priors(Normal(0, 1), {"x": Normal(0, 1)}, {}, {}, {"sigma": HalfNormal(1)}, {"x": {"Intercept": 2.5}}))
    Intercept at x = 2.5  Normal(0, 1)
    beta[x]               Normal(0, 1)
    sigma                 HalfNormal(1)
    """

    STORED: ClassVar[tuple[str, ...]] = (
        "intercept",
        "common",
        "group_sd",
        "lkj_eta",
        "auxiliary",
        "swept",
        "group_swept",
        "threshold",
    )

    intercept: Prior | None
    common: dict[str, Prior]
    group_sd: dict[str, dict[str, Prior]]
    lkj_eta: dict[str, float]
    auxiliary: dict[str, Prior]
    swept: dict[str, dict[str, float]] = field(default_factory=dict)
    group_swept: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    threshold: str = ""

    def common_sweep(self, labels: Sequence[str]) -> np.ndarray:
        """T of the common part, over the intercept (if any) and the columns in the order of `labels`.

        See `bayesmixed.priors.swept`. The order is the design's; that of `common` has no meaning.
        """
        return sweep_matrix(self.swept, [*(["Intercept"] if self.intercept else []), *labels])

    def group_sweep(self, factor: str, effects: Sequence[str]) -> np.ndarray:
        """T of a factor's columns, (q, q), in the order of `effects`."""
        return sweep_matrix(self.group_swept.get(factor, {}), effects)

    def stated_common(self, labels: Sequence[str]) -> list[tuple[str, Prior]]:
        """What each prior of the common part applies to, with the place, and the prior; in the order of `labels`."""
        common = {**({"Intercept": self.intercept} if self.intercept else {}), **{at: self.common[at] for at in labels}}
        places = stated_at(self.common_sweep(labels), list(common), "beta")
        found = list(zip(places, common.values(), strict=True))
        if self.threshold and self.intercept:
            name = places[0].replace("Intercept", f"thresholds[{self.threshold}]", 1)
            found[0] = (name, reflected(self.intercept))
        return found

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Every parameter with its prior, as text of four digits; `print` shows them as a table."""
        rows = [(place, _short(prior)) for place, prior in self.stated_common(list(self.common))]
        for factor, sds in self.group_sd.items():
            places = stated_at(self.group_sweep(factor, list(sds)), list(sds), f"sd_{factor}")
            rows += [(place, _short(prior)) for place, prior in zip(places, sds.values(), strict=True)]
            if factor in self.lkj_eta:
                rows.append((f"corr_{factor}{place_of(places)}", f"LKJ({self.lkj_eta[factor]:.4g})"))
        return rows + [(name, _short(prior)) for name, prior in self.auxiliary.items()]

    def __str__(self) -> str:
        width = max((len(name) for name, _ in self.rows), default=0)
        return "\n".join(f"{name:<{width}}  {prior}" for name, prior in self.rows)


def reflected(prior: Prior) -> Prior:
    """The prior of minus a parameter whose prior is this one, a Normal or StudentT."""
    return replace(prior, mu=0.0 - prior.mu)  # type: ignore[call-arg, attr-defined]


def stated_at(T: np.ndarray, names: list[str], variable: str) -> list[str]:
    """Say what each prior applies to: ``beta[arm] at year = 2014``.

    The swept column's coefficient is ``(T^-1 beta)_j = beta_j + sum_k (T^-1)_jk beta_k``: where column k is a product
    of column j and others, such as ``arm:year``, it is the coefficient at some value of those.

    Parameters
    ----------
    T : numpy.ndarray of shape (k, k)
    names : list of str, length k
        Labels, or effects.
    variable : str
        ``"beta"``, or ``"sd_<factor>"``.
    """
    inverse = _inverse(T)
    found = []
    for j, name in enumerate(names):
        own = name if (name, variable) == ("Intercept", "beta") else f"{variable}[{name}]"
        places: list[str] = []
        others: list[str] = []
        for k in np.flatnonzero(inverse[j]):
            value = inverse[j, k]
            rest = _without(names[k], name)
            if k != j and rest:
                # the place of arm:year follows from those of arm and year, except for their correlation in the data
                told = [place.partition(" = ")[0] for place in places]
                if rest in told or not set(_components(rest)) <= set(told):
                    places.append(f"{rest} = {value:.5g}")
            elif k != j:
                others.append(f" {'-' if value < 0 else '+'} {abs(value):.5g} {names[k]}")
        at = f" at {', '.join(_few(places, '{}'))}" if places else ""
        found.append(f"{own}{at}{''.join(_few(others, ' + {}'))}")
    return found


def _inverse(T: np.ndarray) -> np.ndarray:
    """T^-1, (k, k), by its finite Neumann series: entries that are 0 come out as 0, where solving leaves rounding."""
    steps = np.eye(len(T)) - T
    inverse = power = np.eye(len(T))
    for _ in range(len(T)):
        power = power @ steps
        inverse = inverse + power
        if not power.any():
            break
    return inverse


def place_of(stated: list[str]) -> str:
    """Where a factor's correlations are stated, `` at Days = 4.5``: where its sds are; empty if nothing is swept.

    Parameters
    ----------
    stated : list of str
        The result of `stated_at` for the sds.
    """
    return next((f" at {name.partition('] at ')[2]}" for name in stated if "] at " in name), "")


def _few(texts: list[str], rest: str) -> list[str]:
    return texts if len(texts) <= 3 else [*texts[:2], rest.format(f"... ({len(texts) - 2} more)")]


def _without(product: str, name: str) -> str:
    """A label without the components of another, ``year`` for ``arm:year`` and ``arm``; empty if it lacks one of them.

    Examples
    --------
    >>> _without("arm:year", "arm"), _without("arm:year", "Intercept"), _without("I(x ** 2)", "x")
    ('year', 'arm:year', '')
    """
    left = _components(product)
    for component in [] if name == "Intercept" else _components(name):
        if component not in left:
            return ""
        left.remove(component)
    return ":".join(left)


def _components(label: str) -> list[str]:
    """Split a label at the colons outside all brackets and quotes."""
    parts, depth = [""], 0
    for character in label:
        depth += (character in "([{") - (character in ")]}")
        if character == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _short(prior: Prior) -> str:
    if isinstance(prior, Truncated):
        return f"{_short(prior.prior)} above {prior.lower:g}"
    return f"{type(prior).__name__}({', '.join(f'{getattr(prior, part.name):.4g}' for part in fields(prior))})"
