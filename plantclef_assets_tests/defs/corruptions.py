"""Ways to corrupt a lake, each as some check has to find it; `corruption_cases.py` says which."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.lake.sidecars import SIDECARS, publish_sidecars
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.chain_runs import FIRST
from plantclef_assets_tests.defs.lake_corruption import (
    Change,
    OwnLake,
    record_of,
    restamp_classifier,
    rewrite,
    rewrite_backbone,
    with_column,
    with_demo_survey,
    with_value,
    without_last_row,
)
from plantclef_assets_tests.tiny import COLUMNS, SPECIES, materialize, metadata_row, write_metadata

PREDICTED = ("tile_predictions", "inbox_predictions")
SCORED_TILES = ("tile_novelty", "inbox_novelty")
COVERED = ("species_cover", "inbox_cover")

Corrupt = Callable[[OwnLake, Path], Settings]
"""Damages a lake (given also the folder of its survey) and gives the settings to go on with."""


def changed_rows(asset: str, change: Change, partition: str | None = None, **figures: Any) -> Corrupt:
    """Change the rows or figures of an asset in the partition that is materialized again, or in another."""
    artifact = Artifact(asset, partition or FIRST.get(asset))

    def corrupt(own_lake: OwnLake, survey: Path) -> Settings:
        settings = with_demo_survey(own_lake, survey) if asset == "demo_survey" else own_lake()
        rewrite(settings, artifact, change, figures=figures)
        return settings

    return corrupt


def as_it_was(table: pa.Table) -> pa.Table:
    return table


def row_lost(asset: str) -> Corrupt:
    artifact = Artifact(asset, FIRST.get(asset))

    def corrupt(own_lake: OwnLake, survey: Path) -> Settings:
        settings = own_lake()
        rewrite(settings, artifact, figures={"rows_in": record_of(settings, artifact).statistics["rows_in"] + 1})
        return settings

    # These do not count rows but photographs or plots, whose number only the figures know.
    counted = asset in ("class_map", *PREDICTED, *SCORED_TILES, *COVERED) or asset.endswith("_tile_embeddings")
    return corrupt if counted else changed_rows(asset, without_last_row)


def older(asset: str) -> Corrupt:
    """Let an artifact look as if older code had made it; of several partitions one that the run leaves alone."""
    others = {"00": "01", "base_cls": "base_dct", "base_cls_full": "base_cls_2x2"}
    partition = others[FIRST[asset]] if asset in FIRST else None

    def corrupt(own_lake: OwnLake, survey: Path) -> Settings:
        settings = with_demo_survey(own_lake, survey) if asset == "demo_survey" else own_lake()
        if asset == "classifier":
            restamp_classifier(settings, partition or "", code_version="0")
        elif asset.endswith("_backbone"):
            rewrite_backbone(settings, asset, code_version="0")
        else:
            rewrite(settings, Artifact(asset, partition), provenance={"code_version": "0"})
        return settings

    return corrupt


def older_report(own_lake: OwnLake, survey: Path) -> Settings:
    settings = own_lake()
    page = Path(settings.lake, "plot_report", "index.html")
    text = page.read_text(encoding="utf-8")
    older = text.replace(r"\"code_version\": \"1\"", r"\"code_version\": \"0\"")
    assert older != text
    page.write_text(older, encoding="utf-8")
    return settings


def changed_page(own_lake: OwnLake, survey: Path) -> Settings:
    settings = own_lake()
    (page,) = Path(settings.lake, "plot_report").glob("*/runs.html")
    page.write_text("<p>another page</p>", encoding="utf-8")
    return settings


def changed_classifier(**figures: Any) -> Corrupt:
    def corrupt(own_lake: OwnLake, survey: Path) -> Settings:
        settings = own_lake()
        restamp_classifier(settings, FIRST["classifier"], figures=figures)
        return settings

    return corrupt


def changed_backbone(asset: str, change: Callable[[dict[str, Any]], None], **figures: Any) -> Corrupt:
    def corrupt(own_lake: OwnLake, survey: Path) -> Settings:
        settings = own_lake()
        rewrite_backbone(settings, asset, change, figures=figures)
        return settings

    return corrupt


def with_nan(tensors: dict[str, Any]) -> None:
    tensors["norm.weight"][0] = float("nan")


def changed_field(column: str, text: str, own_lake: OwnLake, survey: Path) -> Settings:
    lines = (survey / "metadata.csv").read_text().splitlines()
    fields = lines[1].split(";")
    fields[COLUMNS.index(column)] = f'"{text}"'
    settings = own_lake()
    file = Path(settings.lake).parent / "metadata.csv"
    file.write_text("\n".join([lines[0], ";".join(fields), *lines[2:]]) + "\n")
    return own_lake(training_metadata=str(file))


def official_list(species: list[int], own_lake: OwnLake, survey: Path) -> Settings:
    file = Path(own_lake().lake).parent / "class_mapping.txt"
    file.write_text("".join(f"{one}\n" for one in species))
    return own_lake(class_mapping=str(file))


def published_otherwise(numbers: dict[str, int], own_lake: OwnLake, survey: Path) -> Settings:
    return own_lake(published=numbers)


def one_observation_on_both_sides(table: pa.Table) -> pa.Table:
    tags = table.column("learn_tag").to_pylist()
    shared = table.column("obs_id")[tags.index("train")].as_py()
    return with_value(table, "obs_id", tags.index("val"), shared)


def photograph_without_file(own_lake: OwnLake, survey: Path) -> Settings:
    file = Path(own_lake().lake).parent / "metadata.csv"
    file.write_bytes((survey / "metadata.csv").read_bytes())
    write_metadata(absent := file.with_name("absent.csv"), [metadata_row("absent.jpg", 1000001, "train", "1")])
    file.write_text(file.read_text() + absent.read_text().splitlines()[1] + "\n")
    settings = own_lake(training_metadata=str(file))
    assert materialize(settings, "training_metadata,class_map").success
    return settings


def heavy_shard(table: pa.Table) -> pa.Table:
    heavy = pc.equal(table.column("shard"), "01")
    size = table.column("bytes")
    return with_column(table, "bytes", pc.if_else(heavy, pc.multiply(size, 10), size).combine_chunks())


def species_never_embedded(asset: str, own_lake: OwnLake, survey: Path) -> Settings:
    def change(table: pa.Table) -> pa.Table:
        species = table.column("species_id")
        others = pc.if_else(pc.equal(species, 1000003), 1000001, species)
        return with_column(table, "species_id", others.combine_chunks())

    settings = own_lake()
    for shard in ("00", "01", "02"):
        rewrite(settings, Artifact(asset, shard), change)
    return settings


def zero_vector(table: pa.Table) -> pa.Table:
    return with_value(table, "cls", 0, [0.0] * table.schema.field("cls").type.list_size)


def first_two_swapped(table: pa.Table) -> pa.Table:
    first, second = table.column("probability").to_pylist()[:2]
    return with_value(with_value(table, "probability", 0, second), "probability", 1, first)


def all_as_likely(table: pa.Table) -> pa.Table:
    return with_column(table, "probability", pa.array([1 / len(SPECIES)] * table.num_rows, pa.float32()))


def plot_missing_in_csv(own_lake: OwnLake, survey: Path) -> Settings:
    """Let a file be invalid, and be vouched for by its table: one that is changed behind its back would be mended."""
    settings, artifact = own_lake(), Artifact("submission", FIRST["submission"])
    file = Path(settings.lake) / "submission" / f"{artifact.partition}.2024.csv"
    shorter = "".join(file.read_text().splitlines(keepends=True)[:-1]).encode()
    known = record_of(settings, artifact).statistics[SIDECARS]
    rewrite(
        settings, artifact, figures={SIDECARS: known | publish_sidecars(Lake(settings.lake), {file: shorter})[SIDECARS]}
    )
    return settings


def without_column(column: str) -> Change:
    return lambda table: table.drop_columns([column])


def column_of_another_type(column: str) -> Change:
    return lambda table: with_column(table, column, table.column(column).cast(pa.int64()))


def plot_twice(asset: str, own_lake: OwnLake, survey: Path) -> Settings:
    settings, artifact = own_lake(), Artifact(asset, FIRST[asset])
    rows = record_of(settings, artifact).statistics["rows_in"] + 1
    rewrite(settings, artifact, first_row_twice, figures={"rows_in": rows})
    return settings


def first_row_twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def first_plot_lost(table: pa.Table) -> pa.Table:
    return table.filter(pc.not_equal(table.column("plot_id"), table.column("plot_id")[0]))


def foreign_label(table: pa.Table) -> pa.Table:
    return with_value(table, "species_id", 0, 999)
