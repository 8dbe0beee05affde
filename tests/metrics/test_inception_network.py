"""FID's Inception: size, shapes and pooling, from facts that others published."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from modeseek.metrics.inception_network import InceptionNetwork, MixedA, MixedC, MixedE

STAGES = {  # channels and side after each block, as TensorFlow's graph names them
    "Conv2d_1a_3x3": (32, 149),
    "Conv2d_2a_3x3": (32, 147),
    "Conv2d_2b_3x3": (64, 147),
    "Conv2d_3b_1x1": (80, 73),
    "Conv2d_4a_3x3": (192, 71),
    "Mixed_5b": (256, 35),
    "Mixed_5c": (288, 35),
    "Mixed_5d": (288, 35),
    "Mixed_6a": (768, 17),
    "Mixed_6b": (768, 17),
    "Mixed_6c": (768, 17),
    "Mixed_6d": (768, 17),
    "Mixed_6e": (768, 17),
    "Mixed_7a": (1280, 8),
    "Mixed_7b": (2048, 8),
    "Mixed_7c": (2048, 8),
}


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return InceptionNetwork().eval().requires_grad_(False)


def test_parameters_and_layers(network):
    """Keras' InceptionV3: 94 convolutions, 23 817 352 trained without the normalisation's scales, 34 432 statistics.

    They have 1000 classes, this graph 1008: 8 x 2049 more. torchvision's, with scales and without its side branch, has
    23 834 568.
    """
    count = sum(p.numel() for p in network.parameters())
    scales = sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 94
    assert count - 8 * 2049 == 23_834_568 == 23_817_352 + scales
    assert 2 * scales == 34_432
    assert len(network.state_dict()) == 94 * 6 + 2


def test_the_file_is_as_large_as_the_state(network):
    """The known file has 95 628 359 bytes: the numbers, and about 150 bytes of bookkeeping for each of 566 entries."""
    numbers = sum(v.numel() * v.element_size() for v in network.state_dict().values())
    assert 0 < 95_628_359 - numbers < 566 * 200


def test_every_stage_has_its_shape(network):
    seen, handles = {}, []
    for name in STAGES:

        def note(_module, _given, out, name=name):
            seen[name] = out.shape

        handles.append(network.get_submodule(name).register_forward_hook(note))
    features = network(torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    for handle in handles:
        handle.remove()
    assert list(seen) == list(STAGES)  # in this order
    assert {n: (s[1], s[2]) for n, s in seen.items()} == STAGES
    assert all(s[2] == s[3] for s in seen.values())
    assert features.shape == (1, 2048)


def pooled_input(block, x):
    """What a block's pooling branch hands to its convolution."""
    seen = []
    handle = block.branch_pool.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        block(x)
    handle.remove()
    return seen[0]


def window(x, reduce):
    """Over the part of each 3 x 3 window that exists, by scipy, (B, C, H, W)."""
    padded = np.pad(x.double().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return reduce(views, axis=(4, 5))


@pytest.mark.parametrize(
    ("block", "width"),
    [(MixedA(192, 32), 192), (MixedC(128), 768), (MixedE(1280, last=False), 1280)],
    ids=["A", "C", "E"],
)
def test_averages_do_not_count_the_padding(block, width):
    """Ones stay ones in the corners, where torchvision's average is 4/9."""
    x = torch.randn(1, width, 5, 5, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(pooled_input(block.eval(), x).numpy(), window(x, np.nanmean), atol=1e-6)
    ones = torch.ones(1, width, 5, 5)
    assert torch.allclose(pooled_input(block, ones), ones)


def test_the_last_block_takes_the_maximum():
    """Where the article, and torchvision, average; of negative numbers too, so that the padding is no zero."""
    x = torch.randn(1, 2048, 4, 4, generator=torch.Generator().manual_seed(2)) - 5
    pooled = pooled_input(MixedE(2048, last=True).eval(), x).numpy()
    np.testing.assert_array_equal(pooled, window(x, np.nanmax).astype(np.float32))
    np.testing.assert_array_equal(pooled[0, 0], ndimage.maximum_filter(x[0, 0].numpy(), 3, mode="nearest"))


def test_a_convolution_normalises_by_its_statistics_and_rectifies(network):
    """relu((w * x - mean) / sqrt(var + 0.001) scale + shift), by hand at one position."""
    conv = network.Conv2d_1a_3x3
    g = torch.Generator().manual_seed(3)
    state = {n: torch.rand(32, generator=g) + 0.5 for n in ("weight", "bias", "running_mean", "running_var")}
    old = {k: v.clone() for k, v in conv.bn.state_dict().items()}
    conv.bn.load_state_dict(state | {"num_batches_tracked": torch.tensor(0)})
    x = torch.randn(1, 3, 7, 7, generator=g)
    value = (conv.conv.weight * x[0, :, 2:5, 4:7]).sum((1, 2, 3)).double()  # stride 2, no padding: position (1, 2)
    value = (value - state["running_mean"]) / (state["running_var"] + 0.001).double().sqrt()
    value = (value * state["weight"] + state["bias"]).clamp(min=0)
    assert torch.allclose(conv(x)[0, :, 1, 2].double(), value, atol=1e-5)
    conv.bn.load_state_dict(old)
