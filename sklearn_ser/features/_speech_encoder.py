"""The shared part of the speech encoders: windows, their batches and their joining."""

from math import ceil

import numpy as np
import torch
import transformers

_REACH = 1500  # frames at once, 30 s, where the model sets no limit itself


class SpeechEncoder:
    """The shared part of the encoders: windows, their batches and their joining.

    Parameters
    ----------
    source : Source
        The model's files.
    layer : int
        The number of transformer layers that a frame goes through.
    device : torch.device
        Where the model runs, in single precision.

    Attributes
    ----------
    sampling_rate : float
        Of the waveforms that it takes, in Hz.
    reach : int
        The most frames it sees at once.
    """

    reach = _REACH

    def __init__(self, source, layer, device):
        self.device = device
        try:
            self._extractor = transformers.AutoFeatureExtractor.from_pretrained(
                source.directory, trust_remote_code=False, local_files_only=True
            )
            self.sampling_rate = float(self._extractor.sampling_rate)
        except (OSError, ValueError, AttributeError) as error:
            raise ValueError(
                f"model {source.name!r} does not describe its input: "
                f"{source.directory!r} has no preprocessor_config.json of a speech "
                "model. Copy this file from the original model."
            ) from error
        self._config = transformers.AutoConfig.from_pretrained(
            source.directory, trust_remote_code=False, local_files_only=True
        )
        self._load(source, layer)
        self._module.to(device=device, dtype=torch.float32).eval().requires_grad_(False)

    def inputs(self, wave):
        """Turn a waveform (n_times,) into the array that the model takes."""
        raise NotImplementedError

    def n_frames(self, x):
        """Return the number of frames that an input gives."""
        raise NotImplementedError

    def _cut(self, x, start, stop):
        """Return the part of an input that gives the frames from start to stop."""
        raise NotImplementedError

    def _forward(self, inputs):
        """Return the states (n_frames, n_features) of each input, in one pass."""
        raise NotImplementedError

    def _fits(self, n_frames, batch, frames_per_batch):
        """Tell whether an input, no shorter than those of a batch, may join it."""
        raise NotImplementedError

    @torch.inference_mode()
    def states(self, inputs, frames_per_batch):
        """Compute the hidden states of several inputs.

        Parameters
        ----------
        inputs : list of arrays
            The output of `inputs`.
        frames_per_batch : int
            The most frames in one pass, unless one window alone has more.

        Returns
        -------
        states : list of tensors of shape (n_frames, n_features)
            On the device.
        """
        lengths = [self.n_frames(x) for x in inputs]
        windows = [
            (stop - start, i, start)
            for i, length in enumerate(lengths)
            for start, stop in _windows(length, self.reach)
        ]
        parts = [[] for _ in inputs]
        batch = []
        for window in sorted(windows):
            if batch and not self._fits(window[0], batch, frames_per_batch):
                self._run(batch, inputs, parts)
                batch = []
            batch.append(window)
        self._run(batch, inputs, parts)
        return [_joined(own, n) for own, n in zip(parts, lengths, strict=True)]

    def _run(self, batch, inputs, parts):
        cuts = [
            # A recording in one window keeps the samples after its last frame.
            inputs[i]
            if n == self.n_frames(inputs[i])
            else self._cut(inputs[i], start, start + n)
            for n, i, start in batch
        ]
        tensors = [torch.from_numpy(cut).to(self.device) for cut in cuts]
        for (_, i, start), states in zip(batch, self._forward(tensors), strict=True):
            parts[i].append((start, states))


def _windows(n_frames, reach):
    """Return the bounds of evenly spread windows that overlap by a tenth or more."""
    if n_frames <= reach:
        return [(0, n_frames)]
    overlap = ceil(reach / 10)
    count = ceil((n_frames - overlap) / max(reach - overlap, 1))
    starts = np.linspace(0, n_frames - reach, count).round().astype(int).tolist()
    return [(start, start + reach) for start in starts]


def _joined(parts, n_frames):
    """Join the windows of a recording, each faded into the next where they overlap."""
    if len(parts) == 1:
        return parts[0][1]
    parts = sorted(parts, key=lambda part: part[0])
    reach, n_features = parts[0][1].shape
    starts = [start for start, _ in parts]
    total = parts[0][1].new_zeros(n_frames, n_features)
    weight = total.new_zeros(n_frames, 1)
    for i, (start, states) in enumerate(parts):
        fade = total.new_ones(reach)
        if i > 0:
            overlap = starts[i - 1] + reach - start
            fade *= _ramp(fade, overlap)
        if i + 1 < len(parts):
            overlap = start + reach - starts[i + 1]
            fade *= _ramp(fade, overlap).flip(0)
        total[start : start + reach] += fade[:, None] * states
        weight[start : start + reach] += fade[:, None]
    return total / weight


def _ramp(fade, overlap):
    """Rise from 0 to 1 over an overlap: a frame at an edge has seen one side only."""
    steps = torch.arange(len(fade), device=fade.device)
    return ((steps + 0.5) / overlap).clamp(max=1.0)
