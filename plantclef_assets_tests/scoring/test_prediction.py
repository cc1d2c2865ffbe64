"""Aggregations of tile predictions, from the table to the species lists."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from plantclef_assets.scoring.prediction import Predictions, predict
from plantclef_assets.scoring.registry import check_aggregation
from plantclef_assets.scoring.rules import Rule, check_rule
from plantclef_assets.scoring.tile_probabilities import read_top_species


def aggregate(
    predictions: pa.Table, aggregation: str, parameters: Mapping[str, Any] | None = None, revisits: str | None = None
) -> Predictions:
    """Predict species lists from a table of tile predictions."""
    rule = Rule(aggregation, parameters or {}, revisits)
    check_rule(rule)
    return predict(read_top_species(predictions), rule)


# plot, tile, [(species, probability), …] from rank 1 on
TILES = [
    ("b", 0, [(30, 0.5), (10, 0.3), (20, 0.2)]),
    ("b", 1, [(10, 0.4), (40, 0.35), (30, 0.25)]),
    ("a", 0, [(20, 0.6), (10, 0.4)]),
    ("b", 2, [(30, 0.9), (40, 0.1), (20, 0.0)]),
    ("a", 1, [(10, 0.6), (20, 0.4)]),
]


def table(tiles=TILES, first_rank=1) -> pa.Table:
    rows = [
        {"plot_id": plot, "tile_index": tile, "species_id": species, "probability": probability, "rank": rank}
        for plot, tile, predictions in tiles
        for rank, (species, probability) in enumerate(predictions, start=first_rank)
    ]
    return pa.Table.from_pylist(rows)


def test_argmax_union_unites_the_best_of_every_tile():
    assert aggregate(table(), "argmax_union") == {"b": [30, 10], "a": [10, 20]}


def test_max_takes_the_best_n_of_the_maxima():
    assert aggregate(table(), "max", {"species_per_plot": 3}) == {"b": [30, 10, 40], "a": [10, 20]}
    assert aggregate(table(), "max", {"species_per_plot": 1}) == {"b": [30], "a": [10]}


def test_plots_keep_the_order_of_their_first_appearance():
    assert list(aggregate(table(), "argmax_union")) == ["b", "a"]
    shuffled = table().take([12, 3, 9, 0, 7, 1, 2, 4, 5, 6, 8, 10, 11])
    assert aggregate(shuffled, "argmax_union") == {"a": [10, 20], "b": [30, 10]}


def test_dictionary_encoded_names_keep_the_order_of_their_first_appearance():
    names = pa.array(table()["plot_id"].to_pylist())
    dictionary = pa.array(["absent", "a", "b"])
    places = pa.array([dictionary.to_pylist().index(name) for name in names.to_pylist()], pa.int32())
    encoded = table().set_column(0, "plot_id", pa.DictionaryArray.from_arrays(places, dictionary))
    for chunks in (
        encoded,
        pa.concat_tables([encoded[:6], table()[6:].set_column(0, "plot_id", names[6:].dictionary_encode())]),
    ):
        assert list(aggregate(chunks, "argmax_union").items()) == [("b", [30, 10]), ("a", [10, 20])]


def test_the_chunks_of_a_table_do_not_matter():
    whole = table()
    chunked = pa.concat_tables([whole.slice(start, 1) for start in range(len(whole))])
    encoded = chunked.set_column(0, "plot_id", chunked["plot_id"].dictionary_encode())
    for same in (chunked, encoded):
        assert aggregate(same, "argmax_union") == aggregate(whole, "argmax_union")


def test_a_table_without_rows_gives_no_plots():
    assert aggregate(table().slice(0, 0), "argmax_union") == {}


@pytest.mark.parametrize(
    ("aggregation", "parameters", "message"),
    [
        ("median", {}, "unknown aggregation 'median': use one of argmax_union, bayesian, bisection, max, mean, "),
        ("argmax_union", {"species_per_plot": 3}, "takes no parameters; not species_per_plot"),
        ("max", {}, "takes species_per_plot, min_species, min_score, min_z; missing: species_per_plot"),
        ("max", {"species_per_plot": 3, "top": 1}, "not top"),
        ("threshold", {}, "missing: min_score"),
        ("topk_union", {}, "missing: top_per_tile"),
        ("bisection", {"min_score": 0.5}, "not min_score; missing: mean_species_per_plot"),
        ("threshold", {"min_score": 0}, "above 0 and at most 1"),
        ("threshold", {"min_score": float("nan")}, "above 0 and at most 1"),
        ("vote", {"min_votes": 0.5}, "min_votes is 0.5; it must be a whole number"),
        ("bisection", {"mean_species_per_plot": 0}, "a number above 0"),
        ("bisection", {"mean_species_per_plot": 2, "scored_by": "sum"}, "one of bayesian, max, mean, vote"),
        ("bisection", {"mean_species_per_plot": 2, "min_species": 3}, "must not be less than min_species"),
        ("bisection", {"mean_species_per_plot": 2, "species_per_plot": 1}, "or more than species_per_plot"),
        ("vote", {"min_species": 3, "species_per_plot": 2}, r"min_species \(3\) is more than species_per_plot \(2\)"),
    ],
)
def test_unknown_names_and_parameters_are_refused_before_any_work(aggregation, parameters, message):
    with pytest.raises(ValueError, match=message):
        check_aggregation(aggregation, parameters)
    with pytest.raises(ValueError, match=message):
        aggregate(table(), aggregation, parameters)


@pytest.mark.parametrize("number", [0, -1, 2.5, "3"])
def test_an_impossible_number_of_species_is_refused(number):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        aggregate(table(), "max", {"species_per_plot": number})


def test_tables_that_would_be_misread_are_refused():
    with pytest.raises(ValueError, match="no column rank"):
        aggregate(table().drop_columns("rank"), "argmax_union")
    with pytest.raises(ValueError, match="do not count from 1"):
        aggregate(table(first_rank=2), "argmax_union")
    with pytest.raises(ValueError, match="one classifier and one tiling"):
        aggregate(pa.concat_tables([table(), table()]), "argmax_union")


def test_ranks_counted_from_zero_are_refused():
    with pytest.raises(ValueError, match="do not count from 1"):
        aggregate(table(first_rank=0), "argmax_union")


def test_an_unknown_fusion_of_revisits_is_refused():
    with pytest.raises(ValueError, match="unknown fusion of revisits 'sum': use one of union, vote, mean"):
        aggregate(table(), "argmax_union", revisits="sum")


# Two tiles, in quarters that are exact: mean 1 → .5, 2 → .375, 3 → .125; maxima 1 → .5, 2 → .75, 3 → .25.
PAIR = [("p", 0, [(1, 0.5), (3, 0.25)]), ("p", 1, [(2, 0.75), (1, 0.5)])]


def test_mean_divides_by_all_tiles_and_counts_what_is_absent_as_zero():
    assert aggregate(table(PAIR), "mean", {"species_per_plot": 3}) == {"p": [1, 2, 3]}
    assert aggregate(table(PAIR), "mean", {"species_per_plot": 3, "min_score": 0.375}) == {"p": [1, 2]}
    assert aggregate(table(PAIR), "mean", {"species_per_plot": 3, "min_score": 0.376}) == {"p": [1]}
    assert aggregate(table(PAIR), "max", {"species_per_plot": 3}) == {"p": [2, 1, 3]}


def test_threshold_takes_what_some_tile_is_sure_of():
    assert aggregate(table(), "threshold", {"min_score": 0.4}) == {"b": [30, 10], "a": [10, 20]}
    assert aggregate(table(), "threshold", {"min_score": 0.41}) == {"b": [30], "a": [10, 20]}
    assert aggregate(table(), "threshold", {"min_score": 0.4, "species_per_plot": 1}) == {"b": [30], "a": [10]}
    assert aggregate(table(), "threshold", {"min_score": 0.95}) == {"b": [], "a": []}


def test_a_list_that_is_too_short_is_filled_with_the_best_of_the_rest():
    assert aggregate(table(), "threshold", {"min_score": 0.95, "min_species": 1}) == {"b": [30], "a": [10]}
    filled = aggregate(table(), "threshold", {"min_score": 0.7, "min_species": 3})
    assert filled == {"b": [30, 10, 40], "a": [10, 20]}, "no plot gets species that no tile named"


def test_topk_union_unites_the_best_of_each_tile_above_a_score():
    assert aggregate(table(), "topk_union", {"top_per_tile": 1}) == aggregate(table(), "argmax_union")
    assert aggregate(table(), "topk_union", {"top_per_tile": 2}) == {"b": [30, 10, 40], "a": [10, 20]}
    assert aggregate(table(), "topk_union", {"top_per_tile": 2, "min_score": 0.4}) == {"b": [30, 10], "a": [10, 20]}
    never_empty = {"top_per_tile": 1, "min_score": 0.7, "min_species": 1}
    assert aggregate(table(), "topk_union", never_empty) == {"b": [30], "a": [10]}


# Arg-maxima: 7 three times, 9 twice (surer than 8), 8 twice, 5 once.
VOTES = [
    *(("v", tile, [(7, 0.2), (5, 0.1)]) for tile in range(3)),
    *(("v", tile, [(8, 0.3), (5, 0.1)]) for tile in (3, 4)),
    *(("v", tile, [(9, 0.9), (5, 0.1)]) for tile in (5, 6)),
    ("v", 7, [(5, 0.95)]),
]


def test_vote_counts_tiles_and_not_how_sure_they_are():
    assert aggregate(table(VOTES), "vote") == {"v": [7, 9, 8, 5]}
    assert aggregate(table(VOTES), "vote", {"species_per_plot": 2}) == {"v": [7, 9]}
    assert aggregate(table(VOTES), "vote", {"min_votes": 2}) == {"v": [7, 9, 8]}
    assert aggregate(table(VOTES), "vote", {"min_score": 0.3}) == {"v": [7]}, "3 of 8 tiles"
    assert aggregate(table(VOTES), "vote", {"min_votes": 9, "min_species": 1}) == {"v": [7]}


@pytest.mark.parametrize(
    ("aggregation", "parameters"),
    [
        ("argmax_union", {}),
        ("max", {"species_per_plot": 4}),
        ("mean", {"species_per_plot": 4}),
        ("vote", {}),
        ("threshold", {"min_score": 0.1}),
        ("topk_union", {"top_per_tile": 2}),
        ("bisection", {"mean_species_per_plot": 2}),
    ],
)
def test_the_order_of_rows_does_not_matter_and_equal_species_go_by_their_number(aggregation, parameters):
    equal = [
        ("q", 0, [(4, 0.25), (2, 0.125)]),
        ("q", 1, [(2, 0.25), (4, 0.125)]),
        ("r", 0, [(6, 0.3), (3, 0.1)]),
        ("r", 1, [(3, 0.3), (6, 0.1)]),
    ]
    rows = table(equal)
    answers = aggregate(rows, aggregation, parameters)
    assert answers == {"q": [2, 4], "r": [3, 6]}
    for seed in range(5):
        shuffled = rows.take(np.random.default_rng(seed).permutation(len(rows)))
        assert aggregate(shuffled, aggregation, parameters) == answers


def random_survey(seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    tiles = []
    for plot in range(12):
        for tile in range(6):
            probability = np.sort(random.dirichlet(np.full(8, 0.3)))[::-1][:5]
            tiles.append((f"plot{plot}", tile, [*zip(random.permutation(20)[:5].tolist(), probability, strict=True)]))
    return table(tiles)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", [0.5, 1, 2.5, 4])
@pytest.mark.parametrize("scored_by", [None, "max", "mean"])
def test_bisection_meets_the_mean_number_of_species(seed, target, scored_by):
    survey = random_survey(seed)
    more = {"scored_by": scored_by} if scored_by else {}
    answers = aggregate(survey, "bisection", {"mean_species_per_plot": target, **more})
    assert sum(map(len, answers.values())) == target * len(answers)  # without ties to the very species
    if scored_by != "mean":
        every = aggregate(survey, "max", {"species_per_plot": 99})
        assert all(answer == every[plot][: len(answer)] for plot, answer in answers.items())


def test_bisection_lays_one_threshold_over_all_plots():
    # Maxima: b 30 → .9, 10 → .4, 40 → .35, 20 → .2; a 10 → .6, 20 → .6.
    assert aggregate(table(), "bisection", {"mean_species_per_plot": 0.5}) == {"b": [30], "a": []}
    assert aggregate(table(), "bisection", {"mean_species_per_plot": 1}) == {"b": [30], "a": [10, 20]}, (
        "ties stay whole"
    )
    assert aggregate(table(), "bisection", {"mean_species_per_plot": 2}) == {"b": [30, 10], "a": [10, 20]}
    assert aggregate(table(), "bisection", {"mean_species_per_plot": 3}) == {"b": [30, 10, 40, 20], "a": [10, 20]}


def test_bisection_keeps_the_limits_of_a_plot_and_still_meets_the_mean():
    least = aggregate(table(), "bisection", {"mean_species_per_plot": 1, "min_species": 1})
    assert least == {"b": [30], "a": [10]}
    most = aggregate(table(), "bisection", {"mean_species_per_plot": 2, "species_per_plot": 2})
    assert most == {"b": [30, 10], "a": [10, 20]}
    votes = aggregate(table(VOTES), "bisection", {"mean_species_per_plot": 2, "scored_by": "vote"})
    assert votes == {"v": [7, 9, 8]}, "equal shares of votes stay together"


def test_a_mean_that_cannot_be_met_is_said():
    with pytest.raises(ValueError, match=r"mean of 4 species a plot cannot be met: .* hold 3\.00 .*PLANTCLEF_TOP_K"):
        aggregate(table(), "bisection", {"mean_species_per_plot": 4})
    assert aggregate(table().slice(0, 0), "bisection", {"mean_species_per_plot": 4}) == {}
