"""Layers that keep padding invisible and randomness reproducible."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def frame_mask(lengths, n_frames):
    """Return the mask of true frames, 1 below the length of a sample and 0 beyond.

    Parameters
    ----------
    lengths : tensor of shape (n_samples,)
        The number of true frames of each sample.
    n_frames : int
        The number of frames with padding.

    Returns
    -------
    float tensor of shape (n_samples, n_frames)

    Examples
    --------
    >>> import torch
    >>> from sklearn_ser.nn.layers import frame_mask
    >>> frame_mask(torch.tensor([1, 3]), 4)
    tensor([[1., 0., 0., 0.],
            [1., 1., 1., 0.]])
    """
    frames = torch.arange(n_frames, device=lengths.device)
    return (frames < lengths[:, None]).float()


def round_up(width):
    """Round a number of frames up to one of eight widths an octave.

    oneDNN compiles code for each shape and keeps it. Many shapes would cost time, and
    memory that is never released.
    """
    step = 1 << max(0, width.bit_length() - 4)
    return -(-width // step) * step


class Standardize(nn.Module):
    """Affine standardisation of each feature with statistics set before training."""

    def __init__(self, n_features):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def set_statistics(self, mean, scale):
        """Set mean and scale, arrays of shape (n_features,)."""
        self.mean.copy_(torch.as_tensor(mean, dtype=torch.float32))
        self.scale.copy_(torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, x):
        return (x - self.mean[:, None]) / self.scale[:, None]


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the true cells of (n_samples, n_channels, ...).

    ``mask`` broadcasts against the input, and is 1 for a true cell. Padded cells do not
    enter the statistics, and the output is zero there. Training leaves ``running_mean``
    and ``running_var`` as they are.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ser.nn.layers import MaskedBatchNorm, frame_mask
    >>> x = torch.tensor([[[1.0, 3.0, 9.0]]])
    >>> mask = frame_mask(torch.tensor([2]), 3)[:, None]
    >>> MaskedBatchNorm(1)(x, mask).tolist()[0][0][2]
    0.0
    """

    def _check_input_dim(self, input):
        """Accept any number of trailing axes."""

    def forward(self, x, mask):
        if not self.training:
            return super().forward(x) * mask
        if x.shape[1:] == (self.num_features, 1) and len(x) > 1:  # without padding
            return F.batch_norm(
                x, None, None, self.weight, self.bias, training=True, eps=self.eps
            )
        mean, var, _ = moments(x, mask)
        shape = [1, -1] + [1] * (x.ndim - 2)
        centred = (x - mean.view(shape)) * mask
        scale = self.weight * (var + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(shape) * mask, centred, scale.view(shape))


def moments(x, mask=None):
    """Return mean, variance and number of the true cells of each channel."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    if mask is None:
        mask = x.new_ones((1,) * x.ndim)
    n_cells = mask.expand(x.shape[0], 1, *x.shape[2:]).sum()
    mean = (x * mask).sum(axes) / n_cells
    centred = (x - mean.view([1, -1] + [1] * (x.ndim - 2))) * mask
    return mean, centred.square().sum(axes) / n_cells, n_cells


class Dropout(nn.Module):
    """Dropout with its own random generator.

    PyTorch's dropout draws from the global generator, so two fits in two threads change
    each other's numbers. Without a generator, this layer equals ``nn.Dropout``.
    """

    def __init__(self, p=0.5):
        super().__init__()
        self.p = p
        self.generator = None

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        # On the CPU, bernoulli_ takes three times as long as rand.
        drawn = torch.rand(x.shape, generator=self.generator, device=x.device)
        return x * (drawn >= self.p).to(x.dtype).div_(1 - self.p)

    def extra_repr(self):
        return f"p={self.p}"


class PointwiseConv(nn.Conv1d):
    """A convolution of width one, which is a linear layer on single frames.

    oneDNN's convolution takes two to three times as long there.
    """

    def __init__(self, n_in, n_out, bias=True):
        super().__init__(n_in, n_out, 1, bias=bias)

    def forward(self, x):
        if x.dtype == torch.float64:  # for which oneDNN and ONNX have no convolution
            z = self.weight[..., 0] @ x
            return z if self.bias is None else z + self.bias[:, None]
        if x.shape[-1] != 1:
            return super().forward(x)
        return F.linear(x[..., 0], self.weight[..., 0], self.bias)[..., None]


class LogitLayer(nn.Linear):
    """The linear layer to the logits. Its bias can start at the classes' log prior."""

    def set_prior(self, prior):
        """Set the bias to the log of the (weighted) class frequencies, centred."""
        log_prior = np.log(np.clip(prior, 1e-9, None))
        centred = (log_prior - log_prior.mean()).astype(np.float32)
        self.bias.data.copy_(torch.from_numpy(centred))


class AttentionPooling(nn.Module):
    """DSNet's pooling: e = sum_t a_t * c_t, with e in (0, 1)^n_out.

    a = softmax over time of clamp(att(z), -10, 10) and c = sigmoid(cla(z)), where
    att and cla are convolutions of width one.
    """

    def __init__(self, n_channels, n_out=256):
        super().__init__()
        self.att = PointwiseConv(n_channels, n_out)
        self.cla = PointwiseConv(n_channels, n_out)

    def forward(self, z, lengths):
        if z.shape[-1] == 1:  # which the softmax gives all the weight
            return self.cla(z)[..., 0].sigmoid()
        mask = frame_mask(lengths, z.shape[-1])[:, None]
        att = self.att(z).clamp(-10, 10).masked_fill(mask == 0, -torch.inf)
        return (att.softmax(-1) * self.cla(z).sigmoid()).sum(-1)


def deltas(x, lengths, width=2):
    """Regression deltas along the last axis, with repeated ends of each sequence.

    They are sum_k k (x[t + k] - x[t - k]) / (2 sum_k k^2) for k up to `width`, and zero
    beyond a length.
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


class Augment(nn.Module):
    """Random resampling of a log-mel's axes, then masking, in training only.

    Tempo and frequency axis change by a factor drawn from [1 - x, 1 + x] with `speed`
    or `vocal_tract` as x. Up to a share `masking` of the frames, and of the bands,
    becomes zero. The frequency axis changes only if neighbouring features are
    neighbouring frequencies (`spectral`). Sequences of one frame pass unchanged.
    """

    def __init__(self, speed=0.0, vocal_tract=0.0, masking=0.0, spectral=True):
        super().__init__()
        self.speed = speed
        self.vocal_tract = vocal_tract if spectral else 0.0
        self.masking = masking
        self.spectral = spectral
        self.generator = None

    def forward(self, x, lengths):
        if not self.training or x.shape[-1] == 1:
            return x, lengths
        if self.speed or self.vocal_tract:
            x, lengths = self._resample(x, lengths)
        if self.masking:
            x = x * self._keep(lengths, x.shape[2])[:, None]
            if self.spectral:
                bands = self._keep(torch.full_like(lengths, x.shape[1]), x.shape[1])
                x = x * bands[:, :, None]
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
        # grid_sample takes coordinates in [-1, 1] on both axes.
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


class ClassNoise(nn.Module):
    """Gaussian noise on vectors, in training only, with the covariance in a class.

    Under much of this noise a linear classifier becomes linear discriminant analysis.
    Where features outnumber recordings, that generalises better. For a batch of n
    vectors, n residuals are drawn, and each vector gets a random combination of them,
    times `scale`. Sequences of more than one frame pass unchanged.
    """

    def __init__(self, scale=0.0):
        super().__init__()
        self.scale = scale
        self.generator = None
        self.residuals = None

    def set_residuals(self, residuals):
        """Set the differences of training vectors from the means of their classes."""
        self.residuals = residuals

    def acts_on(self, x):
        """Tell whether training adds noise to such a batch."""
        return self.residuals is not None and self.scale > 0 and x.shape[-1] == 1

    def forward(self, x):
        if not (self.training and self.acts_on(x)):
            return x
        n, options = len(x), {"generator": self.generator, "device": x.device}
        drawn = self.residuals[torch.randint(len(self.residuals), (n,), **options)]
        mixing = torch.randn((n, n), **options)
        share = self.scale / n**0.5
        return torch.addmm(x[..., 0], mixing, drawn, alpha=share)[..., None]
