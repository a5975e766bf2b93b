"""Each peer's virtual environment, in `.scratch/bench/PEER`: made once, again only when its pins change."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

from twinforge.errors import UserError
from twinforge.files import sha256

SCRATCH = Path(".scratch/bench")
_PINS = Path("benchmarks/peers")
_STAND_IN = {"llamafactory": "torchaudio"}  # imported at its start, and used for audio alone


def python_of(peer: str) -> Path:
    """The peer's interpreter; its environment is made if it is not there.

    torch comes first and alone, in the version used here (TORCH_INDEX: where from, as in the Makefile); then every package as
    pinned in benchmarks/peers/PEER.txt.

    Raises
    ------
    UserError
        pip failed: its last words.
    """
    pins, home = _PINS / f"{peer}.txt", (SCRATCH / peer).absolute()
    python, stamp = home / "bin/python", home / ".pins"
    key = f"{sha256(pins)} {_torch()}"
    if stamp.is_file() and stamp.read_text() == key:
        return python
    print(f"installing {peer} into {home.relative_to(Path.cwd())} (a minute or two) ...", flush=True)
    _run(sys.executable, "-m", "venv", "--clear", str(home))
    index = os.environ.get("TORCH_INDEX")
    _run(
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        *(["--no-deps", "--index-url", index] if index else []),
        f"torch=={_torch()}",
    )
    _run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", str(pins))
    if name := _STAND_IN.get(peer):
        packages = home / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        (packages / name).mkdir(exist_ok=True)
        (packages / name / "__init__.py").touch()
    stamp.write_text(key)
    return python


def _torch() -> str:
    return version("torch").partition("+")[0]


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"{' '.join(command)}: {done.stderr.strip()[-400:]}; mend it and run again")
