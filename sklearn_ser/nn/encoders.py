"""Encoders turn (n_samples, n_features, n_frames) and lengths into frame embeddings.

The constructor of an encoder takes ``(n_features)``. ``forward(x, lengths)`` returns
``z`` of shape (n_samples, n_channels, n_frames_out) and the lengths of its rows. Frames
of ``x`` beyond a length are zero, and frames of ``z`` must be zero, too. In evaluation
mode, neither padding nor other rows nor chance change a row's frames. The attribute
``spectral``, True by default, is True if neighbouring features are neighbouring
frequencies. Only then training stretches and masks the frequency axis. A static method
``pool_frames`` makes one frame of a recording, once, before the network sees it; its
features are then the ``n_features`` of the constructor.
"""

from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..exceptions import warn_caller
from .layers import (
    AttentionPooling,
    Augment,
    ClassNoise,
    Dropout,
    MaskedBatchNorm,
    PointwiseConv,
    Standardize,
    deltas,
    frame_mask,
)
from .process import is_own
from .vectors import Vectors


class StridedBlock(nn.Module):
    """A strided convolution, batch normalisation and ReLU, masked; time comes last.

    There is no dropout, because before the next batch normalisation it would change the
    variance in training only.
    """

    def __init__(self, conv, n_in, n_out, kernel_size, stride):
        super().__init__()
        self.conv = conv(n_in, n_out, kernel_size, stride, bias=False)
        self.conv.padding = tuple(k // 2 for k in self.conv.kernel_size)
        self.norm = MaskedBatchNorm(n_out)

    def forward(self, x, lengths):
        lengths = (lengths - 1) // self.conv.stride[-1] + 1
        x = self.conv(x)
        mask = frame_mask(lengths, x.shape[-1])
        mask = mask.view(x.shape[0], *[1] * (x.ndim - 2), -1)
        return self.norm(x, mask).relu(), lengths


class ConvEncoder(nn.Module):
    """Strided convolutions over time, from 10 ms to 80 ms a frame."""

    def __init__(self, n_features, n_channels=96):
        super().__init__()
        sizes = (n_features, 4), (n_channels, 2), (n_channels, 1)
        self.blocks = nn.ModuleList(
            StridedBlock(nn.Conv1d, n_in, n_channels, 5, stride)
            for n_in, stride in sizes
        )

    def forward(self, x, lengths):
        for block in self.blocks:
            x, lengths = block(x, lengths)
        return x, lengths


class ConvGRUEncoder(nn.Module):
    """Strided convolutions over bands and time, then a bidirectional GRU.

    Filters that are local in frequency fit voices of any pitch. With few training
    speakers they work better on new speakers than filters over all bands.
    """

    recurrent: type[nn.GRU | nn.LSTM] = nn.GRU

    def __init__(self, n_features, n_channels=96, n_hidden=64):
        super().__init__()
        self.local = nn.ModuleList(
            [
                StridedBlock(nn.Conv2d, 1, 16, (9, 5), 4),
                StridedBlock(nn.Conv2d, 16, 32, 3, 2),
            ]
        )
        n_bands = -(-n_features // 8)
        self.merge = StridedBlock(nn.Conv1d, 32 * n_bands, n_channels, 3, 1)
        self.ahead = self.recurrent(n_channels, n_hidden, batch_first=True)
        self.back = self.recurrent(n_channels, n_hidden, batch_first=True)

    def forward(self, x, lengths):
        x = x[:, None]
        for block in self.local:
            x, lengths = block(x, lengths)
        x, lengths = self.merge(x.flatten(1, 2), lengths)
        x = x.transpose(1, 2)
        # Each row is reversed within its length, so that the padding comes last in both
        # directions. This equals packed sequences, at twice the speed.
        frames = torch.arange(x.shape[1], device=x.device)
        turn = (lengths[:, None] - 1 - frames).clamp(min=0)[..., None]
        z = self.ahead(x)[0]
        y = self.back(x.gather(1, turn.expand_as(x)))[0]
        z = torch.cat([z, y.gather(1, turn.expand_as(y))], dim=2).transpose(1, 2)
        return z * frame_mask(lengths, z.shape[-1])[:, None], lengths


class ConvLSTMEncoder(ConvGRUEncoder):
    """Strided convolutions over bands and time, then a bidirectional LSTM."""

    recurrent = nn.LSTM


class PointwiseEncoder(nn.Module):
    """A convolution of width one, for functionals or frames of a speech model.

    There is dropout of the input, which often has more features than recordings.
    """

    spectral = False

    def __init__(self, n_features, n_channels=128, dropout=0.5):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.conv = PointwiseConv(n_features, n_channels, bias=False)
        self.norm = MaskedBatchNorm(n_channels)

    def forward(self, x, lengths):
        mask = frame_mask(lengths, x.shape[-1])[:, None]
        return self.norm(self.conv(self.dropout(x)), mask).relu(), lengths


class StatisticsEncoder(PointwiseEncoder):
    """The pointwise encoder on one vector a recording: mean and deviation of frames."""

    @staticmethod
    def pool_frames(sequence):
        """Return mean and deviation of each feature over the frames, as one frame."""
        x = np.asarray(sequence, dtype=np.float64)
        return np.concatenate([x.mean(1), x.std(1)]).astype(np.float32)[:, None]


class CNN6Encoder(nn.Module):
    """The DSNet authors' network: four 5x5 convolutions with 2x2 max-pooling.

    The network stacks deltas and delta-deltas as channels. It pads clips that are
    shorter than its reach of 16 frames. It has about 4.6 million parameters and needs a
    GPU.
    """

    reach = 16

    def __init__(self, n_features, n_channels=(64, 128, 256, 512), dropout=0.2):
        super().__init__()
        self.input_norm = MaskedBatchNorm(n_features)
        self.convs = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 5, padding=2, bias=False)
            for n_in, n_out in pairwise([3, *n_channels])
        )
        self.norms = nn.ModuleList(map(MaskedBatchNorm, n_channels))
        self.dropout = Dropout(dropout)

    def forward(self, x, lengths):
        first = deltas(x, lengths)
        x = torch.stack([x, first, deltas(first, lengths)], dim=1)
        lengths = lengths.clamp(min=self.reach)
        x = F.pad(x, (0, max(0, self.reach - x.shape[-1])))
        mask = frame_mask(lengths, x.shape[-1])[:, None, None]
        x = self.input_norm(x.transpose(1, 2), mask).transpose(1, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x), frame_mask(lengths, x.shape[-1])[:, None, None]).relu()
            # A single band (functionals, tiny inputs) is not pooled away.
            x = F.max_pool2d(x, (2 if x.shape[2] > 1 else 1, 2))
            lengths = lengths // 2
            x = self.dropout(x * frame_mask(lengths, x.shape[-1])[:, None, None])
        return x.mean(2), lengths


ENCODERS = {
    "conv": ConvEncoder,
    "conv_gru": ConvGRUEncoder,
    "conv_lstm": ConvLSTMEncoder,
    "cnn6": CNN6Encoder,
    "pointwise": PointwiseEncoder,
    "statistics": StatisticsEncoder,
}


def encoder_class(encoder):
    """Return the class of an encoder, which may be given by its name."""
    return ENCODERS[encoder] if isinstance(encoder, str) else encoder


def pooled(sequences, encoder):
    """Return sequences as an encoder takes them: as they are, or pooled to vectors."""
    pool = getattr(encoder_class(encoder), "pool_frames", None)
    if pool is None or not len(sequences):
        return sequences
    return Vectors(np.hstack([pool(x) for x in sequences]).T)


class UtteranceEncoder(nn.Module):
    """Turn each padded sequence into one embedding in (0, 1)^n_embedding.

    The module standardises the features, augments them in training, and applies the
    encoder and DSNet's attention pooling.

    Parameters
    ----------
    encoder : str or nn.Module class
        A key of ``ENCODERS``, or a class that meets the contract of this module.
    n_features : int
    n_embedding : int, default=256
    speed, vocal_tract, masking : float, default=0
        See :class:`Augment`.
    feature_noise : float, default=0
        See :class:`ClassNoise`.
    """

    def __init__(
        self,
        encoder,
        n_features,
        n_embedding=256,
        speed=0.0,
        vocal_tract=0.0,
        masking=0.0,
        feature_noise=0.0,
    ):
        super().__init__()
        self.standardize = Standardize(n_features)
        self.noise = ClassNoise(feature_noise)
        self.encoder = encoder_class(encoder)(n_features)
        spectral = getattr(self.encoder, "spectral", True)
        self.augment = Augment(speed, vocal_tract, masking, spectral)
        n_channels = check_encoder(self.encoder, n_features)
        self.pool = AttentionPooling(n_channels, n_embedding)

    def library_layers(self):
        """Yield the layers of this library, but not of a user's encoder."""
        for name, part in self.named_children():
            if name != "encoder" or type(part) in ENCODERS.values():
                yield from part.modules()

    def forward(self, x, lengths):
        x = self.standardize(x)
        if x.shape[-1] == 1:  # vectors have no padding
            x = self.noise(x)
        else:
            x = x * frame_mask(lengths, x.shape[-1])[:, None]
        z, lengths = self.encode(*self.augment(x, lengths))
        return self.pool(z.to(self.pool.cla.weight.dtype), lengths)

    def encode(self, x, lengths):
        """Apply the encoder; refuse a user's that leaves no frame of a sequence."""
        z, found = self.encoder(x, lengths)
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
        if type(self.encoder) not in ENCODERS.values() and not traced:
            wrong = (found < 1) | (found > z.shape[-1])
            if wrong.any():
                raise ValueError(
                    f"encoder {type(self.encoder).__name__} returned the length "
                    f"{int(found[wrong][0])} for {int(lengths[wrong][0])} frames, "
                    f"expected at least 1 and at most the {z.shape[-1]} of z. It has "
                    "to pad sequences that are shorter than its reach."
                )
        return z, found


_RANDOM = (
    ClassNoise | Dropout | nn.modules.dropout._DropoutNd | nn.RReLU
    | nn.RNNBase | nn.MultiheadAttention
)  # fmt: skip


@contextmanager
def without_noise(encoder):
    """Switch noise and dropout off in training, and leave batch normalisation on."""
    random = [
        m
        for m in encoder.modules()
        # A user's module may call F.dropout if it trains.
        if m.training and (isinstance(m, _RANDOM) or not is_own(type(m)))
    ]
    try:
        for layer in random:
            layer.training = False  # and not its children: some are batch norms
        yield
    finally:
        for layer in random:
            layer.training = True


def check_encoder(encoder, n_features, n_frames=16):
    """Try an encoder on a batch of two and return its number of channels."""
    name = type(encoder).__name__
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"encoder makes a {name}, expected a torch.nn.Module.")
    training = encoder.training
    encoder.eval()
    with torch.no_grad():
        lengths = torch.tensor([n_frames, n_frames // 2 + 1])
        x = torch.arange(2.0 * n_features * n_frames).sin()
        x = x.view(2, n_features, n_frames) * frame_mask(lengths, n_frames)[:, None]
        cause = None
        try:
            z, found = encoder(x.clone(), lengths.clone())
            ok = z.ndim == 3 and len(z) == 2 and found.shape == (2,)
            ok = ok and int(found.min()) >= 1 and int(found.max()) <= z.shape[2]
        except (TypeError, ValueError, AttributeError) as error:
            ok, cause = False, error
        if not ok:
            raise ValueError(
                f"encoder {name} breaks its contract: forward(x, lengths) must return "
                "(z, lengths) with z of shape (n_samples, n_channels, n_frames) and "
                "one length in [1, n_frames] per sample."
            ) from cause
        own = type(encoder) in ENCODERS.values()
        if not own and _hears_neighbours(encoder, x, lengths, z, found):
            warn_caller(
                f"encoder {name} breaks its contract: z of a sequence must not depend "
                "on its padding, on the other sequences of its batch or on chance, but "
                "differs when the sequence is alone. So a prediction depends on its "
                "batch. Mask z after each layer by frame_mask of "
                "sklearn_ser.nn.layers, and normalise by MaskedBatchNorm."
            )
    encoder.train(training)
    return z.shape[1]


def _hears_neighbours(encoder, x, lengths, z, found):
    """Tell whether z of a sequence is another without its neighbour and padding."""
    for i, n in enumerate(lengths.tolist()):
        alone, length = encoder(x[i : i + 1, :, :n].clone(), lengths[i : i + 1].clone())
        if (m := int(found[i])) != int(length[0]):
            return True
        gap = (alone[0, :, :m] - z[i, :, :m]).abs().max()
        if gap > 1e-2 * z[i, :, :m].abs().max():  # half precision may round so much
            return True
    return False
