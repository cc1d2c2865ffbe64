"""Launching: commands that are refused since Dagster itself would fail with a traceback or do nothing."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

import click

from plantclef_assets.orchestration.declaration import Graph
from plantclef_assets.settings import Settings


def refuse_command(settings: Settings, graph: Graph) -> None:
    """Refuse assets and partitions on the command line that cannot be materialized as asked.

    Raises:
        click.ClickException: the definitions are loaded by such a command; it ends with the message alone.
    """
    command = click.get_current_context(silent=True)
    if command is None or "partition_range" not in command.params:
        return
    selection = command.params.get("select") or command.params.get("assets") or ""
    plain = [name.strip() for name in selection.split(",") if re.fullmatch(r"\s*\w+\s*", name)]
    for name in plain:
        if name not in graph.assets:
            close = get_close_matches(name, graph.assets, n=1)
            hint = f"; did you mean {close[0]}?" if close else " under these settings."
            raise click.ClickException(f"there is no asset {name}{hint}")
    partitioned = {name: family.keys for name in plain if (family := graph.assets[name].family)}
    family = next(iter(partitioned.values()), None)
    keys = command.params.get("partition_range")
    if keys and settings.shards_per_run:
        raise click.ClickException(
            f"PLANTCLEF_SHARDS_PER_RUN: {settings.shards_per_run} cuts backfills into runs that a daemon launches, but "
            "a range on the command line is one run; unset it for this command, or launch the range in the UI."
        )
    if family and keys and keys.count("...") == 1:
        first, last = keys.split("...")
        _require_key(first, family, "--partition-range")
        _require_key(last, family, "--partition-range")
        if family.index(first) > family.index(last):
            raise click.ClickException(f"--partition-range: {first} comes after {last}; give {last}...{first}")
    elif family and command.params.get("partition"):
        _require_key(command.params["partition"], family, "--partition")
    elif family and not keys:
        name = next(iter(partitioned))
        raise click.ClickException(f"{name} has partitions; add --partition-range {family[0]}...{family[-1]}")


def _require_key(key: str, family: Sequence[str], option: str) -> None:
    if key not in family:
        raise click.ClickException(f"{option}: there is no partition '{key}'; they are {family[0]} to {family[-1]}.")
