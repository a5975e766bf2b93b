"""The pipeline's stages, one module each: files in, library calls, files out. The paths stand here and nowhere else."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from twinforge.errors import UserError


@dataclass(frozen=True)
class Paths:
    """Where a sector's files lie, relative to the project's folder (`root`)."""

    sector: str
    root: Path = Path()

    def _at(self, top: str, *names: str) -> Path:
        return self.root.joinpath(*top.split("/"), self.sector, *names)

    def recipe(self, stage: str) -> Path:
        return self._at("data/recipe", f"{stage}.yaml")

    @property
    def lake(self) -> Path:
        return self._at("data/lake")

    @property
    def observations(self) -> Path:
        return self.lake / "observations"

    @property
    def outcomes(self) -> Path:
        return self.lake / "outcomes"

    @property
    def episodes(self) -> Path:
        return self.lake / "episodes.parquet"

    @property
    def knowledge(self) -> Path:
        return self.lake / "knowledge.parquet"

    @property
    def standards(self) -> Path:
        return self.lake / "standards.parquet"

    @property
    def curated(self) -> Path:
        return self._at("data/curated")

    def questions(self, split: str) -> Path:
        """Question table of `train`, `calibration`, `test` or `shift`."""
        return self.curated / f"{split}.parquet"

    def reports_of(self, split: str) -> Path:
        """Requests for reports of one split; no rows where the sector writes none."""
        return self.curated / "reports" / f"{split}.parquet"

    @property
    def backing(self) -> Path:
        """Which statements of reports are backed by which questions."""
        return self.curated / "backing" / "links.parquet"

    @property
    def backing_questions(self) -> Path:
        return self.curated / "backing" / "questions.parquet"

    @property
    def curate_report(self) -> Path:
        return self.curated / "report.json"

    @property
    def adapter(self) -> Path:
        return self._at("models", "adapter")

    @property
    def experts(self) -> Path:
        return self._at("models", "experts")

    def blind_experts(self, kept: str) -> Path:
        """Those of a twin of which only some dimensions are left, by their letters."""
        return self._at("models", "blind", kept)

    @property
    def training(self) -> Path:
        return self._at("models", "training.json")

    @property
    def learning(self) -> Path:
        """The learning curve as `dvc plots` draws it."""
        return self._at("reports", "learning.csv")

    @property
    def logs(self) -> Path:
        """TensorBoard's files, a folder a run: ignored by git and DVC, kept between runs."""
        return self._at("runs")

    @property
    def integration(self) -> Path:
        return self._at("models", "integration.json")

    @property
    def calibration(self) -> Path:
        return self._at("models", "calibration.json")

    @property
    def drift_reference(self) -> Path:
        return self._at("models", "drift_reference.json")

    @property
    def texts(self) -> Path:
        """Reports in free text and what they claim."""
        return self._at("data/texts")

    @property
    def written(self) -> Path:
        return self.texts / "texts.parquet"

    @property
    def claims(self) -> Path:
        return self.texts / "claims.parquet"

    def backing_answers(self, model: str) -> Path:
        """A model's answers to the questions that back reports."""
        return self.texts / "backing" / f"{model}.parquet"

    @property
    def drift(self) -> Path:
        """What the detectors made of calm and of known changes."""
        return self._at("data/drift")

    @property
    def drift_runs(self) -> Path:
        return self.drift / "runs.parquet"

    @property
    def drift_course(self) -> Path:
        return self.drift / "course.parquet"

    @property
    def answers(self) -> Path:
        return self._at("data/answers")

    def answers_of(self, model: str) -> Path:
        """Answer table of one model: `twin` is the integrated one, the others stand in `answers`."""
        return self.twin_answers if model == "twin" else self.answers / f"{model}.parquet"

    @property
    def probes(self) -> Path:
        return self._at("data/probes")

    @property
    def probe_questions(self) -> Path:
        """What suites ask beside the curated questions."""
        return self.probes / "questions.parquet"

    @property
    def probe_answers(self) -> Path:
        """The tuned language model's answers to them."""
        return self.probes / "llm.parquet"

    def probe_expert(self, model: str) -> Path:
        """An expert's answers to those in which it sees other signals than before."""
        return self.probes / f"{model}.parquet"

    @property
    def probe_general(self) -> Path:
        """How likely tuned and base model find each way to go on from texts of no sector."""
        return self.probes / "general.parquet"

    @property
    def rolled(self) -> Path:
        """What models said when they were fed their own answers."""
        return self._at("data/rolled")

    @property
    def rolled_answers(self) -> Path:
        return self.rolled / "rolled.parquet"

    @property
    def integrated(self) -> Path:
        return self._at("data/integrated")

    @property
    def twin_answers(self) -> Path:
        return self.integrated / "twin.parquet"

    @property
    def reports(self) -> Path:
        return self._at("reports")

    @property
    def metrics(self) -> Path:
        return self.reports / "metrics.json"

    @property
    def summary(self) -> Path:
        """The few figures that `dvc metrics` shows."""
        return self.reports / "summary.json"

    @property
    def suites(self) -> Path:
        return self.reports / "suites"

    @property
    def plots(self) -> Path:
        return self.reports / "plots"

    @property
    def gate(self) -> Path:
        return self.reports / "gate.json"

    @property
    def report(self) -> Path:
        return self.reports / "index.html"

    @property
    def artifact(self) -> Path:
        return self._at("twins")

    def study_rows(self, study: str) -> Path:
        """A row an answer of each variant of a study."""
        return self._at("data/studies", f"{study}.parquet")

    def study(self, study: str) -> Path:
        """What a study measured (in git); its plot lies beside it."""
        return self._at("reports/studies", f"{study}.json")

    @property
    def baselines(self) -> Path:
        """Released answers that the gate compares with (in git)."""
        return self._at("eval/baselines")

    @property
    def scratch(self) -> Path:
        """Checkpoints and other leftovers of a run: ignored by git and DVC, kept between runs."""
        return self._at(".scratch")


def run(main: Callable[[str], None]) -> None:
    """Command line of a stage: one SECTOR, one line for a user's mistake (exit 2), 130 when interrupted."""
    module = sys.modules["__main__"]
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines.{Path(getattr(module, '__file__', None) or 'stage').stem}",
        description=module.__doc__,
        epilog="Run from the project's folder. `dvc repro` runs the stages in order and only where something changed.",
    )
    parser.add_argument("sector", metavar="SECTOR", help="a sector with a recipe: recipes/SECTOR.yaml, e.g. energy")
    sector = parser.parse_args().sector
    _end_with_dvc()
    with told_in_one_line():
        main(sector)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End the command: one line for a user's mistake (exit 2), 130 when interrupted."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; run again to go on", file=sys.stderr)
        sys.exit(130)


def _end_with_dvc() -> None:
    """Under DVC: end at once when DVC is killed, so that no orphan writes beside the stage's next run (Linux)."""
    if "DVC_STAGE" not in os.environ or not hasattr(os, "pidfd_open"):
        return
    from pipelines.tidy import parent_dvc

    try:
        handle = os.pidfd_open(parent_dvc())
    except OSError:  # it is gone already
        sys.exit(1)

    def watch() -> None:
        select.select([handle], [], [])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
