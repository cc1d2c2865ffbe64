"""The reference pages that are generated from the code: `python -m tools.reference assets > docs/assets.md`.

Pages: assets, and commands (docs/commands.md). docs/settings.md is printed by `python -m plantclef_assets.settings`.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa

from plantclef_assets.cli.main import COMMANDS
from plantclef_assets.cli.main import main as plantclef
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.table_specs import VECTOR
from plantclef_assets.orchestration.check_runner import checks_of
from plantclef_assets.orchestration.declaration import Asset, Graph
from plantclef_assets.settings import load_settings

_GENERATED = "<!-- Generated from the code by `python -m tools.reference {name} > docs/{name}.md`. -->\n"
_ASSETS = """
# Assets

All assets of the graph, in the order in which they are made, with the settings of the demo and an inbox. The section of
an asset has its inputs, files, columns and checks; [checks by name](#checks-by-name) are at the end. Without fine-tuned
weights, the assets named `finetuned_…` do not exist. Without plots, `plot_manifest` and everything downstream of it do
not exist. Tilings and feature sets in descriptions are those of the demo.

| asset | group | partitions | contents |
|---|---|---|---|"""
_FAMILIES = {
    "training": "shards of training photographs",
    "plots": "shards of plots",
    "validation_plots": "shards of validation plots",
    "inbox": "deliveries of the inbox",
    "feature_sets": "names of classifiers: a feature set, or one with a suffix",
    "runs": "names of runs",
}
_COMMANDS = """
# Commands

The command `plantclef`, its `python -m` entry points, and the Make targets. Commands read the settings from
`PLANTCLEF_…` variables and from the profile: see [settings](settings.md).

| command | also | what it does |
|---|---|---|"""
_ENTRY_POINTS = {"run": "plantclef_assets", "lake": "plantclef_assets.lake", "scoring": "plantclef_assets.scoring"} | {
    "ingest": "plantclef_assets.ingest"
}
_TARGET = re.compile(r"^(?P<name>[a-z-]+):.*## (?P<text>.*)$", re.MULTILINE)
_WIDTH = "100"
_LISTED = 8


def assets_page() -> str:
    """Return the reference of the assets as Markdown."""
    # Nothing is read from an inbox to declare its assets.
    graph = build_graph(load_settings(profile="demo").model_copy(update={"inbox": "inbox"}))
    return _page("assets", _asset_lines(graph))


def commands_page() -> str:
    """Return the reference of the commands and Make targets as Markdown."""
    return _page("commands", _command_lines())


PAGES = {"assets": assets_page, "commands": commands_page}


def _page(name: str, lines: Iterator[str]) -> str:
    return _GENERATED.format(name=name) + "\n".join(lines) + "\n"


def _asset_lines(graph: Graph) -> Iterator[str]:
    yield _ASSETS
    for asset in graph.assets.values():
        family = f"`{asset.family.name}`" if asset.family else ""
        yield f"| [`{asset.name}`](#{asset.name}) | {asset.group} | {family} | {_one_line(asset.description)} |"
    yield "\nPartition families:\n\n| family | its keys are |\n|---|---|"
    yield from (f"| `{name}` | {words} |" for name, words in _FAMILIES.items())
    for asset in graph.assets.values():
        yield from _section(asset)
    yield "\n## Checks by name\n\n| check | what it ensures | assets |\n|---|---|---|"
    yield from _checks_by_name(graph)


def _section(asset: Asset) -> Iterator[str]:
    yield f"\n## {asset.name}\n\n{_one_line(asset.description)}\n"
    inputs = ", ".join(f"[`{one.asset}`](#{one.asset})" for one in asset.inputs)
    yield f"- Inputs: {inputs or 'none'}"
    yield f"- Files: {', '.join(f'`{name}`' for name in _files(asset))}"
    yield f"- Jobs: {', '.join(f'`{job.name}`' for job in asset.jobs)}"
    if asset.extra:
        yield f"- Needs the extra `{asset.extra.name}`"
    if asset.name in TABLES:
        spec = TABLES[asset.name]
        yield f"- A row is identified by {', '.join(f'`{name}`' for name in spec.key)}\n"
        yield "| column | type | contents |\n|---|---|---|"
        yield from (f"| `{one.name}` | {_type(one)} | {_described(one)} |" for one in spec.columns)
    yield "\n| check | blocks | what it ensures |\n|---|---|---|"
    for check in checks_of(asset):
        yield f"| `{check.name}` | {'yes' if check.blocking else ''} | {_one_line(check.description)} |"


def _files(asset: Asset) -> list[str]:
    """Return the names of the files of an artifact below the lake, sidecars included."""
    key = {None: None, "runs": "<run>", "feature_sets": "<feature set>"}.get(
        asset.family and asset.family.name, "<shard>"
    )
    artifact = asset.artifact(key)
    with tempfile.TemporaryDirectory() as folder:
        beside = [Path(str(path)).relative_to(folder) for path in asset.sidecars(Lake(folder), artifact)]
    return [artifact.file, *map(str, beside)]


def _checks_by_name(graph: Graph) -> Iterator[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for asset in graph.assets.values():
        for check in checks_of(asset):
            words = "No two rows have the same key." if check.name == "unique_keys" else _one_line(check.description)
            found.setdefault((check.name, words), []).append(f"[`{asset.name}`](#{asset.name})")
    for (name, words), assets in sorted(found.items()):
        yield f"| `{name}` | {words} | {', '.join(assets) if len(assets) <= _LISTED else f'{len(assets)} assets'} |"


def _type(column: pa.Field) -> str:
    kind = (
        "vector of float32"
        if column.type == VECTOR
        else str(column.type).replace("element: ", "").replace("item: ", "")
    )
    return kind.replace("<", "&lt;") + (", may be null" if column.nullable else "")


def _described(column: pa.Field) -> str:
    return (column.metadata or {}).get(b"description", b"").decode().replace("|", "&#124;")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "&#124;")


def _command_lines() -> Iterator[str]:
    yield _COMMANDS
    for name, command in COMMANDS.items():
        module = _ENTRY_POINTS.get(command.module)
        also = f"`{' '.join(['python -m', module, *command.arguments])}`" if module else ""
        yield f"| [`plantclef {name}`](#plantclef-{name}) | {also} | {command.help} |"
    yield "\n| Make target | what it does |\n|---|---|"
    targets = (Path(__file__).resolve().parents[1] / "Makefile").read_text(encoding="utf-8")
    yield from (f"| `make {match['name']}` | {match['text']} |" for match in _TARGET.finditer(targets))
    for name in COMMANDS:
        yield f"\n## plantclef {name}\n\n```text\n{_help(name)}```"


def _help(name: str) -> str:
    """Return what a command prints with --help."""
    printed = io.StringIO()
    with patch.dict(os.environ, COLUMNS=_WIDTH), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        plantclef([name, "--help"])
    return printed.getvalue()


if __name__ == "__main__":
    if sys.argv[1:] not in [[name] for name in PAGES]:
        sys.exit(f"usage: python -m tools.reference {'|'.join(PAGES)}")
    sys.stdout.write(PAGES[sys.argv[1]]())
