"""SimBench's networks as this sector can use them: one bus for all that closed switches join, nothing that is out of service."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from twinforge.errors import UserError


@lru_cache(maxsize=3)
def original(code: str) -> tuple[Any, dict[tuple[str, str], pd.DataFrame]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import simbench

        net = _without_open_lines(simbench.get_simbench_net(code))
        return net, simbench.get_absolute_values(net, profiles_instead_of_study_cases=True)


def _without_open_lines(net: Any) -> Any:
    """The network, its buses numbered from 0, without the lines that a switch at an end keeps open in normal operation: those at
    which medium-voltage rings are open."""
    from pandapower.toolbox import create_continuous_bus_index

    create_continuous_bus_index(net)
    switch = net.switch
    ends, closed = switch["et"], switch["closed"]
    net.line = net.line.drop(switch.loc[(ends == "l") & ~closed, "element"].unique())
    net.switch = switch[(ends == "b") | ((ends == "t") & ~closed)]  # closed ones at a branch join it to its own bus
    return net


def fuse(original: Any) -> Any:
    """A copy with one bus for every set of buses joined by closed switches, and only what is in service and supplied."""
    import pandapower as pp

    _check(original)
    switch = original.switch[original.switch["closed"]]
    n = len(original.bus)
    joins = coo_matrix((np.ones(len(switch)), (switch["bus"], switch["element"])), shape=(n, n))
    part = connected_components(joins, directed=False)[1]
    used = pd.unique(np.concatenate([original[t][c][original[t]["in_service"]] for t, c in _ENDS if len(original[t])]))
    number = {old: new for new, old in enumerate(sorted(set(part[used.astype(int)])))}
    net = pp.create_empty_network(sn_mva=original.sn_mva, f_hz=original.f_hz)
    first = pd.Series(np.arange(n)).groupby(part).first()[list(number)]
    for bus in original.bus.iloc[first].itertuples():
        pp.create_bus(net, float(bus.vn_kv), name=bus.substation)
    for table in ("line", "trafo", "load", "sgen", "storage", "ext_grid"):
        rows = original[table][original[table]["in_service"]].copy()
        for t, column in _ENDS:
            if t == table:
                rows[column] = [number[part[bus]] for bus in rows[column]]
        net[table] = _plain(rows.reset_index(drop=True))
    net.trafo["shift_degree"] = 0.0
    store = net.storage.reindex(columns=net.load.columns).assign(q_mvar=0.0, type=None)
    store[[c for c in store if c.startswith("const_")]] = 0.0
    net.load = pd.concat([net.load, store.astype(net.load.dtypes)], ignore_index=True) if len(store) else net.load
    net.storage = net.storage.iloc[:0]
    return net


_ENDS = (
    ("line", "from_bus"), ("line", "to_bus"), ("trafo", "hv_bus"), ("trafo", "lv_bus"),
    ("load", "bus"), ("sgen", "bus"), ("storage", "bus"), ("ext_grid", "bus"),
)  # fmt: skip


def _check(net: Any) -> None:
    strange = [t for t in ("gen", "shunt", "ward", "xward", "trafo3w", "impedance", "dcline") if len(net[t])]
    if strange or set(net.switch["et"]) - {"b"} or len(net.ext_grid) != 1 or not net.load["in_service"].all():
        raise UserError(
            f"{net.get('name', 'network')}: has elements this reader does not know ({strange or 'open switches at transformers'})"
        )


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Limits that SimBench leaves as objects become floats: lightsim2grid reads no others."""
    for column in frame.select_dtypes(object).columns:
        number = pd.to_numeric(frame[column], errors="coerce")
        if number.notna().sum() == frame[column].notna().sum() and column not in ("name", "profile"):
            frame[column] = number.astype(float)
    return frame
