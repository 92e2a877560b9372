"""DeepLabV3 on a ResNet-50, torchvision's: the other segmenter, from random weights (the course allows no others).

Chen, Papandreou, Schroff, Adam: "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017).
"""

import torch
from torch import nn

from vidseg_utils.checks import check_positive
from vidseg_utils.models.layers import check_images


class DeepLabV3(nn.Module):
    """(B, 3, H, W) -> (B, K, H, W) logits, any height and width; 39,646,065 parameters with 49 classes."""

    def __init__(self, n_classes: int = 49) -> None:
        super().__init__()
        from torchvision.models.segmentation import deeplabv3_resnet50  # here: it takes a second, and few need it

        check_positive(n_classes=n_classes)
        self.network = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score every class at every pixel.

        images: (B, 3, H, W) float in [0, 1]
        returns: (B, K, H, W) logits
        Raises ValueError for other axes or channels, and for a single picture in training.
        """
        check_images(images, channels=3)
        if self.training and len(images) == 1:
            raise ValueError("DeepLabV3 trains on batches of 2 or more (it pools a picture to one value); got 1")
        return self.network(images)["out"]
