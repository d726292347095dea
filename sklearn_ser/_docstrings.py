"""The paragraphs that the classifiers' docstrings share, each written once."""

import inspect
import textwrap

_PARAMETERS = {
    "encoder": (
        "str or nn.Module class",
        """The name of an encoder, or a class. "auto" takes {spectral} for
        spectrograms, "pointwise" for sequences of one frame (functionals, pooled
        features), and "statistics" for sequences of more than 256 features (the states
        of a speech model). These encoders, "conv", "conv_gru" and "conv_lstm" are
        compact enough for a laptop. "cnn6" is the encoder of DSNet's authors and needs
        a GPU. The constructor of a class takes ``(n_features)``, and its
        ``forward(x, lengths)`` returns ``(z, lengths)`` with z of shape
        (n_samples, n_channels, n_frames).""",
    ),
    "max_epochs": ("int", "Passes over the (labelled) training data."),
    "lr": (
        'float or "auto"',
        """Learning rate of AdamW, the peak of the schedule. "auto" is 0.003. With
        vectors it grows with the root of the batch: 0.003 for 32, 0.006 for 128. A
        batch that is larger than the training data counts as large as they are.""",
    ),
    "batch_size": (
        'int or "auto"',
        """Largest number of recordings in a batch. "auto" is 32. For vectors it is half
        of the training data, from 32 to 128 (but 32 for DIDAN). A batch also holds at
        most 1000 frames for each of them, including padding, so long recordings make
        smaller batches. In training, a recording that exceeds an equal share of the
        batch's frames is cropped at random.""",
    ),
    "weight_decay": ("float", "Decoupled weight decay."),
    "schedule": (
        '"one_cycle" or None',
        "Schedule of the learning rate; None keeps it constant.",
    ),
    "gradient_clip_value": (
        "float or None",
        "Largest gradient norm for each optimiser; None does not clip gradients.",
    ),
    "label_smoothing": ("float", "Label smoothing of the cross-entropy, in [0, 1)."),
    "class_weight": (
        'dict, "balanced" or None',
        "Weights of the classes in the task's loss. Each weight is above zero.",
    ),
    "speed_perturbation": (
        "float",
        "Training changes the tempo of recordings by a factor of up to 1 +- this.",
    ),
    "vocal_tract_perturbation": (
        "float",
        "Training stretches the frequency axis of recordings in the same way.",
    ),
    "masking": (
        "float",
        "Training masks up to this share of the bands and of the frames.",
    ),
    "feature_noise": (
        "float",
        """Training adds Gaussian noise to recordings of one vector each. The noise has
        the covariance of the features within the emotions, times the square of
        this.""",
    ),
    "validation_fraction": (
        "float or None",
        """Share of the training speakers in the validation part. The fit keeps the
        epoch with the best UAR on them. The `validation` of ``fit`` can name the rows
        instead.""",
    ),
    "temperature": (
        'float, "auto" or None',
        """The logits are divided by it before they become probabilities; the predicted
        classes stay. "auto" finds it with left-out training speakers, so that the
        model is as sure of a new voice as it is right. If the fit gets no speakers,
        it leaves out recordings instead, and the model is too sure of a new voice.""",
    ),
    "callbacks": (
        "list of skorch callbacks",
        "Further callbacks of the net. Each fit uses copies of them.",
    ),
    "device": (
        "str or torch.device",
        """"auto" takes CUDA, else MPS, else the CPU. A device with another name must
        exist on the machine.""",
    ),
    "random_state": (
        "int, RandomState instance or None",
        "Seeds all random choices: initialisation, shuffling, dropout, augmentation.",
    ),
    "warm_start": ("bool", "If True, a fit starts from the weights of the fit before."),
    "verbose": ("int", "Positive shows a progress bar."),
}

_ATTRIBUTES = """
classes_ : array of shape (n_classes,)
    The emotions of the fit.
n_features_in_ : int
    Number of features of a sequence.
feature_names_in_ : array of shape (n_features,)
    Names of the columns, if ``fit`` got a data frame.
n_iter_ : int
    Number of epochs.
temperature_ : float
    What the logits are divided by before the softmax; 1.0 with ``temperature=None``.
net_ : SpeechNet
    The fitted skorch net.
history_ : skorch.history.History
    One record per epoch with every loss term.
"""


def shared_paragraphs(cls):
    """Fill in the markers of a classifier's docstring from the tables above.

    The docstring loses its indentation, which Python's compiler takes from 3.13 on.
    """
    if not cls.__doc__:
        return
    paragraphs = []
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name in _PARAMETERS:
            kind, text = _PARAMETERS[name]
            spectral = cls._auto_encoders["spectrogram"]
            text = inspect.cleandoc(text).replace("{spectral}", f'"{spectral}"')
            default = str(parameter.default)
            if isinstance(parameter.default, str):
                default = f'"{default}"'
            head = f"{name} : {kind}, default={default}\n"
            paragraphs.append(head + textwrap.indent(text, "    "))
    doc = inspect.cleandoc(cls.__doc__) + "\n"
    doc = doc.replace("{shared parameters}", "\n".join(paragraphs))
    cls.__doc__ = doc.replace("{shared attributes}", _ATTRIBUTES.strip())
