"""Proves that recipes and systems do not mix tensors of a GPU and of the CPU. The GPU is simulated.

Its tensors hold their values in CPU memory and report another device. Operations that mix them with CPU tensors, and
`numpy()`, fail as on a real GPU. What would wait until a real GPU has done all its work is written into WAITS.
"""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.data import DataLoader

from vidseg_utils.data import build_augmentation, collate, dataset_identity, to_float
from vidseg_utils.data.batch_transforms import augment_batch
from vidseg_utils.data.device_batches import DeviceBatches
from vidseg_utils.evaluation import evaluate_system, predict_split
from vidseg_utils.models import build_model, collapse_losses
from vidseg_utils.run_folders import TRAINED_ON
from vidseg_utils.simulator.physics import simulate_video
from vidseg_utils.systems import SYSTEMS, build_system
from vidseg_utils.systems.object_dynamics.learned.recipe import rollout_loss
from vidseg_utils.systems.object_dynamics.learned.tokens import futures_loss
from vidseg_utils.systems.object_dynamics.learned.windows import training_windows
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.losses import build_loss
from vidseg_utils.training.run_folder import CONSTANTS, WEIGHTS, claim, file_sha256, finish, write_history
from vidseg_utils.training.weights import save_model, write_weights

aten = torch.ops.aten
INDEXING = (aten.index, aten.index_put_)  # a GPU accepts CPU indices
READING = (aten._local_scalar_dense, aten.nonzero, aten.bincount, aten.equal)  # the processor needs the values
WAITS = []  # operations
GPU = "meta"  # device name of the simulated GPU: the only one, beside "cpu", that exists on every machine
# Other systems cover their code.
SKIPPED = {"simvp_rollout_unet", "object_dynamics", "object_dynamics_learned", "object_dynamics_tokens"}


class OnGpu(torch.Tensor):
    """A tensor that reports the GPU as its device."""

    @staticmethod
    def __new__(cls, values):
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        with torch.inference_mode(False):
            return torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype, device=GPU, **layout)

    def __init__(self, values):
        self.values = values  # on the CPU

    def tolist(self):
        return self.values.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


def computed(operation, args, kwargs):
    """The result of an operation; it is on the GPU if its input is, or if that device is requested."""
    copies = operation.overloadpacket in (aten._to_copy, aten.copy_)
    leaves, structure = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    on_gpu = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    if on_gpu and not copies and not (operation.overloadpacket in INDEXING and isinstance(args[0], OnGpu)):
        on_cpu = [tuple(tensor.shape) for tensor in tensors if tensor.ndim and not isinstance(tensor, OnGpu)]
        if on_cpu:
            raise RuntimeError(f"{operation} mixes tensors of the GPU with tensors {on_cpu} of the CPU")
    leaves = [leaf.values if isinstance(leaf, OnGpu) else leaf for leaf in leaves]
    leaves = [torch.device("cpu") if isinstance(leaf, torch.device) else leaf for leaf in leaves]
    plain_args, plain_kwargs = tree_unflatten(leaves, structure)
    result = operation(*plain_args, **plain_kwargs)
    device = kwargs.get("device")
    input_on_gpu = isinstance(args[0], OnGpu) if copies else bool(on_gpu)
    if waits(operation, args, kwargs, on_gpu=on_gpu, tensors=tensors):
        WAITS.append(operation)
    if not (input_on_gpu if device is None else torch.device(device).type == GPU):
        return result
    given = {id(tensor.values): tensor for tensor in on_gpu}  # an in-place operation returns its argument

    def wrap(item):
        return given[id(item)] if id(item) in given else OnGpu(item) if isinstance(item, torch.Tensor) else item

    return tree_map(wrap, result)


def waits(operation, args, kwargs, *, on_gpu, tensors):
    """Whether the operation ends only when the GPU has done everything before it."""
    packet = operation.overloadpacket
    if packet is aten._to_copy:
        device = kwargs.get("device")
        crosses = device is not None and (torch.device(device).type == GPU) != isinstance(args[0], OnGpu)
        return crosses and not kwargs.get("non_blocking")
    if packet in INDEXING and on_gpu:  # an index of the CPU is copied, a mask is counted
        return any(not isinstance(t, OnGpu) or t.dtype in (torch.bool, torch.uint8) for t in tensors[1:] if t.ndim)
    return bool(on_gpu) and packet in READING


class Operations(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd"):
            with self:
                return operation.decompose(*args, **kwargs)  # such as `to`, into the operations of a device
        return computed(operation, args, kwargs)


class Constants(TorchFunctionMode):
    """Splits `torch.tensor(…, device=…)` into two steps, because the dispatch mode does not see its device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") is not None:
            return function(*args, **{**kwargs, "device": None}).to(kwargs["device"])
        return function(*args, **kwargs)


@contextmanager
def simulated_gpu():
    with Operations(), Constants():
        yield


def one_step(model, train_data, val_data, *, step, validate, config, run, description, device, on_epoch=None):
    """A short `fit`: the loss of one batch and one validation, on the GPU, without a backward pass."""
    assert device.type == GPU
    model.to(GPU)
    batch = next(iter(DataLoader(train_data, batch_size=2, collate_fn=collate)))
    loss = step(model.train(), {name: values.to(GPU) for name, values in batch.items()})
    with torch.inference_mode():
        metrics = validate(model.eval(), DataLoader(val_data, batch_size=2, collate_fn=collate), torch.device(GPU))
    assert loss.device.type == GPU
    assert config.monitor in metrics
    claim(run, description, defaults={})
    write_weights(run / WEIGHTS, model)
    finish(run, sha256=file_sha256(run / WEIGHTS))
    return []


def test_the_simulated_gpu_fails_where_a_gpu_fails():
    with simulated_gpu():
        on_cpu, on_gpu = torch.ones(3), torch.arange(3, device=GPU)
        assert on_gpu.device.type == (on_gpu + 1).device.type == torch.tensor([1], device=GPU).device.type == GPU
        assert (on_gpu + 1).cpu().tolist() == [1, 2, 3]
        with pytest.raises(RuntimeError, match="mixes tensors"):
            on_cpu + on_gpu
        with pytest.raises((RuntimeError, TypeError)):
            on_gpu.numpy()


def test_the_simulated_gpu_tells_what_waits_for_it():
    with simulated_gpu():
        on_gpu = torch.arange(3, device=GPU)
        for wait in (
            lambda: on_gpu.cpu(),
            lambda: on_gpu[[0]],
            lambda: on_gpu[on_gpu > 1],
            lambda: on_gpu.sum().item(),
        ):
            WAITS.clear()
            wait()
            assert WAITS
        WAITS.clear()
        on_gpu[torch.tensor([0]).to(GPU, non_blocking=True)] + 1
        assert not WAITS


def test_losses_and_augmentations_do_not_wait_for_the_gpu():
    frames, masks = torch.rand(2, 3, 49, 8, 12), torch.randint(0, 49, (2, 3, 8, 12))
    cross_entropy = build_loss("cross_entropy", class_weights=[0.6] + [1.0] * 48, last_frame_weight=3.0)
    transform = build_augmentation("hflip", "object_crop", "crop", "rotate", "light")
    with simulated_gpu():
        frames, masks = frames.to(GPU), masks.to(GPU)
        for _ in range(2):
            WAITS.clear()  # the weights of the classes are copied once
            cross_entropy(frames, masks)
            build_loss("mse", last_frame_weight=3.0)(frames, frames + 1)
            augment_batch(transform, (255 * frames[:, 0, :3]).to(torch.uint8), masks[:, 0].to(torch.uint8))
    assert not WAITS


def test_a_jepa_does_not_wait_for_the_gpu():
    network, frames = build_model("jepa", channels=8, hidden=8, predictor_hidden=8), torch.rand(2, 9, 3, 16, 24)
    with simulated_gpu():
        network, frames = network.to(GPU), frames.to(GPU)
        WAITS.clear()
        embeddings = network(frames, [1, 4])
        collapse_losses(embeddings.context)
    assert embeddings.predicted.device.type == GPU and not WAITS


def test_batches_held_on_the_gpu_are_gathered_without_waiting_for_it():
    with simulated_gpu():
        held = DeviceBatches({"past": torch.ones(4, 2, device=GPU), "number": torch.arange(4)})
        WAITS.clear()
        (batch,) = DataLoader(held, batch_size=4, collate_fn=collate)
    assert batch["past"].device.type == GPU and batch["number"].tolist() == [0, 1, 2, 3] and not WAITS


@pytest.mark.slow
def test_systems_train_and_forecast_on_a_gpu(workspace, monkeypatch):
    monkeypatch.setattr("vidseg_utils.systems.recipe.fit", one_step)
    published = {"unet.head": "flat", "recurrent.head": "flat", "simvp.residual": False, "convlstm.residual": False}
    here = replace(workspace(sizes={"height": 16, "width": 24, **published}), device=torch.device(GPU))
    save_object_dynamics(here)
    val = here.split("val")
    with simulated_gpu():
        frames, masks = (torch.tensor(clips[:, :PAST_FRAMES]).to(GPU) for clips in (val.frames, val.masks))
        for name in sorted(SYSTEMS.keys() - SKIPPED):
            SYSTEMS[name].train(here)
            system = build_system(name, workspace=here)
            mask = system.predict(masks if system.needs_masks else to_float(frames))
            assert (mask.device.type, mask.shape) == (GPU, (1, 16, 24)), name
        system = build_system("mask_simvp_mse", workspace=here)
        for true_masks in (False, True):
            evaluation = evaluate_system(system, val, device=GPU, true_masks=true_masks, progress=False)
            assert 0 <= evaluation.metrics["jaccard"] <= 1
        assert predict_split(system, here.split("hidden"), device=GPU, progress=False).shape == (1, 160, 240)


def save_object_dynamics(here):
    """Write run folders of the fitted physics and of an interaction network, without fitting them."""
    identity = {TRAINED_ON: dataset_identity(here.root)}
    physics = here.run_folder("rigid_body_physics")
    claim(physics, {"task": "object dynamics", "profile": here.profile.name} | identity, defaults={})
    PhysicsConstants().to_json(physics / CONSTANTS)
    finish(physics, sha256=file_sha256(physics / CONSTANTS))
    network = here.run_folder("interaction_network")
    claim(network, identity, defaults={})
    save_model(network, build_model("interaction_network"), name="interaction_network", config={})
    write_history(network, [])
    finish(network, sha256=file_sha256(network / WEIGHTS))


@pytest.mark.parametrize(
    ("law", "loss_of"),
    [("interaction_network", rollout_loss), ("object_tokens", partial(futures_loss, n_futures=2))],
)
def test_a_law_of_motion_learns_on_a_gpu(law, loss_of):
    windows = training_windows([simulate_video(0, number) for number in range(2)], length=6)
    batch = next(iter(DataLoader(windows, batch_size=2)))
    with simulated_gpu():
        network = build_model(law).to(GPU)
        loss = loss_of(network, {name: values.to(GPU) for name, values in batch.items()})
    assert loss.device.type == GPU
