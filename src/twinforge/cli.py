"""The command line, `twinforge COMMAND ...`: each command is one call into the library, imported when it is chosen."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from twinforge import __version__
from twinforge.conformal import arguments as conformal
from twinforge.errors import UserError
from twinforge.help import ASK, COMPARE, EVALUATE, EXAMPLES, GATE, PREFLIGHT

Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `twinforge` command."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="twinforge",
        description="An open language model as the digital twin of a critical-infrastructure sector.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"twinforge {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], words: str, epilog: str = ""
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=words, description=words[0].upper() + words[1:] + ".", epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(run=run)
        return added

    one = command("check", _check, "list every mistake in a recipe, with file, line, value and mend")
    one.add_argument("file", help="a recipe that lies anywhere, or a sector's name, e.g. energy")
    one.add_argument("--profile", help="cpu, gpu or cluster (default: what params.yaml says, or cpu)")

    one = command(
        "preflight", _preflight, "what training would read and take; exit 1 if it would be refused", PREFLIGHT
    )
    one.add_argument("file", metavar="RECIPE", help="a recipe's file, or a sector's name, e.g. energy")
    one.add_argument("--profile", help="cpu, gpu or cluster (default: what params.yaml says, or cpu)")

    one = _of_twin(command("verify", _verify, "hold every file of a twin against its manifest"), base=False)

    one = _of_twin(command("ask", _ask, "answer a question in your own words, with a guaranteed set", ASK))
    one.add_argument("question", nargs="?", help="in your own words; --questions shows what it knows")
    one.add_argument(
        "--state", metavar="ID|FILE", default="1", help="a stored state (see --states) or a file (default: 1)"
    )
    one.add_argument("--states", action="store_true", help="list the stored states")
    one.add_argument("--questions", action="store_true", help="list what can be asked, one example each")

    one = _of_twin(command("demo", _demo, "answer the stored questions, the simulator's truth beside each"))

    one = _of_twin(command("export", _export, "write what other tools read: the merged model, its questions as tasks"))
    one.add_argument("--merged", metavar="OUT", type=Path, help="folder for the language model, adapter merged in")
    one.add_argument(
        "--tasks", metavar="OUT", type=Path,
        help="folder for lm-evaluation-harness tasks of the curated test questions; then: lm_eval --include_path OUT --tasks "
        "twinforge_SECTOR --apply_chat_template --model hf --model_args pretrained=...",
    )  # fmt: skip

    one = _of_twin(
        command("publish", _publish, "hand on a twin that passed its gate: to the Hub, as a Git tag, or both"),
        base=False,
    )
    one.add_argument("--to", metavar="OWNER/NAME", help="repository on the Hugging Face Hub (private when it is new)")
    one.add_argument(
        "--tag", metavar="VERSION", help="e.g. v1.0.0: tags today's commit SECTOR@VERSION, as GTO reads it"
    )

    one = command("gate", _gate, "no worse than the released answers, and within its bars? exit 1 if not", GATE)
    one.add_argument("sector", nargs="?", default="energy", help="default: energy")
    one.add_argument("--accept", action="store_true", help="make today's answers the released ones")

    one = command("evaluate", _evaluate, "score any model's answers, from a file or a running server", EVALUATE)
    source = one.add_mutually_exclusive_group(required=True)
    source.add_argument("--answers", metavar="FILE", type=Path, help="predictions, .parquet or .jsonl")
    source.add_argument("--model", metavar="URL", help="an OpenAI-compatible server, e.g. http://localhost:8000/v1")
    one.add_argument(
        "--suite", metavar="NAME", default="quality", help="quality, robustness or hallucination (default: quality)"
    )
    one.add_argument("--sector", default="energy", help="default: energy")
    served = one.add_argument_group("with --model")
    served.add_argument("--name", help="of the model there (default: the only one it serves)")
    served.add_argument("--split", choices=("test", "shift"), default="test", help="default: test")
    served.add_argument(
        "--limit", metavar="N", type=int, help="about so many questions, of whole states (default: all)"
    )
    served.add_argument("--concurrency", metavar="N", type=int, default=8, help="requests at a time (default: 8)")

    one = command("compare", _compare, "two twins on the test questions both answered, paired", COMPARE)
    one.add_argument("first", metavar="A", type=Path, help="a twin's folder, or a parquet file of released answers")
    one.add_argument("second", metavar="B", type=Path, help="the one that is held against it")

    conformal.add(commands.add_parser("conformal", help="guarantees for any model's answers, files in and files out"))
    return parser


def _of_twin(parser: argparse.ArgumentParser, base: bool = True) -> argparse.ArgumentParser:
    parser.add_argument("twin", metavar="DIR", type=Path, help="a twin's folder, e.g. twins/energy")
    if base:
        parser.add_argument("--base", metavar="FOLDER", help="where the base model is, if not what the recipe names")
    return parser


def _check(arguments: argparse.Namespace) -> int:
    from twinforge.recipe import check

    sys.path.insert(0, str(Path.cwd()))  # a recipe may name a sector module of one's own
    mistakes = check(arguments.file, profile=arguments.profile)
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    if not mistakes:
        print(f"{arguments.file}: no mistakes")
    return 2 if mistakes else 0


def _preflight(arguments: argparse.Namespace) -> int:
    return int(_of_project("pipelines.preflight", "preflight").look(arguments.file, arguments.profile))


def _verify(arguments: argparse.Namespace) -> int:
    from twinforge.manifest import verify

    manifest = verify(arguments.twin)
    base = manifest.base
    print(f"{arguments.twin}: whole, {len(manifest.files)} files as in the manifest")
    weights, code = str(base["sha256"])[:12], str(manifest.code["revision"])[:12]
    print(f"sector {manifest.sector}; base {base['id']}, weights {weights}...; code {code}")
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    _quiet()
    from twinforge.artifact import Twin
    from twinforge.reasoning.ask import ask
    from twinforge.reasoning.brief import brief
    from twinforge.reasoning.show import show_brief, show_questions, show_reply, show_states

    twin = Twin.open(arguments.twin, arguments.base)
    if arguments.states:
        show_states(twin)
    elif arguments.questions or not arguments.question:
        show_questions(twin)
    elif report := brief(twin, arguments.question, arguments.state):
        show_brief(report)
    else:
        show_reply(ask(twin, arguments.question, arguments.state))
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    _quiet()
    from twinforge.artifact import Twin
    from twinforge.reasoning.ask import demo
    from twinforge.reasoning.show import show_demo

    show_demo(demo(Twin.open(arguments.twin, arguments.base)))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    _quiet()
    from twinforge.artifact import Twin
    from twinforge.export import export_merged

    if not (arguments.merged or arguments.tasks):
        raise UserError("export: say what: --merged OUT, --tasks OUT, or both")
    if arguments.tasks:
        _export_tasks(arguments.twin, arguments.tasks)
    if arguments.merged:
        found = export_merged(Twin.open(arguments.twin, arguments.base), arguments.merged)
        said = ", ".join(f"{kind} {each.nats:.1e} ({each.questions} questions)" for kind, each in found.items())
        print(
            f"{arguments.merged}: merged model; log-probabilities differ from the adapter's by at most, in nats: {said}"
        )
    return 0


def _export_tasks(twin: Path, out: Path) -> None:
    from twinforge.files import read_table
    from twinforge.manifest import verify
    from twinforge.records import QUESTION
    from twinforge.tasks import export_tasks

    sector = verify(twin).sector
    count = export_tasks(read_table(Path("data/curated") / sector / "test.parquet", QUESTION), sector, out)
    kept, sets = count["choice"] + count["number"], count["entities"]
    print(
        f"{out}: task twinforge_{sector}, {kept} questions; {sets} that ask for sets have no form there and are left out"
    )


def _publish(arguments: argparse.Namespace) -> int:
    _quiet()
    from twinforge.manifest import verify
    from twinforge.registry import publish, register

    if not (arguments.to or arguments.tag):
        raise UserError("publish: say where: --to OWNER/NAME, --tag VERSION, or both")
    sector = verify(arguments.twin).sector
    report = Path("reports") / sector / "gate.json"
    if arguments.to:
        print(publish(arguments.twin, arguments.to, report))
    if arguments.tag:
        print(register(sector, arguments.tag, report))
    return 0


def _gate(arguments: argparse.Namespace) -> int:
    stage = _of_project("pipelines.gate", "gate")
    if arguments.accept:
        files = ", ".join(map(str, stage.accept(arguments.sector)))
        print(f"{files}: today's answers are the released ones now; commit them")
        return 0
    return int(stage.gate(arguments.sector))


def _evaluate(arguments: argparse.Namespace) -> int:
    stage = _of_project("pipelines.score", "evaluate")
    if arguments.answers:
        stage.score_file(arguments.answers, arguments.suite, arguments.sector)
        return 0
    if arguments.suite != "quality":
        raise UserError(f"--suite {arguments.suite}: a server is asked the questions of quality; leave --suite out")
    one = arguments
    stage.score_server(one.model, one.name, one.sector, one.split, one.limit, one.concurrency)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    _of_project("eval.compare", "compare").show_comparison(arguments.first, arguments.second)
    return 0


def _of_project(module: str, command: str) -> Any:
    """A module of the project's folder, which must be the current one."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"no module {error.name!r} here: run `twinforge {command}` in the project's folder") from error


def _quiet() -> None:
    """Keep the libraries' progress bars and notices off an answer's page; before they are imported."""
    for name, value in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("TQDM_DISABLE", "1"),
    ):
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)


if __name__ == "__main__":
    main()
