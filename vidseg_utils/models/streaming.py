"""Prepare a trained recurrent U-Net for segmenting a live stream: faster, with the same labels."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vidseg_utils.models.recurrent_unet import RecurrentUNet

WARM_UP_FRAMES = 3  # before a GPU's work is recorded: libraries choose their kernels in the first calls


def prepare_for_streaming(model: RecurrentUNet, dtype: torch.dtype = torch.float32) -> RecurrentUNet:
    """A copy for inference: BatchNorm folded into the convolution before it, channels last, no gradients.

    Call it like `model`, with one frame at a time, under `torch.inference_mode()`:
    `logits, state = stream(frame[:, None], state)`. Its logits differ from those of `model` only by rounding.
    dtype: of weights, state and logits. torch.bfloat16 is faster where `device.fastest_precision` says bf16, and than
        autocast, which converts every map.
    On a CPU, a block of `device.reusing_memory` around the stream makes large frames faster.
    """
    stream = copy.deepcopy(model).eval().requires_grad_(False)
    for layers in stream.modules():
        if isinstance(layers, nn.Sequential):
            for index in range(len(layers) - 1):
                convolution, norm = layers[index], layers[index + 1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    layers[index], layers[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return stream.to(dtype).to(memory_format=torch.channels_last)


class LiveSegmenter:
    """Segments a stream frame by frame and keeps the state: `logits = live(frame)`.

    On a GPU the work of a frame is recorded once as a CUDA graph and then replayed, because starting the kernels one by
    one takes longer than they do.
    """

    @torch.inference_mode()
    def __init__(self, stream: RecurrentUNet, first_frame: Float[Tensor, "B C H W"]) -> None:
        """stream: from `prepare_for_streaming`, on its device; first_frame: any frame of the stream's size, there"""
        self.stream, self.graph = stream, None
        self.frame = first_frame.clone()
        self.logits, state = stream(self.frame[:, None])
        self.state = tuple(torch.zeros_like(level) for level in state)
        if first_frame.is_cuda:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP_FRAMES):
                    self._advance()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._advance()
            self.graph = graph
        self.restart()

    @torch.inference_mode()
    def restart(self) -> None:
        """Begin a new video."""
        self.state = tuple(level.zero_() for level in self.state)

    @torch.inference_mode()
    def __call__(self, frame: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
        """Logits of the next frame, in [0, 1]. The next call overwrites them."""
        self.frame.copy_(frame)
        if self.graph is None:
            self._advance()
        else:
            self.graph.replay()
        return self.logits[:, 0]

    def _advance(self) -> None:
        self.logits, state = self.stream(self.frame[:, None], self.state)
        if not self.frame.is_cuda:
            self.state = state
            return
        for kept, new in zip(self.state, state, strict=True):  # a graph reads and writes the same memory every time
            kept.copy_(new)
