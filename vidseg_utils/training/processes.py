"""Several processes train one network, each on its share of every batch: `accelerate launch` starts one a GPU.

The step is the mean of all gradients, weighted by the sizes of the shares, and BatchNorm normalises over the whole
batch, so the losses are those of one process. Augmentation and dropout have other random numbers in each process.
The gradients are averaged after the backward pass: DistributedDataParallel does it earlier, but it cannot wrap a
network that is called several times before the step, or recomputed, as a rollout does.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast, broadcast_object_list, patch_environment
from torch import Tensor, nn
from torch.utils.data import BatchSampler

from vidseg_utils.training.fit_config import FitConfig


def is_first_process() -> bool:
    """Whether this process prints and writes for all that `accelerate launch` started; true if nothing did."""
    return os.environ.get("RANK", "0") == "0"


Choice = TypeVar("Choice")


def is_one_of_several() -> bool:
    """Whether this process was started by `accelerate launch` (or torchrun) together with others."""
    return PartialState._shared_state.get("num_processes", 1) > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1


def build_accelerator(config: FitConfig, device: torch.device) -> Accelerator:
    """A new Accelerator for the fit, on `device`. The processes of `accelerate launch` keep the GPU that each has."""
    several = is_one_of_several()
    # otherwise every fit of a process would have the precision, and the device, of the first
    AcceleratorState._reset_state(reset_partial_state=not several)
    with patch_environment(**({} if several else {"ACCELERATE_TORCH_DEVICE": device})):
        return Accelerator(
            mixed_precision=config.precision,
            gradient_accumulation_steps=config.accumulation_steps,
            cpu=device.type == "cpu",
        )


def same_in_all_processes(choose: Callable[[int], Choice], device: torch.device) -> Choice:
    """What `choose`, given the number of processes, returns in the first of them."""
    if not is_one_of_several():
        return choose(1)
    state = PartialState(cpu=device.type == "cpu")
    choices: list[Any] = broadcast_object_list([choose(state.num_processes) if state.is_main_process else None])
    return choices[0]


class BatchShares(BatchSampler):
    """The share of one process in every batch. All processes draw the same batches."""

    def __init__(
        self,
        sampler: Sequence[int] | torch.utils.data.Sampler[int],
        batch_size: int,
        drop_last: bool,
        *,
        process: int,
        n_processes: int,
    ):
        super().__init__(sampler, batch_size, drop_last)
        self.process, self.n_processes = process, n_processes

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            yield batch[self.process :: self.n_processes]


def share_weight(n_samples: int, accelerator: Accelerator) -> Tensor | float:
    """Weight of this process's mean loss, so that the mean over the processes is that of all samples."""
    if accelerator.num_processes == 1:
        return 1.0
    own = torch.tensor(float(n_samples), device=accelerator.device)
    mean: Any = accelerator.reduce(own, reduction="mean")
    return own / mean


def average_gradients(model: nn.Module, accelerator: Accelerator) -> None:
    """Replace the gradients by their mean over all processes."""
    if accelerator.num_processes == 1:
        return
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    means: Any = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
    for weight, gradient, mean in zip(weights, gradients, means.split([g.numel() for g in gradients]), strict=True):
        weight.grad = gradient.copy_(mean.view_as(gradient))


@contextlib.contextmanager
def joined(model: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """All processes begin with the weights of the first; in the block, BatchNorm normalises over the whole batch.

    torch.nn.SyncBatchNorm does the same on GPUs only.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if accelerator.num_processes == 1:
        norms = []
    else:
        broadcast([tensor.data for tensor in model.state_dict().values()])
    try:
        for norm in norms:
            vars(norm)["forward"] = partial(_normalise_whole_batch, norm)
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"]  # the class's own method is left


def _normalise_whole_batch(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """`norm(x)`, where x: (B, C, …) is this process's share of the batch."""
    if not norm.training or norm.running_mean is None or norm.running_var is None or norm.momentum is None:
        return type(norm).forward(norm, x)
    values, channels = x.float(), (1, -1, *[1] * (x.ndim - 2))
    other_axes = [axis for axis in range(x.ndim) if axis != 1]
    count = values.new_tensor([values[:, 0].numel()])
    *sums, count = _SumOverProcesses.apply(torch.cat([values.sum(other_axes), count])).split(
        [len(norm.running_mean), 1]
    )
    mean = sums[0] / count
    centred = values - mean.view(channels)
    variance = _SumOverProcesses.apply(centred.square().sum(other_axes)) / count
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1
    normal = centred * torch.rsqrt(variance + norm.eps).view(channels)
    if norm.affine:
        normal = normal * norm.weight.view(channels) + norm.bias.view(channels)
    return normal.to(x.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:
        total = own.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total
