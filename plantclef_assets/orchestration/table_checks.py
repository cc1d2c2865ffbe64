"""Checks that follow from the schema of a table, the same for every asset that is one."""

from collections.abc import Iterable

from plantclef_assets.lake.catalog import duplicate_keys
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.statistics import unsound
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem

_BEFORE_CLASS_MAP = ("training_metadata", "class_map")
"""Tables that the class map is made from, or is itself."""


def table_checks(asset: str) -> list[Check]:
    """Return the checks of every table: rows accounted for, schema, unique keys, up to date."""
    spec = TABLES[asset]
    key = " + ".join(spec.key)
    checks = [
        Check(
            "rows_accounted",
            "Rows in = rows out + rows quarantined.",
            _rows_accounted,
            blocking=True,
        ),
        Check(
            "schema",
            "Every column exists and has its type; required columns cannot contain nulls.",
            _schema,
            blocking=True,
        ),
        Check("unique_keys", f"No two rows have the same {key}.", _unique_keys, blocking=True),
        up_to_date(),
    ]
    if spec.vectors:
        checks.append(
            Check(
                "vectors_usable",
                "Vectors are finite, of one width in all shards, and none is zero or constant.",
                _vectors_usable,
                blocking=True,
            )
        )
    if asset in _BEFORE_CLASS_MAP or "species_id" not in spec.columns.names:
        return checks
    return [*checks, labels_in_class_map()]


def up_to_date() -> Check:
    """Return the check that names artifacts that no longer match settings, sources and inputs; it never blocks."""
    return Check("up_to_date", "Every artifact was made from the current settings, sources and inputs.", _up_to_date)


def labels_in_class_map() -> Check:
    """Return the check that every species_id is a class."""
    return Check("labels_in_class_map", "Every species_id is in the class map.", _labels_in_class_map, blocking=True)


def _rows_accounted(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        statistics = record.statistics
        rows_in, quarantined = statistics.get("rows_in"), statistics.get("quarantined")
        rows_out = statistics.get("rows_out", record.rows)
        if rows_in is None or quarantined is None:
            yield Problem(artifact, f"{artifact} does not say how many rows went in")
        elif rows_in != rows_out + quarantined:
            yield Problem(artifact, f"{artifact}: {rows_in} rows in, but {rows_out} out and {quarantined} quarantined")


def _schema(context: CheckContext) -> Iterable[Problem]:
    spec = TABLES[context.recipe.asset]
    for artifact, record in context.records.items():
        if record.schema is not None:
            for problem in spec.problems(record.schema):
                yield Problem(artifact, f"{artifact}: {problem}")


def _unique_keys(context: CheckContext) -> Iterable[Problem]:
    spec = TABLES[context.recipe.asset]
    whole = [
        artifact
        for artifact, record in context.records.items()
        if record.schema is not None and set(spec.key) <= set(record.schema.names)
    ]
    for artifact, row in duplicate_keys(context.lake, whole, spec.key):
        named = ", ".join(f"{name} {row[name]}" for name in spec.key)
        yield Problem(artifact, f"{artifact}: {named} occurs {row['copies']} times")


def _vectors_usable(context: CheckContext) -> Iterable[Problem]:
    widths: dict[str, tuple[int, str]] = {}
    for artifact, record in context.records.items():
        for problem in unsound({"vectors": record.statistics.get("vectors", {})}):
            yield Problem(artifact, f"{artifact}: {problem}")
        for name, vector in record.statistics.get("vectors", {}).items():
            if not record.rows:
                continue
            width, first = widths.setdefault(name, (vector["width"], str(artifact)))
            if vector["width"] != width:
                yield Problem(artifact, f"{artifact}: {name} is {vector['width']} wide, but {width} in {first}")


def _labels_in_class_map(context: CheckContext) -> Iterable[Problem]:
    known = set(context.statistics("class_map").get("species", []))
    if not known:
        return
    for artifact, record in context.records.items():
        unknown = sorted(set(record.statistics.get("species", [])) - known)
        if unknown:
            named = ", ".join(map(str, unknown[:5]))
            yield Problem(artifact, f"{artifact}: {len(unknown)} species are not in the class map ({named})")


def _up_to_date(context: CheckContext) -> Iterable[Problem]:
    for artifact in context.records:
        reason = context.lineage.stale(artifact, with_sources=True)
        if reason:
            yield Problem(artifact, reason)
