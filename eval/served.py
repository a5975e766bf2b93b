"""A running server asked the curated questions: any model behind an OpenAI-compatible address (vLLM, llama.cpp, TGI, a provider).

What it is told is what a tuned model reads (`twinforge.model.prompt`): the state in the system's turn, the question in the user's.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import pandas as pd
import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util.retry import Retry

from eval.replies import Reply, read
from twinforge.errors import UserError
from twinforge.model.prompt import INSTRUCTION, spoken
from twinforge.records import ANSWER

KEY = "TWINFORGE_API_KEY"  # of the environment; a name of its own, so that no other service's key goes to an address
TRIES = 8  # more, where a server is busy or fails
BACKOFF = 0.5  # seconds between tries, doubling up to SLOWEST, unless the server says when
SLOWEST = 30.0
BUSY = (429, 500, 502, 503, 504)
PATIENCE = (10.0, 600.0)  # seconds to connect, to answer
MOST = 16  # tokens of a reply
LISTED = 20  # first tokens whose probability is asked for
Turn: TypeAlias = tuple[str, str]  # what the system says, what the user says


@dataclass(frozen=True)
class Served:
    """answers : columns of `records.ANSWER`. said : some answers have no distribution, only what was written.
    replies, lost : how many there are, and how many of them nothing could be read from."""

    answers: pd.DataFrame
    said: bool
    replies: int
    lost: int


class Server:
    """An address that answers POST ADDRESS/chat/completions.

    listing : it is asked for `top_logprobs`, until it refuses them. Raises `UserError` where the address has no such form, can't be
    reached, or serves several models and none is named.
    """

    def __init__(self, url: str, model: str | None, connections: int) -> None:
        self.url = url.rstrip("/").removesuffix("/chat/completions")
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"--model {url}: give the address up to /v1, e.g. http://localhost:8000/v1")
        retry = Retry(
            TRIES, connect=2, backoff_factor=BACKOFF, backoff_max=SLOWEST, status_forcelist=BUSY, allowed_methods=None
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections, max_retries=retry))
        self._session.auth = lambda request: request  # else a login of ~/.netrc would take the key's place
        if key := os.environ.get(KEY):
            self._session.headers["Authorization"] = f"Bearer {key}"
        self.listing = True
        self.model = model or self._only_model()

    def reply(self, system: str, user: str) -> Reply:
        """One turn; raises `UserError` where no reply comes or it has another form."""
        turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        asked: dict[str, Any] = {"model": self.model, "messages": turns, "max_tokens": MOST, "temperature": 0}
        start, listing = time.perf_counter(), self.listing
        response = self._send("POST", "chat/completions", asked | _listed(listing), allow=(400, 422) if listing else ())
        if not response.ok:  # some refuse what they don't know
            response = self._send("POST", "chat/completions", asked)
            self.listing = False
        seconds = time.perf_counter() - start
        try:
            choice = response.json()["choices"][0]
            told = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
            first: dict[str, float] = {}
            for one in told:
                first[str(one["token"])] = float(one["logprob"])
            tokens = int((response.json().get("usage") or {}).get("total_tokens") or 0)
            return Reply(str(choice["message"]["content"] or ""), first, tokens, seconds)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise self._wrong(response, "choices[0].message.content") from error

    def _only_model(self) -> str:
        response = self._send("GET", "models")
        try:
            names = [str(one["id"]) for one in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._wrong(response, "data[].id") from error
        if len(names) != 1:
            raise UserError(f"{self.url} serves {', '.join(names) or 'no model'}; name one with --name")
        return names[0]

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, allow: Sequence[int] = ()
    ) -> requests.Response:
        url = f"{self.url}/{path}"
        try:
            response = self._session.request(method, url, json=body, timeout=PATIENCE)
        except requests.exceptions.RetryError as error:
            raise UserError(
                f"{url}: still busy or failing after {TRIES + 1} tries; run again to go on, or lower --concurrency"
            ) from error
        except requests.exceptions.RequestException as error:
            raise UserError(
                f"{url}: can't be reached ({type(error).__name__}); is the server up, and the address right?"
            ) from error
        if response.ok or response.status_code in allow:
            return response
        hint = {401: f"set {KEY}", 403: f"set {KEY}", 404: "give the address up to /v1, and --name as it is served"}
        mend = hint.get(response.status_code, "the server's own words are beside")
        raise UserError(f"{url}: status {response.status_code} ({_words(response)}); {mend}")

    def _wrong(self, response: requests.Response, due: str) -> UserError:
        return UserError(
            f"{response.url}: no {due} in the reply ({_words(response)}); is this an OpenAI-compatible chat server?"
        )


def ask(server: Server, questions: pd.DataFrame, keep: Path, concurrency: int) -> Served:
    """Ask a server every question.

    Parameters
    ----------
    questions : columns of `records.QUESTION`.
    keep : folder of replies, one file a server and model; a run that was cut off asks only what it has no reply to.
    concurrency : requests at a time.

    Raises
    ------
    UserError
        The server can't be reached, keeps failing, or answers in another form; not one reply could be read.
    """
    turns = [[(f"{INSTRUCTION}\n{q['context']}", user) for user in spoken(q)] for _, q in questions.iterrows()]
    replies = _replies(server, [turn for own in turns for turn in own], keep, concurrency)
    rows, said, lost, count = [], False, 0, sum(map(len, turns))
    for (_, question), asked in zip(questions.iterrows(), turns, strict=True):
        own = [replies[_key(*turn)] for turn in asked]
        got = read(question, own)
        said, lost = said or got.said, lost + got.lost
        rows.append((question["id"], got.p, sum(r.tokens for r in own), sum(r.seconds for r in own)))
    if count and lost == count:
        raise UserError(
            f"{server.url}: none of {count} replies names an option or a number, the last says {own[-1].text[:80]!r}"
        )
    return Served(pd.DataFrame(rows, columns=ANSWER.names), said, count, lost)


def _replies(server: Server, turns: Sequence[Turn], keep: Path, concurrency: int) -> dict[str, Reply]:
    """The reply to each turn, by its key: those on disk, the others asked for and put there."""
    file = keep / f"{hashlib.sha256(f'{server.url} {server.model}'.encode()).hexdigest()[:16]}.jsonl"
    known = _known(file)
    due = {key: turn for turn in turns if (key := _key(*turn)) not in known}
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()
    with file.open("a", encoding="utf-8") as out, ThreadPoolExecutor(concurrency) as pool:
        if file.stat().st_size:
            out.write("\n")  # what was cut off ends here
        jobs = {pool.submit(_one, server, key, turn, out, lock): key for key, turn in due.items()}
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), desc=server.model, unit="reply", disable=not jobs):
                known[jobs[job]] = job.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return known


def _one(server: Server, key: str, turn: Turn, out: TextIO, lock: threading.Lock) -> Reply:
    reply = server.reply(*turn)
    with lock:
        out.write(json.dumps({"key": key, **vars(reply)}) + "\n")
        out.flush()
    return reply


def _known(file: Path) -> dict[str, Reply]:
    """Replies on disk; a line that was cut off is asked again."""
    known = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        known[told["key"]] = Reply(told["text"], told["first"], told["tokens"], told["seconds"])
    return known


def _key(system: str, user: str) -> str:
    return hashlib.sha256(f"{system}\0{user}".encode()).hexdigest()[:24]


def _listed(listing: bool) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": LISTED} if listing else {}


def _words(response: requests.Response) -> str:
    return " ".join(response.text.split())[:160] or "empty"
