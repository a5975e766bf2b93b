"""What is written is what the model would say alone, with the probabilities it gives it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.model.tiny import tiny_model, tokenizer
from twinforge.errors import UserError
from twinforge.model import write as write_module
from twinforge.model.prompt import Prompt
from twinforge.model.write import WRITTEN, Style, write

PROMPT = Prompt.of(tokenizer())
MODEL = tiny_model(vocabulary=len(tokenizer()))
ASKED = [
    [*PROMPT.context_ids(state), *PROMPT.text_ids(text)]
    for state, text in (
        ("Flow 7 %.", "Report."),
        ("Flow of line 7: 12 %. The pump runs.", "Report on line 7."),
        ("A", "B"),
    )
]


def alone(ids: list[int], most: int) -> tuple[list[int], list[float], list[float]]:
    """The likeliest tokens one by one, each from a pass over the whole sequence."""
    written, logs, entropies = [], [], []
    for _ in range(most):
        with torch.no_grad():
            log = MODEL(input_ids=torch.tensor([ids + written])).logits[0, -1].double().log_softmax(-1)
        best = int(log.argmax())
        if best == PROMPT.tokenizer.eos_token_id:
            break
        written.append(best)
        logs.append(float(log[best]))
        entropies.append(float(-(log.exp() * log).sum()))
    return written, logs, entropies


def test_greedy_is_what_each_prompt_gives_alone() -> None:
    made = write(MODEL, PROMPT, ASKED, Style(most=6), batch=2)
    assert list(made.columns) == WRITTEN.names and made["prompt"].tolist() == [0, 1, 2]
    for ids, (_, row) in zip(ASKED, made.iterrows(), strict=True):
        tokens, logs, entropies = alone(ids, 6)
        assert row["text"] == PROMPT.tokenizer.decode(tokens, skip_special_tokens=True)
        np.testing.assert_allclose(row["logs"], logs, atol=1e-4)
        np.testing.assert_allclose(row["entropies"], entropies, atol=1e-3)
        assert row["tokens"] == len(ids) + len(tokens) and len(row["starts"]) == len(tokens)
        assert row["starts"][0] == 0 and (np.diff(row["starts"]) >= 0).all()


def test_samples_come_from_the_models_own_distribution() -> None:
    made = write(MODEL, PROMPT, ASKED[:1], Style(most=1, samples=400, temperature=1.0), batch=400)
    assert made["sample"].tolist() == list(range(400))
    surprise = -made["logs"].map(lambda logs: logs[0] if len(logs) else np.nan).dropna()
    entropy = alone(ASKED[0], 1)[2][0]
    assert surprise.mean() == pytest.approx(entropy, abs=5 * surprise.std() / np.sqrt(len(surprise)))
    cold = write(MODEL, PROMPT, ASKED[:1], Style(most=1, samples=50, temperature=0.05), batch=50)
    assert cold["text"].nunique() < made["text"].nunique()


def test_goes_on_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(MODEL, PROMPT, ASKED, Style(most=3), batch=1, keep=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(write_module, "_part", lambda *_: pytest.fail("written again"))
    pd.testing.assert_frame_equal(first, write(MODEL, PROMPT, ASKED, Style(most=3), batch=1, keep=tmp_path))


def test_refuses_what_can_not_be() -> None:
    with pytest.raises(UserError, match="temperature"):
        write(MODEL, PROMPT, ASKED, Style(most=3, samples=2), batch=1)
    with pytest.raises(UserError, match="shorten the state"):
        write(MODEL, PROMPT, ASKED, Style(most=10**6), batch=1)
