"""How a lake is damaged: files are rewritten with other rows or figures, and keep the provenance that they had."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.schemas import DEMO_SURVEY, TABLES
from plantclef_assets.lake.store import Artifact, Lake, Record, record_metadata
from plantclef_assets.lake.table_specs import VECTOR, TableSpec
from plantclef_assets.lake.tables import write_table
from plantclef_assets.models.classifier_files import read_classifier, write_classifier
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import DEMO_SOURCES

OwnLake = Callable[..., Settings]
Change = Callable[[pa.Table], pa.Table]

_COUNTED = ("rows", "nulls", "species", "learn_tags", "vectors", "mean_first_probability")
"""Figures that the writer counts anew; the others are kept, as if the code that made the file had a fault."""


def rewrite(
    settings: Settings,
    artifact: Artifact,
    change: Change = lambda table: table,
    *,
    figures: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a parquet artifact again with changed rows, figures or provenance."""
    lake = Lake(settings.lake)
    record = record_of(settings, artifact)
    table = change(lake.read(artifact))
    widths = {field.name: field.type.list_size for field in table.schema if pa.types.is_fixed_size_list(field.type)}
    fields = [field.with_type(VECTOR) if field.name in widths else field for field in table.schema]
    key = tuple(name for name in TABLES[artifact.asset].key if name in table.column_names)
    labelled = "species_id" in TABLES[artifact.asset].columns.names  # else its maker counts species in its own way
    counted = {name for name in _COUNTED if labelled or name != "species"}
    kept = {
        name: value
        for name, value in record.statistics.items()
        if name not in counted and not name.startswith("probabilities_")
    }
    spec, origin = TableSpec(pa.schema(fields), key), {**record.provenance, **(provenance or {})}
    with write_table(lake, artifact, spec, origin, widths=widths, enforced=False) as writer:
        for batch in table.to_batches():
            writer.write(batch)
        writer.statistics = kept | dict(figures or {})


def record_of(settings: Settings, artifact: Artifact) -> Record:
    """Give the record of an artifact that exists."""
    record = Lake(settings.lake).record(artifact)
    assert record is not None, artifact
    return record


def with_value(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    """Give a table with another value in one cell."""
    values = table.column(column).to_pylist()
    values[row] = value
    return with_column(table, column, pa.array(values, table.schema.field(column).type))


def with_column(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    """Give a table with another column in the place of one."""
    index = table.schema.get_field_index(column)
    return table.set_column(index, table.schema.field(index).with_type(values.type), values)


def without_last_row(table: pa.Table) -> pa.Table:
    """Give a table without its last row."""
    return table.slice(0, table.num_rows - 1)


def with_first_key_twice(key: tuple[str, ...]) -> Change:
    """Give the last row of a table the key of its first."""

    def change(table: pa.Table) -> pa.Table:
        for name in key:
            table = with_value(table, name, table.num_rows - 1, table.column(name)[0].as_py())
        return table

    return change


def restamp_classifier(
    settings: Settings, feature_set: str, *, figures: Mapping[str, Any] | None = None, **provenance: Any
) -> None:
    """Write a classifier again with other figures or provenance in its header."""
    artifact = Artifact("classifier", feature_set, "safetensors")
    path, record = Lake(settings.lake).path(artifact), record_of(settings, artifact)
    stamp = record_metadata(
        {**record.provenance, **provenance}, record.fingerprint, {**record.statistics, **(figures or {})}
    )
    write_classifier(path, read_classifier(path), stamp)


def rewrite_backbone(
    settings: Settings,
    asset: str,
    change: Callable[[dict[str, Any]], None] = lambda tensors: None,
    *,
    figures: Mapping[str, Any] | None = None,
    **provenance: Any,
) -> None:
    """Write a backbone again with changed tensors, figures or provenance."""
    artifact = Artifact(asset, suffix="safetensors")
    path, record = Lake(settings.lake).path(artifact), record_of(settings, artifact)
    tensors = load_file(path)
    change(tensors)
    with safe_open(path, framework="pt") as file:
        ((name, text),) = file.metadata().items()
    stamp = record_metadata(
        {**record.provenance, **provenance}, record.fingerprint, {**record.statistics, **(figures or {})}
    )
    save_file(tensors, path, metadata={name: json.dumps(json.loads(text) | {"metadata": stamp})})


def with_demo_survey(own_lake: OwnLake, survey: Path) -> Settings:
    """Give a lake that holds a demo survey with few files, as if it had been drawn."""
    settings = own_lake(**DEMO_SOURCES, inbox=None, replace_sources=True)
    folder = Path(settings.lake) / "demo_survey"
    folder.mkdir()
    (folder / "metadata.csv").write_bytes((survey / "metadata.csv").read_bytes())
    lake, artifact = Lake(settings.lake), Artifact("demo_survey")
    provenance = Lineage(lake, build_graph(settings).recipes).expected(artifact, with_sources=True)
    with write_table(lake, artifact, DEMO_SURVEY, provenance) as table:
        table.write_rows(source=["images/train/1/a.jpg", "images/val/1/b.jpg", "plots/c.jpg"], bytes=[10, 20, 30])
        table.statistics = {"rows_in": 3, "quarantined": 0}
    return settings
