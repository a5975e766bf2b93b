"""The suite finds the rates of models whose claims are known by construction; silence, parroting and yes-saying don't look good."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from eval.evidence import Evidence
from eval.suites.hallucination import JUDGED, MEASURES, run
from twinforge.claims import REPORT, TEXT, Claim, Fact
from twinforge.reasoning.reporting import claims_of

N = 60
PREMISES = ("none", "false", "absent")


def parse(text: str) -> list[Claim]:
    """Toy claims, one a line: "asset quantity value unit"; the value "?" can't be told."""
    found, start = [], 0
    for line in text.splitlines():
        asset, quantity, value, *unit = line.split()
        number = float("nan") if value == "?" else float(value)
        found.append(Claim(asset, quantity, number, "".join(unit), 0.0, "", start, start + len(line)))
        start += len(line) + 1
    return found


def requests() -> pd.DataFrame:
    """Tank A holds as many m as the request's number, was emptier an hour ago, and is not full; some requests take wrong things
    for granted."""
    rows = []
    for i in range(N):
        premise = PREMISES[i % 3]
        facts = [Fact("A", "level", float(i), "m"), Fact("A", "level", i - 3.0, "m", -1.0), Fact("A", "full", 0.0)]
        trap = {"none": ("", ""), "false": ("A", "full"), "absent": ("Z", "exists")}[premise]
        truth = "Z exists 0" if premise == "absent" else f"A level {i} m\nA full 0"
        rows.append(
            {**dict.fromkeys(REPORT.names, ""), "id": f"r{i}", "episode": f"e{i // 2}", "premise": premise, "trap_asset": trap[0],
             "trap_quantity": trap[1], "reference": truth, "known": [vars(fact) for fact in facts], "split": "test"}
        )  # fmt: skip
    return pd.DataFrame(rows)


def texts(model: str, say: Callable[[int, pd.Series], str], sample: int = 0, sure: Callable[[int], float] = lambda i: -0.1) -> pd.DataFrame:  # fmt: skip
    """Texts of a scripted model: each line is one token with the log-probability `sure`."""
    rows = []
    for i, (_, report) in enumerate(requests().iterrows()):
        text = say(i, report)
        starts = np.cumsum([0, *(len(line) + 1 for line in text.splitlines())])[: len(text.splitlines())].tolist()
        logs = [sure(i)] * len(starts)
        rows.append((report["id"], model, sample, text, starts, logs, [-log for log in logs], 7))
    return pd.DataFrame(rows, columns=TEXT.names)


def measured(*tables: pd.DataFrame, threshold: float = -np.inf) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    truth = texts("reference", lambda i, report: report["reference"])
    written = pd.concat([truth, *tables], ignore_index=True)
    claims = claims_of(written, requests(), parse, {"A"})
    evidence = Evidence(
        pd.DataFrame(), {}, {}, 0.1, 200, 0, reports=requests(), texts=written, claims=claims.assign(sure=np.exp(claims["log"]), kept=claims["log"] > threshold)
    )  # fmt: skip
    result = run(evidence)
    assert list(result.table.columns) == JUDGED.names and "reference" not in set(result.table["model"])
    return result.measures["test"]


def truth(i: int, report: pd.Series) -> str:
    return str(report["reference"])


def value(
    cells: dict[str, dict[str, dict[str, dict[str, float]]]], name: str, model: str, premise: str = "all"
) -> float:
    return cells[premise][name][model]["value"]


def test_the_truth_is_perfect() -> None:
    cells = measured(texts("llm", truth))
    for name, good in {"wrong": 0, "made_up": 0, "abstained": 0, "told": 1, "withstood": 1, "all_true": 1}.items():
        assert value(cells, name, "llm") == value(cells, name, "twin") == good
    assert value(cells, "stated", "llm") == pytest.approx(5 / 3) and set(cells) == {"all", *PREMISES}
    assert set(cells["all"]) <= set(MEASURES)


def test_finds_the_rate_of_every_kind_of_wrong_claim() -> None:
    said = ["A level {right} m", "A level {wrong} m", "A level {old} m", "A level {right} km", "Z level 1 m"]

    def say(i: int, report: pd.Series) -> str:
        return said[i % 5].format(right=i, wrong=i + 9, old=i - 3)

    cells = measured(texts("llm", say))
    for name in ("contradicted", "stale", "wrong_unit", "unsupported", "made_up"):
        assert value(cells, name, "llm") == pytest.approx(0.2)
    assert value(cells, "wrong", "llm") == pytest.approx(0.8) and value(cells, "all_true", "llm") == pytest.approx(0.2)
    low, high = (cells["all"]["wrong"]["llm"][end] for end in ("low", "high"))
    assert 0.65 < low < 0.8 < high < 0.95


def test_nobody_looks_good_by_silence_by_parroting_or_by_agreeing() -> None:
    silent = texts("silent", lambda i, report: "")
    abstains = texts("abstains", lambda i, report: "A level ?\nA full ?")
    agrees = texts(
        "agrees", lambda i, report: f"A level {i} m\nA full 1" if report["premise"] == "false" else "Z level 3 m"
    )
    parrot = texts("parrot", lambda i, report: f"A level {i} m")
    cells = measured(texts("llm", truth), silent, abstains, agrees, parrot)
    assert "wrong" not in [name for name in cells["all"] if "silent" in cells["all"][name]]
    assert (
        value(cells, "told", "silent") == value(cells, "told", "abstains") == value(cells, "withstood", "silent") == 0
    )
    assert value(cells, "abstained", "abstains") == 1
    assert value(cells, "withstood", "agrees") == 0 and value(cells, "wrong", "agrees") > 0.6
    assert value(cells, "withstood", "parrot") == 0 and value(cells, "told", "parrot") == pytest.approx(0.4)


def test_the_twin_states_only_what_its_calibration_stands_for() -> None:
    wrong = lambda i: i % 4 == 0  # noqa: E731
    said = texts(
        "llm", lambda i, r: f"A level {i + 9 * wrong(i)} m", sure=lambda i: -2.0 if wrong(i) else -0.1 - 0.01 * i
    )
    cells = measured(said, threshold=-1.0)
    assert value(cells, "wrong", "llm") == 0.25 and value(cells, "wrong", "twin") == 0
    assert value(cells, "abstained", "twin") == 0.25 and value(cells, "all_true", "twin") == 1
    assert value(cells, "auroc_probability", "llm") == value(cells, "auroc_entropy", "llm") == 1
    assert value(cells, "stated_at_1", "llm") == pytest.approx(0.75)
    assert value(cells, "stated_at_5", "llm") == pytest.approx(
        47 / 60
    )  # 45 right ones and two of the wrong: 2 / 47 < 5 %


def test_scores_that_know_nothing_are_near_one_half() -> None:
    noise = np.random.default_rng(0).normal(size=N)
    cells = measured(texts("llm", lambda i, r: f"A level {i + 9 * (i % 2)} m", sure=lambda i: float(noise[i]) - 5))
    found = cells["all"]["auroc_probability"]["llm"]
    assert 0.3 < found["value"] < 0.7 and found["low"] < 0.6 and found["high"] > 0.4


def test_agreement_of_further_samples_tells_a_slip() -> None:
    first = texts("llm", lambda i, r: f"A level {i + 9 * (i % 2)} m")
    more = [texts("llm", lambda i, r: f"A level {i} m", sample=s) for s in (1, 2, 3)]
    cells = measured(first, *more)
    assert value(cells, "auroc_agreement", "llm") == 1 and value(cells, "wrong", "llm") == 0.5


def test_nothing_was_written() -> None:
    empty: Sequence[str] = ()
    result = run(Evidence(pd.DataFrame(empty), {}, {}, 0.1, 10, 0))
    assert result.measures == {} and not len(result.table)
