"""Which tokens are supervised, and what each weighs."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.model.tiny import questions, tokenizer
from twinforge.errors import UserError
from twinforge.model.prompt import Prompt
from twinforge.training.trainer import tree_loss
from twinforge.training.trees import collate, lessons

PROMPT = Prompt.of(tokenizer())


def test_only_the_answers_are_supervised() -> None:
    frame = questions(1, seed=4)
    (lesson,) = lessons(PROMPT, frame, number_weight=0.5)
    answers, at = [], 0
    for branch in lesson.tree.branches[:5]:
        read = branch.reads
        told = tokenizer().decode([*branch.ids, lesson.targets[at + len(read) - 1]])
        answers.append((told.rpartition("assistant\n")[2], tokenizer().decode(lesson.targets[at : at + len(read)])))
        given = lesson.targets[at : at + len(read) - 1]  # what was read is then given
        assert branch.ids[read[1:]].tolist() == given.tolist()
        at += len(read)
    level, flow = frame["truth"][3], frame["truth"][4]
    truth = ["AB"[int(frame["truth"][0])], "ABC"[int(frame["truth"][1])], "C", f"{level:.1f}", f"{flow:.0f}<|im_end|>"]
    assert answers == [(text, text) for text in truth]
    tokens = len(f"{flow:.0f}") + 1
    assert at == len(lesson.targets) - 3 == 3 + 3 + tokens
    assert lesson.weights[:at].tolist() == pytest.approx([1, 1, 1, *[0.5 / 3] * 3, *[0.5 / tokens] * tokens])


def test_of_a_set_each_candidate_has_its_letter_and_share() -> None:
    frame = questions(6, seed=4)
    frame = frame[frame["kind"] == "entities"].reset_index(drop=True)
    frame.at[5, "truth"], frame.at[5, "gold"] = np.nan, []
    made = lessons(PROMPT, frame, number_weight=0.5)
    letters = [tokenizer().decode(lesson.targets) for lesson in made]
    assert letters == [*("".join("AB"[i in gold] for i in range(3)) for gold in frame["gold"][:5]), "CCC"]
    assert len(set(letters)) >= 3 and all(lesson.weights.tolist() == pytest.approx([1 / 3] * 3) for lesson in made)
    for lesson in made:
        (branch,) = lesson.tree.branches
        assert tokenizer().decode(branch.ids[branch.reads]) == "\n" * 3  # where the answer starts


def test_refused_number_is_one_token() -> None:
    frame = questions(1)
    frame.loc[3, "truth"] = np.nan
    (lesson,) = lessons(PROMPT, frame)
    assert tokenizer().decode(lesson.targets[3]) == "?" and lesson.weights[3] == 1


def test_the_loss_is_the_mean_over_questions_of_the_mean_over_tokens() -> None:
    batch = collate(lessons(PROMPT, questions(2)))
    logits = torch.randn(len(batch["targets"]), 1000, generator=torch.Generator().manual_seed(0))
    logits = torch.cat([logits, torch.zeros(len(logits), len(tokenizer()) - 1000)], dim=1)
    losses = -logits.log_softmax(-1)[torch.arange(len(logits)), batch["targets"]]
    per_question, at = [], 0
    for lesson in lessons(PROMPT, questions(2)):
        for branch in lesson.tree.branches:
            per_question.append(losses[at : at + len(branch.reads)].mean())
            at += len(branch.reads)
    loss = tree_loss(logits, batch["targets"], batch["weights"], batch["answers"])
    torch.testing.assert_close(loss, torch.stack(per_question).mean())


def test_a_state_with_many_questions_gives_several_trees() -> None:
    frame = questions(1)
    many = frame.loc[np.repeat(frame.index, 9)].reset_index(drop=True)
    made = lessons(PROMPT, many)
    assert [len(lesson.questions) for lesson in made] == [16, 16, 16, 6]
    with pytest.raises(UserError, match="no question"):
        lessons(PROMPT, frame.iloc[:0])


def test_a_report_is_learnt_whole_behind_its_own_state() -> None:
    frame = questions(2)
    state = frame["context"].iloc[0]
    rows = [
        {"id": f"report-{i}", "context": context, "facts": "P now 7", "text": "Report.", "reference": "It is 7 %."}
        for i, context in enumerate((state, "another state"))
    ]
    first, second = lessons(PROMPT, frame, reports=pd.DataFrame(rows), report_weight=4.0)
    assert (
        first.questions[-1] == "report-0" and "report-1" not in second.questions
    )  # nothing else is asked of that state
    branch, count = first.tree.branches[-1], len(PROMPT.reference_ids("It is 7 %."))
    assert tokenizer().decode(first.targets[-count:]) == "It is 7 %.<|im_end|>"
    assert tokenizer().decode(branch.ids).endswith(
        "assistant\nIt is 7 %."
    ) and "P now 7\nReport." in tokenizer().decode(branch.ids)
    assert first.weights[-count:].tolist() == pytest.approx([4 / count] * count)
    np.testing.assert_array_equal(branch.ids[branch.reads[1:]], first.targets[-count:-1])
