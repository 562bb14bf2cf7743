"""Rows that arrive in parts: their sums are added at once, and the posterior is drawn when it is needed."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.summed.running import Running
from bayesmixed.design.summed.summed import Summed
from bayesmixed.errors import quoted
from bayesmixed.estimators.inputs import Rows, read_formula, read_rows
from bayesmixed.estimators.summed.learning import formula_of, learn_sums, refuse_settings, require_rows
from bayesmixed.estimators.summed.reading import refuse_learning, summed
from bayesmixed.families import COLLAPSING
from bayesmixed.formula.parse import parse

# attributes that an estimator gets from its posterior
OF_POSTERIOR = ("design_spec_", "priors_", "diagnostics_", "coef_", "intercept_", "_posterior", "_rows", "_idata")


class Increments:
    """An estimator whose posterior may wait: rows are added, and it is drawn when one of its values is read.

    Between `partial_fit` and then, the estimator has sums and a seed, and none of `OF_POSTERIOR`.
    """

    _summed: Running[Summed] | None

    def _add_rows(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Add rows to those already learned; if that fails, nothing changes.

        The lock is kept from the first call on, as other threads may be waiting for it.
        """
        est: Any = self
        own = vars(est)
        require_rows(X, "partial_fit")
        with own.setdefault("_lock", RLock()):
            before = own.copy()
            try:
                known = est._known_sums()
                part = self._part(X, y, sample_weight, known)
                running = (Running() if known is None else known).plus(part)
                seed = own.get("_seed")
                if seed is None:
                    seed = own["_posterior"].seed if "_posterior" in own else est._draw_seed()
            except BaseException:
                own.update(before)
                for name in own.keys() - before.keys():
                    del own[name]
                raise
            for name in OF_POSTERIOR:
                own.pop(name, None)
            own.update(_summed=running, _seed=seed)

    def _known_sums(self) -> Running[Summed] | None:
        """Sums of the rows so far; None before the first.

        Raises
        ------
        ValueError
            If the fit has kept none.
        """
        if "_summed" not in vars(self):
            return None
        if self._summed is None:
            sampler = vars(self)["_posterior"].draws.diagnostics["sampler"]
            raise ValueError(
                f"partial_fit adds to sums over rows, which only fits of families {quoted(COLLAPSING)} without NUTS "
                f"have; this fit is of family {vars(self)['_posterior'].family.name!r}, by the {sampler} sampler. Fit "
                "old and new rows together, or use condition."
            )
        return self._summed

    def _part(self, X: Any, y: Any, sample_weight: Any, known: Running[Summed] | None) -> Summed:
        """Sums of new rows."""
        est: Any = self
        est._validate_params()  # they may have been changed since the previous part
        family = est._find_family()
        if not family.collapses:
            raise ValueError(
                f"partial_fit is only for families {quoted(COLLAPSING)}; {family.name!r} needs all rows at once."
            )
        # after a fit to statistics, the formula may be theirs
        parsed = read_formula(est.formula, X) if known is None else formula_of(est.formula, known.parts[0])
        refuse_learning(parsed, "partial_fit")
        _, (frame, column, weights, _) = read_rows(est, parsed, family, (X, y, sample_weight), known is None)
        if not len(frame):
            raise ValueError("Found 0 sample(s) with a positive weight, while a minimum of 1 is required.")
        spec = None if known is None else known.parts[0].spec
        rows = frame, column, weights
        part = summed(Summed, parsed, rows, family, spec=spec, categories=est.categories, whole=False)
        refuse_settings(est, part, family)
        return part

    def _sums_with(
        self, part: Summed, rows: tuple[pd.DataFrame, pd.Series, np.ndarray | None]
    ) -> Running[Summed] | None:
        """The fit's sums and those of more rows, `part` in the fit's columns; None if the fit has kept none.

        If the kept sums have levels that no row of the fit had, the new rows are summed with these levels.
        """
        est: Any = self
        known = self._summed
        if known is None:
            return None
        spec = known.parts[0].spec
        if spec.parts != part.spec.parts:
            parsed = None if spec.formula is None else parse(spec.formula)
            part = summed(Summed, parsed, rows, part.family, spec=spec, categories=est.categories, whole=False)
        return known.plus(part)

    def _is_waiting(self) -> bool:
        """Whether rows were added for which no posterior has been drawn yet."""
        return "_seed" in vars(self) and "_posterior" not in vars(self)

    def _draw_now(self) -> None:
        """Draw the posterior of all rows so far."""
        est: Any = self
        est._validate_params()
        known: Running[Summed] = vars(self)["_summed"]
        every = known.total
        data = learn_sums(est, every)
        posterior = est._sample(est._model((data.spec, data.family), data), data, vars(self)["_seed"])
        est._keep(posterior, Rows.of_sums(data), every)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Values of the posterior, which is drawn now if it was not before: by one thread, while others wait."""
            if name in OF_POSTERIOR and "_lock" in vars(self):
                with vars(self)["_lock"]:
                    if self._is_waiting():
                        self._draw_now()
                if name in vars(self):
                    return vars(self)[name]
            if hasattr(type(self), name):  # a property that needs a fit
                check_is_fitted(self)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[misc, assignment]
        if state.get("_summed") is not None:  # no larger than the sum, however many parts there were
            state = state | {"_summed": Running((state["_summed"].total,))}
        return {name: value for name, value in state.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if "_seed" in vars(self):
            vars(self)["_lock"] = RLock()
