"""A row of a talk is what it would be alone, however its neighbours go, and nothing is read twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.model.tiny import tiny_model, tokenizer
from twinforge.errors import UserError
from twinforge.model.prompt import Prompt
from twinforge.model.write import Style, write
from twinforge.reasoning.talk import Cached

PROMPT = Prompt.of(tokenizer())
MODEL = tiny_model(vocabulary=len(tokenizer()))
STATES = [PROMPT.context_ids(text) for text in ("Flow 7 %.", "Flow of line 7: 12 %. The pump runs, the tank fills.")]
OF = [0, 1, 1]
ASKED = [PROMPT.text_ids(text) for text in ("Report.", "Report on line 7, please.", "B")]


def encode(text: str) -> list[int]:
    return PROMPT.reference_ids(text)[:-1]


def greedy(ids: list[int], most: int) -> list[int]:
    """The likeliest tokens one by one, each from a pass over the whole sequence."""
    for _ in range(most):
        with torch.no_grad():
            best = int(MODEL(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if best == PROMPT.tokenizer.eos_token_id:
            break
        ids = [*ids, best]
    return ids


def test_writes_what_the_whole_prompts_give() -> None:
    talk = Cached(MODEL, PROMPT, STATES, OF)
    talk.read(ASKED)
    whole = [[*STATES[state], *asked] for state, asked in zip(OF, ASKED, strict=True)]
    assert talk.write(8) == write(MODEL, PROMPT, whole, Style(8), 3)["text"].tolist()


def test_goes_on_behind_rows_of_unlike_length() -> None:
    talk = Cached(MODEL, PROMPT, STATES, OF)
    talk.read(ASKED)
    first = talk.write(5, live=[True, True, False])
    assert first[2] == ""
    heard = [encode(" is told."), encode(" and much more is told."), encode("x")]
    talk.read(heard)
    then = talk.write(4)
    for row, written in ((0, 5), (1, 5), (2, 0)):
        begun = greedy([*STATES[OF[row]], *ASKED[row]], written)
        whole = [*begun, *heard[row]]
        assert then[row] == PROMPT.tokenizer.decode(greedy(whole, 4)[len(whole) :], skip_special_tokens=True)


def test_stops_each_row_where_it_is_told_and_counts_every_token_once() -> None:
    talk = Cached(MODEL, PROMPT, STATES, OF)
    assert talk.tokens.sum() == sum(map(len, STATES)) and talk.tokens[1] == talk.tokens[2] == len(STATES[1]) / 2
    talk.read(ASKED)
    before = talk.tokens.sum()
    assert before == sum(map(len, [*STATES, *ASKED]))
    texts = talk.write(9, stop=lambda text: len(text) >= 6)
    assert all(text == longer[: len(text)] for text, longer in zip(texts, _free(9), strict=True))
    assert talk.tokens.sum() - before == sum(_count(row, texts[row]) for row in range(3)) < 27
    assert (talk.seconds > 0).all()


def _free(most: int) -> list[str]:
    talk = Cached(MODEL, PROMPT, STATES, OF)
    talk.read(ASKED)
    return talk.write(most)


def _count(row: int, text: str) -> int:
    """Tokens after which a row had written `text`."""
    begun = [*STATES[OF[row]], *ASKED[row]]
    new = greedy(begun, 9)[len(begun) :]
    return next(n for n in range(10) if PROMPT.tokenizer.decode(new[:n], skip_special_tokens=True) == text)


def test_samples_share_what_was_read() -> None:
    def draw(temperature: float, seed: int) -> tuple[list[str], np.ndarray]:
        talk = Cached(MODEL, PROMPT, STATES, [0], temperature, seed)
        talk.read(ASKED[:1])
        talk.repeat(20)
        read = talk.tokens.copy()
        return talk.write(6), read

    texts, read = draw(1.0, 3)
    assert len(texts) == 20 and len(set(texts)) > 10 and read.sum() == pytest.approx(len(STATES[0]) + len(ASKED[0]))
    assert draw(1.0, 3)[0] == texts != draw(1.0, 4)[0]
    assert len(set(draw(1e-4, 3)[0])) == 1


def test_a_row_that_gets_too_long_is_refused() -> None:
    talk = Cached(MODEL, PROMPT, [[5] * MODEL.config.max_position_embeddings], [0])
    with pytest.raises(UserError, match="shorten the state"):
        talk.read([[5]])
