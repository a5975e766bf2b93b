"""The grid: a SimBench network with its year of profiles, as plain tables that scale, re-rate and travel between processes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from twinforge.errors import UserError
from twinforge.sectors.energy.simbench import fuse, original

NETWORKS = ("1-HV-urban-", "1-HVMV-urban-2.203", "1-LV-rural1-")
CODES = tuple(f"{network}-{scenario}-sw" for network in NETWORKS for scenario in range(3))
HIGH_KV, KILO = 110.0, 0.1  # volts that a megawatt is a unit for; the share of it below which a kilowatt is


@dataclass(frozen=True)
class Injections:
    """What is fed in and taken out, in MW and Mvar: one state, arrays of shape (n,), or many, arrays of shape (states, n).

    `slack_vm_pu` is the voltage that the grid above holds at the slack bus: a number, an array (states,), or None for the
    grid's own set point.
    """

    p_load: np.ndarray
    q_load: np.ndarray
    p_sgen: np.ndarray
    slack_vm_pu: float | np.ndarray | None = None

    def __len__(self) -> int:
        return len(np.atleast_2d(self.p_load))

    def __getitem__(self, index: int | slice | np.ndarray) -> Injections:
        """One state (int) or some of them, of many."""
        vm = self.slack_vm_pu
        vm = vm[index] if isinstance(vm, np.ndarray) and vm.ndim else vm
        return Injections(self.p_load[index], self.q_load[index], self.p_sgen[index], vm)

    def repeat(self, n: int) -> Injections:
        """The one state `n` times."""
        p, q, g = (np.tile(np.atleast_2d(a), (n, 1)) for a in (self.p_load, self.q_load, self.p_sgen))
        return Injections(p, q, g, self.slack_vm_pu)


@dataclass(frozen=True)
class Grid:
    """A network whose buses are fused over closed switches, with everything out of service left out.

    Attributes
    ----------
    code : SimBench code.
    buses : name "B1".., vn_kv, substation; one row a bus (row number = bus number).
    lines : name "L1".., from_bus, to_bus (names), from, to (bus numbers), rating_ka, length_km, r_ohm, x_ohm, underground.
    transformers : name "T1".., hv_bus, lv_bus, hv, lv, rating_mva, and vn_hv_kv, vn_lv_kv.
    loads : name "D1".. (demand) or "S1".. (storage, negative when it feeds in), bus (name), at (bus number).
    sgens : name "W1".. (wind), "V1".. (PV) or "G1".. (other), bus, at, kind, rating_mw.
    times : the profiles' quarter hours, (35,136,).
    p_load, q_load, p_sgen : profiles in MW and Mvar, (35,136, n), scaled already.
    slack : bus number of the grid above; slack_vm_pu : its voltage.
    net : the fused pandapower network that all of this was read from (ratings in `lines` override those in it).
    """

    code: str
    buses: pd.DataFrame
    lines: pd.DataFrame
    transformers: pd.DataFrame
    loads: pd.DataFrame
    sgens: pd.DataFrame
    times: pd.DatetimeIndex
    p_load: np.ndarray
    q_load: np.ndarray
    p_sgen: np.ndarray
    slack: int
    slack_vm_pu: float
    net: Any = field(repr=False)

    @cached_property
    def branches(self) -> tuple[str, ...]:
        """Names of all lines, then of all transformers: the order of every branch mask."""
        return (*self.lines["name"], *self.transformers["name"])

    @cached_property
    def unit_mw(self) -> float:
        """What a megawatt is to a 110 kV grid: less by the voltage of the middle line. Noise and what is worth doing go by it."""
        volts = self.buses["vn_kv"].to_numpy()[self.lines["from"]]
        return float(np.quantile(volts, 0.5, method="lower")) / HIGH_KV

    @property
    def unit(self) -> tuple[str, float]:
        """The unit in which its power is told, and how many of it a megawatt is."""
        return ("kW", 1000.0) if self.unit_mw < KILO else ("MW", 1.0)

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Bus numbers at the two ends of every branch."""
        return (
            np.concatenate([self.lines["from"], self.transformers["hv"]]).astype(int),
            np.concatenate([self.lines["to"], self.transformers["lv"]]).astype(int),
        )

    def injections(self, step: int | slice | np.ndarray) -> Injections:
        """The profiles' injections at one quarter hour (arrays (n,)) or at several (arrays (states, n))."""
        return Injections(self.p_load[step], self.q_load[step], self.p_sgen[step])

    def scaled(self, load: float = 1.0, generation: float = 1.0, reactive: float | None = None) -> Grid:
        """This grid with its demand (active and, by the same factor unless given, reactive) and generation multiplied."""
        reactive = load if reactive is None else reactive
        return replace(
            self, p_load=self.p_load * load, q_load=self.q_load * reactive, p_sgen=self.p_sgen * generation,
            sgens=self.sgens.assign(rating_mw=self.sgens["rating_mw"] * generation),
        )  # fmt: skip

    def rated(self, rating_ka: np.ndarray) -> Grid:
        """This grid with other line ratings, in kA, (n_line,)."""
        return replace(self, lines=self.lines.assign(rating_ka=np.asarray(rating_ka, float)))

    def mask(self, out: frozenset[str] | set[str] | tuple[str, ...] = frozenset()) -> np.ndarray:
        """Which branches are out, (n_branch,) bool, from their names; raises `UserError` for a name that is no branch."""
        names = self.branches
        if unknown := set(out) - set(names):
            raise UserError(
                f"{self.code}: no such line or transformer: {', '.join(sorted(unknown))}; lines are L1..L{len(self.lines)}"
            )
        return np.fromiter((name in out for name in names), bool, len(names))


def lost_buses(grid: Grid, out: np.ndarray) -> np.ndarray:
    """Buses cut off from the grid above, for every row of branches that are out.

    Parameters
    ----------
    out : (n_branch,) or (rows, n_branch) bool.

    Returns
    -------
    Of the same dimension, the last axis being buses, bool.
    """
    out = np.asarray(out, bool)
    rows, n = np.atleast_2d(out), len(grid.buses)
    row, branch = np.nonzero(~rows)
    a, b = (row * n + end[branch] for end in grid.ends)  # every row's graph beside the others: one search for all
    joined = coo_matrix((np.ones(len(row), bool), (a, b)), shape=(len(rows) * n, len(rows) * n))
    part = connected_components(joined, directed=False)[1].reshape(len(rows), n)
    return (part != part[:, [grid.slack]]).reshape(*out.shape[:-1], n)


def islands(grid: Grid, out: frozenset[str] | set[str] = frozenset()) -> frozenset[str]:
    """Names of the buses that lose supply when the named lines and transformers are out."""
    return frozenset(grid.buses["name"].to_numpy()[lost_buses(grid, grid.mask(out))])


def single_outages(grid: Grid, planned: frozenset[str] | set[str] = frozenset()) -> np.ndarray:
    """One row a line: that line out on top of the planned outages, (n_line, n_branch) bool."""
    n = len(grid.lines)
    rows = np.tile(grid.mask(planned), (n, 1))
    rows[np.arange(n), np.arange(n)] = True
    return rows


def load_grid(
    code: str = CODES[0], load_scale: float = 1.0, generation_scale: float = 1.0, reactive_scale: float | None = None
) -> Grid:
    """Load a SimBench network with its year of profiles.

    The codes end in the scenario: 0 is today, 1 and 2 are SimBench's two futures with more generation, and with 18 and 38
    lines more than scenario 0's 113; buses, lines, loads and generators that they share have the same name in all three.
    Storage (scenarios 1 and 2) becomes a load "S1".. .

    Raises
    ------
    UserError
        Not one of `CODES`, or a network whose elements this reader does not know.

    References
    ----------
    Meinecke et al., SimBench - A benchmark dataset of electric power systems, Energies 13(12), 2020.
    """
    if code not in CODES:
        raise UserError(f"grid {code!r}: not known; choose one of {', '.join(CODES)}")
    raw, profiles = original(code)
    net = fuse(raw)
    loads, p_load, q_load = _loads(net, profiles)
    grid = Grid(
        code=code, buses=_buses(net), lines=_lines(net), transformers=_transformers(net), loads=loads, sgens=_sgens(net),
        times=pd.to_datetime(raw.profiles["load"]["time"], format="%d.%m.%Y %H:%M").pipe(pd.DatetimeIndex),
        p_load=p_load, q_load=q_load, p_sgen=profiles["sgen", "p_mw"].to_numpy(float),
        slack=int(net.ext_grid["bus"].iloc[0]), slack_vm_pu=float(net.ext_grid["vm_pu"].iloc[0]), net=net,
    )  # fmt: skip
    if not all(np.isfinite(a).all() for a in (grid.p_load, grid.q_load, grid.p_sgen)):
        raise UserError(f"grid {code!r}: its profiles have gaps; reinstall the package simbench")
    return grid.scaled(load_scale, generation_scale, reactive_scale)


def _buses(net: Any) -> pd.DataFrame:
    names = [f"B{i + 1}" for i in range(len(net.bus))]
    return pd.DataFrame(
        {"name": names, "vn_kv": net.bus["vn_kv"].to_numpy(float), "substation": net.bus["name"].astype(str).to_numpy()}
    )


def _lines(net: Any) -> pd.DataFrame:
    line = net.line
    length = line["length_km"].to_numpy(float)
    start, end = line["from_bus"].to_numpy(int), line["to_bus"].to_numpy(int)
    return pd.DataFrame({
        "name": [f"L{i + 1}" for i in range(len(line))], "from_bus": _names(start), "to_bus": _names(end), "from": start, "to": end,
        "rating_ka": (line["max_i_ka"] * line["df"] * line["parallel"]).to_numpy(float), "length_km": length,
        "r_ohm": line["r_ohm_per_km"].to_numpy(float) * length, "x_ohm": line["x_ohm_per_km"].to_numpy(float) * length,
        "underground": (line["type"] == "cs").to_numpy(bool),
    })  # fmt: skip


def _transformers(net: Any) -> pd.DataFrame:
    trafo = net.trafo
    hv, lv = trafo["hv_bus"].to_numpy(int), trafo["lv_bus"].to_numpy(int)
    return pd.DataFrame({
        "name": [f"T{i + 1}" for i in range(len(trafo))], "hv_bus": _names(hv), "lv_bus": _names(lv), "hv": hv, "lv": lv,
        "rating_mva": (trafo["sn_mva"] * trafo["df"] * trafo["parallel"]).to_numpy(float),
        "vn_hv_kv": trafo["vn_hv_kv"].to_numpy(float), "vn_lv_kv": trafo["vn_lv_kv"].to_numpy(float),
    })  # fmt: skip


def _loads(net: Any, profiles: dict[tuple[str, str], pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    at = net.load["bus"].to_numpy(int)
    p, q = profiles["load", "p_mw"].to_numpy(float), profiles["load", "q_mvar"].to_numpy(float)
    n, m = p.shape[1], len(net.load) - p.shape[1]
    names = [f"D{i + 1}" for i in range(n)] + [f"S{i + 1}" for i in range(m)]
    if m:
        p = np.hstack([p, profiles["storage", "p_mw"].to_numpy(float)])
        q = np.hstack([q, np.zeros((len(q), m))])
    return pd.DataFrame({"name": names, "bus": _names(at), "at": at}), p, q


def _sgens(net: Any) -> pd.DataFrame:
    at, kinds = net.sgen["bus"].to_numpy(int), net.sgen["type"].str.lower()
    wind, other = kinds.str.contains("wind"), kinds.str.contains("biomass|hydro")
    kind = np.select([wind, other], ["wind", "other"], "PV")  # small plants in low-voltage grids ("lv_res") are PV
    letter = pd.Series(kind).map({"wind": "W", "PV": "V", "other": "G"})
    names = letter + (letter.groupby(letter).cumcount() + 1).astype(str)
    rating = net.sgen["p_mw"].to_numpy(float)
    return pd.DataFrame({"name": names.tolist(), "bus": _names(at), "at": at, "kind": kind, "rating_mw": rating})


def _names(numbers: np.ndarray) -> list[str]:
    return [f"B{i + 1}" for i in numbers]
