"""What the settings ask for, counted: photographs, plots and tiles, and the load of each stage.

Counts come from footers of the lake, from the columns of its manifests and plots, from listings of local sources, or
from the profile; each count carries its origin. Nothing is downloaded, decoded or written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from plantclef_assets.defs.families import build_families
from plantclef_assets.defs.naming import Backbone, PlotSource, backbones, plot_sources, runs_by_feature_set_and_tiling
from plantclef_assets.errors import UserError
from plantclef_assets.ingest.locations import is_demo, is_remote
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.feature_sets import feature_set
from plantclef_assets.orchestration.declaration import Graph
from plantclef_assets.planning.estimates import (
    PREDICTION_BYTES,
    TRAINING_PASSES,
    Load,
    ModelShape,
    Stage,
    divide,
    vector_bytes,
)
from plantclef_assets.planning.source_counts import CUT_SHORT, Pictures, Size, SourceCounts, try_record
from plantclef_assets.planning.states import artifact_states, quick_states
from plantclef_assets.planning.tiles import Tiles, count_tiles
from plantclef_assets.settings import Settings

ASSUMED_PLOT = (3000, 3000)
"""Width and height of plots in px where none can be looked at; those of PlantCLEF 2025 have about 3,100 × 3,100."""
ASSUMED_BYTES_PER_PIXEL = 0.45
"""JPEG of quality 95 with 128 px to 518 px on a side; only used until photographs are resized."""
COMPOSED_BYTES_PER_PIXEL = 0.3
"""JPEG of quality 90 of a composed plot."""
_PHOTOGRAPHS_PER_COMPOSED_PLOT = 10


@dataclass
class Work:
    """The work that the settings ask for.

    Attributes:
        settings: the settings.
        graph: their assets.
        quick: whether one footer of each asset decides what is up to date, and archives are not listed.
        notes: the assumptions that were made.
    """

    settings: Settings
    graph: Graph
    quick: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lake = Lake(self.settings.lake, self.settings.cache)
        self.lineage = Lineage(self.lake, self.graph.recipes)
        self.sources = SourceCounts(self.settings, self.lineage, self.quick, self.notes)

    @cached_property
    def photographs(self) -> Pictures | None:
        """The training photographs; None where the settings have none."""
        if not self.settings.has_training:
            return None
        keys = build_families(self.settings).training.keys
        return self.sources.count("training_images", "training_manifest", keys)

    @cached_property
    def plots(self) -> Pictures | None:
        """The plots of the survey; None where the settings have none."""
        if not self.settings.has_plots:
            return None
        return self.sources.count("plot_images", "plot_manifest", build_families(self.settings).plots.keys)

    @property
    def is_cut_short(self) -> bool:
        """Whether there are more pictures than were counted."""
        return any(pictures and pictures.origin == CUT_SHORT for pictures in (self.photographs, self.plots))

    @cached_property
    def shapes(self) -> dict[str, ModelShape]:
        """The shape of each backbone's model, which is created without weights."""
        return {backbone.name: model_shape(backbone) for backbone in backbones(self.settings)}

    @cached_property
    def resized_bytes(self) -> int:
        """Mean bytes of a resized photograph."""
        if self.photographs:
            for key in self.photographs.counts:
                record = try_record(self.lineage, Artifact("resized_images", key))
                if record and record.rows:
                    return record.bytes // record.rows
        self.notes.append(f"a resized photograph is taken to have {ASSUMED_BYTES_PER_PIXEL} bytes per pixel")
        return int(ASSUMED_BYTES_PER_PIXEL * self.settings.image_size**2)

    @cached_property
    def plot_sizes(self) -> dict[str, list[Size]]:
        """Width and height of the plots in the lake, by shard."""
        keys = self.plots.counts if self.plots else {}
        return {key: sizes for key in keys if (sizes := self._sizes_in_lake("plot_images", key))}

    @cached_property
    def assumed_sizes(self) -> list[Size]:
        """The sizes that plots outside the lake are taken to have."""
        known = [size for sizes in self.plot_sizes.values() for size in sizes]
        if known:
            self.notes.append("plots that are not in the lake are taken to be as large as those in it")
            return known
        found = [] if self.quick else self.sources.first_sizes()
        if found:
            self.notes.append(f"all plots are taken to be as large as the first {len(found)} of the source")
            return found
        assumed = ASSUMED_PLOT
        if is_demo(self.settings.plot_images):
            from plantclef_assets.demo.survey import PLOT_SIZES

            assumed = PLOT_SIZES[0]
        self.notes.append(f"plots are taken to have {assumed[0]:,} × {assumed[1]:,} px")
        return [assumed]

    @cached_property
    def stages(self) -> list[Stage]:
        """The stages that take long, in the order of the chain."""
        found = self._photograph_stages() if self.photographs else []
        if self.plots:
            keys = self.plots.counts
            loads = {key: Load(keys[key], 0, self.plots.sizes[key], self.plots.sizes[key]) for key in keys}
            found.append(self._stage("plot_images", "plots", loads))
        if self.settings.composes_plots:
            found.append(self._stage("validation_plots", "plots", self.composed))
        for source in plot_sources(self.settings):
            if source.plots == "inbox_plots":
                self.notes.append("deliveries of the inbox are not counted")
                continue
            found += [self._tile_stage(source, backbone) for backbone in backbones(self.settings)]
            if source.predictions:
                found.append(self._prediction_stage(source, source.predictions))
        return found

    @property
    def has_remaining(self) -> bool:
        """Whether any stage has work left; no model is created to find out."""
        trained = [backbone.asset for backbone in backbones(self.settings) if backbone.trained]
        names = {"raw_images", "resized_images", "plot_images", "validation_plots", "tile_predictions", *trained}
        names |= {*self.tile_assets.values(), *(backbone.embeddings for backbone in backbones(self.settings))}
        found = (self.states[name] for name in names & self.states.keys())
        return any(state != "up to date" for states in found for state in states.values())

    @cached_property
    def tiles(self) -> dict[tuple[str, str], dict[str, Tiles]]:
        """The tiles by source of plots and backbone, then by shard."""
        return {
            (source.plots, backbone.name): self._tiles(source, backbone)
            for source in plot_sources(self.settings)
            if source.plots != "inbox_plots"
            for backbone in backbones(self.settings)
        }

    @cached_property
    def tile_assets(self) -> dict[tuple[str, str], str]:
        """The assets of tile embeddings by source of plots and backbone."""
        return {
            (source.plots, backbone): source.tile_embeddings(backbone)
            for source in plot_sources(self.settings)
            if source.plots != "inbox_plots"
            for backbone in self.settings.backbones
        }

    @property
    def kept_species(self) -> int:
        """Species of each tile that predictions keep: top_k, or all where there are fewer."""
        record = try_record(self.lineage, Artifact("class_map"))
        return min(self.settings.top_k, record.rows) if record and record.rows else self.settings.top_k

    @cached_property
    def plot_counts(self) -> dict[str, dict[str, int]]:
        """The number of plots by source of plots and shard."""
        sources = [source for source in plot_sources(self.settings) if source.plots != "inbox_plots"]
        return {source.plots: self._count_plots(source) for source in sources}

    def _photograph_stages(self) -> list[Stage]:
        assert self.photographs
        counts, sizes, resized = self.photographs.counts, self.photographs.sizes, self.resized_bytes
        kept = {key: self._rows("resized_images", key, self._rows("raw_images", key, counts[key])) for key in counts}
        raw = {key: Load(counts[key], 0, sizes[key], sizes[key]) for key in counts}
        small = {key: Load(counts[key], 0, sizes[key], kept[key] * resized) for key in counts}
        stages = [
            self._stage("raw_images", "photographs", raw, workers=True),
            self._stage("resized_images", "photographs", small, workers=True),
        ]
        for backbone in backbones(self.settings):
            if backbone.trained:
                passes = sum(kept.values()) * (TRAINING_PASSES * self.settings.finetuning.epochs + 1)
                load = Load(sum(kept.values()), passes, sum(kept.values()) * resized * self.settings.finetuning.epochs)
                stages.append(self._stage(backbone.asset, "photographs", {None: load}, backbone=backbone.name))
            width = self.row_bytes(backbone.embeddings, backbone.name)
            loads = {key: Load(n, n, n * resized, n * width) for key, n in kept.items()}
            stages.append(self._stage(backbone.embeddings, "photographs", loads, backbone=backbone.name))
        return stages

    @cached_property
    def composed(self) -> dict[str, Load]:
        """The load of composing validation plots, by shard."""
        settings = self.settings.validation
        assert self.photographs
        mean = sum(self.photographs.sizes.values()) // max(1, self.photographs.count)
        size = int(COMPOSED_BYTES_PER_PIXEL * settings.side**2)
        self.notes.append(
            f"a validation plot is taken to read {_PHOTOGRAPHS_PER_COMPOSED_PLOT} photographs and to have "
            f"{COMPOSED_BYTES_PER_PIXEL} bytes per pixel"
        )
        return {
            key: Load(n, 0, n * _PHOTOGRAPHS_PER_COMPOSED_PLOT * mean, n * size)
            for key, n in divide(settings.plots, settings.shard_keys).items()
        }

    def _tile_stage(self, source: PlotSource, backbone: Backbone) -> Stage:
        asset = source.tile_embeddings(backbone.name)
        width = self.row_bytes(asset, backbone.name)
        read = self._plot_bytes(source)
        loads = {
            key: Load(self.plot_counts[source.plots][key], tiles.distinct, read[key], tiles.rows * width)
            for key, tiles in self.tiles[source.plots, backbone.name].items()
        }
        return self._stage(asset, "plots", loads, backbone=backbone.name)

    def _prediction_stage(self, source: PlotSource, asset: str) -> Stage:
        kept, loads = self.kept_species, {}
        pairs = runs_by_feature_set_and_tiling(self.settings)
        used = [(feature_set(name).backbone, tiling) for name, tiling in pairs]
        for key in source.family.keys:
            tiles = {name: self.tiles[source.plots, name][key] for name in self.settings.backbones}
            rows = sum(tiles[backbone].by_tiling[tiling] for backbone, tiling in used)
            read = sum(one.rows * self.row_bytes(source.tile_embeddings(name), name) for name, one in tiles.items())
            loads[key] = Load(rows * kept, 0, read, rows * kept * PREDICTION_BYTES)
        return self._stage(asset, "predictions", loads)

    def _tiles(self, source: PlotSource, backbone: Backbone) -> dict[str, Tiles]:
        found = {}
        for key, count in self.plot_counts[source.plots].items():
            if source.plots == "validation_plots":
                side = self.settings.validation.side
                sizes: Sequence[Size] = [(side, side)]
            else:
                sizes = self.plot_sizes.get(key) or (self.assumed_sizes if count else [])
            found[key] = count_tiles(sizes, backbone.tilings, plots=count)
        return found

    def _count_plots(self, source: PlotSource) -> dict[str, int]:
        if source.plots == "validation_plots":
            return divide(self.settings.validation.plots, source.family.keys)
        assert self.plots
        return {
            key: len(self.plot_sizes[key]) if key in self.plot_sizes else count
            for key, count in self.plots.counts.items()
        }

    def _plot_bytes(self, source: PlotSource) -> Mapping[str, int]:
        if source.plots == "validation_plots":
            return {key: load.written for key, load in self.composed.items()}
        assert self.plots
        return self.plots.sizes

    def row_bytes(self, asset: str, backbone: str) -> int:
        """Return the bytes of a row of embeddings."""
        return vector_bytes(self.shapes[backbone].width, dct="dct" in TABLES[asset].vectors)

    def _stage(
        self, asset: str, unit: str, loads: Mapping[Any, Load], backbone: str | None = None, workers: bool = False
    ) -> Stage:
        unfinished = {one.partition for one, state in self.states[asset].items() if state != "up to date"}
        return Stage(asset, unit, loads, unfinished, backbone, workers)

    @cached_property
    def states(self) -> dict[str, dict[Artifact, str]]:
        """The state of each artifact, by asset."""
        states: dict[str, dict[Artifact, str]] = {}
        if self.quick:
            for asset in self.graph.assets:
                stale = {name for name, found in states.items() if "stale" in found.values()}
                states[asset] = quick_states(self.graph, self.lineage, asset, stale)
            return states
        settings = self.settings
        locations = [settings.training_metadata, settings.training_images, settings.plot_images, settings.plot_truth]
        locations += [settings.class_mapping, settings.species_names, settings.base_weights, settings.finetuned_weights]
        local = not any(is_remote(location) for location in locations if location)
        if not local:
            self.notes.append("sources at addresses are not looked at: whether they changed is not known")
        for asset in self.graph.assets:
            states[asset] = artifact_states(self.graph, self.lineage, asset, with_sources=local)
        return states

    def _sizes_in_lake(self, asset: str, key: str) -> list[Size]:
        if self.quick and key != next(iter(self.plots.counts if self.plots else ()), None):
            return []  # one shard shows how large plots are
        if not try_record(self.lineage, Artifact(asset, key)):
            return []
        try:
            table = self.lake.read(Artifact(asset, key), ["width", "height"])
        except ValueError:  # damaged
            return []
        return [(row["width"], row["height"]) for row in table.to_pylist()]

    def _rows(self, asset: str, key: str, default: int) -> int:
        """Return the rows of a shard of the lake, or a default; a quick look reads no footers of shards."""
        if self.quick:
            return default
        record = try_record(self.lineage, Artifact(asset, key))
        return record.rows if record and record.rows is not None else default


def model_shape(backbone: Backbone) -> ModelShape:
    """Return the shape of a backbone's model, created without allocating its weights.

    Raises:
        UserError: timm has no such vision transformer.
    """
    import torch

    from plantclef_assets.models.backbones import create_model

    try:
        with torch.device("meta"):
            model = create_model(backbone.model, backbone.input_size)
    except ValueError as error:
        raise UserError(f"{backbone.name} backbone: {error}") from error
    blocks: Any = model.blocks
    return ModelShape(
        width=model.embed_dim,
        hidden=blocks[0].mlp.fc2.in_features,
        depth=len(blocks),
        patches=model.patch_embed.num_patches or 0,
        prefix=model.num_prefix_tokens,
        patch_size=model.patch_embed.patch_size[0],
    )
