"""States of a made-up plant in words, for the suites that ask in other words: every kind of question, truths known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eval.probes.words import Words
from tests.synthetic import question, table
from twinforge.records import KNOWLEDGE

WORDS = Words("plant", {"line": tuple(f"L{i}" for i in range(1, 31)), "demand": tuple(f"D{i}" for i in range(1, 21))})


def knowledge() -> pd.DataFrame:
    """The graph that `WORDS` comes from, with a rule and a name of two words, which keep their names."""
    rows = [(name, "is", kind) for kind, names in WORDS.assets.items() for name in names]
    rows += [("C1", "is", "clause"), ("C1", "protects", "L1"), ("north pump", "is", "pump"), ("L1", "joins", "L2")]
    return pd.DataFrame(rows, columns=KNOWLEDGE.names)


def states(count: int, episodes: int, seed: int = 0) -> pd.DataFrame:
    """`count` states, dealt out to the episodes in turn, with a choice, two numbers, a pick of lines, a set and a refusal each."""
    rng = np.random.default_rng(seed)
    rows = []
    for at in range(count):
        lines, demands = (rng.permutation(names) for names in WORDS.assets.values())
        loads = rng.integers(20, 99, 6)
        shown = " ".join(f"{line}={load}" for line, load in zip(lines[:4], loads, strict=False))
        context = (
            f"A: Mon {at % 24} h, rating {rng.integers(90, 120)} %.\n"
            f"P: MW demand {rng.integers(100, 300)} wind ?. Fullest {shown}.\nC: worst {loads.max()}."
        )
        common = {"context": context, "time": pd.Timestamp("2026-01-01") + pd.Timedelta(hours=at)}
        number = {"kind": "number", "unit": "%", "high": 200.0, "tolerance": 2.0, "facts": f"P now {loads[4]}"}
        options = [str(line) for line in sorted(lines[:4])]
        made = [
            {"asked": "what-if", "options": ["low", "middle", "high"], "truth": float(rng.integers(3)), "text": f"How full does {lines[0]} get?"},
            {"asked": "forecast", "text": f"What percent does line {lines[1]} carry later?", "truth": float(loads[4]), "copy": float(loads[0]), **number},
            {"asked": "forecast", "text": f"What percent does line L{70 + at % 9} carry?", "truth": np.nan, **number},
            {"asked": "diagnosis", "options": options, "notes": [f"+{i}" for i in range(4)], "truth": float(rng.integers(4)),
             "features": [[float(i)] for i in range(4)], "payoff": [0.0, 1.0, 2.0, 3.0], "harm": [0, 1, 2, 0], "text": "Which line reads wrong?"},
            {"asked": "dependency", "kind": "entities", "options": [str(d) for d in demands[:5]], "gold": [1, 4], "gold_total": 2, "rule_gold": [0],
             "truth": 2.0, "text": f"Who goes dark if {lines[2]} trips? It is {rng.integers(5, 60)} km long."},
        ]  # fmt: skip
        rows += [question(5 * at + i, f"day-{at % episodes:02}", **common, **values) for i, values in enumerate(made)]
    return table(rows).assign(id=[f"q{i:05}" for i in range(len(rows))])
