"""U-Net: the segmenter that every system starts from, one class a pixel from one frame.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation" (2015), with padded
convolutions and BatchNorm, so that the answer is as large as the picture.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.checks import check_choice, check_positive
from vidseg_utils.classes import BACKGROUND, COLOURS, MATERIALS, N_CLASSES, SHAPES, class_attributes
from vidseg_utils.models.layers import DoubleConv, check_images, pad_to_multiple


class Up(nn.Module):
    """Double height and width, put the encoder's map of that size beside it, convolve twice."""

    def __init__(self, in_channels: int, out_channels: int, *, bilinear: bool):
        super().__init__()
        if bilinear:  # the map keeps its channels on the way up, so the convolutions halve them
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(in_channels, out_channels, mid_channels=in_channels // 2)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
            self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """deep: (B, C, h, w), skip: (B, C', 2h, 2w) -> (B, out, 2h, 2w)."""
        return self.conv(torch.cat([skip, self.up(deep)], dim=1))


def class_attribute_matrix() -> Float[Tensor, "49 14"]:
    """1 where a class has an attribute: column 0 the background, then 3 shapes, 2 materials and 8 colours."""
    parts = torch.zeros(N_CLASSES, 1 + len(SHAPES) + len(MATERIALS) + len(COLOURS))
    parts[BACKGROUND, 0] = 1
    for class_id in range(1, N_CLASSES):
        for names, name, first in zip((SHAPES, MATERIALS, COLOURS), class_attributes(class_id), (1, 4, 6), strict=True):
            parts[class_id, first + names.index(name)] = 1
    return parts


class FactoredHead(nn.Module):
    """Scores of the 49 classes as sums: shape + material + colour for an object, one of its own for the background.

    Thirteen object scores are learned in place of 48, so each red thing teaches red to all the others.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        sums = class_attribute_matrix()
        self.scores = nn.Conv2d(in_channels, sums.shape[1], kernel_size=1)
        self.register_buffer("sums", sums[:, :, None, None], persistent=False)  # (49, 14, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """features: (B, C, H, W) -> (B, 49, H, W) logits."""
        return F.conv2d(self.scores(features), self.sums)


class UNet(nn.Module):
    """Encoder c, 2c, 4c, 8c, 16c (c = `base_channels`) with max-pooling, and back up with skips.

    With 64 base channels and 49 classes: 31,040,753 parameters, 17,266,097 if bilinear.
    head: "flat" scores each class by itself, as published; "factored" adds up shape, material and colour.
    Any height and width: the picture is padded to a multiple of 16 and the logits are cropped back.
    """

    def __init__(
        self,
        in_channels: int = 3,
        n_classes: int = 49,
        base_channels: int = 64,
        bilinear: bool = False,
        head: str = "flat",
    ) -> None:
        super().__init__()
        check_choice("head", head, ("flat", "factored"))
        if head == "factored" and n_classes != N_CLASSES:
            raise ValueError(f"head 'factored' knows the {N_CLASSES} classes of this world; got n_classes {n_classes}")
        check_positive(in_channels=in_channels, n_classes=n_classes, base_channels=base_channels)
        c, shrink = base_channels, 2 if bilinear else 1
        self.in_channels = in_channels
        self.first = DoubleConv(in_channels, c)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(c, 2 * c))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(2 * c, 4 * c))
        self.down3 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(4 * c, 8 * c))
        self.down4 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8 * c, 16 * c // shrink))
        self.up1 = Up(16 * c, 8 * c // shrink, bilinear=bilinear)
        self.up2 = Up(8 * c, 4 * c // shrink, bilinear=bilinear)
        self.up3 = Up(4 * c, 2 * c // shrink, bilinear=bilinear)
        self.up4 = Up(2 * c, c, bilinear=bilinear)
        self.head = FactoredHead(c) if head == "factored" else nn.Conv2d(c, n_classes, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Score every class at every pixel.

        images: (B, C, H, W) float in [0, 1], any H and W
        returns: (B, K, H, W) logits
        Raises ValueError for another number of axes or channels, or for images that are not float.
        """
        check_images(images, channels=self.in_channels)
        height, width = images.shape[-2:]
        x1 = self.first(pad_to_multiple(images, multiple=16))  # (B, c, H', W')
        x2 = self.down1(x1)  # (B, 2c, H'/2, W'/2)
        x3 = self.down2(x2)  # (B, 4c, H'/4, W'/4)
        x4 = self.down3(x3)  # (B, 8c, H'/8, W'/8)
        x5 = self.down4(x4)  # (B, 16c, H'/16, W'/16)
        x = self.up4(self.up3(self.up2(self.up1(x5, x4), x3), x2), x1)  # (B, c, H', W')
        return self.head(x[..., :height, :width])  # (B, K, H, W)
