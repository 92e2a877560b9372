"""Torchvision's DeepLabV3 on a ResNet-50: the second segmenter. It starts from random weights, as the course demands.

Chen, Papandreou, Schroff, Adam: "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017).
"""

from jaxtyping import Float
from torch import Tensor, nn

from vidseg_utils.checks import check_positive
from vidseg_utils.classes import N_CLASSES
from vidseg_utils.models.layers import check_images


class DeepLabV3(nn.Module):
    """A segmenter for pictures of any height and width; 39,646,065 parameters with 49 classes."""

    def __init__(self, n_classes: int = N_CLASSES) -> None:
        super().__init__()
        from torchvision.models.segmentation import deeplabv3_resnet50  # here, because the import takes a second

        check_positive(n_classes=n_classes)
        self.network = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=n_classes)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K H W"]:
        """Logits of every class at every pixel.

        images: in [0, 1]
        Raises ValueError for other axes or channels, and for a batch of one picture in training.
        """
        check_images(images, channels=3)
        if self.training and len(images) == 1:
            raise ValueError("DeepLabV3 trains on batches of 2 or more (it pools a picture to one value); got 1")
        return self.network(images)["out"]
