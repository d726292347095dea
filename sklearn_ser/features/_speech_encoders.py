"""The frozen speech encoders, family by family: from waveforms to hidden states.

Frames beyond the end of a recording never have an influence on those inside it.
Whisper runs on the frames of a batch one recording after the other, and each attends
to itself alone, so nothing is padded. The others turn waveforms into frames one by
one, because some normalise over time. They then run on batches of equal length. On a
GPU, where batches are faster, they run on padded batches if all layers use the mask.
"""

import contextlib
from abc import ABC, abstractmethod
from itertools import pairwise
from math import ceil, prod

import numpy as np
import scipy.fft
import torch
import transformers
from safetensors import safe_open
from scipy.sparse import csr_array
from torch.nn.functional import gelu, scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers.models.whisper.modeling_whisper import WhisperEncoder

_REACH = 1500  # frames at once, 30 s, where the model sets no limit itself
_BLOCK = 2048  # frames of a spectrogram transformed at once
# Two families have a layer that mixes padded frames into true ones in spite of a mask.
# WavLM masks in a way that PyTorch is about to remove.
_UNMASKED = ("data2vec-audio", "wav2vec2-conformer", "wavlm")


class SpeechEncoder(ABC):
    """The shared part of the encoders: windows, their batches and their joining.

    `sampling_rate` is that of the waveforms in Hz; `reach` is the most frames that the
    model sees at once. The model runs in single precision.
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

    @abstractmethod
    def inputs(self, wave):
        """Turn a waveform (n_times,) into the array that the model takes."""

    @abstractmethod
    def n_frames(self, x):
        """Return the number of frames that an input gives."""

    @abstractmethod
    def _cut(self, x, start, stop):
        """Return the part of an input that gives the frames from start to stop."""

    @abstractmethod
    def _forward(self, inputs):
        """Return the states (n_frames, n_features) of each input, in one pass."""

    @abstractmethod
    def _fits(self, n_frames, batch, frames_per_batch):
        """Tell whether an input, no shorter than those of a batch, may join it."""

    @torch.inference_mode()
    def states(self, inputs, frames_per_batch):
        """Return the states (n_frames, n_features) of each output of `inputs`.

        One window alone may have more frames than a batch.
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
    total = parts[0][1].new_zeros(n_frames, n_features)
    weight = total.new_zeros(n_frames, 1)
    steps = torch.arange(reach, device=total.device) + 0.5
    overlaps = [a + reach - b for (a, _), (b, _) in pairwise(parts)]
    # A frame at an edge has seen one side only. The ends of a recording do not fade.
    befores, afters = [0.5, *overlaps], [*overlaps, 0.5]
    for (start, states), before, after in zip(parts, befores, afters, strict=True):
        fade = (steps / before).clamp(max=1) * (steps / after).clamp(max=1).flip(0)
        total[start : start + reach] += fade[:, None] * states
        weight[start : start + reach] += fade[:, None]
    return total / weight


class _Whisper(SpeechEncoder):
    """The encoder of Whisper on a recording's own length."""

    def _load(self, source, layer):
        self.reach = self._config.max_source_positions
        self._layers = layer
        self._is_last = layer == source.n_layers
        self._config.encoder_layers = layer
        # No decoder, and no random weights that are replaced afterwards.
        with torch.device("meta"):
            self._module = WhisperEncoder(self._config)
        wanted = self._module.state_dict()
        found = {}
        for path in source.weights:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118, no dict
                    key = name.rpartition("encoder.")[2]
                    if key in wanted and "decoder." not in name:
                        found[key] = file.get_tensor(name).float()
        _check_loaded(source, set(wanted) - set(found))
        self._module.load_state_dict(found, assign=True)
        n_fft = self._extractor.n_fft
        self._window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
        # The filterbank (n_mels, n_frequencies) is mostly zeros.
        self._filterbank = csr_array(self._extractor.mel_filters.T, dtype=np.float32)

    def inputs(self, wave):
        # Silence completes the last frame of the encoder, two hops, as Whisper's own
        # padding does; a reflected edge needs more than half a window.
        n_fft, hop = self._extractor.n_fft, self._extractor.hop_length
        n_frames = max(-(-len(wave) // (2 * hop)), -(-n_fft // (2 * hop)))
        wave = np.pad(wave, (0, n_frames * 2 * hop - len(wave)))
        padded = np.pad(wave, n_fft // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
        frames = frames[: len(wave) // hop]  # as the published pipeline does
        mel = np.empty((self._filterbank.shape[0], len(frames)), np.float32)
        for start in range(0, len(frames), _BLOCK):
            block = slice(start, start + _BLOCK)
            spectrum = scipy.fft.rfft(frames[block] * self._window, overwrite_x=True)
            power = np.square(spectrum.real)
            power += np.square(spectrum.imag)
            mel[:, block] = self._filterbank @ power.T
        np.log10(np.maximum(mel, 1e-10, out=mel), out=mel)
        np.maximum(mel, mel.max() - 8, out=mel)
        mel += 4
        mel /= 4
        return mel

    def n_frames(self, x):
        return (x.shape[1] + 1) // 2

    def _cut(self, x, start, stop):
        return np.ascontiguousarray(x[:, 2 * start : 2 * stop])

    def _fits(self, n_frames, batch, frames_per_batch):
        return sum(n for n, _, _ in batch) + n_frames <= frames_per_batch

    def _forward(self, inputs):
        # This is WhisperEncoder.forward without the padding to 30 s. Operations on
        # single frames run on the joined frames of all recordings.
        module = self._module
        frames = []
        for x in inputs:
            x = gelu(module.conv2(gelu(module.conv1(x[None]))))[0].T
            frames.append(x + module.embed_positions.weight[: len(x)])
        lengths = [len(x) for x in frames]
        x = torch.cat(frames)
        for layer in module.layers:
            x = x + self._attend(
                layer.self_attn, layer.self_attn_layer_norm(x), lengths
            )
            hidden = layer.activation_fn(layer.fc1(layer.final_layer_norm(x)))
            x = x + layer.fc2(hidden)
        if self._is_last:
            x = module.layer_norm(x)
        return x.split(lengths)

    def _attend(self, attention, x, lengths):
        shape = (len(x), attention.num_heads, -1)
        heads = [
            projection(x).view(shape).transpose(0, 1).split(lengths, dim=1)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        ]
        attended = [
            scaled_dot_product_attention(q[None], k[None], v[None])[0].transpose(0, 1)
            for q, k, v in zip(*heads, strict=True)
        ]
        return attention.out_proj(torch.cat(attended).reshape(x.shape))


class _Masked(SpeechEncoder):
    """An encoder whose frames are computed one recording after the other."""

    def _load(self, source, layer):
        config = self._config
        config.num_hidden_layers = max(layer, 1)
        for name, off in (
            ("add_adapter", False),
            ("use_intermediate_ffn_before_adapter", False),
            ("mask_time_prob", 0.0),
            ("mask_feature_prob", 0.0),
        ):
            if hasattr(config, name):
                setattr(config, name, off)
        self._can_mask = (
            self.device.type != "cpu"
            and source.family not in _UNMASKED
            and not getattr(config, "conv_pos_batch_norm", False)
        )
        with torch.random.fork_rng(devices=[]), _quiet():
            dtype = "dtype" if int(transformers.__version__[0]) > 4 else "torch_dtype"
            self._module, info = transformers.AutoModel.from_pretrained(
                source.directory,
                config=config,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **{dtype: torch.float32},
            )
        _check_loaded(source, info["missing_keys"])
        if layer < source.n_layers:
            layers = self._module.encoder.layers[:layer]
            self._module.encoder.layers = torch.nn.ModuleList([*layers, _Stop()])

    def _fits(self, n_frames, batch, frames_per_batch):
        same = n_frames == batch[0][0]
        small = n_frames * (len(batch) + 1) <= frames_per_batch
        return small and (same or self._can_mask)

    @abstractmethod
    def _frames(self, x):
        """Return the frames (n_frames, n_channels) of one input."""

    def _forward(self, inputs):
        frames = [self._frames(x) for x in inputs]
        lengths = [len(x) for x in frames]
        mask = None
        if len(set(lengths)) > 1:
            steps = torch.arange(max(lengths), device=self.device)
            mask = steps < torch.tensor(lengths, device=self.device)[:, None]
        x = self._module.feature_projection(pad_sequence(frames, batch_first=True))
        x = x[0] if isinstance(x, tuple) else x
        try:
            x = self._module.encoder(x, attention_mask=mask)[0]
        except _Stopped as stopped:
            (x,) = stopped.args
        return [states[:n] for states, n in zip(x, lengths, strict=True)]


class _Waveform(_Masked):
    """wav2vec 2.0 and similar models: convolutions over the waveform."""

    def __init__(self, source, layer, device):
        super().__init__(source, layer, device)
        kernels, strides = self._config.conv_kernel, self._config.conv_stride
        self._stride = prod(strides)
        self._field = 1
        for kernel, stride in zip(kernels[::-1], strides[::-1], strict=True):
            self._field = (self._field - 1) * stride + kernel

    def inputs(self, wave):
        if getattr(self._extractor, "do_normalize", False):
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        return np.pad(wave, (0, max(0, self._field - len(wave))))

    def n_frames(self, x):
        return (len(x) - self._field) // self._stride + 1

    def _cut(self, x, start, stop):
        return x[start * self._stride : (stop - 1) * self._stride + self._field]

    def _frames(self, x):
        return self._module.feature_extractor(x[None])[0].T


class _FilterBank(_Masked):
    """w2v-BERT: a spectrogram, normalised by band, whose frames are joined in pairs."""

    def inputs(self, wave):
        # A standard deviation needs two frames of 400 samples, 160 apart.
        wave = np.pad(wave, (0, max(0, 560 - len(wave))))
        return self._extractor(
            wave,
            sampling_rate=self.sampling_rate,
            pad_to_multiple_of=None,
            return_tensors="np",
        )["input_features"][0]

    def n_frames(self, x):
        return len(x)

    def _cut(self, x, start, stop):
        return x[start:stop]

    def _frames(self, x):
        return x


def load_encoder(source, layer, device):
    """Load the layers up to one, 0 for their input alone.

    Files that are no such model, or lack weights of a part of it, are refused.
    """
    kinds = {"whisper": _Whisper, "wav2vec2-bert": _FilterBank}
    return kinds.get(source.family, _Waveform)(source, layer, device)


class _Stopped(Exception):
    """It carries the input of the first layer that is not needed."""


class _Stop(torch.nn.Module):
    """Takes the place of the first layer that is not needed, and ends the pass."""

    def forward(self, hidden_states, *args, **kwargs):
        raise _Stopped(hidden_states)


@contextlib.contextmanager
def _quiet():
    """Silence the progress bar and the remark on weights that are left out."""
    log = transformers.utils.logging
    verbosity, has_bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if has_bar:
            log.enable_progress_bar()


def _check_loaded(source, missing):
    if missing:
        raise ValueError(
            f"model {source.name!r} lacks weights: found none for "
            f"{sorted(missing)[0]!r} and {len(missing) - 1} more in "
            f"{[*source.weights]}."
        )
