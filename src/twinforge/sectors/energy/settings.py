"""The recipe's `lake.system` keys of the energy sector."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """How the grid is loaded, rated, worked on and aged.

    network : SimBench code of the grid and its year of profiles; the shifted regime "future" is its next scenario.
    load_scale, reactive_scale, generation_scale : factors on SimBench's injections: demand in MW, in Mvar, wind and sun.
    rating_quantile : a meshed line is rated at this quantile, over states, of its largest current after any outage.
    summer_rating, winter_rating, night_rating, wind_rating : factors on a line's rating (season, 20-6 h, strong wind).
    work_rate : share of days on which a line is out for planned work.
    relief_rate : share of days on which the N-1 clause is relieved.
    listed : how many outages the operator's contingency list of a day holds.
    stress : acceleration of ageing (a stress test: 1 is the cited hazard model as it stands).
    slack_mean, slack_spread : a day's voltage set point at the grid above, its mean and standard deviation, per unit.
    sag_rate, sag_mean : share of days on which the grid above is weak, and the mean of its voltage then.
    drift_bias : share by which every loading sensor reads low in the shifted regime "biased".
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    network: Literal[
        "1-HV-urban--0-sw",
        "1-HV-urban--1-sw",
        "1-HVMV-urban-2.203-0-sw",
        "1-HVMV-urban-2.203-1-sw",
        "1-LV-rural1--0-sw",
        "1-LV-rural1--1-sw",
    ] = "1-HV-urban--0-sw"
    load_scale: float = Field(3.0, gt=0, le=20)
    reactive_scale: float = Field(4.0, gt=0, le=20)
    generation_scale: float = Field(1.2, ge=0, le=20)
    rating_quantile: float = Field(0.5, gt=0, lt=1)
    summer_rating: float = Field(0.95, gt=0.5, le=1)
    winter_rating: float = Field(1.08, ge=1, lt=1.5)
    night_rating: float = Field(1.04, ge=1, lt=1.5)
    wind_rating: float = Field(1.08, ge=1, lt=1.5)
    work_rate: float = Field(0.8, ge=0, le=1)
    relief_rate: float = Field(0.25, ge=0, le=1)
    listed: int = Field(3, ge=1, le=6)
    stress: float = Field(8.0, ge=1, le=200)
    slack_mean: float = Field(1.05, gt=0.8, lt=1.2)
    slack_spread: float = Field(0.015, ge=0, le=0.05)
    sag_rate: float = Field(0.06, ge=0, le=1)
    sag_mean: float = Field(0.915, gt=0.8, lt=1.2)
    drift_bias: float = Field(0.06, ge=0, le=0.5)
