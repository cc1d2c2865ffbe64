"""The class map: species_id ↔ contiguous class index, from the training metadata and official class lists."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from plantclef_assets.ingest.csv_tables import CsvError, CsvTable, read_species_id
from plantclef_assets.lake.catalog import create_table
from plantclef_assets.lake.schemas import CLASS_MAP, TRAINING_METADATA
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_table

# Some species have several spellings (7,855 names for 7,806 ids); the most common one is used. The order makes the
# choice between equally common spellings deterministic.
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


class ClassListError(ValueError):
    """An official class list or list of names is malformed."""


def write_class_map(
    lake: Lake,
    shard: Shard,
    *,
    class_mapping: Path | None = None,
    species_names: Path | None = None,
) -> None:
    """Write the class map from the training metadata.

    Without an official list, the classes are the species of the metadata in ascending order. With an official list
    (one species_id per line; the line number is the class index), the classes are its species in its order, followed
    by the species of the metadata that it lacks, which are in the statistics (`unlisted`).

    Raises:
        ClassListError: a list has a line that is not a species_id, or a species_id twice.
    """
    official = read_class_mapping(class_mapping) if class_mapping else []
    names = read_species_names(species_names) if species_names else {}
    _write(lake, shard, official, names, Artifact("training_metadata"))


def write_class_map_of(lake: Lake, shard: Shard, species_ids: Sequence[int], names: Mapping[int, str]) -> None:
    """Write the class map from the class list of a checkpoint, for a lake without training metadata."""
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
        table.statistics = {
            "rows_in": photographs,
            "rows_out": sum(images),
            "quarantined": 0,
            "official": len(official),
            "unlisted": unlisted,
            "without_images": images.count(0),
        }


def read_class_mapping(file: Path) -> list[int]:
    """Read an official class list (`class_mapping.txt`): one species_id per line, no header.

    Raises:
        ClassListError: a line is not a species_id, or repeats one.
    """
    species: dict[int, None] = {}
    for number, (text,) in enumerate(_rows(file, ["species_id"], header=["species_id"]), 1):
        species_id = read_species_id(text)
        if species_id is None:
            raise ClassListError(f"{file}, line {number}: '{text[:80]}' is not a species_id; one id per line is needed")
        if species_id in species:
            raise ClassListError(f"{file}: species_id {species_id} occurs twice")
        species[species_id] = None
    return list(species)


def read_species_names(file: Path) -> dict[int, str]:
    """Read an official list of names (`species_id_to_name.txt`): a CSV with the columns species_id and species.

    Raises:
        ClassListError: a column is missing, or a row is malformed.
    """
    names: dict[int, str] = {}
    for number, (text, name) in enumerate(_rows(file, ["species_id", "species"]), 2):
        species_id = read_species_id(text)
        if species_id is None:
            raise ClassListError(f"{file}, line {number}: '{text[:80]}' is not a species_id")
        names[species_id] = name
    return names


def _rows(file: Path, columns: Sequence[str], header: Sequence[str] | None = None) -> Iterator[list[str]]:
    """Yield the fields of each row in the order of `columns`; a missing value is an empty string."""
    try:
        table = CsvTable(file, columns, columns, header=header)
        batches = list(table.batches())
    except CsvError as error:
        raise ClassListError(str(error)) from error
    if table.rejected:
        raise ClassListError(f"{file} has a row with {table.rejected[0]}")
    for batch in batches:
        for row in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            yield [text or "" for text in row]
