import pyarrow as pa
import pytest

from plantclef_assets.scoring.aggregation import aggregate, check_aggregation

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
        ("median", {}, "unknown aggregation 'median': say one of argmax_union, max"),
        ("argmax_union", {"species_per_plot": 3}, "takes no parameters; not species_per_plot"),
        ("max", {}, "takes species_per_plot; missing is species_per_plot"),
        ("max", {"species_per_plot": 3, "top": 1}, "not top"),
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
