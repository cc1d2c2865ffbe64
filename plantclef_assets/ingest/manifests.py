"""Manifests: which photographs there are, and which shard each belongs to.

A manifest is ordered by archive and by offset or path, and cut at equal bytes: the same source gives the same shards,
and each shard reads only its part, from front to back. What cannot be used is set aside here, before a byte of a
photograph is read. Memory does not grow with the number of photographs: the listing goes through a file, and DuckDB
sorts and joins within a limit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plantclef_assets.ingest.sources import LISTING, ImageSource
from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import ORIGIN
from plantclef_assets.lake.schemas import PLOT_MANIFEST, TRAINING_MANIFEST
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.table_specs import TableSpec
from plantclef_assets.lake.tables import open_quarantine, write_table

if TYPE_CHECKING:
    import duckdb

LARGEST_BYTES = 2**28
"""A file of more bytes is no photograph of a plant; it is set aside unread."""
MEMORY_LIMIT = "512MB"
"""What DuckDB may use; it goes on in a temporary folder beyond that."""

_THREADS = 4
"""Each thread of DuckDB needs its part of the memory."""
_ROWS_AT_ONCE = 10_000
_ORDER = 'archive nulls first, "offset", source'

_FILES = """
create table work.files as
select * exclude (reason, detail), reason as refusal, detail as refused_for,
       string_split(source, '/')[-1] as file_name, string_split(source, '/')[-2] as folder
from read_parquet(?)
"""
# What is refused does not take the place of a photograph of its name.
_COPY = f"row_number() over (partition by {{key}}, refusal is null order by {_ORDER}) as copy"
_JUDGED_PHOTOGRAPHS = f"""
create table work.judged as
select archive, files.source, "offset", files.bytes, file_name,
       metadata.image_name, metadata.species_id, metadata.obs_id, metadata.organ, metadata.learn_tag,
       metadata.license, metadata.author,
       case when refusal is not null then refusal
            when files.bytes > {LARGEST_BYTES} then 'oversized'
            when copy > 1 then 'duplicate_name'
            when metadata.image_name is null then 'not_in_metadata'
            when folder_species != metadata.species_id then 'label_mismatch'
            when len($licenses) > 0 and not coalesce(list_contains($licenses, lower(trim(metadata.license))), false)
            then 'license' end as reason,
       case reason when 'oversized' then 'has ' || files.bytes || ' bytes, more than any photograph'
            when 'duplicate_name' then 'another folder has a photograph of this name; the first is used'
            when 'not_in_metadata' then 'no row of the metadata names this photograph'
            when 'label_mismatch' then 'lies in folder ' || folder || ', but is of species ' || metadata.species_id
            when 'license' then coalesce('its licence is ' || metadata.license, 'it has no licence')
                 || ', and photographs of others are asked for'
            else refused_for end as detail
from (select *, {_COPY.format(key="file_name")} from work.files) files
     left join training_metadata metadata on metadata.image_name = files.file_name
     left join (select distinct species_id as folder_species from training_metadata)
            on folder_species = try_cast(folder as bigint)
"""
_JUDGED_PLOTS = f"""
create table work.judged as
select archive, source, "offset", bytes, plot_id, plot_id as file_name,
       case when refusal is not null then refusal
            when bytes > {LARGEST_BYTES} then 'oversized'
            when copy > 1 then 'duplicate_name' end as reason,
       case reason when 'oversized' then 'has ' || bytes || ' bytes, more than any photograph'
            when 'duplicate_name' then 'another file has this plot name; the first is used'
            else refused_for end as detail
from (select *, {_COPY.format(key="plot_id")}
      from (select *, parse_filename(source, true) as plot_id from work.files))
"""
_SET_ASIDE = f"""
select coalesce(archive || ':', '') || source as source, nullif(file_name, '') as image_name, reason, detail
from work.judged where reason is not null order by {_ORDER}
"""
_UNPHOTOGRAPHED = """
select image_name as source, image_name, 'no_image' as reason, 'a metadata row without a file' as detail
from training_metadata anti join work.files on file_name = image_name order by image_name
"""
_LICENCES = """
select license, count(*) as images, count(distinct author) as authors from work.judged where reason is null
group by license order by images desc, license
"""


def write_training_manifest(
    lake: Lake, shard: Shard, *, source: ImageSource, shards: int, licenses: Sequence[str] = ()
) -> None:
    """Join the photographs of a source with the metadata and cut them into shards.

    Set aside are photographs that the source refuses (see `archives.list_members`), that have more bytes than any
    (`oversized`), whose name an earlier one has (`duplicate_name`), that no metadata row names (`not_in_metadata`),
    that lie in the folder of another species (`label_mismatch`), or that have none of the licences (`license`); and
    metadata rows without a photograph (`no_image`).

    Args:
        lake: where to write, and where training_metadata is.
        shard: what to write.
        source: the photographs.
        shards: how many shards they are cut into.
        licenses: licences that are wanted, in any case of letters; all if empty.

    Raises:
        SourceError: an archive of the source cannot be read.
    """
    with _judged(lake, source, _JUDGED_PHOTOGRAPHS, {"licenses": [one.strip().lower() for one in licenses]}) as catalog:
        licences = catalog.sql(_LICENCES).to_arrow_table().to_pylist()
        figures = {"licences": licences}
        _write_manifest(lake, shard, TRAINING_MANIFEST, catalog, shards, figures, unphotographed=_UNPHOTOGRAPHED)


def write_plot_manifest(lake: Lake, shard: Shard, *, source: ImageSource, shards: int) -> None:
    """List the plots of a source, named by their files without extension, and cut them into shards.

    Set aside are files that the source refuses, that have more bytes than any photograph (`oversized`), or whose plot
    name an earlier one has (`duplicate_name`).

    Raises:
        SourceError: an archive of the source cannot be read.
    """
    with _judged(lake, source, _JUDGED_PLOTS, {}) as catalog:
        _write_manifest(lake, shard, PLOT_MANIFEST, catalog, shards, {})


@contextmanager
def _judged(
    lake: Lake, source: ImageSource, judgement: str, parameters: dict[str, Any]
) -> Iterator["duckdb.DuckDBPyConnection"]:
    """List a source into a table `work.judged` of a catalog that lives on disk as long as the block lasts."""
    with TemporaryDirectory(prefix="plantclef-manifest-") as folder:
        listed = Path(folder, "listing.parquet")
        with pq.ParquetWriter(listed, LISTING) as writer:
            for batch in source.listing():
                writer.write_batch(batch)
        with open_catalog(lake, ["training_metadata"]) as catalog:
            catalog.execute(f"set memory_limit = '{MEMORY_LIMIT}'; set temp_directory = '{folder}/spilled'")
            catalog.execute(f"set threads = least(current_setting('threads'), {_THREADS})")
            catalog.execute(f"attach '{folder}/work.duckdb' as work")
            catalog.execute(_FILES, [str(listed)])
            catalog.execute(judgement, parameters)
            yield catalog


def _write_manifest(
    lake: Lake,
    made: Shard,
    spec: TableSpec,
    catalog: "duckdb.DuckDBPyConnection",
    shards: int,
    figures: dict[str, Any],
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
            # Cut where the middle of a photograph falls: shards of equal bytes to within one photograph.
            places = np.floor(shards * (ends - sizes + sizes / 2) / max(size, 1)).astype(np.int64)
            shard = pa.array(keys[np.minimum(places, shards - 1)].tolist(), pa.string())
            table.write_rows(**dict(zip(batch.schema.names, batch.columns, strict=True)), shard=shard)
            before = int(ends[-1])
        require_unchanged(lake, made.provenance)  # before the quarantine of the last manifest is replaced
        with open_quarantine(lake, made.artifact) as quarantine:
            absent = 0
            for batch in catalog.sql(_SET_ASIDE).to_arrow_reader(_ROWS_AT_ONCE):
                quarantine.write(batch)
            if unphotographed:
                for batch in catalog.sql(unphotographed).to_arrow_reader(_ROWS_AT_ONCE):
                    absent += batch.num_rows
                    quarantine.write(batch)
        table.figures = {
            "rows_in": listed,
            "quarantined": listed - kept,
            "without_image": absent,
            "bytes": listed_size,
            ORIGIN: made.origin,
            **figures,
        }


def _count(catalog: "duckdb.DuckDBPyConnection", where: str) -> tuple[int, int]:
    """Count photographs and their bytes."""
    photographs, size = catalog.sql(f"select count(*), sum(bytes) from work.judged where {where}").fetchall()[0]
    return photographs, int(size or 0)
