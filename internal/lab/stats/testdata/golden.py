"""Writes golden.json: what numpy and scipy say about seeded samples. Run: python golden.py > golden.json"""
import json
import numpy as np
from scipy import special, stats

rng = np.random.default_rng(20260214)
out = {"beta": [], "quantiles": [], "ranks": [], "student": [], "minimum": [], "means": []}

for a, b in [(0.5, 0.5), (1, 3), (10, 2.5), (300, 700), (1e5, 3e3), (5e5, 5e5)]:
    for x in [0.001, 0.2, 0.5, a / (a + b), 0.97]:
        out["beta"].append([x, a, b, float(special.betainc(a, b, x))])
for p in [0.6, 0.95, 0.975, 0.995]:
    for df in [1, 2, 9, 29, 1000]:
        out["student"].append([p, df, float(stats.t.ppf(p, df))])
for n in [1, 2, 5, 30, 1000]:
    values = rng.lognormal(3, 0.5, n)
    qs = [0, 0.25, 0.5, 0.9, 0.95, 0.99, 1]
    out["quantiles"].append({"values": values.tolist(), "q": qs, "want": np.quantile(values, qs).tolist()})
for n in [5, 6, 30, 100, 662, 5000, 1000000]:
    for q in [0.5, 0.9, 0.99]:
        tail = 0.025
        # By definition: the largest l with P(B <= l-1) <= tail; the smallest u with P(B >= u) <= tail.
        k = np.arange(0, n + 2)
        l = int(k[(stats.binom.cdf(k - 1, n, q) <= tail)].max())
        u = int(k[(stats.binom.sf(k - 1, n, q) <= tail)].min())
        out["ranks"].append([n, q, l, u])
for q in [0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999]:
    tail = min(q, 1 - q)
    n = np.arange(2, int(8 / tail) + 10)
    out["minimum"].append([q, int(n[stats.binom.cdf(1, n, tail) <= 0.01].min())])
for n in [2, 3, 30, 500]:
    values = rng.normal(50, 7, n)
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    out["means"].append({"values": values.tolist(), "want": [values.mean(), low, high]})
print(json.dumps(out))
