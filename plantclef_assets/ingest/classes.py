"""The class map: species_id ↔ contiguous class index, the one place where labels become numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from plantclef_assets.ingest.class_lists import read_class_mapping, read_species_names
from plantclef_assets.lake.catalog import create_table
from plantclef_assets.lake.schemas import CLASS_MAP, TRAINING_METADATA
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import write_table

# A species is written in several ways (7,855 names for 7,806 ids): the commonest spelling stands for it. The order
# decides between equally common ones; without it threads would.
_SPECIES = """
select species_id, mode(species order by species) as species, mode(genus order by genus) as genus,
       mode(family order by family) as family,
       mode(gbif_species_id order by gbif_species_id) as gbif_species_id, count(*) as images
from training_metadata group by species_id
"""
_CLASS_MAP = f"""
with species as ({_SPECIES})
select coalesce(species.species_id, official.species_id) as species_id,
       row_number() over (order by official.line nulls last, species.species_id) - 1 as class_index,
       coalesce(names.species, species.species) as species, genus, family, gbif_species_id,
       coalesce(images, 0) as images, official.line is null as unlisted
from species full join official on species.species_id = official.species_id
     left join names on names.species_id = coalesce(species.species_id, official.species_id)
order by class_index
"""


def write_class_map(
    lake: Lake,
    shard: Shard,
    *,
    class_mapping: Path | None = None,
    species_names: Path | None = None,
) -> None:
    """Write the class map from the training metadata.

    Without an official list the classes are the species of the metadata, ascending. With one (a species_id a line, the
    line number is the class index) they are its species in its order; species of the metadata that it does not list
    follow behind, and are counted in the figures (`unlisted`).

    Raises:
        ClassListError: a list holds something else than species ids, or one twice.
    """
    official = read_class_mapping(class_mapping) if class_mapping else []
    names = read_species_names(species_names) if species_names else {}
    _write(lake, shard, official, names, Artifact("training_metadata"))


def write_class_map_of(lake: Lake, shard: Shard, species_ids: Sequence[int], names: Mapping[int, str]) -> None:
    """Write the class map from a checkpoint's own class list, where there is no training metadata."""
    _write(lake, shard, species_ids, names, None)


def _write(
    lake: Lake, shard: Shard, official: Sequence[int], names: Mapping[int, str], metadata: Artifact | None
) -> None:
    import duckdb

    with duckdb.connect() as catalog:
        if metadata is None:
            schema, batches, photographs = TRAINING_METADATA.schema(), iter(()), 0
        else:
            file = lake.open(metadata)
            schema, batches, photographs = file.schema_arrow, file.iter_batches(), file.metadata.num_rows
        create_table(catalog, "training_metadata", schema, batches)
        lines = pa.table(
            {"species_id": pa.array(official, pa.int64()), "line": pa.array(range(len(official)), pa.int64())}
        )
        catalog.register("official", lines)
        spelt = {
            "species_id": pa.array(list(names), pa.int64()),
            "species": pa.array(list(names.values()), pa.string()),
        }
        catalog.register("names", pa.table(spelt))
        classes = catalog.sql(_CLASS_MAP).to_arrow_table()
    with write_table(lake, shard.artifact, CLASS_MAP, shard.provenance) as table:
        table.write_rows(**{name: classes.column(name) for name in CLASS_MAP.columns.names})
        unlisted = classes.filter(classes.column("unlisted")).column("species_id").to_pylist() if official else []
        images = classes.column("images").to_pylist()
        table.figures = {
            "rows_in": photographs,
            "rows_out": sum(images),
            "quarantined": 0,
            "official": len(official),
            "unlisted": unlisted,
            "without_images": images.count(0),
        }
