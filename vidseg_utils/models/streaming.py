"""Prepare a trained recurrent U-Net for segmenting a live stream: faster, with the same labels."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vidseg_utils.models.recurrent_unet import RecurrentUNet


def prepare_for_streaming(model: RecurrentUNet) -> RecurrentUNet:
    """A copy for inference: BatchNorm folded into the convolution before it, channels last, no gradients.

    Call it like `model`, with one frame (or a few) at a time, under `torch.inference_mode()`:
    `logits, state = stream(frame[:, None], state)`. Its logits differ from those of `model` only by rounding.
    """
    stream = copy.deepcopy(model).eval().requires_grad_(False)
    for layers in stream.modules():
        if isinstance(layers, nn.Sequential):
            for index in range(len(layers) - 1):
                convolution, norm = layers[index], layers[index + 1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    layers[index], layers[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return stream.to(memory_format=torch.channels_last)
