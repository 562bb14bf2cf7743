"""glmm (a Rust kernel with a Python front): restricted maximum likelihood, or Laplace's approximation; its defaults.

No priors, no draws: estimates and standard errors only, so no effective sample size. Group effects of a factor are
always correlated: on a problem with independent ones it fits the larger model. It has no function that predicts: the
mean of rows is put together here from its coefficients and its modes of the group effects.
"""

from __future__ import annotations

from typing import Any

import glmm
import numpy as np
import pandas as pd
from stages import Group, Library, Spec, run


class Glmm(Library):
    """A linear mixed model."""

    packages = ("glmm", "numpy", "pandas")

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        independent = any(len(group.effects) > 1 and not group.correlated for group in spec.groups)
        self.note = ("REML" if spec.family == "gaussian" else "Laplace's approximation") + (
            "; group effects correlated: it has no independent ones" if independent else ""
        )

    def fit(self, frame: pd.DataFrame) -> Any:
        """One call, with the formula of R's."""
        bars = [f"({' + '.join(['1', *group.effects[1:]])} | {':'.join(group.columns)})" for group in self.spec.groups]
        spec = self.spec
        left = spec.response if spec.trials is None else f"cbind({spec.response}, failures)"
        if spec.trials is not None:
            frame = frame.assign(failures=frame[spec.trials] - frame[spec.response])
        family = "binomial" if spec.family == "bernoulli" else spec.family
        return glmm.fit(frame, f"{left} ~ {' + '.join(['1', *spec.common, *bars])}", family)

    def predict(self, model: Any, rows: pd.DataFrame) -> np.ndarray:
        """Mean, new groups at zero."""
        mean = np.column_stack([np.ones(len(rows)), *(rows[name] for name in self.spec.common)]) @ model.beta
        for group in self.spec.groups:
            block = self._block(model, group)
            modes = pd.DataFrame(block["values"], index=block["levels"])
            effects = modes.reindex(group.labels(rows).astype(str)).fillna(0.0).to_numpy()
            mean += (group.z(rows) * effects).sum(axis=1)
        if self.spec.family == "poisson":
            return np.exp(mean)
        if self.spec.family in ("bernoulli", "binomial"):
            mean = 1 / (1 + np.exp(-mean))
        return mean if self.spec.trials is None else mean * rows[self.spec.trials].to_numpy()

    def estimates(self, model: Any) -> dict[str, float]:
        """Under our names; it may order the groups by size."""
        found = dict(zip(["Intercept", *self.spec.common], model.beta, strict=True))
        names = [name for name, _ in model.re_groups]
        for group in self.spec.groups:
            sds, correlations = model.stddev_corr(names.index(":".join(group.columns)))
            found |= {f"sd_{group.name}[{effect}]": sd for effect, sd in zip(group.effects, sds, strict=True)}
            if group.correlated:
                found[f"corr_{group.name}"] = correlations[1, 0]
        return found | ({"sigma": np.sqrt(model.dispersion)} if self.spec.sigma is not None else {})

    @staticmethod
    def _block(model: Any, group: Group) -> dict[str, Any]:
        return next(block for block in model.ranef_blocks if block["group"] == ":".join(group.columns))


if __name__ == "__main__":
    run(Glmm)
