"""Augmentation of spectrograms, in training only."""

import torch
from torch import nn
from torch.nn import functional as F

from .layers import frame_mask, round_up


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
