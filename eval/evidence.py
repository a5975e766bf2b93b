"""What a suite sees and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

from eval.scores import SCORE

Measures = dict[str, dict[str, dict[str, dict[str, dict[str, Any]]]]]  # split -> skill -> measure -> model -> entry


@dataclass(frozen=True)
class Evidence:
    """What a suite sees.

    questions : `records.QUESTION` columns and `split`; train : `records.QUESTION` columns, what models learnt from; answers : model -> `records.ANSWER` columns;
    sets : model -> columns `eval.scores.SETS`, for models that are calibrated; alpha : promised miscoverage;
    resamples, seed : of the bootstrap; probes : `eval.probes.PROBE` columns, the suites' extra questions;
    probe_answers : model -> `records.ANSWER` columns, the answers to them; general : `eval.probes.general.GENERAL` columns;
    drift : `twinforge.drift.trial.RUN` columns, what the detectors made of known changes;
    reports : `twinforge.claims.REPORT` columns and `split`; texts : report, model, sample, text and tokens of what was written;
    claims : `twinforge.claims.CLAIM` columns, and whether the twin's calibration stands for the claim (`kept`);
    rolled : `eval.rolling.ROLL` columns, what models said that were fed their own answers;
    thoughts : "MODEL-WAY" -> `records.ANSWER` columns, what slow ways of answering came to; regimes : episode -> its regime;
    failing : model -> `records.ANSWER` columns, answers to the probes in which a side of the twin fails; failing_sets : as `sets`.
    """

    questions: pd.DataFrame
    answers: Mapping[str, pd.DataFrame]
    sets: Mapping[str, pd.DataFrame]
    alpha: float
    resamples: int
    seed: int
    probes: pd.DataFrame = field(default_factory=pd.DataFrame)
    probe_answers: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    general: pd.DataFrame = field(default_factory=pd.DataFrame)
    drift: pd.DataFrame = field(default_factory=pd.DataFrame)
    reports: pd.DataFrame = field(default_factory=pd.DataFrame)
    texts: pd.DataFrame = field(default_factory=pd.DataFrame)
    claims: pd.DataFrame = field(default_factory=pd.DataFrame)
    rolled: pd.DataFrame = field(default_factory=pd.DataFrame)
    failing: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    failing_sets: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    train: pd.DataFrame = field(default_factory=pd.DataFrame)
    thoughts: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    regimes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A suite's measures, and the table of rows that they rest on, with its schema."""

    measures: Measures
    table: pd.DataFrame
    schema: pa.Schema = SCORE
