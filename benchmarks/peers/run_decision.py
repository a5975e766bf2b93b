"""Answers by transformers' `pipeline("decision")`: all questions of a state in one request, as its documentation asks them."""

from __future__ import annotations

from itertools import cycle, groupby

from transformers import pipeline

from benchmarks.peers.window import job, rows, windows


def main() -> None:
    told = job()
    decide = pipeline("decision", model=told["base"], dtype=told["precision"], device="cpu")
    states = {
        name: cycle([list(group) for _, group in groupby(rows(path), key=lambda row: row["state"])])
        for name, path in told["questions"].items()
    }
    said: dict[str, str] = {}
    for window in windows("transformers", "torch"):
        while not window.over:
            asked = next(states[window.questions])
            found = decide({"state": asked[0]["state"], "questions": {row["id"]: row["decision"] for row in asked}})
            for row in asked:
                chances = list(found[row["id"]]["probabilities"].values())
                said[row["id"]] = row["labels"][chances.index(max(chances))]
            window.did(len(asked))
        window.tell(said=said)


if __name__ == "__main__":
    main()
