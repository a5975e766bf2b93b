"""Answers by lm-evaluation-harness: the log-likelihood of each option's letter, as its multiple-choice tasks ask for them.

The letters of one question share one forward pass (its `logits_cache`), and questions are sorted by length (its own way).
"""

from __future__ import annotations

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from benchmarks.peers.window import around, job, rows, windows

PORTION = 32  # questions a call


def main() -> None:
    told = job()
    model = HFLM(
        pretrained=told["base"], dtype=told["precision"], device="cpu", batch_size=told["batch"], max_length=8192
    )
    portions = {name: around(rows(path), PORTION) for name, path in told["questions"].items()}
    said: dict[str, str] = {}
    for window in windows("lm-eval", "transformers", "torch"):
        while not window.over:
            asked = next(portions[window.questions])
            pairs = [(row, label) for row in asked for label in row["labels"]]
            requests = [
                Instance("loglikelihood", {}, (row["prompt"], label), i) for i, (row, label) in enumerate(pairs)
            ]
            scores = model.loglikelihood(requests, disable_tqdm=True)
            best: dict[str, tuple[float, str]] = {}
            for (row, label), (score, _) in zip(pairs, scores, strict=True):
                if row["id"] not in best or score > best[row["id"]][0]:  # the first of equals, as its own tasks take it
                    best[row["id"]] = (score, label)
            said |= {question: label for question, (_, label) in best.items()}
            window.did(len(asked))
        window.tell(said=said)


if __name__ == "__main__":
    main()
