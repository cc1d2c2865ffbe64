"""Checks of the sources: metadata, class map, manifests."""

from collections.abc import Iterable

from plantclef_assets.lake.catalog import create_table
from plantclef_assets.orchestration.checks import Check, Evidence, Finding, none_counted
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.settings import Settings
from plantclef_assets.settings.tables import PublishedSettings

_SHARED_OBSERVATIONS = """
select obs_id from training_manifest where learn_tag in ('train', 'val') and obs_id is not null
group by obs_id having count(distinct learn_tag) > 1 order by obs_id
"""


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    published = settings.published or PublishedSettings()
    return {
        "demo_survey": table_checks("demo_survey"),
        "training_metadata": [
            *table_checks("training_metadata"),
            Check(
                "rows_usable",
                "Every row of the CSV can be used.",
                none_counted("quarantined", "{count} rows cannot be used and {rows} can; the quarantine names them"),
            ),
            Check("readable_numbers", "Every number of the CSV could be read.", _readable_numbers),
            complete(published.training_rows, "rows"),
        ],
        "class_map": [
            *table_checks("class_map"),
            Check("contiguous_classes", "Class indices count from 0 without a gap.", _contiguous, blocking=True),
            Check(
                "classes_have_images",
                "Every class has at least one photograph.",
                none_counted(
                    "without_images", "{count} of {rows} classes have no photograph, so none can be predicted"
                ),
            ),
            Check("species_listed", "Every species of the metadata is in the official class list.", _species_listed),
        ],
        "training_manifest": [
            *table_checks("training_manifest"),
            Check(
                "no_shared_observation",
                "No obs_id is on both sides of the split into train and val.",
                _no_shared_observation,
                blocking=True,
            ),
            Check(
                "photographs_found",
                "Every metadata row has its photograph.",
                none_counted("without_image", "{count} metadata rows have no photograph; the quarantine names them"),
            ),
            Check("balanced_shards", "No shard is more than 10 % larger than the mean.", _balanced_shards),
            files_used(),
            complete(published.training_rows, "photographs"),
        ],
        "plot_manifest": [*table_checks("plot_manifest"), files_used(), complete(published.plots, "plots")],
    }


def complete(expected: int | None, what: str) -> Check:
    """Make the check that a source has as many rows as its organisers publish; without such a number it passes."""

    def judge(evidence: Evidence) -> Iterable[Finding]:
        for artifact, record in evidence.records.items():
            found = record.statistics.get("rows_in", 0)
            if expected is not None and found < expected:
                yield Finding(
                    artifact,
                    f"{found:,} of {expected:,} published {what} are there; complete the source, or set "
                    "PLANTCLEF_PUBLISHED=none where it is your own",
                )

    return Check("complete", "The source has as many rows as its organisers publish.", judge)


def files_used() -> Check:
    """Return a check that warns of files in a source that may hold photographs but are not used."""

    def judge(evidence: Evidence) -> Iterable[Finding]:
        for artifact, record in evidence.records.items():
            for unused in record.statistics.get("unused", []):
                yield Finding(
                    artifact,
                    f"{unused['files']} {unused['ending']} files are not used ({unused['reason']}); "
                    f"the quarantine of {artifact} names them and says why",
                )

    return Check("files_used", "Every file of the source that may hold photographs is used.", judge)


def _readable_numbers(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        for column, count in record.statistics.get("unreadable", {}).items():
            yield Finding(artifact, f"{count} values of {column} are no numbers and became null")


def _contiguous(evidence: Evidence) -> Iterable[Finding]:
    for artifact in evidence.records:
        indices = sorted(evidence.lake.read(artifact, ["class_index"]).column("class_index").to_pylist())
        wrong = next((place for place, index in enumerate(indices) if place != index), None)
        if wrong is not None:
            yield Finding(artifact, f"class index {wrong} is missing or there twice")


def _species_listed(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        unlisted = record.statistics.get("unlisted", [])
        if unlisted:
            named = ", ".join(map(str, unlisted[:5]))
            yield Finding(artifact, f"{len(unlisted)} species are not in the official class list ({named})")


def _no_shared_observation(evidence: Evidence) -> Iterable[Finding]:
    import duckdb

    for artifact in evidence.records:
        manifest = evidence.lake.read(artifact, ["obs_id", "learn_tag"])
        with duckdb.connect() as catalog:
            create_table(catalog, "training_manifest", manifest.schema, manifest.to_batches())
            shared = [row[0] for row in catalog.sql(_SHARED_OBSERVATIONS).fetchall()]
        if shared:
            yield Finding(artifact, f"{len(shared)} observations are in train and val ({', '.join(shared[:5])})")


def _balanced_shards(evidence: Evidence) -> Iterable[Finding]:
    shards = evidence.recipe.config(None)["shards"]
    for artifact in evidence.records:
        sizes = evidence.lake.read(artifact, ["shard", "bytes"]).group_by("shard").aggregate([("bytes", "sum")])
        total = sum(sizes.column("bytes_sum").to_pylist())
        for row in sizes.to_pylist():
            if row["bytes_sum"] > 1.1 * total / shards:
                share = row["bytes_sum"] * shards / total
                yield Finding(
                    artifact, f"shard {row['shard']} has {share:.0%} of the mean bytes; fewer shards fit better"
                )
