"""Jobs: the chain in the pieces that people launch, one for each partition family.

What belongs here: selections of assets that run together, and (where they are switched on) what launches them.
(https://docs.dagster.io/guides/build/jobs/asset-jobs)
"""

from typing import Any

from dagster import AssetSelection, define_asset_job

from plantclef_assets.settings import Settings

INBOX_JOB = "inbox_side"
"""What a delivery is run through, by the sensor or by hand."""
_TRAINING_ASSETS = ("training_metadata", "class_map", "training_manifest", "raw_images", "resized_images")
_PLOT_ASSETS = ("plot_manifest", "plot_images", "tile_predictions", "species_cover")
_INBOX_ASSETS = ("inbox_delivery", "inbox_plots", "inbox_predictions", "inbox_cover")


def build_jobs(settings: Settings) -> list[Any]:
    """Make the jobs that the settings give; each works on a range of one partition family."""
    backbones, embeddings, tiles, validation_tiles, inbox_tiles = (
        [f"{backbone}_{what}" for backbone in settings.backbones]
        for what in (
            "backbone",
            "embeddings",
            "tile_embeddings",
            "validation_tile_embeddings",
            "inbox_tile_embeddings",
        )
    )
    demo = ["demo_survey"] if settings.uses_demo_survey else []
    # What is trained here waits for every shard, so it is no part of a run over some of them.
    later = {"finetuned_backbone", "finetuned_embeddings"} if settings.trains_backbone else set()
    jobs = []
    reports = ["embedding_map"] if settings.compares_backbones else []
    if settings.has_training:
        jobs.append(
            define_asset_job(
                "training_side",
                AssetSelection.assets(*demo, *_TRAINING_ASSETS, *(set(backbones + embeddings) - later)),
                description="From the training metadata to the embeddings of its photographs (training shards).",
            )
        )
        if later:
            jobs.append(
                define_asset_job(
                    "finetuning",
                    AssetSelection.assets(*later),
                    description="The backbone that is fine-tuned here, and its embeddings; needs all training shards.",
                )
            )
    else:
        jobs.append(
            define_asset_job(
                "checkpoint",
                AssetSelection.assets("class_map", *backbones),
                description="The fine-tuned backbone, and the class map from its own class list.",
            )
        )
    jobs.append(
        define_asset_job(
            "classifiers",
            AssetSelection.assets("classifier", *reports),
            description="The classifier of each feature set, and the map of two backbones; needs all training shards.",
        )
    )
    if settings.composes_plots:
        jobs.append(
            define_asset_job(
                "validation_side",
                AssetSelection.assets("validation_plots", *validation_tiles),
                description="Plots composed of held-out photographs, and their tiles; needs all training shards.",
            )
        )
    if settings.has_plots:
        jobs += [
            define_asset_job(
                "plot_side",
                AssetSelection.assets(*_PLOT_ASSETS, *tiles),
                description="From the survey's photographs to the species of each tile and their cover (plot shards).",
            ),
            define_asset_job(
                "results",
                AssetSelection.assets("submission", "leaderboard", "run_agreement"),
                description="The submission of each run, the leaderboard, how alike runs are; needs all plot shards.",
            ),
        ]
    if settings.has_inbox:
        jobs.append(
            define_asset_job(
                INBOX_JOB,
                AssetSelection.assets(*_INBOX_ASSETS, *inbox_tiles),
                description="From what was delivered through the inbox to the cover of its species (deliveries).",
            )
        )
    if settings.sweeps:
        jobs.append(
            define_asset_job(
                "rule_sweep",
                AssetSelection.assets("sweep"),
                description="Every rule of a grid, scored on plots whose species are known; needs all their tiles.",
            )
        )
    return jobs
