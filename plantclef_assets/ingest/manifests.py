"""Manifests: which photographs there are, and which shard each belongs to.

A manifest is ordered by the photograph's path and cut at equal bytes: the same files give the same shards, and each
shard reads only its part. What cannot be used is set aside here, before a byte of a photograph is read.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.schemas import PLOT_MANIFEST, TRAINING_MANIFEST, TableSpec
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import write_quarantine, write_table

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif")
"""Files with other endings are not photographs, and are left alone."""

# Cut where the middle of a photograph falls: shards of equal bytes to within one photograph.
_SHARD = """
lpad(
    least(
        floor({shards} * (coalesce(sum(bytes) over before, 0) + bytes / 2) / greatest(sum(bytes) over (), 1)),
        {shards} - 1
    )::bigint::varchar,
    {digits}, '0'
) as shard
"""
_WINDOW = "window before as (order by source rows between unbounded preceding and 1 preceding)"
_FIRST = "row_number() over (partition by {key} order by source) as copy"

_JUDGED_PHOTOGRAPHS = f"""
create table judged as
select files.source, files.bytes, metadata.image_name, metadata.species_id, metadata.obs_id, metadata.organ,
       metadata.learn_tag, files.image_name as file_name,
       case when copy > 1 then 'duplicate_name'
            when metadata.image_name is null then 'not_in_metadata'
            when folder_species != metadata.species_id then 'label_mismatch' end as reason,
       case reason when 'duplicate_name' then 'another folder has a photograph of this name; the first is used'
            when 'not_in_metadata' then 'no row of the metadata names this photograph'
            when 'label_mismatch' then 'lies in folder ' || folder || ', but is of species ' || metadata.species_id
            end as detail
from (select *, {_FIRST.format(key="image_name")} from files) files
     left join training_metadata metadata on metadata.image_name = files.image_name
     left join (select distinct species_id as folder_species from training_metadata)
            on folder_species = try_cast(folder as bigint)
"""
_JUDGED_PLOTS = f"""
create table judged as
select source, bytes, plot_id, plot_id as file_name,
       case when copy > 1 then 'duplicate_name' end as reason,
       case when copy > 1 then 'another file has this plot name; the first is used' end as detail
from (select *, parse_filename(source, true) as plot_id, {_FIRST.format(key="parse_filename(source, true)")} from files)
"""
_UNPHOTOGRAPHED = """
select image_name as source, image_name, 'no_image' as reason, 'a metadata row without a file' as detail
from training_metadata where image_name not in (select image_name from files) order by image_name
"""


def list_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Give path below the folder and size in bytes of each photograph; hidden files and other endings are left out."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = Path(parent, name)
                source = path.relative_to(folder).as_posix()
                # A name that is no Unicode is of no row of the metadata, but has to be told.
                readable = source.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                yield readable, path.stat().st_size if path.exists() else 0


def listing_digest(folder: Path) -> str:
    """Give a digest of the photographs' paths and sizes: what the identity of a folder is, without reading them."""
    digest = hashlib.blake2b(digest_size=16)
    for source, size in list_files(folder):
        digest.update(f"{source}\0{size}\n".encode())
    return digest.hexdigest()


def write_training_manifest(lake: Lake, shard: Shard, *, folder: Path, shards: int) -> None:
    """Join the photographs of a folder tree with the metadata and cut them into shards.

    Set aside are photographs whose name an earlier one has (`duplicate_name`), that no metadata row names
    (`not_in_metadata`), or that lie in the folder of another species (`label_mismatch`); and metadata rows without a
    photograph (`no_image`).
    """
    _write_manifest(lake, shard, TRAINING_MANIFEST, _JUDGED_PHOTOGRAPHS, folder, shards)


def write_plot_manifest(lake: Lake, shard: Shard, *, folder: Path, shards: int) -> None:
    """List the plots of a folder, named by their files without extension, and cut them into shards.

    Set aside are files whose plot name an earlier one has (`duplicate_name`).
    """
    _write_manifest(lake, shard, PLOT_MANIFEST, _JUDGED_PLOTS, folder, shards)


def _write_manifest(lake: Lake, made: Shard, spec: TableSpec, judgement: str, folder: Path, shards: int) -> None:
    listed = list(list_files(folder))
    files = pa.table(  # read by name in the queries
        {
            "source": pa.array([source for source, _ in listed], pa.string()),
            "image_name": pa.array([Path(source).name for source, _ in listed], pa.string()),
            "folder": pa.array([Path(source).parent.name for source, _ in listed], pa.string()),
            "bytes": pa.array([size for _, size in listed], pa.int64()),
        }
    )
    with open_catalog(lake, ["training_metadata"]) as catalog:
        catalog.register("files", files)
        catalog.execute(judgement)
        shard = _SHARD.format(shards=shards, digits=len(shard_keys(shards)[-1]))
        kept = catalog.sql(f"select *, {shard} from judged where reason is null {_WINDOW} order by source")
        unusable = "select source, file_name as image_name, reason, detail from judged where reason is not null"
        findings = _rows(catalog.sql(f"{unusable} order by source"))
        absent = _rows(catalog.sql(_UNPHOTOGRAPHED)) if spec is TRAINING_MANIFEST else []
        rows = kept.to_arrow_table()
    with write_table(lake, made.artifact, spec, made.provenance) as table:
        table.write_rows(**{name: rows.column(name) for name in spec.columns.names})
        table.figures = {
            "rows_in": len(listed),
            "quarantined": len(findings),
            "without_image": len(absent),
            "bytes": sum(size for _, size in listed),
        }
        write_quarantine(lake, made.artifact, findings + absent)


def _rows(relation: Any) -> list[dict[str, str | None]]:
    return relation.to_arrow_table().to_pylist()
