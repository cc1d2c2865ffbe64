"""What the gallery and the script of a plot's page need to know of a plot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plantclef_assets.report.site.certainty import Certainty
from plantclef_assets.report.site.scope import Scope
from plantclef_assets.report.site.species import Species
from plantclef_assets.report.site.survey import Plot
from plantclef_assets.scoring.submission_format import DIALECTS

_DIGITS = 3
_NAMED, _PHOTOGRAPHS = 3, 2
"""Species on a card, and photographs of a species beside a tile."""


@dataclass(frozen=True)
class Summary:
    """A plot without its tiles, with the list of the run that is shown.

    Attributes:
        plot_id, page, source, place, date, region: as those of `Plot`.
        species: the species of its list.
        confidence, score, agreement: of that list; None if unknown.
        review: why a person should look at it.
        names: those of its first species.
    """

    plot_id: str
    page: str
    source: str
    place: str
    date: str
    region: str
    species: list[int]
    confidence: float | None
    score: float | None
    agreement: float | None
    review: list[str]
    names: list[str]

    def card(self) -> dict[str, Any]:
        """Return what the gallery filters and shows."""
        return {
            "id": self.plot_id,
            "page": self.page,
            "source": self.source,
            "place": self.place,
            "date": self.date,
            "region": self.region,
            "species": self.species,
            "confidence": None if self.confidence is None else round(self.confidence, _DIGITS),
            "score": None if self.score is None else round(self.score, _DIGITS),
            "review": self.review,
        }


def summarize(plot: Plot, run: str, species: Mapping[int, Species]) -> Summary:
    """Return the summary of a plot with its list by a run."""
    listed = plot.species(run)
    return Summary(
        plot.plot_id,
        plot.page,
        plot.source,
        plot.place,
        plot.date,
        plot.region,
        listed,
        plot.confidence(run),
        plot.score(run),
        plot.agreement,
        plot.review_reasons(run),
        [species[one].name for one in listed[:_NAMED]],
    )


def describe_plot(plot: Plot, scope: Scope, certainty: Certainty) -> dict[str, Any]:
    """Return what the script of a plot's page needs: its tiles, runs and species, and the form of a reviewed list."""
    species = certainty.species
    tiles = {
        "|".join(pair): [
            [*box, [[one, round(probability, _DIGITS)] for one, probability in candidates]] for box, candidates in found
        ]
        for pair, found in plot.tiles.items()
    }
    shown = {one for found in plot.tiles.values() for _, candidates in found for one, _ in candidates}
    shown |= {one for run in plot.lists for one in plot.species(run)}
    runs = [run for run in scope.runs if run.name in plot.lists]
    if not runs:
        runs = [run for run in scope.runs if run.name == scope.cover_run]
    form = DIALECTS["2025"]  # it holds every name
    return {
        "plot": plot.plot_id,
        "width": plot.width,
        "height": plot.height,
        "tiles": tiles,
        "certainty": {"|".join(pair): _certainty_of_tiles(plot, pair, certainty) for pair in plot.tiles},
        "runs": [
            {"name": name, "tiles": f"{run.feature_set}|{run.tiling}", "species": plot.species(name)}
            for run, name in zip(runs, plot.lists, strict=True)
        ],
        "species": {
            one: {
                "name": species[one].name,
                "photographs": [
                    [photograph.file, photograph.credit] for photograph in species[one].photographs[:_PHOTOGRAPHS]
                ],
            }
            for one in sorted(shown)
        },
        "form": {"header": form.header, "separator": form.separator, "quoted": form.quoted},
    }


def _certainty_of_tiles(plot: Plot, pair: tuple[str, str], certainty: Certainty) -> list[list[Any]]:
    """Return the unknown score of each tile, and rank, name and probability of the taxon that it is sure of, if any."""
    found = []
    for tile, (_, candidates) in enumerate(plot.tiles[pair]):
        unknown, sure = plot.unknown.get(pair), certainty.sure(pair[0], candidates)
        taxon = [sure.rank, certainty.name(sure), round(sure.probability, _DIGITS)] if sure else []
        found.append([round(unknown[tile], _DIGITS) if unknown else None, *taxon])
    return found
