"""The jobs of the chain; each asset declares which of them it is part of."""

from plantclef_assets.orchestration.declaration import Job

PLOT_SOURCES = Job(
    "plot_sources",
    "The list of the survey's plots; reports within seconds what is wrong with their source.",
    early=True,
)
TRAINING_SIDE = Job(
    "training_side", "From the training metadata to the embeddings of its photographs (training shards)."
)
CHECKPOINT = Job("checkpoint", "The fine-tuned backbone, and the class map from its own class list.")
FINETUNING = Job("finetuning", "The backbone that is fine-tuned here, and its embeddings; needs all training shards.")
CLASSIFIERS = Job(
    "classifiers", "The classifier of each feature set, and the map of two backbones; needs all training shards."
)
PLOT_SIDE = Job("plot_side", "From the survey's photographs to the species of each tile and their cover (plot shards).")
RESULTS = Job(
    "results", "The submission of each run, the leaderboard, and the agreement between runs; needs all plot shards."
)
INBOX_SIDE = Job("inbox_side", "From a delivery through the inbox to the cover of its species (deliveries).")
REPORT = Job("report", "The site with a page for each plot; needs the results of all plot shards.")
VALIDATION_SIDE = Job(
    "validation_side",
    "Plots composed of held-out photographs, and their tiles; needs all training shards.",
    optional=True,
)
RULE_SWEEP = Job(
    "rule_sweep", "Every rule of a grid, scored on plots whose species are known; needs all their tiles.", optional=True
)
