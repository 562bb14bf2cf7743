"""How do I train once, save the model, and serve predictions elsewhere?

One process fits and saves. Another one, which knows nothing about the training, loads the file and answers requests
about known and new subjects: with a mean and a 90 % interval for each row. The file holds numbers and text, no code;
neither process compiles anything, and the second loads neither PyMC nor ArviZ.

    python examples/04_serve.py
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import bayesmixed as bm

SERVER = """
import json, sys
import pandas as pd
import bayesmixed as bm

model = bm.load(sys.argv[1])
for line in sys.stdin:  # a request per line: rows as JSON
    rows = pd.DataFrame(json.loads(line))
    low, high = model.predict_interval(rows).T
    answer = {"mean": model.predict(rows).tolist(), "low": low.tolist(), "high": high.tolist()}
    print(json.dumps(answer), flush=True)
print(json.dumps(sorted({"pymc", "pytensor", "arviz"} & set(sys.modules))))
"""


def serve(path, requests):
    """Send requests to a new process one by one; returns its answers and the seconds for each."""
    command = [sys.executable, "-c", SERVER, str(path)]
    answers, seconds = [], []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        for request in requests:
            started = time.perf_counter()
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            answers.append(json.loads(server.stdout.readline()))
            seconds.append(time.perf_counter() - started)
        server.stdin.close()
        loaded = json.loads(server.stdout.readline())
    return answers, seconds, loaded


def main():
    """Fit, save, serve, compare."""
    data = bm.datasets.load_sleepstudy()
    model = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(data)
    requests = [
        {"Days": [2, 9], "Subject": [308, 308]},
        {"Days": [2, 9], "Subject": [999, 999]},  # never seen
        {"Days": [2, 9], "Subject": [None, None]},  # unknown
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sleepstudy.bm"
        model.save(path)
        size = path.stat().st_size
        answers, seconds, loaded = serve(path, requests)

    print(f"A file of {size / 1e6:.1f} MB. Requests after the first took at most {1000 * max(seconds[1:]):.0f} ms.")
    for request, answer in zip(requests, answers, strict=True):
        print("", pd.DataFrame(request | answer).round(), sep="\n")

    assert loaded == [], "nothing heavy was loaded to predict"
    for request, answer in zip(requests, answers, strict=True):
        rows = pd.DataFrame(request)
        assert answer["mean"] == model.predict(rows).tolist(), "the same numbers, bit for bit"
        assert np.array_equal(np.transpose([answer["low"], answer["high"]]), model.predict_interval(rows))
    known, new, unknown = (np.subtract(answer["high"], answer["low"]) for answer in answers)
    assert (new > known).all(), "less is known about a subject never seen"
    assert np.array_equal(new, unknown)


if __name__ == "__main__":
    main()
