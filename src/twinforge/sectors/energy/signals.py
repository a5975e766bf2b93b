"""Every quantity of the lake: unit, the range a sound reading lies in, and its dimension."""

from __future__ import annotations

from twinforge.records import Signal
from twinforge.sectors.energy.ageing_log import FINDINGS

SIGNALS = (
    Signal("loading", "%", 0, 400, "physical", "current over the rating in force, the larger of both ends"),
    Signal("loading_before", "%", 0, 400, "physical", "the same sensor an hour ago"),
    Signal("flow", "MW", -1000, 1000, "physical", "active power into the line at its from end"),
    Signal("reactive", "Mvar", -1000, 1000, "physical", "reactive power into the line at its from end"),
    Signal("switch", "1", 0, 1, "physical", "1 closed, 0 open, as reported"),
    Signal("voltage", "pu", 0.7, 1.3, "physical", "busbar voltage over the nominal one"),
    Signal("demand", "MW", -500, 5000, "physical", "of one demand, or of all; a storage that feeds in is negative"),
    Signal("wind", "MW", 0, 5000, "physical", "of one wind park, or of all"),
    Signal("solar", "MW", 0, 5000, "physical", "of one PV plant, or of all"),
    Signal("export", "MW", -5000, 5000, "physical", "generation less demand"),
    Signal("hour", "h", 0, 24, "abstract", "hour of the day"),
    Signal("month", "1", 1, 12, "abstract", "month of the year"),
    Signal("weekday", "1", 0, 6, "abstract", "0 is Monday"),
    Signal("wind_regime", "1", 0, 2, "abstract", "0 weak, 1 fresh, 2 strong"),
    Signal("rating", "%", 50, 200, "abstract", "rating in force over the nominal one"),
    Signal("relief", "1", 0, 1, "abstract", "1 while the N-1 clause is relieved"),
    Signal("scenario", "1", 0, 2, "abstract", "which SimBench future the grid is in"),
    Signal("planned_from", "h", 0, 24, "abstract", "start of the day's work on a line"),
    Signal("planned_to", "h", 0, 24, "abstract", "end of the day's work on a line"),
    Signal("nominal", "kV", 0.1, 110, "abstract", "nominal voltage of a busbar below 110 kV"),
    Signal("listed", "1", 1, 1, "abstract", "the line is on the day's contingency list"),
    Signal("age", "y", 0, 150, "abstract", "years since an asset was built"),
    Signal("expected_life", "y", 1, 200, "abstract", "years an asset of its kind and duty lasts"),
    Signal("length", "km", 0, 500, "abstract", "of a line or cable; 1 for a transformer"),
    *(
        Signal(f"finding {name}", "1", 0, 3, "abstract", "maintenance log: 1 slight, 2 clear, 3 severe")
        for name in FINDINGS
    ),
    Signal("residual", "%", -400, 400, "computational", "loading read less the state estimator's"),
    Signal("forecast_1h", "%", 0, 400, "computational", "seasonal forecast of the loading in 1 h, on today's topology"),
    Signal("forecast_4h", "%", 0, 400, "computational", "seasonal forecast of the loading in 4 h, on today's topology"),
    Signal("estimate", "%", 0, 2000, "computational", "linear estimate: line1>line2 after an outage, or outage|action"),
)
