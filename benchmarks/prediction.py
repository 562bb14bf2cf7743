"""Time and memory of predictions after a fit of sleepstudy with 4,000 draws, next to Bambi's.

    python benchmarks/prediction.py --bambi-python path/to/python

Every program runs in a separate process, which fits, predicts 10 rows once to warm up, then predicts `rows` rows of
known subjects. Seconds are of the prediction only, the median of the repetitions; "MB" is the rise of the process's
peak memory during the prediction, including the result. Bambi predicts draws, whose mean and interval are computed
with NumPy, as its users do; it fits independent effects, as it has no LKJ prior.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from tables import save, show

import bayesmixed as bm

COMMON = """
import json, resource, statistics, time
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
import numpy as np, pandas as pd
df = pd.read_csv({path!r})
rng = np.random.default_rng(0)
X = pd.DataFrame({{"Days": rng.uniform(0, 9, {rows}), "Subject": rng.choice(df["Subject"].unique(), {rows})}})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
{fit}
def run(X):
    {call}
run(X.head(10))
before, seconds = peak(), []
for _ in range({repetitions}):
    started = time.perf_counter()
    run(X)
    seconds.append(time.perf_counter() - started)
print(json.dumps({{"seconds": statistics.median(seconds), "MB": peak() - before}}))
"""
OURS = """
import bayesmixed as bm
est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(df)
"""
BAMBI = """
import bambi as bmb
model = bmb.Model("Reaction ~ Days + (Days | Subject)", df)
idata = model.fit(inference_method="nutpie", draws=1000, chains=4, random_seed=0, progressbar=False)
"""
PREDICT = """predicted = model.predict(idata, data=X, kind={kind!r}, inplace=False)
    draws = predicted[{group!r}][{variable!r}].stack(sample=("chain", "draw")).values
"""
BAMBI_MEAN = PREDICT.format(kind="response_params", group="posterior", variable="mu") + "    draws.mean(axis=1)"
BAMBI_INTERVAL = (
    PREDICT.format(kind="response", group="posterior_predictive", variable="Reaction")
    + "    np.quantile(draws, [0.05, 0.95], axis=1)"
)
# name, whether ours, call
TASKS = [
    ("predict", True, "est.predict(X)"),
    ("predict, new subjects", True, "est.predict(X.assign(Subject=np.arange(len(X)) + 1000))"),
    ("predict, std", True, "est.predict(X, return_std=True)"),
    ("predict_interval", True, "est.predict_interval(X)"),
    ("predict_interval, new subjects", True, "est.predict_interval(X.assign(Subject=np.arange(len(X)) + 1000))"),
    ("predict_interval of the mean", True, 'est.predict_interval(X, kind="mean")'),
    ("mean of Bambi's predict", False, BAMBI_MEAN),
    ("interval of Bambi's predict", False, BAMBI_INTERVAL),
]


def measure(python: str, code: str) -> dict[str, float | str]:
    """Run code in a process of its own; what it printed, or why it ended early."""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"killed by signal {-done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Run every task at every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 1000, 10_000, 100_000])
    parser.add_argument("--bambi-python", help="interpreter that has Bambi")
    parser.add_argument("--memory", type=float, default=16, help="limit of a process, in GB")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "sleepstudy.csv")
        bm.datasets.load_sleepstudy().to_csv(path, index=False)
        for size in arguments.rows:
            for name, ours, call in TASKS:
                python = sys.executable if ours else arguments.bambi_python
                if python is None:
                    continue
                repetitions = 20 if size == 1 else 5 if size < 100_000 else 1
                fit = OURS if ours else BAMBI
                limit = int(arguments.memory * 2**30)
                code = COMMON.format(path=path, rows=size, fit=fit, call=call, repetitions=repetitions, limit=limit)
                rows.append({"task": name, "rows": size, **measure(python, code)})
                print(rows[-1], flush=True)
    table: pd.DataFrame = save(rows, "prediction")
    show(table)


if __name__ == "__main__":
    main()
