"""What `twinforge COMMAND --help` teaches below the options."""

from __future__ import annotations

EXAMPLES = """\
examples:
  twinforge check recipes/energy.yaml            every mistake of a recipe at once, nothing is started
  twinforge preflight recipes/energy.yaml        what training would take: time, memory, disk; does it fit?
  twinforge verify twins/energy                  is it whole? every byte against the manifest
  twinforge demo twins/energy                    ten stored questions, answered live, the truth beside each
  twinforge ask twins/energy --questions         what it can be asked
  twinforge ask twins/energy "What does L7 carry if L41 trips?"
  twinforge export twins/energy --merged OUT     a plain model folder for transformers, vLLM, lm-evaluation-harness
  twinforge export twins/energy --tasks OUT      its questions as tasks of lm-evaluation-harness
  twinforge publish twins/energy --tag v1.0.0    a version for others, if the gate was passed
  twinforge conformal calibrate --help           sets with a promise for any model's scores
  twinforge gate energy                          no worse than the released answers? exits 1 if it is
  twinforge evaluate --answers mine.jsonl        score any model's answers
  twinforge evaluate --model http://localhost:8000/v1   ask a running model, and score it
  twinforge compare twins/a twins/b              two twins, paired

exit codes: 0 done, 1 a verdict was negative, 2 something to mend (said in one line), 130 interrupted
"""
ASK = """\
examples:
  twinforge ask twins/energy --states            the states that come with the twin, by their id
  twinforge ask twins/energy --questions         one example of every question it was calibrated on
  twinforge ask twins/energy "If L41 trips, how loaded is L7?" --state 3
  twinforge ask twins/energy "If L41 trips, how loaded is L7?" --state readings.parquet
  twinforge ask twins/energy "If L41 trips, how loaded is L7?" --state state.json

a state from a file is either readings, a .parquet or .json table with the columns asset, quantity and value, or the
state as text: a .json object {"context": "..."}; from text only the language model answers, since experts need readings
"""
PREFLIGHT = """\
It counts what training would read, runs three steps of it (the largest trees first) and says what the whole would take:
time, memory, disk. It writes nothing. Run it in the project's folder, on the machine that is to train, after
`dvc repro curate@SECTOR`; the train stage does the same before it starts.

examples:
  twinforge preflight recipes/energy.yaml
  twinforge preflight energy --profile gpu

refused are: a state with a question longer than the model reads, a question that nothing is learnt from, the same question
with two truths, more memory or disk than there is, and kept lower states above compute.kept_gib; each line names the number
and the recipe's field to change

exit codes: 0 training could start, 1 it would be refused, 2 something to mend (said in one line)
"""
EVALUATE = """\
the file has a row a question: the column `question` (its id) and either
  answer    what is answered: an option, a number, nodes with commas between, or "unknown" to refuse
  p         the whole distribution: a number an option, value or candidate, and last that of the refusal
and, where you like, `unit` (it must be the question's), `tokens` and `seconds`

the questions stand in data/curated/SECTOR/test.parquet, those of the suite robustness in data/probes/SECTOR/questions.parquet;
robustness needs the answers to the same questions as they stood too (column `original`)

a server is asked the questions now, in the words that the tuned model reads, and only of the suite quality; its letters' first-token
probabilities are taken where it gives `top_logprobs`. A key is read from TWINFORGE_API_KEY. Its replies stay in .scratch/SECTOR/served/:
a run that was cut off goes on from there

examples:
  twinforge evaluate --answers mine.jsonl --suite quality --sector energy
  twinforge evaluate --answers mine.parquet --suite robustness
  twinforge evaluate --model http://localhost:8000/v1 --limit 100
"""
GATE = """\
Eight figures decide, at most (gate.measures and gate.bars of the recipe); all others are shown in the report.

  against the release   the same questions, paired: fails where today is worse by more than the margin, beyond chance
  against a bar         a fixed limit, whatever was released: fails where the whole 95 % interval lies beyond it
  coverage              of each skill's guaranteed sets: fails where it is below the band that agrees with the promise

  worse, missed, undefined, too low   fails
  unclear                             too few episodes to say: named, fails nothing
  not measured                        the suite did not run, or on too little: fails nothing, but --accept refuses

In a CI job the tables go to the job's summary too. What each bar is, and why: docs/gate.md

examples:
  twinforge gate energy                          after `dvc repro`: the verdict, table by table
  twinforge gate energy --accept                 after `make suites`: today's answers become eval/baselines/energy*.parquet

exit codes: 0 passed, 1 failed or not comparable, 2 something to mend (said in one line)
"""
COMPARE = """\
Each is a twin's folder, which holds its scores on the test questions (scores.parquet), or such a file alone. What B gains
on A is shown with a 95 % interval over whole episodes, and the smallest true gain or loss that these episodes would
have shown in four of five cases. Nothing is corrected for reading many rows.

examples:
  twinforge compare twins/energy-1 twins/energy-2
  twinforge compare eval/baselines/energy.parquet twins/energy
"""
