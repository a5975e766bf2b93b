"""A state of the grid as the questions read it: signals that may be faulty, and the truth that follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from twinforge.sectors import State
from twinforge.sectors.energy.grid import Grid, lost_buses, single_outages

Truth = Mapping[tuple[str, str, str, str, float], float]


@dataclass(frozen=True)
class View:
    """One state with the grid it belongs to; everything derived is computed once."""

    state: State
    grid: Grid

    @cached_property
    def hour(self) -> float:
        return self.state.get("grid", "hour")

    @cached_property
    def loading(self) -> dict[str, float]:
        """Loading readings in percent, of lines reported closed."""
        switch = self.state.column("switch")
        return {line: v for line, v in self.state.column("loading").items() if switch.get(line, 1.0) == 1.0}

    @cached_property
    def open_lines(self) -> list[str]:
        """Lines reported open."""
        return [line for line, closed in self.state.column("switch").items() if closed == 0.0]

    @cached_property
    def residual(self) -> Mapping[str, float]:
        """Reading minus the estimator's loading, percent."""
        return self.state.column("residual")

    @cached_property
    def suspects(self) -> list[str]:
        """Lines by the size of their residual, largest first."""
        return sorted(self.residual, key=lambda line: -abs(self.residual[line]))

    @cached_property
    def fullest(self) -> list[str]:
        """Lines by loading, highest first."""
        return sorted(self.loading, key=lambda line: -self.loading[line])

    @cached_property
    def estimates(self) -> dict[tuple[str, str], float]:
        """Linear estimate of the loading (percent) of the second line after the outage of the first."""
        pairs = ((pair.partition(">"), v) for pair, v in self.state.column("estimate").items() if ">" in pair)
        return {(outage, line): v for (outage, _, line), v in pairs}

    @cached_property
    def action_estimates(self) -> dict[tuple[str, str], float]:
        """Linear estimate of the highest loading after an outage (first) and an action (second)."""
        pairs = ((key.partition("|"), v) for key, v in self.state.column("estimate").items() if "|" in key)
        return {(outage, action): v for (outage, _, action), v in pairs}

    @cached_property
    def plans(self) -> dict[str, tuple[float, float]]:
        """Planned work of the day: line -> (from, to), hours."""
        until = self.state.column("planned_to")
        return {
            line: (start, until[line]) for line, start in self.state.column("planned_from").items() if line in until
        }

    @cached_property
    def listed(self) -> list[str]:
        """Lines of the day's contingency list."""
        return list(self.state.column("listed"))

    @cached_property
    def truth(self) -> Truth:
        """(kind, cause, asset, quantity, horizon) -> value, from the simulator."""
        o = self.state.outcomes
        keys = zip(o["kind"], o["cause"], o["asset"], o["quantity"], o["horizon_h"], strict=True)
        return dict(zip(keys, o["value"], strict=True))

    def future(self, kind: str, cause: str, asset: str, quantity: str, horizon: float = 0.0) -> float:
        """One true outcome, NaN when it is not known."""
        return self.truth.get((kind, cause, asset, quantity, horizon), math.nan)

    def causes(self, kind: str) -> dict[str, list[str]]:
        """cause -> assets, of one kind of outcome."""
        found: dict[str, list[str]] = {}
        for k, cause, asset, quantity, _ in self.truth:
            if k == kind and quantity != "lost_mw":
                found.setdefault(cause, []).append(asset)
        return found

    def cut_off(self, outage: str) -> set[str]:
        """Demands that a walk over the graph finds newly without supply, with the reported open lines and `outage` out."""
        row = int(self.grid.lines.index[self.grid.lines["name"] == outage][0])
        return set(self.grid.loads["name"].to_numpy()[self._cut[row]])

    @cached_property
    def cutting(self) -> list[str]:
        """Closed lines whose outage cuts a busbar off, by the same walk."""
        names, least = self.grid.lines["name"].to_numpy(), self._lost.sum(1).min()
        return [str(n) for n in names[self._lost.sum(1) > least] if n not in self.open_lines]

    @cached_property
    def _lost(self) -> np.ndarray:
        return lost_buses(self.grid, single_outages(self.grid, set(self.open_lines)))

    @cached_property
    def _cut(self) -> np.ndarray:
        """Demands that each line's outage cuts off newly, (n_line, n_load) bool."""
        already = lost_buses(self.grid, self.grid.mask(set(self.open_lines)))
        return (self._lost & ~already)[:, self.grid.loads["at"]]

    def feeders(self, demand: str, outage: str) -> list[str]:
        """Lines and transformers that feed the demand's busbar once `outage` is out, by the same walk; none where it is cut off.

        For an outage that is not there these are the feeders now.
        """
        if outage in set(self.grid.lines["name"]) and demand in self.cut_off(outage):
            return []
        at = self.grid.loads.set_index("name").loc[demand, "at"]
        tables = ((self.grid.lines, "from", "to"), (self.grid.transformers, "hv", "lv"))
        names = [str(n) for table, a, b in tables for n in table["name"][(table[a] == at) | (table[b] == at)]]
        return [name for name in names if name not in (*self.open_lines, outage)]

    def hops(self, line: str) -> np.ndarray:
        """Number of branches from either end of `line` to every bus, (n_bus,)."""
        row = self.grid.lines.index[self.grid.lines["name"] == line][0]
        return distances(self.grid)[self.grid.lines.loc[row, ["from", "to"]].to_numpy(int)].min(axis=0)


_DISTANCES: dict[str, np.ndarray] = {}


def distances(grid: Grid) -> np.ndarray:
    """Number of branches between every two buses, (n_bus, n_bus)."""
    if grid.code not in _DISTANCES:
        a, b = grid.ends
        n = len(grid.buses)
        _DISTANCES[grid.code] = dijkstra(
            coo_matrix((np.ones(len(a)), (a, b)), shape=(n, n)), directed=False, unweighted=True
        )
    return _DISTANCES[grid.code]
