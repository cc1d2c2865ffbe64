"""The submission of a run as an artifact of the lake: its table, and the CSV files of the challenge as sidecars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.schemas import SUBMISSION
from plantclef_assets.lake.sidecars import publish_sidecars
from plantclef_assets.lake.store import Artifact, Lake, LakePath
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.scoring.comparison import effect_of_change
from plantclef_assets.scoring.plot_names import region_of
from plantclef_assets.scoring.prediction import Predictions, predict, predict_without_and_with
from plantclef_assets.scoring.priors import compute_priors, images_by_species
from plantclef_assets.scoring.rules import Run
from plantclef_assets.scoring.species_lists import known_species, read_species_list
from plantclef_assets.scoring.submission_format import DIALECTS, can_hold, format_submission, validate_submission
from plantclef_assets.scoring.tile_probabilities import AllClasses, Survey, read_stored_predictions


class InvalidSubmissionError(ValueError):
    """A submission that the challenge would refuse."""


@dataclass(frozen=True)
class Submissions:
    """Writer of the submission of one run: the table, and a CSV in each dialect."""

    lake: Lake
    runs: Mapping[str, Run]
    plot_shards: Sequence[str]
    dialect: str
    region_patterns: Sequence[str] = ()

    def __call__(self, shard: Shard) -> None:
        """Write the files of one run; the table comes last, so that all files it records exist.

        Every plot of the manifest has a row; an unreadable plot has an empty list. A CSV omits the plots whose ids its
        dialect cannot hold.

        Raises:
            InvalidSubmissionError: the challenge would refuse it.
            ValueError: no species of the run's list is known, or a mean number of species cannot be met.
        """
        name = shard.artifact.partition or ""
        predictions, effect = self._predict(self.runs[name])
        plots = self.lake.read(Artifact("plot_manifest"), ["plot_id"]).column("plot_id").to_pylist()
        rows = [(plot, predictions.get(plot, [])) for plot in sorted(plots)]
        problems = validate_submission(rows, plots, images_by_species(self.lake))
        if problems:
            raise InvalidSubmissionError(f"{shard.artifact} is not published: {'; '.join(problems[:5])}")
        files = submission_files(self.lake, shard.artifact, self.dialect)
        require_unchanged(self.lake, shard.provenance)
        left_out = {dialect: [plot for plot, _ in rows if not can_hold(dialect, plot)] for dialect in files}
        texts = {
            path: format_submission((row for row in rows if row[0] not in left_out[dialect]), dialect).encode()
            for dialect, path in files.items()
        }
        sidecars = publish_sidecars(self.lake, texts)
        with write_table(self.lake, shard.artifact, SUBMISSION, shard.provenance) as table:
            table.write_rows(
                run=[name] * len(rows),
                plot_id=[plot for plot, _ in rows],
                species_ids=[species for _, species in rows],
            )
            table.statistics = {
                "rows_in": len(plots),
                "quarantined": 0,
                "empty": sum(not species for _, species in rows),
                "species_per_plot": sum(len(species) for _, species in rows) / max(len(rows), 1),
                "left_out": left_out,
                "distinct_species": len({species_id for _, species in rows for species_id in species}),
                **effect,
                **sidecars,
            }

    def _predict(self, run: Run) -> tuple[Predictions, dict[str, float]]:
        """Return the predictions of a run, and statistics of the effect of its prior or list of species."""
        survey = self._survey(run)
        if run.rule.prior is None and run.species_list is None:
            return predict(survey, run.rule), {}
        images = images_by_species(self.lake)
        prior, species_ids, statistics = None, None, {}
        if run.rule.prior:
            region = partial(region_of, patterns=self.region_patterns)
            prior = compute_priors([run.rule.prior], survey, images, region).get(run.rule.prior)
        if run.species_list:
            listed = read_species_list(run.species_list)
            species_ids = known_species(run.species_list, listed, images)
            statistics = {"species_listed": len(listed), "species_matched": len(species_ids)}
        plain, predictions = predict_without_and_with(survey, run.rule, prior, species_ids)
        return predictions, statistics | effect_of_change(plain, predictions)

    def _survey(self, run: Run) -> Survey:
        """Return the tile probabilities that a run reads: of all classes, or of the best species of each tile."""
        if run.needs_all_classes:
            return AllClasses.of(self.lake, run.feature_set, "tile_embeddings", self.plot_shards, run.tiling)
        return read_stored_predictions(self.lake, self.plot_shards, run.feature_set, run.tiling)


def submission_files(lake: Lake, artifact: Artifact, dialect: str) -> dict[str, LakePath]:
    """Return the CSV of each dialect: `<run>.csv` for the profile's own, `<run>.<dialect>.csv` for the other."""
    place = lake.path(artifact)
    return {
        name: place.with_name(f"{artifact.partition}.csv" if name == dialect else f"{artifact.partition}.{name}.csv")
        for name in DIALECTS
    }


def read_predictions(lake: Lake, run: str) -> Predictions:
    """Read the species of every plot by a run."""
    rows = lake.read(Artifact("submission", run), ["plot_id", "species_ids"]).to_pylist()
    return {row["plot_id"]: row["species_ids"] for row in rows}
