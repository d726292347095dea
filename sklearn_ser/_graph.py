"""A pipeline as one torch module that can be traced into a graph."""

import numpy as np
import torch
from torch import nn

from .features.spectrogram import AMIN, FLAT, basis
from .nn.layers import frame_mask


class LogMel(nn.Module):
    """The log-mel spectrograms of LogMelTransformer, from a padded batch of waveforms.

    The Fourier transform is a product with cosines and sines, in double precision. Only
    the frequencies that some band uses are computed.

    Parameters
    ----------
    settings : Settings
        Those of the transformer.
    """

    def __init__(self, settings):
        super().__init__()
        self.settings = s = settings
        window, filterbank, _ = basis(
            s.sampling_rate,
            s.n_fft,
            s.win_length,
            s.n_mels,
            s.fmin,
            s.fmax,
            "float64",
        )
        # Of the columns for real and imaginary parts, one for each frequency.
        filterbank = filterbank.toarray()[:, np.r_[0, 1 : s.n_fft : 2]]
        self.start = (s.n_fft - s.win_length) // 2
        inside = np.arange(self.start, self.start + s.win_length)
        used = np.flatnonzero(filterbank.any(axis=0))
        phase = 2 * np.pi / s.n_fft * (np.outer(inside, used) % s.n_fft)
        waves = np.hstack([np.cos(phase), np.sin(phase)]) * window[:, None]
        self.register_buffer("waves", torch.from_numpy(waves))
        self.register_buffer("bands", torch.from_numpy(filterbank[:, used].T))

    def forward(self, wave, lengths):
        s, margin = self.settings, self.settings.n_fft // 2
        wave = wave * frame_mask(lengths, wave.shape[1])
        if s.n_times is not None:
            if s.length_mode == "wrap":
                wave = wave.gather(1, torch.arange(s.n_times) % lengths[:, None])
            else:
                wave = padded(wave, 0, s.n_times)[:, : s.n_times]
            lengths = torch.full_like(lengths, s.n_times)
        wave = padded(wave, margin, margin)
        n_frames = 1 + (wave.shape[1] - s.n_fft) // s.hop_length
        lengths = 1 + (lengths + 2 * margin - s.n_fft) // s.hop_length
        starts = torch.arange(n_frames)[:, None] * s.hop_length + self.start
        frames = wave[:, starts + torch.arange(s.win_length)].double()
        real, imaginary = (frames @ self.waves).square().chunk(2, dim=-1)
        power = ((real + imaginary) @ self.bands).transpose(1, 2)
        x = 10 * power.clamp(min=AMIN).log10()
        mask = frame_mask(lengths, n_frames)[:, None].double()
        if s.top_db is not None:
            peak = x.masked_fill(mask == 0, -torch.inf).amax((1, 2), keepdim=True)
            x = torch.maximum(x, peak - s.top_db)
        n = lengths[:, None, None]
        if s.normalize == "level":
            x = x - (x * mask).sum((1, 2), keepdim=True) / (n * s.n_mels)
        elif s.normalize == "utterance":
            x = (x - (x * mask).sum(2, keepdim=True) / n) * mask
            std = (x.square().sum(2, keepdim=True) / n).sqrt()
            x = torch.where(std < FLAT, 0.0, x / std)
        x = x.to(getattr(torch, s.dtype)).float()
        return x * mask.float(), lengths


class Standardization(nn.Module):
    """Features less a mean, divided by a scale, in double precision."""

    def __init__(self, mean, scale):
        super().__init__()
        self.register_buffer(
            "mean", torch.as_tensor(mean, dtype=torch.float64)[:, None]
        )
        self.register_buffer(
            "scale", torch.as_tensor(scale, dtype=torch.float64)[:, None]
        )

    def forward(self, x, lengths):
        return ((x - self.mean) / self.scale).float(), lengths


class Summary(nn.Module):
    """Mean and deviation of each feature over the true frames, as one frame."""

    def forward(self, x, lengths):
        mask, n = frame_mask(lengths, x.shape[-1])[:, None], lengths[:, None, None]
        x = x.double() * mask
        mean = x.sum(2, keepdim=True) / n
        std = (((x - mean) * mask).square().sum(2, keepdim=True) / n).sqrt()
        return torch.cat([mean, std], dim=1).float(), torch.ones_like(lengths)


class Reach(nn.Module):
    """Padding to at least the number of frames that an encoder needs.

    Encoders pad what is too short. A graph cannot choose, so it always pads.
    """

    def __init__(self, n_frames):
        super().__init__()
        self.n_frames = n_frames

    def forward(self, x, lengths):
        return padded(x, 0, self.n_frames), lengths


def padded(x, before, after):
    """Put zeros before and after the last axis."""
    shape = x.shape[:-1]
    return torch.cat([x.new_zeros(*shape, before), x, x.new_zeros(*shape, after)], -1)


def softmax(logits):
    """Return the probabilities of most methods."""
    return logits.softmax(1)


def nearest_distribution(f, floor=1e-6):
    """Return the result of the function with this name in ``nn.regression``."""
    k = f.shape[1]
    ranked = f.sort(dim=1, descending=True)[0]
    shift = (ranked.cumsum(1) - 1) / torch.arange(1, k + 1)
    last = (ranked > shift).sum(1, keepdim=True) - 1
    p = (f - shift.gather(1, last)).clamp(min=0)
    p = p / p.sum(1, keepdim=True)
    return (1 - floor) * p + floor / k


def find_decision(classifier):
    """Return the function above that equals the classifier's `_decide`."""
    shape = 100, len(classifier.classes_)
    logits = np.random.default_rng(0).normal(scale=3, size=shape)
    expected = classifier._decide(logits)
    for decide in (softmax, nearest_distribution):
        found = decide(torch.from_numpy(logits)).numpy()
        if np.allclose(found, expected, rtol=0, atol=1e-12):
            return decide
    raise ValueError(
        f"{type(classifier).__name__} cannot be exported: its _decide is neither the "
        "softmax nor the nearest distribution."
    )


class Graph(nn.Module):
    """The exported module: the steps, the network and the decision."""

    def __init__(self, steps, net, decide):
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.net = net
        self.decide = decide

    def forward(self, x, lengths=None):
        if lengths is None:  # vectors
            x, lengths = x[:, :, None], x.new_ones(x.shape[0]).long()
        for step in self.steps:
            x, lengths = step(x, lengths)
        return self.decide(self.net(x, lengths)["logits"].double()).float()
