"""A chat-completions server on this machine that answers by a script: what it says, how sure, and when it fails."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pandas as pd

from tests.eval.synthetic import answers as scripted_answers
from twinforge.model.prompt import LABELS, spoken
from twinforge.records import space_of


@dataclass
class Script:
    """says : the user's words -> the reply's text. sure : probability of the reply's first character, told as `top_logprobs`; None tells none.
    fails : tries of the same words that get status 503 first, by the words. refuses_lists : 400 to a request for `top_logprobs`.
    body : what is sent instead of a completion. seen : tries by words, and what else came."""

    says: Callable[[str, str], str]
    sure: float | None = None
    fails: Callable[[str], int] = lambda words: 0
    refuses_lists: bool = False
    body: Any = None
    models: tuple[str, ...] = ("scripted",)
    seen: Counter[str] = field(default_factory=Counter)
    keys: set[str | None] = field(default_factory=set)

    def reply(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"data": [{"id": name} for name in self.models]}
        if path != "/v1/chat/completions":
            return 404, {"error": "no such path"}
        if self.body is not None:
            return 200, self.body
        system, user = (turn["content"] for turn in asked["messages"])
        words = f"{system}\n{user}"
        if self.refuses_lists and "logprobs" in asked:
            return 400, {"error": "logprobs: unknown"}
        self.seen[words] += 1
        if self.seen[words] <= self.fails(words):
            return 503, {"error": "busy"}
        text = self.says(system, user)
        choice: dict[str, Any] = {"message": {"content": text}}
        if self.sure is not None and asked.get("top_logprobs"):
            others = [letter for letter in "ABCDE" if letter != text[:1]]
            listed = {text[:1]: self.sure} | dict.fromkeys(others, (1 - self.sure) / len(others))
            told = [{"token": token, "logprob": math.log(p)} for token, p in listed.items()]
            choice["logprobs"] = {"content": [{"token": text[:1], "top_logprobs": told}]}
        return 200, {"choices": [choice], "usage": {"total_tokens": 100}}


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """The address of a server that answers by the script, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait for each other

        def do_POST(self) -> None:
            script.keys.add(self.headers.get("Authorization"))
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*script.reply(self.path, asked))

        def do_GET(self) -> None:
            self._send(*script.reply(self.path, {}))

        def _send(self, status: int, told: Any) -> None:
            body = told.encode() if isinstance(told, str) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def right_by(questions: pd.DataFrame, rate: float) -> Callable[[str, str], str]:
    """Says the truth of choices and numbers with this rate, else something else; in the words that a tuned model would use."""
    script = {}
    for (_, question), p in zip(questions.iterrows(), scripted_answers(questions, rate)["p"], strict=True):
        said, space = space_of(question).decide(p), space_of(question)
        at = space.size - 1 if np.isnan(said) else space.index(said)
        number = "?" if np.isnan(said) else f"{said:g}"
        script[question["context"], spoken(question)[0]] = LABELS[at] if space.kind == "choice" else number
    return lambda system, user: script[system.split("\n", 1)[1], user]
