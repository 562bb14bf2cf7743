"""Seconds of a fresh process, imports included: fit sleepstudy and predict.

    python benchmarks/fresh_process.py --bambi-python path/to/python

runs in turn: our fit and prediction (the sampler that ``sampler="auto"`` chooses); the bare imports of pandas and
scikit-learn, which any such script pays for; and, with the interpreter of an environment that has Bambi, the same model
without correlations, which Bambi does not support, with its default sampler and with nutpie. Prints median and range.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from tables import save, show

import bayesmixed as bm

OURS = """
import pandas as pd
import bayesmixed as bm
df = pd.read_csv({path!r})
model = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", group_prior={prior!r}, random_state=0)
model.fit(df).predict(df)
"""
IMPORTS = "import pandas, sklearn.linear_model"
BAMBI = """
import pandas as pd
import bambi as bmb
df = pd.read_csv({path!r})
model = bmb.Model("Reaction ~ Days + (Days | Subject)", df)
idata = model.fit(inference_method={method!r}, random_seed=0, progressbar=False)
model.predict(idata, data=df)
"""


def seconds(python: str, code: str) -> float:
    """Run code in a process of its own."""
    started = time.perf_counter()
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return time.perf_counter() - started


def main() -> None:
    """Time all in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bambi-runs", type=int, default=3)
    parser.add_argument("--bambi-python", help="interpreter that has Bambi")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "sleepstudy.csv")
        bm.datasets.load_sleepstudy().to_csv(path, index=False)
        here, bambi = sys.executable, arguments.bambi_python
        programs = {
            "bayesmixed": (here, OURS.format(path=path, prior="lkj"), arguments.runs),
            "bayesmixed, independent": (here, OURS.format(path=path, prior="independent"), arguments.runs),
            "imports of pandas and scikit-learn": (here, IMPORTS, arguments.runs),
        }
        if bambi:
            programs["bambi"] = (bambi, BAMBI.format(path=path, method="pymc"), arguments.bambi_runs)
            programs["bambi, nutpie"] = (bambi, BAMBI.format(path=path, method="nutpie"), arguments.bambi_runs)
        for python, code, _ in programs.values():
            seconds(python, code)  # the files are in the disk's cache then
        rows = []
        for run in range(max(runs for *_, runs in programs.values())):
            for name, (python, code, runs) in programs.items():
                if run < runs:
                    rows.append({"program": name, "run": run, "seconds": seconds(python, code)})
                    print(f"{name}: {rows[-1]['seconds']:.2f} s", flush=True)
    table: pd.DataFrame = save(rows, "fresh_process").groupby("program", sort=False)["seconds"]
    show(table.agg(["median", "min", "max", "count"]).reset_index())


if __name__ == "__main__":
    main()
