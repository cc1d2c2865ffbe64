"""How sure the report is of what a tile shows: its unknown score, and the lowest taxonomic rank that can be trusted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.report.site.scope import Scope
from plantclef_assets.report.site.species import Species
from plantclef_assets.report.site.survey import COVER, Candidates, ListedSpecies, Plot
from plantclef_assets.scoring.ranks import Taxa, Taxon, Thresholds, calibrate, lowest_sure


@dataclass(frozen=True)
class Certainty:
    """What is known of the certainty of predictions.

    Attributes:
        scope: of the report.
        species: all species, by id.
        taxa: species_id → genus and family.
        thresholds: feature set → thresholds of the ranks; none without validation photographs.
    """

    scope: Scope
    species: Mapping[int, Species]
    taxa: Taxa
    thresholds: Mapping[str, Thresholds]

    @classmethod
    def read(cls, lake: Lake, scope: Scope, species: Mapping[int, Species]) -> "Certainty":
        """Calibrate the thresholds of each feature set on its validation photographs."""
        taxa = {one.species_id: (one.genus, one.family) for one in species.values()}
        names = scope.feature_sets if scope.training_shards else ()
        thresholds = {name: calibrate(read_validation(lake, name), taxa, scope.rank_precision) for name in names}
        return cls(scope, species, taxa, thresholds)

    def sure(self, feature_set: str, candidates: Candidates) -> Taxon | None:
        """Return the lowest taxon that a feature set is sure of, from the best species of a tile; None if of none."""
        return lowest_sure(candidates, self.taxa, self.thresholds.get(feature_set, {}))

    def of_listed(self, plot: Plot, run: str, listed: ListedSpecies) -> tuple[Taxon | None, float | None]:
        """Return the taxon that the likeliest tile of a listed species is sure of, and its unknown score, if known."""
        wanted = self.scope.cover_run if run == COVER else run
        (of_run,) = (one for one in self.scope.runs if one.name == wanted)
        pair = (of_run.feature_set, of_run.tiling)
        found = [
            (probability, tile)
            for tile, (_, candidates) in enumerate(plot.tiles.get(pair, ()))
            for species_id, probability in candidates
            if species_id == listed.species_id
        ]
        if not found:
            return None, None
        _, tile = max(found, key=lambda one: one[0])
        unknown = plot.unknown.get(pair)
        return self.sure(pair[0], plot.tiles[pair][tile][1]), unknown[tile] if unknown else None

    def name(self, taxon: Taxon | None) -> str | None:
        """Return the name of a taxon; None for none."""
        if taxon is None or isinstance(taxon.taxon, str):
            return taxon and str(taxon.taxon)
        return self.species[taxon.taxon].name


def read_validation(lake: Lake, feature_set: str) -> Iterator[tuple[int, Candidates]]:
    """Yield the true species and the likeliest ones of each photograph that validates a classifier."""
    rows = lake.read(Artifact("val_predictions", feature_set), ["species_id", "species_ids", "probabilities"])
    for truth, best, values in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        yield truth, list(zip(best, values, strict=True))
