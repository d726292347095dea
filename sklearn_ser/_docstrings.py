"""The paragraphs that the classifiers' docstrings share, each written once."""

import inspect

_PARAMETERS = {
    "encoder": (
        "str or nn.Module class",
        """"auto" takes {spectral} for spectrograms, "pointwise" for sequences of one
        frame (functionals, pooled features), and "statistics" for those of more than
        256 features (the states of a speech model). These, "conv", "conv_gru" and
        "conv_lstm" are compact enough for a laptop; "cnn6" is that of DSNet's authors
        and wants a GPU. Or a class built with ``(n_features)`` whose
        ``forward(x, lengths)`` returns ``(z, lengths)``, z of shape
        (n_samples, n_channels, n_frames).""",
    ),
    "max_epochs": ("int", "Passes over the (labelled) training data."),
    "lr": ("float", "Learning rate of AdamW, the peak of the schedule."),
    "batch_size": (
        "int",
        """Recordings in a batch at most. A batch also holds at most 1000 frames for
        each of them, padding included, so that long recordings make smaller batches.
        In training, a recording longer than its share is cropped at random.""",
    ),
    "weight_decay": ("float", "Decoupled weight decay."),
    "schedule": (
        '"one_cycle" or None',
        "Course of the learning rate; None keeps it constant.",
    ),
    "gradient_clip_value": (
        "float or None",
        "Largest norm of a gradient, of each optimiser; None clips none.",
    ),
    "label_smoothing": ("float", "In [0, 1), of the cross-entropy."),
    "class_weight": (
        'dict, "balanced" or None',
        "Weights of the classes in the task's loss, each above zero.",
    ),
    "speed_perturbation": (
        "float",
        "Training recordings change their tempo by a factor of up to 1 +- this.",
    ),
    "vocal_tract_perturbation": (
        "float",
        "The frequency axis of training recordings is stretched likewise.",
    ),
    "masking": (
        "float",
        "Up to this share of the bands, and of the frames, is masked in training.",
    ),
    "feature_noise": (
        "float",
        """Recordings that are one vector each get Gaussian noise in training. Its
        covariance is that of the features within the emotions, times the square of
        this.""",
    ),
    "validation_fraction": (
        "float or None",
        """Share of the training speakers that is set aside; the epoch with the best
        UAR on them is kept. The `validation` of ``fit`` names the rows instead.""",
    ),
    "callbacks": (
        "list of skorch callbacks",
        "Further callbacks of the net; each fit works on copies.",
    ),
    "device": (
        "str or torch.device",
        """"auto" takes CUDA, else MPS, else the CPU. A device asked for by name must be
        there.""",
    ),
    "random_state": (
        "int, RandomState instance or None",
        "Seeds initialisation, shuffling, dropout, augmentation and all that is drawn.",
    ),
    "warm_start": ("bool", "Whether a fit continues the one before."),
    "verbose": ("int", "Positive shows a progress bar."),
}

_ATTRIBUTES = """    classes_ : array of shape (n_classes,)
        The emotions that were learnt.
    n_features_in_ : int
        Number of features of a sequence.
    feature_names_in_ : array of shape (n_features,)
        Names of the columns, where ``fit`` got a data frame.
    n_iter_ : int
        Number of epochs.
    net_ : SpeechNet
        The fitted skorch net.
    history_ : skorch.history.History
        One record per epoch with every loss term.
"""


def shared_paragraphs(cls):
    """Fill the markers of a classifier's docstring from the tables above.

    ``{shared parameters}`` becomes a paragraph for each parameter of the constructor
    that the table has, with the default that stands in the signature;
    ``{shared attributes}`` becomes the attributes of all classifiers.
    """
    if not cls.__doc__:
        return
    lines = []
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name in _PARAMETERS:
            kind, text = _PARAMETERS[name]
            spectral = cls._auto_encoders["spectrogram"]
            text = text.replace("{spectral}", f'"{spectral}"')
            default = str(parameter.default)
            if isinstance(parameter.default, str):
                default = f'"{default}"'
            lines += [f"    {name} : {kind}, default={default}", f"        {text}"]
    doc = cls.__doc__.replace("    {shared parameters}", "\n".join(lines))
    cls.__doc__ = doc.replace("    {shared attributes}\n", _ATTRIBUTES)
