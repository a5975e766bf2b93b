"""The words of `twinforge conformal`, with examples that run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMON = """\
scores are arrays in a .npz or columns of a .parquet (list columns may differ in length), by these names:

  choice    probabilities (n, k), NaN for absent options; labels (n,) the truth's index
            methods lac (smallest), aps, raps (sized by doubt), top-k
  number    truth (n,) and lower, upper (cqr); median (split); median, scale (normalised); or mass (n, m), grid (m,)
            (cqr, density). A horizon: (n, h) for each, then the whole path is covered
  entities  a row a candidate: query, score, gold; gold_total (queries,) counts gold that was not retrieved too
            methods any, all: of a query's gold that the set must hold
  text      a row a claim: query, score, supported; or a row a sample, in order: query, score, correct [, similarity]
            methods claims; first-k, max, sum
  risk      confidence (n,), correct (n,): answer where at most --risk of all rows are answered and wrong
  online    prediction, truth (t,); or lower, upper, truth; or probabilities, labels: in order, NaN or -1 where the truth
            is never known; alarm (t,) resets. methods aci, dtaci, pid

choice and number also take: the column of --group, for a promise in every group; weight (n,), likelihood ratios of a known
shift. cluster (n,) says which rows depend on each other (choice, number, risk, and every report).
"""
_NUMPY = "import numpy as np; r = np.random.default_rng"
EXAMPLES = f"""\
examples (each line runs as it stands):

  python -c "{_NUMPY}(0); p = r.dirichlet(np.ones(5), 4000); y = (p.cumsum(1) > r.random((4000, 1))).argmax(1); g = y % 2; [np.savez(f, probabilities=p[i], labels=y[i], site=g[i]) for f, i in (('c.npz', slice(2000)), ('d.npz', slice(2000, None)))]"
  twinforge conformal calibrate c.npz --kind choice --method lac --alpha 0.1 -o choice.json
  twinforge conformal calibrate c.npz --kind choice --method aps --group site -o site.json
  twinforge conformal predict choice.json d.npz -o sets.npz
  twinforge conformal report choice.json d.npz
  twinforge conformal report site.json d.npz

  python -c "{_NUMPY}(1); m, s = r.normal(size=4000), r.uniform(1, 3, 4000); y = m + s * r.normal(size=4000); [np.savez(f, lower=(m - s)[i], median=m[i], upper=(m + s)[i], scale=s[i], truth=y[i]) for f, i in (('c.npz', slice(2000)), ('d.npz', slice(2000, None)))]"
  twinforge conformal calibrate c.npz --kind number --alpha 0.1 -o number.json
  twinforge conformal calibrate c.npz --kind number --method normalised --side upper -o bound.json
  twinforge conformal report number.json d.npz
  twinforge conformal predict bound.json d.npz -o bounds.npz

  python -c "{_NUMPY}(2); q = np.repeat(np.arange(500), 20); g = r.random(10000) < .15; t = np.bincount(q, g).astype(int) + (r.random(500) < .02); s = g + r.normal(size=10000); np.savez('c.npz', query=q, score=s, gold=g, gold_total=np.maximum(t, 1))"
  twinforge conformal calibrate c.npz --kind entities --cover any --alpha 0.2 -o entities.json
  twinforge conformal predict entities.json c.npz -o keep.npz

  python -c "{_NUMPY}(3); q = np.repeat(np.arange(400), 8); k = r.random(3200) < .7; s = k + r.normal(size=3200); np.savez('c.npz', query=q, score=s, supported=k); np.savez('d.npz', query=q, score=s, correct=k)"
  twinforge conformal calibrate c.npz --kind text --alpha 0.1 -o claims.json
  twinforge conformal calibrate d.npz --kind text --method max --alpha 0.2 --delta 0.1 -o samples.json

  python -c "{_NUMPY}(4); c = r.random(4000); ok = r.random(4000) < .6 + .4 * c; [np.savez(f, confidence=c[i], correct=ok[i]) for f, i in (('c.npz', slice(2000)), ('d.npz', slice(2000, None)))]"
  twinforge conformal calibrate c.npz --kind risk --risk 0.05 --delta 0.1 -o risk.json
  twinforge conformal report risk.json d.npz

  python -c "{_NUMPY}(5); s = 1 + np.arange(4000) / 1000; y = s * r.normal(size=4000); [np.savez(f, prediction=0 * y[i], truth=y[i]) for f, i in (('c.npz', slice(1000)), ('d.npz', slice(1000, None)))]"
  twinforge conformal calibrate c.npz --kind online --method aci --alpha 0.1 -o online.json
  twinforge conformal report online.json d.npz

exit codes: 0 done, 1 coverage too low (report), 2 something to mend (said in one line)
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of `twinforge conformal`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[Any], int], words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=words, description=f"{words[0].upper()}{words[1:]}.\n\n{COMMON}", epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(run=run)
        return added

    one = command("calibrate", _calibrate, "find the threshold that keeps a promise, from answers whose truth is known")
    one.add_argument("scores", metavar="SCORES", type=Path, help="a .npz or .parquet file")
    one.add_argument("--kind", required=True, help="choice, number, entities, text, risk or online")
    one.add_argument("--method", default="", help="see above (default: the kind's first; number from a mass: cqr)")
    one.add_argument("--alpha", type=float, default=0.1, help="share of sets that may miss the truth (default: 0.1)")
    one.add_argument("--group", metavar="NAME", help="choice, number: column of groups that each get the promise")
    one.add_argument("--side", choices=("both", "lower", "upper"), default="both", help="number: one-sided bounds")
    one.add_argument("--cover", choices=("any", "all"), default="any", help="entities: gold to hold (default: any)")
    one.add_argument("--risk", type=float, default=0.05, help="risk: share answered and wrong (default: 0.05)")
    one.add_argument("--delta", type=float, default=0.1, help="risk, samples: chance that it fails (default: 0.1)")
    one.add_argument("--delay", type=int, default=0, help="online: steps until a truth is known (default: 0)")
    one.add_argument("--plain", action="store_true", help="choice: no random share of the last option; larger sets")
    one.add_argument("--seed", type=int, default=0, help="of that random share (default: 0)")
    one.add_argument("-o", "--out", metavar="CAL.json", type=Path, required=True, help="file to write")

    one = command("predict", _predict, "write the sets of new answers")
    one.add_argument("calibration", metavar="CAL.json", type=Path)
    one.add_argument("scores", metavar="SCORES", type=Path, help="as for calibrate; truths are not needed")
    one.add_argument("-o", "--out", metavar="SETS.npz", type=Path, required=True, help="file to write")

    one = command("report", _report, "hold the promise against new truths; exit 1 where coverage is too low")
    one.add_argument("calibration", metavar="CAL.json", type=Path)
    one.add_argument("scores", metavar="SCORES", type=Path, help="as for calibrate, of rows that didn't calibrate")


def _calibrate(arguments: argparse.Namespace) -> int:
    from twinforge.conformal.command import calibrate
    from twinforge.conformal.kinds import Options

    a = arguments
    options = Options(a.alpha, a.method, a.group, a.side, a.cover, a.risk, a.delta, a.delay, a.seed, a.plain)
    print(calibrate(a.scores, a.kind, options, a.out))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from twinforge.conformal.command import predict

    print(predict(arguments.calibration, arguments.scores, arguments.out))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from twinforge.conformal.command import judge, lines

    rows, parts, heading = judge(arguments.calibration, arguments.scores)
    print("\n".join(lines(rows, parts, heading)))
    return 0 if all(row.ok for row in rows) else 1
