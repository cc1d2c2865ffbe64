from plantclef_assets_tests.scoring.test_prediction import aggregate, table

# Three visits to A with one tile each, and one to B.
VISITS = [
    ("A-20200101", 0, [(1, 0.5), (2, 0.25)]),
    ("B-20200101", 0, [(9, 0.5), (8, 0.25)]),
    ("A-20210101", 0, [(2, 0.5), (1, 0.25)]),
    ("A-20220101", 0, [(3, 0.75), (2, 0.125)]),
]


def fused(revisits, aggregation="max", **parameters):
    answers = aggregate(table(VISITS), aggregation, parameters, revisits=revisits)
    assert list(answers) == ["A-20200101", "B-20200101", "A-20210101", "A-20220101"]
    assert answers["A-20200101"] == answers["A-20210101"] == answers["A-20220101"]
    return answers["A-20200101"], answers["B-20200101"]


def test_without_fusion_every_visit_stands_alone():
    answers = aggregate(table(VISITS), "max", {"species_per_plot": 1})
    assert answers == {"A-20200101": [1], "B-20200101": [9], "A-20210101": [2], "A-20220101": [3]}


def test_union_gives_each_visit_what_any_has():
    assert fused("union", species_per_plot=1) == ([3, 1, 2], [9])
    assert fused("union", "argmax_union") == ([3, 1, 2], [9])
    assert fused("union", species_per_plot=2) == ([3, 1, 2], [9, 8])


def test_vote_keeps_what_most_visits_have():
    assert fused("vote", species_per_plot=2) == ([2, 1], [9, 8])
    assert fused("vote", species_per_plot=1) == ([], [9])
    assert fused("vote", species_per_plot=1, min_species=1) == ([3], [9])


def test_mean_chooses_from_the_mean_scores_of_the_visits():
    # 1: .75/3, 2: .875/3, 3: .75/3; 1 and 3 are equal.
    assert fused("mean", species_per_plot=3) == ([2, 1, 3], [9, 8])
    assert fused("mean", species_per_plot=1) == ([2], [9])
    assert fused("mean", "threshold", min_score=0.26) == ([2], [9])


def test_bisection_over_fused_scores_meets_the_mean():
    assert fused("mean", "bisection", mean_species_per_plot=0.25) == ([], [9])
    assert fused("mean", "bisection", mean_species_per_plot=1) == ([2], [9])


def test_votes_that_are_too_few_in_every_visit_stay_out_of_the_mean():
    assert fused("mean", "vote", min_votes=2) == ([], [])
    assert fused("mean", "vote", min_votes=2, min_species=1) == ([1], [9])
