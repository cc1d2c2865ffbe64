"""The schemas of all tables in the lake, with a description of each column.

Columns are required unless they may be null. A vector is a list of float32 as wide as its backbone.
"""

import pyarrow as pa

from plantclef_assets.lake.table_specs import VECTOR, TableSpec, column

_IMAGE_NAME = column("image_name", pa.string(), "file name of the photograph")
_SPECIES_ID = column("species_id", pa.int64(), "Pl@ntNet's id of the species; the label in all tables")
_OBS_ID = column("obs_id", pa.string(), "observation that the photograph belongs to", null=True)
_ORGAN = column("organ", pa.string(), "flower, leaf, habit, fruit, bark, branch or scan", null=True)
_LEARN_TAG = column("learn_tag", pa.string(), "train, val or test; null if the data set has no split", null=True)
_PLOT_ID = column("plot_id", pa.string(), "name of the plot: its file name without extension")
_FEATURE_SET = column("feature_set", pa.string(), "feature set of the classifier")
_CLS = column("cls", VECTOR, "[CLS] token after the final norm")
_DCT = column("dct", VECTOR, "low-frequency 8×8 corner of the tokens' DCT, flattened")
_TILE = (
    _PLOT_ID,
    column("tiling", pa.string(), "name of the tiling: full, 3x3, …"),
    column("tile_index", pa.int32(), "position in the tiling, row-major"),
    column("x", pa.int32(), "left edge of the tile in the upright plot, px"),
    column("y", pa.int32(), "upper edge of the tile in the upright plot, px"),
    column("width", pa.int32(), "width of the tile, px"),
    column("height", pa.int32(), "height of the tile, px"),
)
_PLOT = (
    _PLOT_ID,
    column("width", pa.int32(), "upright width, px"),
    column("height", pa.int32(), "upright height, px"),
)
_OBJECT = (
    _SPECIES_ID,
    _IMAGE_NAME,
    column("x", pa.int32(), "left edge of what is pasted, px"),
    column("y", pa.int32(), "upper edge of what is pasted, px"),
    column("width", pa.int32(), "width within the plot, px"),
    column("height", pa.int32(), "height within the plot, px"),
    column("visible_share", pa.float32(), "share of its area that is seen, through its mask and those above it"),
)
_PHOTOGRAPH = (_IMAGE_NAME, _SPECIES_ID, _OBS_ID, _ORGAN, _LEARN_TAG)
_LICENSE = column("license", pa.string(), "licence of the photograph", null=True)
_AUTHOR = column("author", pa.string(), "author of the photograph", null=True)
_PLACE = (
    column("archive", pa.string(), "its tar archive, relative to the source; null for a plain file", null=True),
    column("source", pa.string(), "path of the photograph, relative to the source or in its archive"),
    column("offset", pa.int64(), "position of the first byte of the photograph in its archive", null=True),
    column("bytes", pa.int64(), "size of the file"),
)
_EMBEDDED = (_IMAGE_NAME, _SPECIES_ID, _OBS_ID, _LEARN_TAG, _CLS)
TRAINING_METADATA = TableSpec(
    pa.schema(
        [
            *_PHOTOGRAPH,
            _LICENSE,
            column("partner", pa.string(), "partner that provided the photograph", null=True),
            _AUTHOR,
            column("altitude", pa.float64(), "metres above sea level", null=True),
            column("latitude", pa.float64(), "degrees north", null=True),
            column("longitude", pa.float64(), "degrees east", null=True),
            column("gbif_species_id", pa.int64(), "id of the species in GBIF's backbone", null=True),
            column("species", pa.string(), "scientific name with authorship", null=True),
            column("genus", pa.string(), "genus", null=True),
            column("family", pa.string(), "family", null=True),
            column("dataset", pa.string(), "data set that the photograph comes from", null=True),
            column("publisher", pa.string(), "publisher of that data set", null=True),
            column("references", pa.string(), "page of the observation", null=True),
            column("url", pa.string(), "address of the photograph", null=True),
            column("image_backup_url", pa.string(), "address of the organisers' copy", null=True),
        ]
    ),
    key=("image_name",),
)
_BYTES = column("bytes", pa.int64(), "size of the file")
_SURVEYED = column("source", pa.string(), "path of the photograph, relative to the folder of the survey")
DEMO_SURVEY = TableSpec(pa.schema([_SURVEYED, _BYTES]), key=("source",))
CLASS_MAP = TableSpec(
    pa.schema(
        [
            _SPECIES_ID,
            column("class_index", pa.int32(), "index from 0, by species_id or in the published order of classes"),
            column("species", pa.string(), "scientific name, in its most frequent spelling", null=True),
            column("genus", pa.string(), "genus", null=True),
            column("family", pa.string(), "family", null=True),
            column("gbif_species_id", pa.int64(), "id of the species in GBIF's backbone", null=True),
            column("images", pa.int64(), "photographs of the species in the training metadata"),
        ]
    ),
    key=("species_id",),
)
TRAINING_MANIFEST = TableSpec(
    pa.schema(
        [
            *_PHOTOGRAPH,
            _LICENSE,
            _AUTHOR,
            *_PLACE,
            column("shard", pa.string(), "shard that the photograph belongs to"),
        ]
    ),
    key=("image_name",),
)
PLOT_MANIFEST = TableSpec(
    pa.schema(
        [
            _PLOT_ID,
            *_PLACE,
            column("shard", pa.string(), "shard that the plot belongs to"),
        ]
    ),
    key=("plot_id",),
)
RAW_IMAGES = TableSpec(
    pa.schema([*_PHOTOGRAPH, _LICENSE, _AUTHOR, column("data", pa.binary(), "the original file")]),
    key=("image_name",),
)
RESIZED_IMAGES = TableSpec(
    pa.schema([*_PHOTOGRAPH, _LICENSE, _AUTHOR, column("data", pa.binary(), "JPEG of the resized centre square")]),
    key=("image_name",),
)
PLOT_IMAGES = TableSpec(pa.schema([*_PLOT, column("data", pa.binary(), "the original file")]), key=("plot_id",))
INBOX_DELIVERY = TableSpec(
    pa.schema(
        [
            _PLOT_ID,
            column("source", pa.string(), "path of the photograph, relative to the inbox"),
            column("bytes", pa.int64(), "size of the file"),
            column("digest", pa.string(), "BLAKE2b hash of the file, 32 hexadecimal digits"),
        ]
    ),
    key=("plot_id",),
)
VALIDATION_PLOTS = TableSpec(
    pa.schema(
        [
            *_PLOT,
            column("data", pa.binary(), "JPEG of the composed plot"),
            column("species_ids", pa.list_(pa.int64()), "true species: those of which enough is visible, ascending"),
            column("objects", pa.list_(pa.struct(_OBJECT)), "the pasted photographs, from bottom to top"),
        ]
    ),
    key=("plot_id",),
)
BASE_EMBEDDINGS = TableSpec(pa.schema([*_EMBEDDED, _DCT]), key=("image_name",))
FINETUNED_EMBEDDINGS = TableSpec(pa.schema(_EMBEDDED), key=("image_name",))
BASE_TILE_EMBEDDINGS = TableSpec(pa.schema([*_TILE, _CLS, _DCT]), key=("plot_id", "tiling", "tile_index"))
FINETUNED_TILE_EMBEDDINGS = TableSpec(pa.schema([*_TILE, _CLS]), key=("plot_id", "tiling", "tile_index"))
TILE_PREDICTIONS = TableSpec(
    pa.schema(
        [
            _PLOT_ID,
            _FEATURE_SET,
            *_TILE[1:],
            _SPECIES_ID,
            column("probability", pa.float32(), "softmax probability of the species in the tile"),
            column("rank", pa.int32(), "1 for the most probable species of the tile"),
        ]
    ),
    key=("plot_id", "feature_set", "tiling", "tile_index", "rank"),
)
VAL_PREDICTIONS = TableSpec(
    pa.schema(
        [
            _FEATURE_SET,
            _IMAGE_NAME,
            column("species_id", pa.int64(), "the true species"),
            column("species_ids", pa.list_(pa.int64()), "the five most probable species, the most probable first"),
            column("probabilities", pa.list_(pa.float64()), "their softmax probabilities"),
        ]
    ),
    key=("feature_set", "image_name"),
)
_SCORE = column("score", pa.float32(), "negated largest logit; higher if the picture resembles no known species")
_UNKNOWN = column("unknown", pa.float32(), "share of the validation photographs (of known species) with a lower score")
VAL_NOVELTY = TableSpec(pa.schema([_FEATURE_SET, _IMAGE_NAME, _SCORE]), key=("feature_set", "image_name"))
TILE_NOVELTY = TableSpec(
    pa.schema([_PLOT_ID, _FEATURE_SET, *_TILE[1:3], _SCORE, _UNKNOWN]),
    key=("plot_id", "feature_set", "tiling", "tile_index"),
)
_RUN = column("run", pa.string(), "name of the run")
_LISTED = column("species_ids", pa.list_(pa.int64()), "species of the plot, best first")
SUBMISSION = TableSpec(pa.schema([_RUN, _PLOT_ID, _LISTED]), key=("run", "plot_id"))
LEADERBOARD = TableSpec(
    pa.schema(
        [
            _RUN,
            _FEATURE_SET,
            column("tiling", pa.string(), "how plots are cut"),
            column("aggregation", pa.string(), "rule: the aggregation with its parameters"),
            column("f1_plot", pa.float64(), "F1 averaged over plots", null=True),
            column("f1_transect", pa.float64(), "F1 averaged within transects, then over them", null=True),
            column("f1_species", pa.float64(), "F1 averaged over species (macro)", null=True),
            column("f1_micro", pa.float64(), "F1 over all (plot, species) pairs", null=True),
            column("species_per_plot", pa.float64(), "mean number of species in a list"),
            column("plots", pa.int64(), "number of plots with ground truth, over which the scores are computed"),
            column("plots_without_truth", pa.int64(), "number of plots without ground truth"),
        ]
    ),
    key=("run",),
)
SWEEP = TableSpec(
    pa.schema(
        [
            _FEATURE_SET,
            column("tiling", pa.string(), "how plots are cut"),
            column("rule", pa.string(), "rule: the aggregation with its parameters, prior and fusion of revisits"),
            column("aggregation", pa.string(), "name of the aggregation"),
            column("parameters", pa.string(), "other keys of a run with this rule, as JSON"),
            column("run", pa.string(), "declared run with this rule", null=True),
            column("part", pa.string(), "choose or report: a half of the labelled plots; survey: the survey's plots"),
            column("f1_plot", pa.float64(), "F1 averaged over plots; null where the rule cannot be met", null=True),
            column("f1_transect", pa.float64(), "F1 averaged within transects, then over them", null=True),
            column("f1_species", pa.float64(), "F1 averaged over species (macro)", null=True),
            column("f1_micro", pa.float64(), "F1 over all (plot, species) pairs", null=True),
            column("species_per_plot", pa.float64(), "mean number of species in a list", null=True),
            column("plots", pa.int64(), "number of plots in the part, all with ground truth"),
        ]
    ),
    key=("feature_set", "tiling", "rule", "part"),
)
_POSITION = pa.struct(
    [
        ("centre_x", pa.float64()),
        ("centre_y", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("score", pa.float32()),
        ("rank", pa.int32()),
        ("tile_index", pa.int32()),
    ]
)
SPECIES_COVER = TableSpec(
    pa.schema(
        [
            _PLOT_ID,
            _SPECIES_ID.with_nullable(True).with_metadata(
                {"description": "Pl@ntNet's id of the species; null in the one row of a plot in which none shows"}
            ),
            column("binomial", pa.string(), "scientific name without authorship", null=True),
            column("name", pa.string(), "scientific name with authorship", null=True),
            column("genus", pa.string(), "genus; from the name where the class map has none", null=True),
            column("family", pa.string(), "family", null=True),
            column("gbif_species_id", pa.int64(), "id of the species in GBIF's backbone", null=True),
            column("count", pa.int32(), "number of tiles that show the species"),
            column("coverage", pa.float64(), "share of the plot's area under the union of these tiles"),
            column("max_score", pa.float32(), "highest probability that a tile gives the species", null=True),
            column("positions", pa.list_(_POSITION), "the tiles that show the species, in px of the upright plot"),
            column("uncovered", pa.float64(), "share of the plot under no tile with a species; equal for the plot"),
            column("tiles", pa.int32(), "number of tiles of the plot; equal in all rows of a plot"),
            column("matched", pa.int32(), "number of tiles that show a species; equal in all rows of a plot"),
        ]
    ),
    key=("plot_id", "species_id"),
)
RUN_AGREEMENT = TableSpec(
    pa.schema(
        [
            column("run_a", pa.string(), "name of a run"),
            column("run_b", pa.string(), "name of a run declared after it"),
            column("jaccard", pa.float64(), "mean over plots of |A∩B| / |A∪B|; 1 if both lists are empty"),
            column("species_per_plot_a", pa.float64(), "mean number of species in a list of run_a"),
            column("species_per_plot_b", pa.float64(), "mean number of species in a list of run_b"),
            column("plots", pa.int64(), "number of plots in both runs"),
        ]
    ),
    key=("run_a", "run_b"),
)
EMBEDDING_MAP = TableSpec(
    pa.schema(
        [
            _IMAGE_NAME,
            _SPECIES_ID,
            column("backbone", pa.string(), "backbone of the features: base or finetuned"),
            column("x", pa.float32(), "first coordinate on the backbone's map; without unit"),
            column("y", pa.float32(), "second coordinate on the backbone's map; without unit"),
            column("held_out", pa.bool_(), "whether the classifiers' split puts the photograph into validation"),
        ]
    ),
    key=("image_name", "backbone"),
)
FIGURE = TableSpec(
    pa.schema(
        [
            column("panel", pa.string(), "part of the figure"),
            column("item", pa.string(), "what is drawn: a species, rule, photograph, tile or asset"),
            column("label", pa.string(), "label in the figure", null=True),
            column("x", pa.float64(), "horizontal position in the units of the panel", null=True),
            column("y", pa.float64(), "vertical position in the units of the panel", null=True),
        ]
    ),
    key=("panel", "item"),
)
QUARANTINE = TableSpec(
    pa.schema(
        [
            column("source", pa.string(), "file or row that is quarantined"),
            column("image_name", pa.string(), "name of the photograph or plot", null=True),
            column("reason", pa.string(), "reason, in one word"),
            column("detail", pa.string(), "details of the reason", null=True),
        ]
    ),
    key=("source", "image_name", "reason"),
)
TABLES: dict[str, TableSpec] = {
    "demo_survey": DEMO_SURVEY,
    "training_metadata": TRAINING_METADATA,
    "class_map": CLASS_MAP,
    "training_manifest": TRAINING_MANIFEST,
    "plot_manifest": PLOT_MANIFEST,
    "raw_images": RAW_IMAGES,
    "resized_images": RESIZED_IMAGES,
    "plot_images": PLOT_IMAGES,
    "validation_plots": VALIDATION_PLOTS,
    "base_embeddings": BASE_EMBEDDINGS,
    "finetuned_embeddings": FINETUNED_EMBEDDINGS,
    "base_tile_embeddings": BASE_TILE_EMBEDDINGS,
    "finetuned_tile_embeddings": FINETUNED_TILE_EMBEDDINGS,
    "base_validation_tile_embeddings": BASE_TILE_EMBEDDINGS,
    "finetuned_validation_tile_embeddings": FINETUNED_TILE_EMBEDDINGS,
    "inbox_delivery": INBOX_DELIVERY,
    "inbox_plots": PLOT_IMAGES,
    "base_inbox_tile_embeddings": BASE_TILE_EMBEDDINGS,
    "finetuned_inbox_tile_embeddings": FINETUNED_TILE_EMBEDDINGS,
    "inbox_predictions": TILE_PREDICTIONS,
    "inbox_novelty": TILE_NOVELTY,
    "inbox_cover": SPECIES_COVER,
    "val_predictions": VAL_PREDICTIONS,
    "val_novelty": VAL_NOVELTY,
    "tile_predictions": TILE_PREDICTIONS,
    "tile_novelty": TILE_NOVELTY,
    "species_cover": SPECIES_COVER,
    "submission": SUBMISSION,
    "leaderboard": LEADERBOARD,
    "run_agreement": RUN_AGREEMENT,
    "sweep": SWEEP,
    "embedding_map": EMBEDDING_MAP,
    "figure_pipeline": FIGURE,
    "figure_class_imbalance": FIGURE,
    "figure_crops": FIGURE,
    "figure_tiles": FIGURE,
    "figure_f1_by_species": FIGURE,
}
"""The table specification of each parquet asset."""
