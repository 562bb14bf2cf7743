"""bayesmixed: the reference of the comparison.

Priors: the defaults. The other adapters get them, as numbers, and copy them as far as their library allows.
Settings: the defaults, 4 chains of 1,000 draws (NUTS: after 1,000 of warm-up, target_accept 0.9).
Variants: ``auto``, the default; ``transport``; ``nuts-pymc`` and ``nuts-nutpie``, NUTS in the two implementations.

`fit` leaves ArviZ's container to its first use; ``container`` times that.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from stages import Library, Spec, run

import bayesmixed as bm


class Bayesmixed(Library):
    """The estimator, with its defaults."""

    packages = ("bayesmixed", "arviz", "numpy", "scipy", "pandas", "scikit-learn", "formulae")
    takes_chunks = True

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.sampler, _, self.backend = spec.variant.partition("-")
        if self.sampler == "nuts":
            self.packages = (*self.packages, "pymc", "pytensor", *(["nutpie"] if self.backend == "nutpie" else []))

    def fit(self, frame: Any) -> Any:
        """One call; of chunks the sums before it."""
        correlated = {group.name: "lkj" if group.correlated else "independent" for group in self.spec.groups}
        slopes = any(len(group.effects) > 1 for group in self.spec.groups)
        kind = bm.MixedModelClassifier if self.spec.family == "bernoulli" else bm.MixedModelRegressor
        model = kind(
            self.spec.formula,
            family=self.spec.family,
            group_prior=correlated if slopes else "lkj",
            sampler=self.sampler,
            nuts_backend=self.backend or None,
            random_state=self.spec.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bm.ConvergenceWarning)  # convergence is in the table
            model.fit(bm.SufficientStatistics.of(self.spec.formula, frame) if callable(frame) else frame)
        self.note = model.diagnostics_["sampler"]
        if callable(frame):
            self.note += "; in chunks; seconds of a fit include those of making the rows"
        return model

    def container(self, model: Any) -> None:
        """Assemble it."""
        assert model.idata_ is not None

    def predict(self, model: Any, rows: pd.DataFrame) -> np.ndarray:
        """The mean; new groups average to the population's."""
        return model.predict_proba(rows)[:, 1] if self.spec.family == "bernoulli" else model.predict(rows)

    def draws(self, model: Any) -> dict[str, np.ndarray]:
        """From the container; effects that are not stored are drawn."""
        posterior = model.idata_["posterior"]
        draws = {"Intercept": posterior["Intercept"].values}
        draws |= {name: posterior["beta"].sel(common_effect=name).values for name in self.spec.common}
        for group in self.spec.groups:
            sd = posterior[f"sd_{group.name}"].values
            draws |= {f"sd_{group.name}[{effect}]": sd[..., k] for k, effect in enumerate(group.effects)}
            if f"corr_{group.name}" in posterior:
                draws[f"corr_{group.name}"] = posterior[f"corr_{group.name}"].values[..., 0]
        draws |= {name: posterior[name].values for name in ("sigma", "nu") if name in posterior}
        for group in self.spec.groups:
            levels = next(fitted.levels for fitted in model.design_spec_.groups if fitted.name == group.name)
            kept = [levels[k] for k in group.kept(len(levels))]
            draws[f"b_{group.name}"] = model.draw_group_effects(group.name, kept).values
        return draws


if __name__ == "__main__":
    run(Bayesmixed)
