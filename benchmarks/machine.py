"""What is measured on: processor, memory, versions, and the most that a matrix product reaches here."""

from __future__ import annotations

import os
import platform
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from twinforge.model.base import BF16_ADVANTAGE

PRODUCTS = ((512, 2048, 2048), (1024, 2048, 2048), (2048, 2048, 2048), (2048, 4096, 4096))  # rows, inner, columns


def machine() -> dict[str, Any]:
    """Processor, cores, memory, load when asked, and versions of what we run on."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory, GiB": round(psutil.virtual_memory().total / 2**30, 1),
        "load before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }


def processor() -> str:
    """The processor's own name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


@cache
def best_dtype() -> torch.dtype:
    """The number format for all ways: bf16 where products are faster in it by as much as `model.base` asks for, else fp32."""
    fast, plain = (peak_flops(dtype, 0.3) for dtype in (torch.bfloat16, torch.float32))
    return torch.bfloat16 if fast >= BF16_ADVANTAGE * plain else torch.float32


def peak_flops(dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Flop a second of the fastest matrix product here: the best of some sizes, each tried for a while."""
    return max(_flops(dtype, *shape, seconds) for shape in PRODUCTS)


def _flops(dtype: torch.dtype, rows: int, inner: int, columns: int, seconds: float) -> float:
    left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(columns, inner, dtype=dtype)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        best = min(best, time.perf_counter() - start)
    return 2.0 * rows * inner * columns / best
