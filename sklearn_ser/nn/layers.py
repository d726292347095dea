"""Layers that keep padding invisible and randomness reproducible."""

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..sequences import frame_statistics


def frame_mask(lengths, n_frames):
    """Return the (n_samples, n_frames) mask of true frames, as float."""
    frames = torch.arange(n_frames, device=lengths.device)
    return (frames < lengths[:, None]).float()


def round_up(width):
    """Round a number of frames up to one of eight widths an octave.

    oneDNN compiles and keeps code for each shape: a shape of its own for each batch
    costs time, and memory that is never given back.
    """
    step = 1 << max(0, width.bit_length() - 4)
    return -(-width // step) * step


def scale_gradient(v, factor):
    """Return v, through which a gradient comes back times ``factor``."""
    return v.detach() + factor * (v - v.detach())


@contextmanager
def kept_statistics(module):
    """Train inside without a trace in the running statistics of batch normalisation."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    momenta = [m.momentum for m in norms]
    try:
        for m in norms:
            m.momentum = 0.0
        yield
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum


class Dropout(nn.Module):
    """Dropout that can draw from a generator of its own.

    PyTorch's dropout knows the global generator only, so that two fits in two
    threads disturb each other. Without a generator it behaves like ``nn.Dropout``.
    """

    def __init__(self, p=0.5):
        super().__init__()
        self.p = p
        self.generator = None

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep.div_(1 - self.p)

    def extra_repr(self):
        return f"p={self.p}"


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the true cells of (n_samples, n_channels, ...).

    ``mask`` broadcasts against the input and is 1 where a cell is true; padded
    cells neither enter the statistics nor leave the layer.
    """

    def _check_input_dim(self, input):
        """Accept any number of trailing axes."""

    def forward(self, x, mask):
        if not self.training:
            return super().forward(x) * mask
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        n_cells = mask.expand(x.shape[0], 1, *x.shape[2:]).sum()
        mean = (x * mask).sum(axes) / n_cells
        centred = (x - mean.view(shape)) * mask
        var = centred.square().sum(axes) / n_cells
        with torch.no_grad():
            unbiased = var * n_cells / (n_cells - 1).clamp(min=1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (var + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(shape) * mask, centred, scale.view(shape))


class Standardize(nn.Module):
    """Affine standardisation of each feature with statistics set before training."""

    def __init__(self, n_features):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def fit(self, sequences):
        """Set mean and scale from all frames of the sequences."""
        mean, scale = frame_statistics(sequences)
        self.mean.copy_(torch.from_numpy(mean.astype(np.float32)))
        self.scale.copy_(torch.from_numpy(scale.astype(np.float32)))

    def forward(self, x):
        return (x - self.mean[:, None]) / self.scale[:, None]


class LogitLayer(nn.Linear):
    """The linear layer to the logits; its bias can start at the classes' log prior."""

    def fit(self, prior):
        """Set the bias to the log of the (weighted) class frequencies, centred."""
        log_prior = np.log(np.clip(prior, 1e-9, None))
        centred = (log_prior - log_prior.mean()).astype(np.float32)
        self.bias.data.copy_(torch.from_numpy(centred))


class Augment(nn.Module):
    """Random resampling of a log-mel's axes, then masking, in training only.

    Parameters
    ----------
    speed : float
        The tempo changes by a factor drawn from [1 - speed, 1 + speed].
    vocal_tract : float
        The frequency axis stretches by a factor drawn likewise.
    masking : float
        Up to this share of the bands, and of the frames, becomes zero.

    Notes
    -----
    Sequences of one frame have no time axis, and the axis of functionals is no
    frequency: such a batch passes unchanged.
    """

    def __init__(self, speed=0.0, vocal_tract=0.0, masking=0.0):
        super().__init__()
        self.speed = speed
        self.vocal_tract = vocal_tract
        self.masking = masking
        self.generator = None

    def forward(self, x, lengths):
        if not self.training or x.shape[-1] == 1:
            return x, lengths
        if self.speed or self.vocal_tract:
            x, lengths = self._resample(x, lengths)
        if self.masking:
            frames = self._keep(lengths, x.shape[2])[:, None]
            bands = self._keep(torch.full_like(lengths, x.shape[1]), x.shape[1])
            x = x * frames * bands[:, :, None]
        return x, lengths

    def _uniform(self, like, low=0.0, high=1.0):
        u = torch.rand(len(like), 1, generator=self.generator, device=like.device)
        return low + (high - low) * u

    def _resample(self, x, lengths):
        n_bands, n_frames = x.shape[1:]
        rate = self._uniform(x, 1 - self.speed, 1 + self.speed)
        stretch = self._uniform(x, 1 - self.vocal_tract, 1 + self.vocal_tract)
        new = (lengths / rate[:, 0]).round().long().clamp(min=1)
        t = torch.arange(round_up(int(new.max())), device=x.device) * rate
        t = torch.minimum(t, (lengths - 1)[:, None])
        f = (torch.arange(n_bands, device=x.device) * stretch).clamp(max=n_bands - 1)
        # grid_sample wants both axes in [-1, 1].
        t = 2 * t / (n_frames - 1) - 1
        f = 2 * f / max(n_bands - 1, 1) - 1
        shape = len(x), n_bands, t.shape[1]
        grid = torch.stack([t[:, None].expand(shape), f[..., None].expand(shape)], -1)
        x = F.grid_sample(x[:, None], grid, align_corners=True)[:, 0]
        return x * frame_mask(new, x.shape[-1])[:, None], new

    def _keep(self, lengths, n_cells):
        """Return 0 on one random span of each row, and 1 elsewhere."""
        span = self._uniform(lengths) * self.masking * lengths[:, None]
        start = self._uniform(lengths) * (lengths[:, None] - span)
        cells = torch.arange(n_cells, device=lengths.device)
        return ((cells < start.round()) | (cells >= (start + span).round())).float()


class AttentionPooling(nn.Module):
    """DSNet's pooling: e = sum_t a_t * c_t, with e in (0, 1)^n_out.

    a = softmax over time of clamp(att(z), -10, 10) and c = sigmoid(cla(z)), where
    att and cla are convolutions of width one.
    """

    def __init__(self, n_channels, n_out=256):
        super().__init__()
        self.att = nn.Conv1d(n_channels, n_out, 1)
        self.cla = nn.Conv1d(n_channels, n_out, 1)

    def forward(self, z, lengths):
        mask = frame_mask(lengths, z.shape[-1])[:, None]
        att = self.att(z).clamp(-10, 10).masked_fill(mask == 0, -torch.inf)
        return (att.softmax(-1) * self.cla(z).sigmoid()).sum(-1)


def deltas(x, lengths, width=2):
    """Regression deltas along the last axis, each sequence's ends repeated.

    Parameters
    ----------
    x : tensor of shape (n_samples, n_features, n_frames)
    lengths : tensor of shape (n_samples,)
    width : int, default=2
        Frames on either side.

    Returns
    -------
    tensor of the shape of ``x``
        sum_k k (x[t + k] - x[t - k]) / (2 sum_k k^2), with t kept inside the
        sequence; frames beyond a length are zero.
    """
    n_frames = x.shape[-1]
    frames = torch.arange(n_frames, device=x.device)
    last = (lengths - 1)[:, None]
    out = torch.zeros_like(x)
    for k in range(1, width + 1):
        ahead = torch.minimum(frames + k, last)[:, None].expand_as(x)
        behind = torch.minimum((frames - k).clamp(min=0), last)[:, None].expand_as(x)
        out = out + k * (x.gather(-1, ahead) - x.gather(-1, behind))
    out = out / (2 * sum(k * k for k in range(1, width + 1)))
    return out * frame_mask(lengths, n_frames)[:, None]
