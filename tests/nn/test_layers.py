"""Layers against independent forms, and the blocks of the paper's encoder."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from torch import nn

from sklearn_ser.nn.encoders import CNN6Encoder, UtteranceEncoder
from sklearn_ser.nn.layers import (
    AttentionPooling,
    Augment,
    Dropout,
    LogitLayer,
    MaskedBatchNorm,
    PointwiseConv,
    Standardize,
    deltas,
    frame_mask,
)
from sklearn_ser.nn.normalization import keep_statistics
from sklearn_ser.sequences import frame_statistics, standardized

some_lengths = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def batch(lengths, n_features=3, extra=0, seed=0):
    """Standard normal true frames, zero padding, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    shape = len(lengths), n_features, int(lengths.max()) + extra
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x * frame_mask(lengths, shape[2])[:, None], lengths


@pytest.mark.parametrize("n_frames", [1, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_pointwise_is_a_convolution_of_width_one(n_frames, bias):
    torch.manual_seed(0)
    own = PointwiseConv(3, 5, bias=bias).double()
    conv = nn.Conv1d(3, 5, 1, bias=bias).double()
    conv.load_state_dict(own.state_dict())
    x = torch.randn(2, 3, n_frames, dtype=torch.float64)
    results = []
    for layer in (own.train(), conv):
        layer(x).square().sum().backward()
        results.append([layer(x), *(p.grad for p in layer.parameters())])
    torch.testing.assert_close(*results)
    torch.testing.assert_close(own.eval()(x), conv(x))


# ---------------------------------------------------------- batch normalisation


def norms(n_channels):
    torch.manual_seed(0)
    own = MaskedBatchNorm(n_channels).double()
    nn.init.uniform_(own.weight, 0.5, 2)
    nn.init.normal_(own.bias)
    own.running_mean.normal_()
    own.running_var.uniform_(0.5, 2)
    reference = nn.BatchNorm1d(n_channels).double()
    reference.load_state_dict(own.state_dict())
    keep_statistics(reference)
    return own, reference


@given(
    lengths=some_lengths.filter(lambda n: sum(n) > 1),
    extra=st.integers(0, 4),
    n_bands=st.none() | st.integers(1, 3),
)
def test_batch_norm_equals_the_one_of_the_true_frames(lengths, extra, n_bands):
    own, reference = norms(3)
    for step in range(2):
        x, n = batch(lengths, 3 * (n_bands or 1), extra, seed=step)
        x = 5 * x - 3 * (x != 0)
        mask = frame_mask(n, x.shape[-1])[:, None]
        if n_bands is not None:
            x, mask = x.unflatten(1, (3, n_bands)), mask[:, None]
        x.requires_grad_()
        true = mask.expand(len(x), 1, *x.shape[2:])[:, 0].bool()

        def cells(tensor, true=true):
            return tensor.movedim(1, -1)[true]

        flat = cells(x).detach().requires_grad_()
        for training in (True, False):
            found = own.train(training)(x, mask)
            expected = reference.train(training)(flat)
            torch.testing.assert_close(cells(found), expected)
            assert (found * (1 - mask) == 0).all()
            slope = torch.randn(expected.shape, dtype=torch.float64)
            (grad,) = torch.autograd.grad((cells(found) * slope).sum(), x)
            (expected_grad,) = torch.autograd.grad((expected * slope).sum(), flat)
            torch.testing.assert_close(cells(grad), expected_grad)
        for name in ("running_mean", "running_var"):
            assert torch.equal(own.state_dict()[name], reference.state_dict()[name])


def test_batch_norm_of_a_single_cell_stays_finite():
    own, _ = norms(3)
    x, n = batch([1])
    z = own.train()(x, frame_mask(n, 1)[:, None])
    torch.testing.assert_close(z[0, :, 0], own.bias)
    assert all(torch.isfinite(v).all() for v in own.state_dict().values())


# ---------------------------------------------------------------------- dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_expectation(p):
    layer, x = Dropout(p).train(), torch.full((200, 20, 10), 3.0)
    before, found = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        layer.generator = torch.Generator().manual_seed(seed)
        found.append(layer(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(torch.get_rng_state(), before)
    z = found[0]
    dropped = (z == 0).double()
    assert dropped.mean().item() == pytest.approx(p, abs=0.02)
    assert dropped.std(dim=2).gt(0).any()  # each cell is drawn
    torch.testing.assert_close(z[z != 0], torch.full_like(z[z != 0], 3 / (1 - p)))
    assert z.mean().item() == pytest.approx(3, rel=0.05)
    assert layer.eval()(x) is x
    assert Dropout(0.0).train()(x) is x


# ----------------------------------------------------------------- augmentation


def augment(seed=0, **kwargs):
    layer = Augment(**kwargs).train()
    layer.generator = torch.Generator().manual_seed(seed)
    return layer


LOUD = {"speed": 0.3, "vocal_tract": 0.3, "masking": 0.5}


@pytest.mark.parametrize(
    ("lengths", "rates", "training"),
    [([4, 9], LOUD, False), ([1, 1, 1], LOUD, True), ([4, 9], {}, True)],
    ids=["prediction", "one frame", "no rates"],
)
def test_augmentation_leaves_alone(lengths, rates, training):
    x, n = batch(lengths)
    found, after = augment(**rates).train(training)(x, n)
    assert found is x
    assert after is n


def test_resampling_at_rate_one_is_the_identity():
    x, n = batch([4, 9, 1], n_features=6)
    found, lengths = augment(speed=1e-7)(x.float(), n)
    torch.testing.assert_close(found, x.float(), rtol=0, atol=1e-4)
    assert lengths.tolist() == n.tolist()


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    speed=st.sampled_from([0, 0.1, 0.5, 0.9]),
    vocal_tract=st.sampled_from([0, 0.1, 0.9]),
    masking=st.sampled_from([0, 0.3, 0.99]),
    extra=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_augmented_batches_are_batches(
    lengths, speed, vocal_tract, masking, extra, seed
):
    x, n = batch(lengths, 5, extra)
    x = x.float()
    given = x.clone(), n.clone()
    layer = augment(seed, speed=speed, vocal_tract=vocal_tract, masking=masking)
    z, after = layer(x, n)
    assert torch.equal(x, given[0])
    assert torch.equal(n, given[1])
    assert z.shape[:2] == x.shape[:2]
    assert torch.isfinite(z).all()
    assert after.dtype == torch.int64
    assert after.min() >= 1
    assert after.max() <= z.shape[2]
    assert (z * (1 - frame_mask(after, z.shape[2])[:, None]) == 0).all()
    # Interpolation invents no values.
    assert z.abs().max() <= x.abs().max() + 1e-4
    if x.shape[2] > 1:
        assert (after >= (n / (1 + speed)).round().clamp(min=1) - 1).all()
        assert (after <= (n / (1 - speed)).round() + 1).all()


def test_speed_stretches_time_and_keeps_frequency():
    ramp = torch.arange(50.0).expand(99, 4, 50) * torch.tensor([1.0, 2, 3, 4])[:, None]
    z, n = augment(speed=0.3)(ramp, torch.full((99,), 50))
    assert 38 <= n.min() <= 40  # the whole range of rates
    assert 68 <= n.max() <= 72
    for row, length in zip(z, n, strict=True):  # no zeros from beyond the end
        assert row[0, length - 1] > 48
    for row, length in zip(z, n, strict=True):
        steps = row[:, 1 : length - 2].diff(dim=1)
        rate = steps[0].mean()
        torch.testing.assert_close(
            steps, torch.tensor([1.0, 2, 3, 4])[:, None].expand_as(steps) * rate,
            rtol=1e-3, atol=1e-3,
        )  # fmt: skip
        assert rate.item() == pytest.approx(50 / length.item(), abs=0.03)


def test_vocal_tract_stretches_frequency_and_keeps_time():
    ramp = torch.arange(40.0)[:, None].expand(50, 40, 7)
    z, n = augment(vocal_tract=0.2)(ramp.clone(), torch.full((50,), 7))
    assert (n == 7).all()
    torch.testing.assert_close(z, z[..., :1].expand_as(z))
    rates = z[:, 1, 0]
    assert 0.8 <= rates.min() < 0.85
    assert 1.15 < rates.max() <= 1.2 + 1e-4
    expected = (torch.arange(40.0) * rates[:, None]).clamp(max=39)
    torch.testing.assert_close(z[..., 0], expected, rtol=0, atol=1e-3)


def test_each_row_is_augmented_by_itself():
    x = torch.randn(1, 5, 40).expand(6, 5, 40)
    z, n = augment(**LOUD)(x, torch.full((6,), 40))
    assert len(n.unique()) > 2
    assert not torch.allclose(z[0, :, :20], z[1, :, :20])


def test_masking_takes_one_span_of_bands_and_one_of_frames():
    z, n = augment(masking=0.4)(torch.ones(300, 20, 30), torch.full((300,), 30))
    assert (n == 30).all()
    frames = (z.amax(1) == 0).double()
    bands = (z.amax(2) == 0).double()
    # Everything else is left.
    assert torch.equal(z == 0, (frames[:, None] + bands[:, :, None]) > 0)
    for hidden, n_cells in ((frames, 30), (bands, 20)):
        edges = nn.functional.pad(hidden, (1, 1)).diff(dim=1)
        assert ((edges == 1).sum(1) <= 1).all()
        share = hidden.mean(1)
        assert share.max() <= 0.4 + 1 / n_cells
        assert share.max() > 0.3
        assert share.mean().item() == pytest.approx(0.2, abs=0.04)
        # No place is spared.
        assert (hidden.mean(0) > 0).all()


# ---------------------------------------------------------------------- pooling


@given(lengths=some_lengths, extra=st.integers(0, 3), scale=st.sampled_from([1, 100]))
def test_attention_pooling(lengths, extra, scale):
    torch.manual_seed(0)
    pool = AttentionPooling(3, 8).double()
    z, n = batch(lengths, 3, extra)
    z = scale * z
    found = pool(z, n).detach().numpy()
    for row, sequence, length in zip(found, z.numpy(), lengths, strict=True):
        true = sequence[:, :length]
        att, cla = (
            conv.weight.detach().numpy()[..., 0] @ true
            + conv.bias.detach().numpy()[:, None]
            for conv in (pool.att, pool.cla)
        )
        a = softmax(np.clip(att, -10, 10), axis=1)
        np.testing.assert_allclose(row, (a * expit(cla)).sum(axis=1), atol=1e-12)
    if scale == 1:
        assert found.min() > 0
        assert found.max() < 1
    assert found.shape == (len(lengths), 8)


def test_attention_is_clamped():
    pool = AttentionPooling(1, 1)
    nn.init.constant_(pool.att.weight, 1000.0)
    nn.init.zeros_(pool.att.bias)
    nn.init.constant_(pool.cla.weight, 1.0)
    nn.init.zeros_(pool.cla.bias)
    found = pool(torch.tensor([[[-1.0, 1.0]]]), torch.tensor([2])).item()
    share = expit(20.0)
    expected = share * expit(1) + (1 - share) * expit(-1)
    assert found == pytest.approx(expected, abs=1e-7)


# ----------------------------------------------------- deltas and standardisation


@given(lengths=some_lengths, extra=st.integers(0, 3), width=st.integers(1, 4))
def test_deltas(lengths, extra, width):
    x, n = batch(lengths, 2, extra)
    found = deltas(x, n, width).numpy()
    for row, sequence, length in zip(found, x.numpy(), lengths, strict=True):
        padded = np.pad(sequence[:, :length], ((0, 0), (width, width)), mode="edge")
        weights = np.arange(-width, width + 1) / (2 * np.sum(np.arange(width + 1) ** 2))
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, 2 * width + 1, axis=1
        )
        np.testing.assert_allclose(row[:, :length], windows @ weights, atol=1e-12)
        assert not row[:, length:].any()


@pytest.mark.parametrize("unit", [1e-30, 1e-13, 1.0, 1e13, 1e30])
def test_a_feature_counts_as_constant_by_its_own_size(unit):
    rng = np.random.default_rng(0)
    x = rng.normal([[0], [3], [1]], [[1], [1e-3], [0]], (3, 200)) * unit
    x = x.astype(np.float32)
    mean, scale = frame_statistics([x[:, :150], x[:, 150:]])
    np.testing.assert_allclose(mean, x.mean(axis=1, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(scale[:2], x[:2].std(axis=1, dtype=float), rtol=1e-12)
    assert scale[2] == 1
    layer = Standardize(3)
    layer.set_statistics(mean, scale)
    for z in (standardized(x, mean, scale), layer(torch.from_numpy(x)).numpy()):
        np.testing.assert_allclose(z[0].mean(), 0, atol=1e-4)
        # The second one's mean is large beside its deviation.
        np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-3)
        np.testing.assert_allclose(z.std(axis=1), [1, 1, 0], atol=1e-5)


def test_what_float32_cannot_hold_counts_as_constant():
    x = np.zeros((2, 1000), np.float32)
    x[0, 0] = 1.4e-45  # its deviation is smaller, and no float32
    layer = Standardize(2)
    tensor = torch.from_numpy(x)[None]
    torch.testing.assert_close(layer(tensor), tensor)  # before its fit
    layer.set_statistics(*frame_statistics([x]))
    assert layer.scale.tolist() == [1, 1]
    assert torch.isfinite(layer(tensor)).all()


def test_logit_layer_starts_at_the_prior():
    layer = LogitLayer(4, 3)
    layer.set_prior(np.array([0.5, 0.25, 0.25]))
    assert layer.bias.exp().div(layer.bias.exp().sum()).tolist() == pytest.approx(
        [0.5, 0.25, 0.25]
    )
    layer.set_prior(np.array([1.0, 0.0, 1.0]))
    assert torch.isfinite(layer.bias).all()


# ------------------------------------------------------------ the paper's encoder


def test_cnn6_follows_the_paper():
    """BatchNorm over bands; four blocks 3->64->128->256->512 of 5x5 convolutions."""
    encoder = CNN6Encoder(80)
    assert encoder.input_norm.num_features == 80
    widths = [3, 64, 128, 256, 512]
    assert [(c.in_channels, c.out_channels) for c in encoder.convs] == list(
        pairwise(widths)
    )
    for conv, norm, n_out in zip(encoder.convs, encoder.norms, widths[1:], strict=True):
        assert conv.kernel_size == (5, 5)
        assert conv.padding == (2, 2)
        assert conv.stride == (1, 1)
        assert conv.bias is None
        assert norm.num_features == n_out
    assert encoder.dropout.p == 0.2
    n_parameters = sum(p.numel() for p in UtteranceEncoder("cnn6", 80).parameters())
    assert n_parameters == pytest.approx(4.6e6, rel=0.02)


def test_cnn6_computes_the_blocks_of_the_paper():
    """Against plain layers, on a length that pooling halves without a rest."""
    torch.manual_seed(0)
    encoder = CNN6Encoder(16, n_channels=(4, 6, 8, 10)).eval()
    for norm in (encoder.input_norm, *encoder.norms):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 16, 32)
    n = torch.tensor([32, 32])
    first = deltas(x, n)
    z = torch.stack([x, first, deltas(first, n)], dim=1)

    def normalised(norm, z, axis):
        shape = [1] * 4
        shape[axis] = -1
        mean, var, weight, bias = (
            v.view(shape)
            for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return (z - mean) / (var + norm.eps).sqrt() * weight + bias

    with torch.no_grad():
        z = normalised(encoder.input_norm, z, axis=2)
        for conv, norm in zip(encoder.convs, encoder.norms, strict=True):
            z = nn.functional.conv2d(z, conv.weight, padding=2)
            z = nn.functional.max_pool2d(normalised(norm, z, axis=1).relu(), 2)
        found, lengths = encoder(x, n)
    assert lengths.tolist() == [2, 2]
    torch.testing.assert_close(found, z.mean(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("n_frames", "expected"), [(1, 1), (15, 1), (33, 2), (600, 37)]
)
def test_cnn6_reach(n_frames, expected):
    encoder = CNN6Encoder(8, n_channels=(2, 2, 2, 2)).eval()
    z, lengths = encoder(torch.ones(1, 8, n_frames), torch.tensor([n_frames]))
    assert lengths.tolist() == [expected]
    assert z.shape == (1, 2, expected)
