"""General items that have nothing to do with any sector: what a tuned model may have forgotten shows on them.

Written for this project, in general.tsv: a beginning, the continuation that is right, and three that are not. A model is
asked nothing; which continuation it finds likeliest is its answer (as in HellaSwag, Zellers et al. 2019), so a base that was never
taught to answer by letters is measured fairly.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

FILE = Path(__file__).with_name("general.tsv")
GENERAL = pa.schema(
    [
        ("item", pa.string()),
        ("topic", pa.string()),
        ("model", pa.string()),
        ("logs", pa.list_(pa.float64())),  # mean log-probability a token of each continuation, the right one first
    ]
)


def items() -> pd.DataFrame:
    """Columns item, topic, text and continuations, the right one first; each continuation starts with a space where words go on."""
    rows = pd.read_csv(FILE, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    words = [name for name in rows.columns if name not in ("topic", "text")]
    told = rows["text"].str.replace("\\n", "\n", regex=False)
    code = rows["topic"] == "code"
    return pd.DataFrame(
        {
            "item": [f"general-{number:03}" for number in range(len(rows))],
            "topic": rows["topic"],
            "text": told,
            "continuations": [
                [("" if glued and not text.endswith("+") else " ") + word for word in chosen]
                for glued, text, chosen in zip(code, told, rows[words].to_numpy().tolist(), strict=True)
            ],
        }
    )
