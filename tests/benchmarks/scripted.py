"""A way that answers at a rate it is told, for the tests: the same orders, no model."""

from __future__ import annotations

import sys
import time

from benchmarks.peers.window import job, windows


def main() -> None:
    told = job()
    print("a peer's own words")  # before the first order: they must not be taken for figures
    for window in windows("numpy"):
        print("more of them")
        started = time.time()
        if window.questions == told.get("breaks"):
            sys.exit("no room for these questions")
        while not window.over:
            time.sleep(told["pause"])
            window.did(2)
        window.tell(span=[started, time.time()])


if __name__ == "__main__":
    main()
