"""Results of the trials by seed, and the table of docs/reliability.md that is generated from them."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tools.chaos.plan import COMMANDS
from tools.chaos.verdicts import Verdict

RESULTS = Path(__file__).with_name("results.json")
COUNTS = ("trials", "kills", "lost", "wrong", "recovered")
_GAPS = (
    (
        "power failure, cache of the disk lost",
        "files and folders are flushed at publication, which tests see; no trial",
    ),
    ("network file systems (NFS, SMB)", "rename and hard link are taken to be atomic, as on local file systems"),
    ("clock of the whole machine", "only the clock of the process was moved; times of files are the kernel's"),
    ("GPU lost, CUDA out of memory", "trials embed on the CPU"),
    ("executors of Spark lost", "tests kill executors (`-m spark`); they are not in this table"),
    ("kills of the demo and of the daemon", "tests kill both; they are not in this table"),
    ("photograph mended after it was quarantined", "it stays in quarantine until its shard is deleted; a check warns"),
    ("another program writes into the lake", "`plantclef verify` finds it; nothing prevents it"),
    ("a bit flips in memory", "checksums are taken after it, so it is published"),
    ("Windows and macOS", "not tried"),
)
_TEXT = """# Reliability

Faults that were inflicted on real makers and commands over a tiny survey, and what was left of the lake afterwards.
`make chaos SEED=5` runs those of a seed in at most 20 minutes and adds its counts to `tools/chaos/results.json`.
This page is generated from that file by `python -m tools.chaos --table > docs/reliability.md`.

A trial removes the artifacts of one step from a complete lake and makes them again under the fault. Every visible
file is then compared with the undisturbed lake. A restart without the fault makes what is missing, what it made is
read completely (`verify`), rows read must equal rows written plus quarantined rows, leftovers are deleted
(`clean`), and all files are compared again, byte for byte. Trials of a bucket and of downloads compare objects and
files in the same way.

- **kills**: processes that SIGKILL ended before they were done. Steps are killed three times in a row before the
  restart that may finish, whole commands up to ten times.
- **lost**: files that disappeared without having to be replaced, or that the restart did not make again.
- **wrong**: files that were visible with other bytes than the undisturbed ones, before or after the restart.
- **recovered**: trials after which the lake was the undisturbed one, with nothing left over.

The same seed chooses the same faults and moments. A moment is a file operation of the step, or a share of the time
that it computes undisturbed; for a whole command it is a number of files in the lake and up to half a second, so
some are killed while they start. Some seeds ran only some of the faults (`--only`). Trials that a seed had no time
for are missing.

{table}

{totals}

## Restarting

A restart is the same command again. Two faults need a hand first, which the trials give:

- A file of the lake that is damaged while its footer is intact counts as up to date. The step that reads it fails
  and names it, and so does `plantclef verify`. Delete it, as the message says.
- A photograph that was broken when it was read is in quarantine. After mending it, delete the file of its shard.

## Not covered

| fault | state |
|---|---|
{gaps}
"""


def add_result(results: dict[str, dict[str, dict[str, int]]], seed: int, fault: str, verdict: Verdict) -> None:
    """Add the verdict of one trial to the counts of its seed."""
    counts = results.setdefault(str(seed), {}).setdefault(fault, dict.fromkeys(COUNTS, 0))
    added = (1, verdict.kills, len(verdict.lost), len(verdict.wrong), int(verdict.recovered and not verdict.lost))
    for name, value in zip(COUNTS, added, strict=True):
        counts[name] += value


def load_results(path: Path = RESULTS) -> dict[str, dict[str, dict[str, int]]]:
    """Return the counts by seed and fault."""
    return json.loads(path.read_text()) if path.exists() else {}


def save_results(results: Mapping[str, Mapping[str, Mapping[str, int]]], path: Path = RESULTS) -> None:
    """Write the counts, one fault a line."""
    seeds = []
    for seed, faults in sorted(results.items(), key=lambda one: int(one[0])):
        lines = [f"  {json.dumps(name)}: {json.dumps(counts)}" for name, counts in sorted(faults.items())]
        seeds.append(f" {json.dumps(seed)}: {{\n" + ",\n".join(lines) + "\n }")
    path.write_text("{\n" + ",\n".join(seeds) + "\n}\n")


def totals(results: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Return the counts of each fault over all seeds."""
    summed: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for faults in results.values():
        for name, counts in faults.items():
            for count, value in counts.items():
                summed[name][count] += value
    return dict(sorted(summed.items()))


def page(results: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """Return docs/reliability.md."""
    by_fault = totals(results)
    rows = ["| fault | " + " | ".join(COUNTS) + " |", "|---|" + "---:|" * len(COUNTS)]
    rows += [
        f"| {name} | " + " | ".join(str(counts[one]) for one in COUNTS) + " |" for name, counts in by_fault.items()
    ]
    every = {one: sum(counts[one] for counts in by_fault.values()) for one in COUNTS}
    rows.append("| **all** | " + " | ".join(f"**{every[one]}**" for one in COUNTS) + " |")
    commands = by_fault.get(COMMANDS, {}).get("kills", 0)
    said = (
        f"{len(by_fault)} kinds of fault, {every['trials']} trials, {every['kills']} kills ({commands} of them of "
        f"whole command-line runs) over the seeds {', '.join(sorted(results, key=int))}: {every['lost']} files lost, "
        f"{every['wrong']} wrong."
    )
    gaps = "\n".join(f"| {fault} | {state} |" for fault, state in _GAPS)
    return _TEXT.format(table="\n".join(rows), totals=said, gaps=gaps)
