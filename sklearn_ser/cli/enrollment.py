"""Voices on the command line: who speaks, and what is enrolled before prediction."""

import os

_RATE = 16000  # of all speech models that are known
_PIECE = 10  # seconds: a long recording counts as several


def add_enrollable_option(option):
    """Add the option of the command ``train``."""
    option(
        "--enrollable",
        action="store_true",
        help="put SpeakerNormalizer in front, so that predict --enroll can add voices",
    )


def add_enroll_option(option):
    """Add the option of the command ``predict``."""
    option(
        "--enroll",
        metavar="CALLS",
        help="a CSV table with the columns file and speaker: a few recordings that "
        "tell the voices; if it has one speaker, all recordings are by that one",
    )


class OfSpeaker:
    """A model for which one speaker speaks in all recordings."""

    def __init__(self, model, speaker):
        self.model, self.speaker = model, speaker

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __getitem__(self, step):
        return self.model[step]

    def predict_proba(self, X):
        """Return the probabilities, normalised by the speaker's voice."""
        from sklearn import config_context

        with config_context(enable_metadata_routing=True):
            return self.model.predict_proba(X, speakers=[self.speaker] * len(X))


def read_speakers(path, option):
    """Return the file and the speaker of each row of a CSV table.

    Paths are relative to the table. A speaker is None if there is no such column.
    """
    from ..datasets.manifest import read_recordings

    required = ("file", "speaker") if option == "--enroll" else ("file",)
    try:
        table = read_recordings(path, required=required)
    except ValueError as error:
        raise ValueError(f"argument {option}: {error}") from error
    speakers = table.columns.get("speaker", [None] * len(table.files))
    return list(zip(table.files, speakers, strict=True))


def _in_one_spelling(known, *tables):
    """Return tables with one spelling of each speaker, where known that of the fit."""
    from .._csv import unify_names

    names = [name for table in tables for _, name in table if name is not None]
    spelt = dict(zip(names, unify_names(names, known=known)[0], strict=True))
    return [[(file, spelt.get(name)) for file, name in table] for table in tables]


def by_speaker(model, args, files):
    """Enroll what --enroll names, and pair each file with a model of its speaker.

    A CSV table among the files stands for those that it lists.
    """
    from ..pipeline import enroll, find_normalizer, has_normalizer

    pairs = []
    for file in files:
        is_table = os.path.splitext(file)[1].lower() == ".csv"
        pairs += read_speakers(file, "FILE-OR-FOLDER") if is_table else [(file, None)]
    if args.enroll is None and not has_normalizer(model):
        return [(file, model) for file, _ in pairs]
    if not has_normalizer(model):
        raise ValueError(
            f"argument --enroll: '{args.model}' was trained without --enrollable and "
            "has no SpeakerNormalizer, which keeps voices"
        )
    calls = [] if args.enroll is None else read_speakers(args.enroll, "--enroll")
    known = find_normalizer(model).speaker_statistics_
    pairs, calls = _in_one_spelling(known, pairs, calls)
    if calls:
        pieces = [(part, name) for file, name in calls for part in _cut(model, file)]
        enroll(model, [part for part, _ in pieces], [name for _, name in pieces])
    enrolled = sorted({name for _, name in calls}, key=str)
    known = find_normalizer(model).speaker_statistics_
    only = enrolled[0] if len(enrolled) == 1 else None
    found = []
    for file, name in pairs:
        name = only if name is None else name
        if name is None and enrolled:
            raise ValueError(
                f"argument --enroll: '{args.enroll}' has {len(enrolled)} speakers, so "
                f"that somebody has to say who speaks in '{file}': give the recordings "
                "as a CSV table with the columns file and speaker"
            )
        if enrolled and name not in known:
            raise ValueError(
                f"argument --enroll: '{args.enroll}' has no recording of {name!r}, who "
                f"speaks in '{file}'"
            )
        found.append((file, model if name is None else OfSpeaker(model, name)))
    return found


def _cut(model, file):
    """Return a recording in pieces of ten seconds; a short rest is left out."""
    from ..features import load_audio

    front = model[0]
    rate = getattr(front, "sampling_rate", _RATE)
    wave = load_audio(
        file, sampling_rate=rate, channel=getattr(front, "channel", "mean")
    )
    size = round(_PIECE * rate)
    starts = range(0, max(1, len(wave) - size // 2), size)
    return [{"array": wave[a : a + size], "sampling_rate": rate} for a in starts]
