"""Print CPU seconds of fits in this process as one line of JSON, for `speed.py` and `speed_guard.py`.

    PYTHONPATH=path/to/a/checkout python benchmarks/speed_worker.py CHECKOUT FITS CASE ...

CHECKOUT is the package's; if the package is imported from elsewhere, this fails. Each case is fitted once to warm up,
then FITS times; with FITS 0 the first fit is timed.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

from speed_cases import CASES

import bayesmixed as bm


def seconds(name: str, fits: int) -> list[float]:
    """CPU seconds of every timed fit of a case."""
    formula, frame, options = CASES[name]()
    options = dict(options)
    weight, predict = options.pop("sample_weight", None), options.pop("predict", False)
    found = []
    for _ in range(fits + 1):
        model = bm.MixedModelRegressor(formula, random_state=0, **options)
        started = time.process_time()
        model.fit(frame, sample_weight=weight)
        if predict:
            model.predict_interval(frame)
        found.append(time.process_time() - started)
    return found[min(1, fits) :]


def main() -> None:
    """Fit, and print."""
    checkout, fits, *names = sys.argv[1:]
    if Path(checkout).resolve() not in Path(bm.__file__).resolve().parents:
        raise SystemExit(f"this is bayesmixed of {bm.__file__}, not that of {checkout}")
    warnings.simplefilter("ignore")
    print(json.dumps({name: seconds(name, int(fits)) for name in names}))


if __name__ == "__main__":
    main()
