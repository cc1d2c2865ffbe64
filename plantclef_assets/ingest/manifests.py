"""Manifests: the usable photographs of a source, and the shard of each.

A manifest is ordered by archive and by offset or path, and divided into shards of equal bytes: the same source always
gives the same shards, and each shard reads only its part of an archive, from front to back. Unusable files are
quarantined here, before any photograph is read. Memory does not grow with the number of photographs: DuckDB sorts and
joins the listing within a memory limit, and spills to disk.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plantclef_assets.images.file_names import plot_id_of
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.ingest.matching import match_photographs, matched_loosely, require_matches
from plantclef_assets.ingest.sources import LISTING, ImageSource
from plantclef_assets.lake.catalog import create_table
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import ORIGIN
from plantclef_assets.lake.schemas import PLOT_MANIFEST, TRAINING_MANIFEST
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.table_specs import TableSpec
from plantclef_assets.lake.tables import Shard, open_quarantine, write_table

if TYPE_CHECKING:
    import duckdb

LARGEST_BYTES = 2**28
"""Larger files are not photographs of plants; they are quarantined unread."""
MEMORY_LIMIT = "512MB"
"""The memory limit of DuckDB; beyond it, DuckDB spills to a temporary folder."""

_THREADS = 4
"""Number of threads of DuckDB, each of which needs a share of the memory."""
_ROWS_AT_ONCE = 10_000
_NAMED = 5
_ORDER = 'archive nulls first, "offset", source'

_FILES = """
create table work.files as
select * exclude (path, reason, detail), reason as refusal, detail as refused_for,
       string_split(path, '/')[-1] as file_name, string_split(path, '/')[-2] as folder
from (select *, replace(source, '\\', '/') as path from work.listing)
"""
# A refused file does not count as the first one of its name.
_COPY = f"row_number() over (partition by {{key}}, refusal is null order by {_ORDER}) as copy"
_MATCHED = f"""
create table work.matched as
select *, {_COPY.format(key="row_name")}
from (select files.*, matches.image_name as row_name, other
      from work.files files left join work.matches matches on matches.file = files.rowid)
"""
_JUDGED_PHOTOGRAPHS = f"""
create table work.judged as
select archive, files.source, "offset", files.bytes, file_name,
       metadata.image_name, metadata.species_id, metadata.obs_id, metadata.organ, metadata.learn_tag,
       metadata.license, metadata.author,
       case when refusal is not null then refusal
            when files.bytes > {LARGEST_BYTES} then 'oversized'
            when other is not null then 'ambiguous_name'
            when metadata.image_name is null then 'not_in_metadata'
            when copy > 1 then 'duplicate_name'
            when folder_species != metadata.species_id
                 and not list_contains(string_split(replace(row_name, chr(92), '/'), '/')[:-2], folder)
            then 'label_mismatch'
            when len($licenses) > 0 and not coalesce(list_contains($licenses, lower(trim(metadata.license))), false)
            then 'license' end as reason,
       case reason when 'oversized' then 'has ' || files.bytes || ' bytes, more than any photograph'
            when 'ambiguous_name' then 'cannot be told from others by its name: ' || other
            when 'duplicate_name' then 'another folder has a photograph of this name; the first is used'
            when 'not_in_metadata' then 'no row of the metadata names this photograph'
            when 'label_mismatch' then 'lies in folder ' || folder || ', but is of species ' || metadata.species_id
            when 'license' then coalesce('its licence is ' || metadata.license, 'it has no licence')
                 || ', and photographs of others are asked for'
            else refused_for end as detail
from work.matched files
     left join training_metadata metadata on metadata.image_name = files.row_name
     left join (select distinct species_id as folder_species from training_metadata)
            on folder_species = try_cast(folder as bigint)
"""
_JUDGED_PLOTS = f"""
create table work.judged as
select archive, source, "offset", bytes, plot_id, plot_id as file_name,
       case when refusal is not null then refusal
            when bytes > {LARGEST_BYTES} then 'oversized'
            when plot_id = '' then 'no_name'
            when copy > 1 then 'duplicate_name' end as reason,
       case reason when 'oversized' then 'has ' || bytes || ' bytes, more than any photograph'
            when 'no_name' then 'its name has nothing but blanks; rename it'
            when 'duplicate_name' then 'another file has this plot name; the first is used'
            else refused_for end as detail
from (select *, {_COPY.format(key="plot_id")}
      from (select *, plot_id_of(source) as plot_id from work.files))
"""
_QUARANTINED = f"""
select coalesce(archive || ':', '') || source as source, nullif(file_name, '') as image_name, reason, detail
from work.judged where reason is not null order by {_ORDER}
"""
_UNPHOTOGRAPHED = """
select image_name as source, image_name, 'no_image' as reason, 'a metadata row without a file' as detail
from training_metadata anti join work.matches using (image_name) order by image_name
"""
_UNUSED = r"""
select coalesce(nullif(regexp_extract(lower(source), '\.[^./]+$'), ''), 'other') as ending, reason, count(*) as files
from work.judged where reason not in ('not_in_metadata', 'label_mismatch', 'license') group by all order by all
"""
_LICENCES = """
select license, count(*) as images, count(distinct author) as authors from work.judged where reason is null
group by license order by images desc, license
"""


def write_training_manifest(
    lake: Lake, shard: Shard, *, source: ImageSource, shards: int, licenses: Sequence[str] = ()
) -> None:
    """Join the photographs of a source with the training metadata and divide them into shards.

    Quarantined are photographs that the source refuses (see `archives.list_members`), that are too large (`oversized`),
    that have the name of an earlier one (`duplicate_name`), that no metadata row names (`not_in_metadata`), that are in
    the folder of another species, unless image_name has this folder (`label_mismatch`), or that have none of the
    licences (`license`); and metadata rows without a photograph (`no_image`). `matching` determines which row names
    which photograph, and which names are ambiguous (`ambiguous_name`).

    Args:
        lake: the lake, with training_metadata.
        shard: the artifact to write.
        source: the photographs.
        shards: the number of shards.
        licenses: permitted licences, ignoring case; all if empty.

    Raises:
        SourceError: an archive of the source cannot be read, or the source has no photograph.
        ManifestError: too few rows of the metadata have a photograph, or no photograph is usable.
    """
    wanted = {"licenses": [one.strip().lower() for one in licenses]}
    metadata = lake.open(Artifact("training_metadata"))
    setting = "PLANTCLEF_TRAINING_IMAGES"
    with _judged_files(source, setting, _JUDGED_PHOTOGRAPHS, wanted, metadata, _match_photographs) as catalog:
        require_matches(catalog, source.location)
        licences = catalog.sql(_LICENCES).to_arrow_table().to_pylist()
        statistics = {"licences": licences} | matched_loosely(catalog)
        _write_manifest(lake, shard, TRAINING_MANIFEST, catalog, shards, statistics, unphotographed=_UNPHOTOGRAPHED)


def write_plot_manifest(lake: Lake, shard: Shard, *, source: ImageSource, shards: int) -> None:
    """List the plots of a source, named after their files (see `plot_id_of`), and divide them into shards.

    Quarantined are files that the source refuses, that are too large (`oversized`), that have no name except an
    extension (`no_name`), or that have the plot name of an earlier one (`duplicate_name`).

    Raises:
        SourceError: an archive of the source cannot be read, or the source has no photograph.
    """
    with _judged_files(source, "PLANTCLEF_PLOT_IMAGES", _JUDGED_PLOTS, {}) as catalog:
        _write_manifest(lake, shard, PLOT_MANIFEST, catalog, shards, {})


def _match_photographs(catalog: "duckdb.DuckDBPyConnection") -> None:
    match_photographs(catalog)
    catalog.execute(_MATCHED)


@contextmanager
def _judged_files(
    source: ImageSource,
    setting: str,
    judgement: str,
    parameters: dict[str, Any],
    metadata: pq.ParquetFile | None = None,
    prepare: Callable[["duckdb.DuckDBPyConnection"], None] = lambda catalog: None,
) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Yield a temporary DuckDB catalog; its table `work.judged` has the files of a source, some with a reason."""
    import duckdb

    with TemporaryDirectory(prefix="plantclef-manifest-") as folder:
        spilled = str(Path(folder, "spilled"))
        with duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spilled}) as catalog:
            catalog.execute(f"set threads = least(current_setting('threads'), {_THREADS})")
            catalog.execute("attach ':memory:' as work")
            create_table(catalog, "work.listing", LISTING, source.listing())
            if metadata:
                create_table(catalog, "training_metadata", metadata.schema_arrow, metadata.iter_batches())
            catalog.execute(_FILES)
            _refuse_without_photographs(catalog, source, setting)
            catalog.create_function("plot_id_of", plot_id_of, ["VARCHAR"], "VARCHAR")  # pyright: ignore[reportArgumentType]
            prepare(catalog)
            catalog.execute(judgement, parameters)
            yield catalog


def _refuse_without_photographs(catalog: "duckdb.DuckDBPyConnection", source: ImageSource, setting: str) -> None:
    """Raise a SourceError if a source has no photograph; the message lists what it has."""
    if catalog.sql("from work.files where refusal is null limit 1").fetchall():
        return
    there = ", ".join(f"{count} {ending}" for ending, count in source.endings().most_common(_NAMED))
    place = "coalesce(archive || ':', '') || source"
    refused = catalog.sql(f"select {place}, refused_for from work.files order by 1 limit 1").fetchall()
    example = f" {refused[0][0]}: {refused[0][1]}." if refused else ""
    raise SourceError(
        f"{setting}: '{source.location}' has no photograph of a supported format; set a folder or an archive with "
        f"photographs (.jpg, .png, .tif, …). Files there: {there or 'none'}.{example}"
    )


def _write_manifest(
    lake: Lake,
    made: Shard,
    spec: TableSpec,
    catalog: "duckdb.DuckDBPyConnection",
    shards: int,
    statistics: dict[str, Any],
    unphotographed: str | None = None,
) -> None:
    kept, size = _count(catalog, "reason is null")
    listed, listed_size = _count(catalog, "true")
    with write_table(lake, made.artifact, spec, made.provenance) as table:
        columns = ", ".join(f'"{name}"' for name in spec.columns.names if name != "shard")
        rows = catalog.sql(f"select {columns} from work.judged where reason is null order by {_ORDER}")
        before = 0
        keys = np.array(shard_keys(shards))
        for batch in rows.to_arrow_reader(_ROWS_AT_ONCE):
            sizes = np.asarray(batch.column("bytes"))
            ends = before + np.cumsum(sizes)
            # A photograph belongs to the shard of its middle byte, so shards differ by one photograph at most.
            places = np.floor(shards * (ends - sizes + sizes / 2) / max(size, 1)).astype(np.int64)
            shard = pa.array(keys[np.minimum(places, shards - 1)].tolist(), pa.string())
            table.write_rows(**dict(zip(batch.schema.names, batch.columns, strict=True)), shard=shard)
            before = int(ends[-1])
        require_unchanged(lake, made.provenance)  # before the quarantine of the last manifest is replaced
        with open_quarantine(lake, made.artifact) as quarantine:
            absent = 0
            for batch in catalog.sql(_QUARANTINED).to_arrow_reader(_ROWS_AT_ONCE):
                quarantine.write(batch)
            if unphotographed:
                for batch in catalog.sql(unphotographed).to_arrow_reader(_ROWS_AT_ONCE):
                    absent += batch.num_rows
                    quarantine.write(batch)
        table.statistics = {
            "rows_in": listed,
            "quarantined": listed - kept,
            "without_image": absent,
            "bytes": listed_size,
            "unused": catalog.sql(_UNUSED).to_arrow_table().to_pylist(),
            ORIGIN: made.origin,
            **statistics,
        }


def _count(catalog: "duckdb.DuckDBPyConnection", where: str) -> tuple[int, int]:
    """Return the number of files that match a condition, and their bytes."""
    photographs, size = catalog.sql(f"select count(*), sum(bytes) from work.judged where {where}").fetchall()[0]
    return photographs, int(size or 0)
