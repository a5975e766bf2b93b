"""From a state and a question to tokens, the same ones that transformers' `pipeline("decision")` sees.

A prompt is the tokenizer's own chat template with the state as the system message and the question as the user's. It is
cut in two where the state ends: everything before is the context that a state's questions share, the rest is a branch.
"""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, TemplateError
from transformers import AddedToken, PreTrainedTokenizerBase
from transformers.decision import DecisionConfig

from twinforge.errors import UserError
from twinforge.records import REFUSAL, AnswerSpace, asked_text, criteria_of, space_of

MARK, SPLIT = "<|mark|>", "<|split|>"  # the decision pipeline's own sentinels: dropped after tokenising
REFUSED = "?"  # the first and only token of a refused number
END = "$"  # stands for the end of a turn, where a number's digits may be over
INSTRUCTION = f"Answer with the letter of one option, or with the number asked for ({REFUSED} if it is {REFUSAL})."
"""Stands once before the state, so that no question pays for it."""
LABELS = string.ascii_uppercase
_STATE, _QUESTION, _REPLY = "TWINSTATE", "TWINQUESTION", "TWINREPLY"
_DATE = "01 Jan 2026"  # some chat templates print today's date: a prompt must not change overnight

_CHOICE = """
{%- macro text(x) %}{{ "" if x is none else x if x is string else x|tojson }}{% endmacro -%}
{{- text(question.instructions) ~ "\\n" -}}
{%- for option in question.options -%}
    {%- set more = text(question.descriptions[loop.index0]) -%}
    {{- question.labels[loop.index0] ~ ". " ~ option ~ (": " ~ more if more else "") ~ "\\n" -}}
{%- endfor -%}
"""
_NUMBER = '{{- text ~ "\\n" ~ low ~ "-" ~ high ~ unit -}}'
VERDICTS = ("no", "yes", REFUSAL)
"""What is said of each candidate of a set, by the first letters."""
_EACH = '{{- text ~ "\\nFor each: " ~ labels ~ "\\n" -}}'
_TEXT = '{{- text ~ "\\nIn a few sentences.\\n" -}}'
_CANDIDATE = '{{- name ~ (": " ~ note if note else "") ~ "\\n" -}}'
_JINJA = Environment(trim_blocks=True, lstrip_blocks=True)  # as transformers renders a chat template


@dataclass(frozen=True)
class Prompt:
    """The pieces of a chat around state and question, and the tokens of both.

    Attributes
    ----------
    tokenizer : a private copy that knows the two sentinels.
    before, between, after, end : the chat template's text before the state, between state and question, from the
        question's end to where the answer starts, and after the answer.
    """

    tokenizer: PreTrainedTokenizerBase
    before: str
    between: str
    after: str
    end: str

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Prompt:
        """Read the pieces off the tokenizer's chat template.

        Raises
        ------
        UserError
            There is no chat template, or it changes or drops what it is given.
        """
        if not tokenizer.chat_template:
            raise UserError("model.base: its tokenizer has no chat template; choose an instruction-tuned model")
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in (MARK, SPLIT)])
        for turns in (
            [{"role": "system", "content": f"{INSTRUCTION}\n{_STATE}"}, {"role": "user", "content": _QUESTION}],
            [
                {"role": "user", "content": f"{INSTRUCTION}\n{_STATE}\n\n{_QUESTION}"}
            ],  # a template with no system message
        ):
            if pieces := _pieces(tokenizer, turns):
                return cls(tokenizer, *pieces)
        raise UserError(
            "model.base: its chat template does not show state and question once each; choose another model"
        )

    @property
    def context_template(self) -> str:
        """Jinja of the shared part; takes `state`."""
        return (
            f"{{{{- {json.dumps(self.before)} ~ (state if state is string else state|tojson)"
            f" ~ {json.dumps(self.between)} -}}}}\n"
        )

    @property
    def decision_template(self) -> str:
        """The `decision_template.jinja` under which `pipeline("decision")` sees a choice question's exact tokens."""
        return f"{self.context_template}{SPLIT}{_CHOICE.strip()}\n{{{{- {json.dumps(self.after)} -}}}}\n{MARK}"

    def save(self, folder: Path) -> None:
        """Write `decision.json` and `decision_template.jinja` into a model's folder."""
        DecisionConfig(chat_template=self.decision_template).save_pretrained(folder)

    def context_ids(self, context: str) -> list[int]:
        """Tokens of a state, up to where the questions branch off."""
        return self._encode(self.context_template + SPLIT, state=context)

    def question_ids(self, question: pd.Series) -> list[int]:
        """Tokens of a row of `records.QUESTION` behind its context: facts, words and options with their notes.

        Of a set these are what all its candidates share; the rest of each is in `candidate_ids`.
        """
        template, words = _told(question)
        return self._encode(SPLIT + template + (MARK if question["kind"] == "entities" else self._tail), **words)

    def candidate_ids(self, question: pd.Series) -> list[list[int]]:
        """Tokens of each candidate of a set behind `question_ids`: its name and note, and up to where the answer starts."""
        template = SPLIT + _CANDIDATE + self._tail
        return [self._encode(template, **words) for words in _candidates(question)]

    def text_ids(self, text: str) -> list[int]:
        """Tokens of a request for free text."""
        return self._encode(SPLIT + _TEXT + self._tail, text=text)

    def reference_ids(self, text: str) -> list[int]:
        """Tokens of a text as a model is to write it, with the token that ends its turn."""
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.character_ids[END]]

    @property
    def _tail(self) -> str:
        return f"{{{{- {json.dumps(self.after)} -}}}}{MARK}"

    def end_ids(self) -> list[int]:
        """Tokens that close an answer before the next turn."""
        return self._encode(SPLIT + f"{{{{- {json.dumps(self.end)} -}}}}" + MARK)

    def _encode(self, template: str, **words: Any) -> list[int]:
        turns = [{"role": "user", "content": ""}]
        ids = self.tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=True, return_dict=False, sanitize_control_tokens=True, **words
        )
        return [token for token in ids if token not in self._sentinels]

    @cached_property
    def _sentinels(self) -> frozenset[int]:
        return frozenset(self.tokenizer.convert_tokens_to_ids([MARK, SPLIT]))

    def label_ids(self, count: int) -> list[int]:
        """Token of each of the first `count` labels."""
        return self._letters[:count]

    def reply_ids(self) -> list[int]:
        """Every token that an answer may use, ascending.

        Raises
        ------
        UserError
            The tokenizer has no token of its own for some of them.
        """
        return sorted({*self._letters, *self.character_ids.values()})

    @cached_property
    def _letters(self) -> list[int]:
        return self._singles(LABELS)

    @cached_property
    def character_ids(self) -> dict[str, int]:
        """Token of each character that a number is written with, of the refusal, and of the end."""
        characters = "0123456789." + REFUSED
        ids = dict(zip(characters, self._singles(characters), strict=True))
        if self.tokenizer.eos_token_id in (None, *ids.values()):
            raise UserError("model.base: its tokenizer has no token that ends a turn; choose another base model")
        return {**ids, END: self.tokenizer.eos_token_id}

    def _singles(self, texts: Sequence[str]) -> list[int]:
        ids, unknown = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"], self.tokenizer.unk_token_id
        if bad := [text for text, i in zip(texts, ids, strict=True) if len(i) != 1 or i[0] == unknown]:
            raise UserError(f"model.base: its tokenizer has no single token for {bad}; choose another base model")
        if len({i[0] for i in ids}) != len(ids):
            raise UserError(
                f"model.base: its tokenizer gives some of {list(texts)} the same token; choose another base model"
            )
        return [i[0] for i in ids]


def spoken(question: pd.Series) -> list[str]:
    """What the user's turn of a chat says to ask a row of `records.QUESTION`, the words of `question_ids`: one text, or of a set
    one a candidate. The system's turn says `INSTRUCTION` and, on a new line, the context."""
    template, words = _told(question)
    asked = _JINJA.from_string(template).render(**words)
    if question["kind"] != "entities":
        return [asked]
    candidate = _JINJA.from_string(_CANDIDATE)
    return [asked + candidate.render(**words) for words in _candidates(question)]


def _told(question: pd.Series) -> tuple[str, dict[str, Any]]:
    """The template of a question's words, and what goes into it."""
    space, text = space_of(question), asked_text(question)
    if space.kind == "entities":
        return _EACH, {"text": text, "labels": " ".join(f"{LABELS[i]}. {word}" for i, word in enumerate(VERDICTS))}
    if space.kind == "number":
        written = [value.removesuffix(END) for value in space_texts(space)]
        return _NUMBER, {"text": text, "low": written[0], "high": written[-1], "unit": space.unit and f" {space.unit}"}
    options = criteria_of(question)
    if len(options) > len(LABELS):
        raise UserError(f"question {text!r}: {len(options)} options; at most {len(LABELS)} have a letter")
    labels = list(LABELS[: len(options)])
    asked = {"instructions": text, "options": list(options), "labels": labels, "descriptions": list(options.values())}
    return _CHOICE.strip(), {"question": asked}


def _candidates(question: pd.Series) -> list[dict[str, str]]:
    notes = list(question["notes"]) or [""] * len(question["options"])
    return [{"name": name, "note": note} for name, note in zip(question["options"], notes, strict=True)]


@lru_cache(maxsize=256)
def space_texts(space: AnswerSpace) -> tuple[str, ...]:
    """Every value of a number space as it is written, with as many decimals as low and step need.

    As in a state's text, so that a model may copy: no zeros before. Where the widths differ, `END` closes each.
    """
    places = max(_decimals(space.low), _decimals(space.step))
    texts = [f"{value:.{places}f}" for value in space.values]
    return tuple(texts) if len(set(map(len, texts))) == 1 else tuple(text + END for text in texts)


def _decimals(value: float) -> int:
    """Decimal places needed to write `value` (to nine at most)."""
    return len(f"{value:.9f}".rstrip("0").partition(".")[2])


def _pieces(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]]) -> tuple[str, str, str, str] | None:
    """Text before the state, between, after the question, and after a reply; None where the template does not fit."""
    options: dict[str, Any] = {"tokenize": False, "enable_thinking": False, "date_string": _DATE}
    try:
        asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options)
        told = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": _REPLY}], **options)
    except TemplateError:
        return None
    if [asked.count(_STATE), asked.count(_QUESTION), told.count(_REPLY)] != [1, 1, 1]:
        return None
    before, rest = asked.split(_STATE)
    if _QUESTION not in rest:
        return None
    between, after = rest.split(_QUESTION)
    return before, between, after, told.split(_REPLY)[1]
