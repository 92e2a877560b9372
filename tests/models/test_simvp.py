"""SimVP has the published parameter counts, keeps its sizes, and refuses wrong settings and input."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from benchmarks import translators as translators_benchmark
from vidseg_utils.models import build_model, parameter_count
from vidseg_utils.models.layers import pad_to_multiple
from vidseg_utils.models.sequence_translators import (
    PATCH,
    GatedTransformerBlock,
    PatchTranslator,
    attention,
    grid_positions,
)
from vidseg_utils.models.simvp import TRANSLATORS, build_translator
from vidseg_utils.models.translators import LargeKernelAttention, dilated_depthwise
from vidseg_utils.systems.mask_simvp.recipe import parse_configuration

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"hid_s": 8, "hid_t": 16, "n_t": 2}


@pytest.mark.parametrize(("hid_t", "count"), [(256, 15_778_433), (512, 57_761_409)])
def test_parameter_count_is_the_published_one(hid_t, count):
    with torch.device("meta"):
        assert parameter_count(build_model("simvp", in_shape=(10, 1, 64, 64), hid_t=hid_t)) == count


@pytest.mark.parametrize("config", ["8_16_64_512_8", "8_16_64_256_8", "4_8_64_256_4", "4_8_16_64_4", "2_4_4_32_1"])
def test_the_published_mask_configurations_can_be_built(config):
    n_s, n_t, hid_s, hid_t, groups = map(int, config.split("_"))
    with torch.device("meta"):
        model = build_model(
            "simvp", in_shape=(11, 1, 160, 240), n_s=n_s, n_t=n_t, hid_s=hid_s, hid_t=hid_t, groups=groups
        )
        assert model(torch.rand(1, 11, 1, 160, 240)).shape == (1, 11, 1, 160, 240)


def test_groups_that_do_not_divide_the_channels_become_their_greatest_common_divisor():
    model = build_model("simvp", in_shape=(11, 49, 16, 16), hid_s=4, hid_t=32, n_s=2, n_t=2, groups=7)
    assert {conv.groups for conv in model.modules() if isinstance(conv, nn.Conv2d)} == {1}
    assert model(torch.rand(1, 11, 49, 16, 16)).isfinite().all()


@pytest.mark.parametrize("translator", TRANSLATORS)
@pytest.mark.parametrize(("n_s", "n_t"), [(1, 1), (2, 2), (3, 2), (4, 3)])
def test_any_number_of_layers_keeps_the_size(translator, n_s, n_t):
    model = build_model(
        "simvp", in_shape=(2, 3, 12, 20), out_channels=5, hid_s=4, hid_t=8, n_s=n_s, n_t=n_t, translator=translator
    )
    assert model(torch.rand(1, 2, 3, 12, 20)).shape == (1, 2, 5, 12, 20)
    assert model(torch.rand(1, 2, 3, 24, 8)).shape == (1, 2, 5, 24, 8)


def test_decoding_only_the_last_frames_gives_those_of_all():
    model = build_model("simvp", in_shape=(4, 3, 16, 16), **SMALL).eval()
    frames = torch.rand(2, 4, 3, 16, 16)
    torch.testing.assert_close(model(frames, last_frames=1), model(frames)[:, -1:])
    with pytest.raises(ValueError, match="last_frames must be between 1 and 4, got 5"):
        model(frames, last_frames=5)


@pytest.mark.parametrize("translator", TRANSLATORS)
def test_every_future_frame_depends_on_every_past_frame(translator):
    torch.manual_seed(0)
    model = build_model("simvp", in_shape=(3, 1, 8, 8), translator=translator, **SMALL)
    for parameter in model.parameters():  # as if trained: some start at 0
        parameter.data += 0.1 * torch.randn_like(parameter)
    frames = torch.rand(1, 3, 1, 8, 8, requires_grad=True)
    for t in range(3):
        (gradient,) = torch.autograd.grad(model(frames)[:, t].square().sum(), frames)
        assert (gradient.abs().sum(dim=(0, 2, 3, 4)) > 0).all()


def test_a_height_that_cannot_be_halved_names_the_cure():
    with pytest.raises(ValueError, match="height 162 is not divisible by 4; pad to 164"):
        build_model("simvp", in_shape=(11, 3, 162, 240), **SMALL)
    with pytest.raises(ValueError, match="width 6 is not divisible by 4; pad to 8"):
        build_model("simvp", in_shape=(2, 3, 8, 8), **SMALL)(torch.rand(1, 2, 3, 8, 6))


def test_another_number_of_frames_is_refused():
    with pytest.raises(ValueError, match="this SimVP maps 11 frames to 11, got 10"):
        build_model("simvp", in_shape=(11, 3, 8, 8), **SMALL)(torch.rand(1, 10, 3, 8, 8))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"translator": "lstm"}, r"unknown translator 'lstm'; choose from \[.*'convlstm'"),
        ({"in_shape": (3, 16, 16)}, "in_shape must be"),
        ({"in_shape": 11}, "in_shape must be"),
        ({"hid_s": 7}, "must be even"),
        ({"n_t": 0}, "n_t must be a whole number of at least 1"),
    ],
)
def test_wrong_settings_are_refused(wrong, message, unchecked_shapes):
    with pytest.raises(ValueError, match=message):
        build_model("simvp", **({"in_shape": (2, 3, 16, 16), **SMALL} | wrong))


def test_residual_starts_as_copy_last_and_keeps_the_channels():
    past = torch.rand(1, 5, 3, 8, 8)
    model = build_model("simvp", in_shape=(5, 3, 8, 8), hid_s=4, hid_t=8, n_s=2, n_t=2, residual=True)
    torch.testing.assert_close(model(past), past[:, -1:].expand_as(past))
    with pytest.raises(ValueError, match="residual needs as many channels out as in"):
        build_model("simvp", in_shape=(5, 3, 8, 8), out_channels=49, residual=True)


@pytest.mark.parametrize("size", [(8, 12), (7, 13), (1, 2), (20, 30)])
def test_dilated_depthwise_equals_the_convolution(size):
    torch.manual_seed(0)
    conv = LargeKernelAttention(3).dilated
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(dilated_depthwise(x, conv), conv(x))


def test_the_transformer_tells_frames_rows_and_columns_apart():
    positions = grid_positions((4, 5, 6), torch.zeros(1, 32)).flatten(0, 2)
    assert positions.shape == (4 * 5 * 6, 32)
    assert torch.cdist(positions, positions).fill_diagonal_(1).min() > 0.1


@pytest.mark.parametrize("translator", ["transformer", "convlstm"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 6), (5, 4)])
def test_patches_fit_any_latent_size_and_the_padding_is_cropped(translator, size):
    module = build_translator(translator, 3 * 4, 8, 2, 1, 3).eval()
    x = torch.rand(2, 12, *size)
    future = module(x)
    assert future.shape == x.shape and future.isfinite().all()
    padded = pad_to_multiple(x, multiple=PATCH)
    torch.testing.assert_close(future, module(padded)[..., : size[0], : size[1]])


def test_a_patch_holds_neighbouring_pixels_of_one_frame():
    class Same(PatchTranslator):
        def translate(self, past):
            self.seen = past
            return past - past[:, -1:]

    module = Same(6, n_frames=2)
    x = torch.rand(1, 6, 4, 6)
    torch.testing.assert_close(module(x), x)
    assert module.seen.shape == (1, 2, module.patch_channels, 2, 3)
    assert set(module.seen[0, 1, :, 0, 2].tolist()) == set(x[0, 3:, :2, 4:].flatten().tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_as_products_equals_that_of_pytorch(dtype):
    torch.manual_seed(0)
    queries, keys, values = torch.randn(3, 2, 4, 11, 32, dtype=dtype)
    expected = nn.functional.scaled_dot_product_attention(queries, keys, values)
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(attention(queries, keys, values), expected, atol=tolerance, rtol=tolerance)


def test_a_transformer_block_adds_little_at_first():
    tokens = torch.randn(2, 5, 8)
    torch.testing.assert_close(
        GatedTransformerBlock(8)(tokens), nn.functional.layer_norm(tokens, (8,)), atol=0.1, rtol=0.1
    )


@pytest.mark.parametrize("translator", ["transformer", "convlstm"])
def test_the_sequence_translators_forecast_every_clip_by_itself(translator):
    module = build_translator(translator, 3 * 4, 8, 2, 1, 3)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = torch.rand(3, 12, 4, 6)
    torch.testing.assert_close(module(x)[1:2], module(x[1:2]))


def runs_of_the_sweep(name):
    return yaml.safe_load((ROOT / "notebooks" / "sweeps" / f"{name}.yaml").read_text())["runs"]


def test_all_translators_of_the_sweep_of_frames_have_the_same_number_of_parameters():
    counts = {}
    for run in runs_of_the_sweep("simvp_translators"):
        sizes = {name.removeprefix("simvp."): value for name, value in run.get("SIZES", {}).items()}
        sizes = {"in_shape": (11, 3, 80, 120), "hid_s": 16, "hid_t": 128, "n_t": 4} | sizes
        with torch.device("meta"):
            counts[run["TRANSLATOR"]] = parameter_count(build_model("simvp", translator=run["TRANSLATOR"], **sizes))
    assert set(counts) == set(TRANSLATORS)
    assert max(counts.values()) < 1.05 * min(counts.values())


def test_all_translators_of_the_sweep_of_masks_have_the_same_number_of_parameters():
    counts = {}
    for run in runs_of_the_sweep("mask_translators"):
        sizes = parse_configuration(run["CONFIGURATION"])
        with torch.device("meta"):
            model = build_model("mask_simvp", translator=run["TRANSLATOR"], residual=True, **sizes)
        counts[run["TRANSLATOR"]] = parameter_count(model)
    assert set(counts) == set(TRANSLATORS)
    assert max(counts.values()) < 1.05 * min(counts.values())


def test_all_translators_of_the_benchmark_have_the_same_number_of_parameters():
    with torch.device("meta"):
        counts = [parameter_count(translators_benchmark.build(name)) for name in TRANSLATORS]
    assert max(counts) < 1.05 * min(counts)
