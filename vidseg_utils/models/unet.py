"""U-Net: the segmenter that every system starts from. It predicts the class of every pixel of one frame.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation" (2015), with padded
convolutions and BatchNorm, so that the output has the input's size.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidseg_utils.checks import check_positive
from vidseg_utils.classes import N_CLASSES
from vidseg_utils.models.layers import (
    DoubleConv,
    FactoredHead,
    PictureConv2d,
    check_head,
    check_images,
    pad_to_multiple,
)


class UpBlock(nn.Module):
    """Double height and width, concatenate the encoder's map of that size, and apply a double convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, bilinear: bool):
        super().__init__()
        if bilinear:  # upsampling keeps the number of channels, so the convolutions halve it
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(in_channels, out_channels, mid_channels=in_channels // 2)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
            self.conv = DoubleConv(in_channels, out_channels)

    def forward(
        self, deep: Float[Tensor, "B C h w"], skip: Float[Tensor, "B S 2*h 2*w"]
    ) -> Float[Tensor, "B out 2*h 2*w"]:
        """deep: the map of the level below; skip: the encoder's map of this level."""
        return self.conv(torch.cat([skip, self.up(deep)], dim=1))


class UNet(nn.Module):
    """Encoder with c, 2c, 4c, 8c, 16c channels (c = `base_channels`) and max-pooling, decoder with skips.

    With 64 base channels and 49 classes: 31,040,753 parameters, 17,266,097 if bilinear.
    head: "flat" has a logit for each class, as published; "factored" adds up logits of shape, material and colour
    Any height and width: the picture is padded to a multiple of 16 and the logits are cropped.
    """

    def __init__(
        self,
        in_channels: int = 3,
        n_classes: int = N_CLASSES,
        base_channels: int = 64,
        bilinear: bool = False,
        head: str = "flat",
    ) -> None:
        super().__init__()
        check_head(head, n_classes)
        check_positive(in_channels=in_channels, n_classes=n_classes, base_channels=base_channels)
        c, shrink = base_channels, 2 if bilinear else 1
        self.in_channels = in_channels
        self.first = DoubleConv(in_channels, c, first=PictureConv2d)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(c, 2 * c))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(2 * c, 4 * c))
        self.down3 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(4 * c, 8 * c))
        self.down4 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8 * c, 16 * c // shrink))
        self.up1 = UpBlock(16 * c, 8 * c // shrink, bilinear=bilinear)
        self.up2 = UpBlock(8 * c, 4 * c // shrink, bilinear=bilinear)
        self.up3 = UpBlock(4 * c, 2 * c // shrink, bilinear=bilinear)
        self.up4 = UpBlock(2 * c, c, bilinear=bilinear)
        self.head = FactoredHead(c) if head == "factored" else nn.Conv2d(c, n_classes, kernel_size=1)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
        """Logits of every class at every pixel.

        images: in [0, 1]
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
        return self.head(x[..., :height, :width])
