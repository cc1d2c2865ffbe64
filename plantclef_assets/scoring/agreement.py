"""The pairwise agreement between runs as an artifact of the lake."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from plantclef_assets.lake.schemas import RUN_AGREEMENT
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.scoring.comparison import mean_jaccard
from plantclef_assets.scoring.submissions import read_predictions


@dataclass(frozen=True)
class RunAgreement:
    """Writer of the table of the pairwise agreement between runs."""

    lake: Lake
    runs: Sequence[str]

    def __call__(self, shard: Shard) -> None:
        """Write one row per pair of runs, in the order of their declaration.

        Raises:
            ValueError: two runs do not have the same plots.
        """
        predictions = {name: read_predictions(self.lake, name) for name in self.runs}
        lengths = {name: sum(map(len, lists.values())) / max(len(lists), 1) for name, lists in predictions.items()}
        pairs = list(combinations(self.runs, 2))
        with write_table(self.lake, shard.artifact, RUN_AGREEMENT, shard.provenance) as table:
            if pairs:
                table.write_rows(
                    run_a=[one for one, _ in pairs],
                    run_b=[other for _, other in pairs],
                    jaccard=[mean_jaccard(predictions[one], predictions[other]) for one, other in pairs],
                    species_per_plot_a=[lengths[one] for one, _ in pairs],
                    species_per_plot_b=[lengths[other] for _, other in pairs],
                    plots=[len(predictions[one]) for one, _ in pairs],
                )
            table.statistics = {"rows_in": len(pairs), "quarantined": 0, "runs": len(self.runs)}
