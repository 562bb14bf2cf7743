"""Writes the file of this stack that `test_storage` reads on both: ``python tests/estimators/stored/write.py``."""

import json
import sys
import warnings
from pathlib import Path

import bayesmixed as bm

warnings.simplefilter("ignore", bm.ConvergenceWarning)  # 40 draws keep the files small
data = bm.datasets.load_sleepstudy().assign(k=lambda frame: frame["Days"] % 3)
est = bm.MixedModelRegressor(
    "Reaction ~ Days + C(k) + (Days | Subject)",
    draws=20,
    chains=2,
    random_state=0,
    priors={"Days": bm.Normal(0, 20)},
    lkj_eta={"Subject": 3.0},
).fit(data)
rows = data.head(3).assign(Subject=[308, 999, 335])
mean, std = est.predict(rows, return_std=True)
stack = Path(__file__).parent / f"python{sys.version_info.major}.{sys.version_info.minor}"
est.save(f"{stack}.bm")
expected = {"mean": mean.tolist(), "std": std.tolist(), "interval": est.predict_interval(rows).tolist()}
Path(f"{stack}.json").write_text(json.dumps(expected))
