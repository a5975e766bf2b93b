"""The state that a question is asked about: one stored with the twin, readings from a file, or a state as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from twinforge.artifact import Twin
from twinforge.errors import UserError
from twinforge.files import read_json, read_table
from twinforge.records import OBSERVATION, OUTCOME
from twinforge.sectors import State

READING = ("asset", "quantity", "value")


@dataclass(frozen=True)
class Situation:
    """What a question is asked about: readings, or (poorer) the state as text.

    name : for people. known : whether what follows the state is known, so that an answer can be held against it.
    """

    name: str
    state: State | None = None
    context: str | None = None

    @property
    def known(self) -> bool:
        return self.state is not None and len(self.state.outcomes) > 0


def stored(twin: Twin) -> dict[str, tuple[str, pd.Timestamp]]:
    """Number -> episode and time of each stored state, in order of time."""
    keys = twin.examples[["episode", "time"]].drop_duplicates().sort_values(["time", "episode"])
    pairs = zip(keys["episode"], keys["time"], strict=True)
    return {str(number): (str(episode), time) for number, (episode, time) in enumerate(pairs, 1)}


def situation(twin: Twin, state: str) -> Situation:
    """A stored state by its number, or one from a file.

    A file is a table of readings (`.parquet`, or `.json` with a list of records) with the columns asset, quantity and
    value, or a `.json` object {"context": "the state as text"}.

    Raises
    ------
    UserError
        No such state or file, or a file of another form.
    """
    known = stored(twin)
    if state in known:
        episode, moment = known[state]
        return Situation(f"stored state {state} ({moment})", _stored_state(twin, episode, moment))
    path = Path(state)
    if not path.is_file():
        raise UserError(f"--state {state}: neither a file nor a stored state (1 to {len(known)}; see --states)")
    content = _read_state(path)
    if isinstance(content, str):
        return Situation(str(path), context=content)
    values = {
        (str(a), str(q)): float(v) for a, q, v in content[list(READING)].itertuples(index=False) if not pd.isna(v)
    }
    moment = content["time"].iloc[0] if "time" in content else pd.Timestamp(0)
    nothing = pd.DataFrame(columns=OUTCOME.names)
    return Situation(str(path), State(path.stem, pd.Timestamp(moment), values, nothing))


def _stored_state(twin: Twin, episode: str, moment: pd.Timestamp) -> State:
    def of(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["episode"] == episode) & (table["time"] == moment)].reset_index(drop=True)

    rows = of(twin.states)
    values = dict(zip(zip(rows["asset"], rows["quantity"], strict=True), rows["value"].astype(float), strict=True))
    return State(episode, moment, values, of(twin.outcomes))


def _read_state(path: Path) -> pd.DataFrame | str:
    wanted = f"{path}: a state is a table with the columns {', '.join(READING)} or " + '{"context": "..."}'
    if path.suffix == ".parquet":
        names = [name for name in (*READING, "time") if name in OBSERVATION.names]
        frame = read_table(path, pa.schema([OBSERVATION.field(name) for name in names if name in _columns(path)]))
    else:
        content = read_json(path)
        if isinstance(content, dict) and isinstance(content.get("context"), str):
            return str(content["context"])
        if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
            raise UserError(wanted)
        frame = pd.DataFrame(content)
    if missing := [name for name in READING if name not in frame]:
        raise UserError(f"{wanted}; missing: {', '.join(missing)}")
    try:
        frame["value"] = frame["value"].astype(float)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: column value: {error}; give numbers, null where a reading is missing") from error
    if "time" in frame and frame["time"].nunique() > 1:
        raise UserError(
            f"{path}: column time has {frame['time'].nunique()} times; a state is one: keep the rows of one time"
        )
    if frame.duplicated(["asset", "quantity"]).any():
        twice = frame[frame.duplicated(["asset", "quantity"])].iloc[0]
        raise UserError(f"{path}: {twice['asset']} {twice['quantity']} stands twice; keep one value a reading")
    return frame


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error})") from error
