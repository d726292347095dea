"""Layers that keep padding invisible and randomness reproducible."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .normalization import MaskedBatchNorm

__all__ = [
    "AttentionPooling",
    "Dropout",
    "LogitLayer",
    "MaskedBatchNorm",
    "PointwiseConv",
    "deltas",
    "frame_mask",
    "round_up",
]


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
