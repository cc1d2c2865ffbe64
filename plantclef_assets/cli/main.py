"""`plantclef`: one command over the entry points that `python -m` has, too.

What belongs here: the names of the subcommands. What does not: what they do (the other modules of this package).
"""

import sys
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        module: whose `main` runs it.
        help: one line.
        arguments: in front of the user's.
    """

    module: str
    help: str
    arguments: tuple[str, ...] = ()


COMMANDS = {
    "run": Command("run", "materialize the whole chain; finished work is not repeated"),
    "doctor": Command("doctor", "show the device, the sources, what is up to date, and what a run would do"),
    "plan": Command("plan", "count the work, in total and remaining, and estimate how long it takes"),
    "report": Command("report", "update the report and print where it is"),
    "lake": Command("lake", "run a SQL query over the lake's tables; without a query, list the tables"),
    "verify": Command("lake", "read artifacts completely and name the damaged ones", ("verify",)),
    "clean": Command("lake", "list files that the settings do not need; --delete deletes them", ("clean",)),
    "submit": Command("scoring", "turn a table of scores into a submission", ("submit",)),
    "score": Command("scoring", "score a submission against ground truth", ("score",)),
    "download": Command("ingest", "download published files in parallel, resumable and checksummed", ("download",)),
    "published": Command("ingest", "list the files that the organisers publish", ("published",)),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit status; 2 where there is no such subcommand."""
    given = sys.argv[1:] if arguments is None else arguments
    name = given[0] if given else "--help"
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name not in COMMANDS:
        print(f"plantclef: there is no command '{name}'.\n\n{_usage()}", file=sys.stderr)
        return 2
    command = COMMANDS[name]
    # A module with subcommands adds their names itself.
    program = "plantclef" if command.arguments else f"plantclef {command.module}"
    module = import_module(f"plantclef_assets.cli.{command.module}")
    return module.main([*command.arguments, *given[1:]], prog=program)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: plantclef COMMAND …",
            "",
            *lines,
            "",
            "`plantclef COMMAND --help` describes its options. Settings are PLANTCLEF_… variables and the profile.",
        ]
    )
