"""The six stages of semi-supervised SimVP. Each is trained separately, from the files that earlier stages wrote.

`Stages(workspace).train("cleaning")` trains one stage, or loads it if it is finished. With `skip` a stage is left out,
and later stages start from the stage before it.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from vidseg_utils.checks import check_choice
from vidseg_utils.data import ClipDataset, check_labels, collate, to_float
from vidseg_utils.data.datasets import labelled_masks
from vidseg_utils.paths import atomic_write
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.pseudo_labels import PseudoLabelledClips, label_split, without_late_objects
from vidseg_utils.systems.semi_supervised.forecaster import ForecasterRecipe, class_logits, fresh_forecaster
from vidseg_utils.systems.simvp_unet import SimVPRecipe, SimVPSizes
from vidseg_utils.systems.suppression.learned_tree import Examples, LearnedSuppression
from vidseg_utils.systems.suppression.rules import known_classes, scaled_small_px
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import CLIP_FRAMES, PAST_FRAMES
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.weights import weights_hash

logger = logging.getLogger(__name__)
STAGES = {
    "self_supervision": "SimVP learns to predict the next frames, which needs no labels",
    "segmenter": "a separate network learns to segment single frames",
    "segmentation": "SimVP with a new decoder learns the mask of frame 21 on the labelled videos",
    "pseudo_labels": "the segmenter labels the unlabelled videos, and SimVP is trained further on all videos",
    "cleaning": "SimVP is trained further on the videos in which no object first appears after frame 10",
    "suppression": "regions of classes that the past frames don't show are renamed or removed",
}
REQUIRED_STAGES = ("segmenter", "segmentation")  # no mask can be forecast without them
FORECASTER_STAGES = ("segmentation", "pseudo_labels", "cleaning")  # they train the mask forecaster, in this order
SEGMENTERS = ("unet", "deeplabv3")
# Epochs and learning rate of a stage, as shares of those of `SemiSupervisedSizes`.
EPOCH_SHARES = {"segmentation": 1.0, "pseudo_labels": 1 / 3, "cleaning": 1 / 3}
LEARNING_RATE_SHARES = {"segmentation": 1.0, "pseudo_labels": 0.5, "cleaning": 0.2}
# Cleaning: an object is visible in a frame from this share of the area that suppression calls small.
VISIBLE_SHARE = 0.25


@dataclass(frozen=True)
class SemiSupervisedSizes(Sizes, group="semi"):
    """Sizes of the stages; the network of the forecaster has the sizes of SimVP."""

    segmenter: str = by_profile("unet", "unet", "deeplabv3")  # one of SEGMENTERS; published: "deeplabv3"
    epochs: int = by_profile(1, 3, 25, colab=12)  # of stage 3; stages 4 and 5 have a third of them
    learning_rate: float = by_profile(1e-3, 2e-3, 1e-3)


@dataclass(frozen=True)
class Stages:
    """The stages in one workspace. Raises ValueError for an unknown name, and if a required stage is skipped.

    skip: stages to leave out
    segmenter: "unet" or "deeplabv3"; "auto": that of the profile
    runs: folder of the run folders of stages 3 to 6; by default that of the workspace
    """

    workspace: Workspace
    skip: tuple[str, ...] = ()
    segmenter: str = "auto"
    runs: Path | None = None

    def __post_init__(self) -> None:
        if self.segmenter == "auto":
            object.__setattr__(self, "segmenter", self.sizes.segmenter)
        check_choice("segmenter", self.segmenter, SEGMENTERS)
        for stage in self.skip:
            check_choice("stage", stage, STAGES)
            if stage in REQUIRED_STAGES:
                raise ValueError(f"stage {stage!r} cannot be skipped: without it there is no mask of frame 21")

    @property
    def sizes(self) -> SemiSupervisedSizes:
        """The sizes of the workspace's profile."""
        return SemiSupervisedSizes.for_profile(self.workspace.profile)

    def folder(self, stage: str) -> Path:
        """The run folder of a stage. The first two stages share theirs with notebooks 03 and 02."""
        check_choice("stage", stage, STAGES)
        if stage in ("self_supervision", "segmenter"):
            return self.workspace.run_folder("simvp" if stage == "self_supervision" else self.segmenter)
        earlier = list(STAGES)[: list(STAGES).index(stage)]
        name = "_".join([f"semi_{stage}", *(f"without_{other}" for other in earlier if other in self.skip)])
        if self.segmenter != self.sizes.segmenter:
            name += f"_by_{self.segmenter}"
        return replace(self.workspace, runs=self.runs or self.workspace.runs).run_folder(name)

    def train(self, stage: str) -> list[dict]:
        """Train one stage, resume it, or load it if it is finished.

        returns: the history, one dict per epoch; [] for a stage that is skipped or trains no network
        Raises ValueError naming the missing run if an earlier stage is not trained.
        """
        check_choice("stage", stage, STAGES)
        if stage in self.skip:
            return []
        if stage == "self_supervision":
            return SimVPRecipe(self.workspace).train(self.folder(stage))[1]
        if stage == "segmenter":
            return SegmenterRecipe(self.workspace, network=self.segmenter).train(self.folder(stage))[1]
        if stage in FORECASTER_STAGES:
            return self._train_forecaster(stage)
        self.learned_suppression()
        return []

    def _train_forecaster(self, stage: str) -> list[dict]:
        for split in ("train", "val"):
            check_labels(self.workspace.split(split), frames=[CLIP_FRAMES - 1])
        if stage == "segmentation":
            skipped = "self_supervision" in self.skip
            start = None if skipped else self.workspace.load_network(self.folder("self_supervision"))
            seed_everything(self.workspace.profile.training_seed)  # for the weights of the new decoder
            network = fresh_forecaster(self.workspace.profile, start=start)
        else:
            network = self.workspace.load_network(self.forecaster_folder(before=stage))
        recipe = ForecasterRecipe(
            self.workspace,
            stage=stage,
            start=network,
            clips=self._clips(stage),
            segmented_past=self.segmented_past("val"),
            segmenter=weights_hash(self.load_segmenter()),
            epochs=max(1, round(EPOCH_SHARES[stage] * self.sizes.epochs)),
            learning_rate=LEARNING_RATE_SHARES[stage] * self.sizes.learning_rate,
        )
        return recipe.train(self.folder(stage))[1]

    def _clips(self, stage: str) -> Dataset:
        """The clips of a stage: labelled ones, from stage 4 also pseudo-labelled ones, in stage 5 only clean ones."""
        clips: Dataset = ClipDataset(self.workspace.split("train"))
        if stage == "segmentation":
            return clips
        if "pseudo_labels" not in self.skip and not self.uses_unlabelled:
            logger.warning(f"{stage}: {self.workspace.root} has no unlabelled videos; training on labelled ones alone")
        if self.uses_unlabelled:
            clips = ConcatDataset([clips, PseudoLabelledClips(self.workspace.split("unlabeled"), self.pseudo_labels())])
        return Subset(clips, np.flatnonzero(self.clean_videos()).tolist()) if stage == "cleaning" else clips

    @property
    def uses_unlabelled(self) -> bool:
        """Whether stages 4 and 5 train on pseudo-labelled videos: stage 4 is not skipped, and the data have some."""
        return "pseudo_labels" not in self.skip and self.workspace.has_videos("unlabeled")

    def pseudo_labels(self) -> np.memmap:
        """(N, 22, H, W) uint8: the segmenter's masks of the unlabelled videos."""
        return label_split(self.load_segmenter(), self.workspace.split("unlabeled"), device=self.workspace.device)

    def segmented_past(self, split: str) -> np.memmap:
        """(N, 11, H, W) uint8: the segmenter's masks of the past frames of a split."""
        segmenter = self.load_segmenter()
        return label_split(segmenter, self.workspace.split(split), n_frames=PAST_FRAMES, device=self.workspace.device)

    def clean_videos(self) -> np.ndarray:
        """(N,) bool: no object first appears after frame 10. Labelled videos first, then pseudo-labelled ones."""
        masks = [labelled_masks(self.workspace.split("train"))]
        if self.uses_unlabelled:
            masks.append(self.pseudo_labels())
        least_px = VISIBLE_SHARE * scaled_small_px(*masks[0].shape[2:])
        return np.concatenate([without_late_objects(split, least_px=least_px) for split in masks])

    def load_segmenter(self) -> nn.Module:
        """The segmenter of stage 2."""
        return self.workspace.load_network(self.folder("segmenter"))

    def forecaster_folder(self, *, before: str | None = None) -> Path:
        """The run folder of the last forecaster stage that is not skipped. before: consider only earlier stages."""
        stages = FORECASTER_STAGES[: None if before is None else FORECASTER_STAGES.index(before)]
        return self.folder([stage for stage in stages if stage not in self.skip][-1])

    @torch.inference_mode()
    def forecast(self, split: str, *, run: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Forecasts of a split before suppression, and the known classes of each video.

        run: run folder of a stage that trains the forecaster; by default the last one
        returns: (N, H, W) uint8 masks of frame 21, (N, 49) bool classes that the segmenter found in frames 0..10
        """
        device, past_masks = self.workspace.device, self.segmented_past(split)
        sizes = SimVPSizes.for_profile(self.workspace.profile)
        network = self.workspace.load_network(run or self.forecaster_folder())
        loader = DataLoader(
            ClipDataset(self.workspace.split(split), masks=False),
            batch_size=sizes.batch_size,
            collate_fn=collate,
        )
        forecasts = []
        for batch in loader:
            first = sum(map(len, forecasts))
            past = to_float(batch["frames"][:, :PAST_FRAMES].to(device))
            last_mask = torch.tensor(past_masks[first : first + len(past), PAST_FRAMES - 1]).to(device)
            logits = class_logits(network, past, last_mask, residual=sizes.residual)
            forecasts.append(logits.argmax(dim=1).to(torch.uint8).cpu().numpy())
        return np.concatenate(forecasts), known_classes(past_masks)

    def learned_suppression(self) -> LearnedSuppression:
        """The tree fitted to forecasts of training videos; examples and text are saved in the stage's run folder."""
        folder = self.folder("suppression")
        forecaster = self.workspace.load_network(self.forecaster_folder())
        made_by = weights_hash(self.load_segmenter()) + weights_hash(forecaster)
        examples = Examples.load(folder / "regions.npz", made_by=made_by)
        if examples is None:
            masks, known = self.forecast("train")
            examples = Examples.from_forecasts(masks, known, labelled_masks(self.workspace.split("train"))[:, -1])
            examples.save(folder / "regions.npz", made_by=made_by)
        tree = LearnedSuppression(examples)
        with atomic_write(folder / "tree.txt") as temporary:
            temporary.write_text(tree.text(), encoding="utf-8")
        return tree
