"""Continuations in one tree are as likely as each is alone."""

import torch

from eval.probes.continuations import continuation_logs
from tests.model.tiny import tiny_model, tokenizer


def test_equals_each_continuation_alone() -> None:
    words = tokenizer()
    model = tiny_model(vocabulary=len(words))
    texts = ["The capital of France is", "Two plus two equals"]
    ways = [[" Paris", " a town on the Seine"], [" four", " five", " a lot"]]
    found = continuation_logs(model, words, texts, ways, batch_trees=2)
    assert [len(each) for each in found] == [2, 3]
    for text, told, logs in zip(texts, ways, found, strict=True):
        for way, log in zip(told, logs, strict=True):
            start, more = (words(part, add_special_tokens=False)["input_ids"] for part in (text, way))
            with torch.no_grad():
                rows = model(input_ids=torch.tensor([start + more])).logits[0].log_softmax(-1)
            alone = rows[range(len(start) - 1, len(start) + len(more) - 1), more].mean()
            assert abs(float(alone) - log) < 1e-4
