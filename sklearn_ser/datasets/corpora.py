"""The known corpora, one declaration each."""

import re

from ._spec import (
    NO_AGREEMENT,
    Archive,
    CorpusSpec,
    LabelLines,
    LabelVotes,
    SpeakerTable,
)


def _codes(text):
    """Return codes and their meanings, "A fear, W anger", as a dict."""
    return dict(pair.split() for pair in text.split(", "))


_GENDER = _codes("f female, m male")
_WORDS = _codes(
    "angry anger, disgust disgust, fear fear, happy happiness, neutral neutral, "
    "sad sadness, surprise surprise"
)
_FIVE = ("anger", "disgust", "fear", "happiness", "sadness")
_SIX = (*_FIVE, "surprise")


def _shortened(length, *words):
    """Return words by their first letters, which many corpora use as codes."""
    return {word[:length]: word for word in words}


def _savee_text(code):
    # Three sentences are the same in every emotion. Neutral has the two special
    # sentences of the six others, too, and no name tells which: they count as one.
    number = int(code[-2:])
    if number <= 3:
        return code[-2:]
    special = number > 3 if code[0].lower() == "n" else number <= 5
    return "special" if special else code.lower()


def _esd_text(code):
    # Each of the two languages has 350 sentences, each of them in five emotions.
    speaker, number = code.split("_")
    language = "zh" if int(speaker) <= 10 else "en"
    return f"{language}{(int(number) - 1) % 350 + 1:03d}"


def _iemocap_text(dialogue):
    # script01_1b is another part of the script script01_1; improvisations are free.
    match = re.match(r"script\d+_\d+", dialogue, re.IGNORECASE)
    return match[0].lower() if match else ""


def _msp_improv_text(code):
    # The sentence is said where it is read (R) and where a scene aims at it (T). The
    # other turns of a scene (S), and the talk between the scenes (P), are free.
    sentence, scenario = code.split("-")
    return sentence if scenario.upper() in "RT" else ""


IEMOCAP = CorpusSpec(
    name="iemocap",
    title="IEMOCAP: interactive emotional dyadic motion capture database",
    language="English",
    # The M speaks in Ses01F_impro01_M003; the F is the person who wears the markers.
    pattern=r"Ses(?P<session>\d\d)[FM]_(?P<dialogue>\w+)_(?P<gender>[FM])\w{3}",
    formats={"speaker": "Ses{session}{gender}", "text": "{dialogue}"},
    labels=LabelLines(
        files="EmoEvaluation/Ses*.txt",
        line=r"\[[\d. -]+\]\s+(?P<utterance>Ses\w+)\s+(?P<emotion>\w+)"
        r"(?:\s+\[(?P<valence>[\d.]+),\s*(?P<activation>[\d.]+),"
        r"\s*(?P<dominance>[\d.]+)\])?",
        rater=r"C-(?P<rater>\w+):\s*(?P<label>[^(]*?)[;\s]*(?:\(.*)?$",
    ),
    codes={
        "gender": _GENDER,
        "text": _iemocap_text,
        "emotion": _shortened(3, *_SIX, "excitement", "frustration", "neutral", "other")
        | {"xxx": NO_AGREEMENT},
    },
    counts={
        "anger": 1103,
        "excitement": 1041,
        "happiness": 595,
        "neutral": 1708,
        "sadness": 1084,
    },
    license="of its own, for research; a form has to be signed",
    citation="Busso et al., Language Resources and Evaluation 42, 2008",
    access="apply at https://sail.usc.edu/iemocap/",
    traps=(
        "The first F or M of a file name is not the speaker's, the last is.",
        "Both speakers of a session are heard in each other's recordings.",
        "Utterances that raters did not agree on (xxx) are left out.",
    ),
)

MSP_IMPROV = CorpusSpec(
    name="msp-improv",
    title="MSP-IMPROV: acted corpus of dyadic interactions",
    language="English",
    pattern=r"(?:MSP|UTD)-IMPROV-(?P<utterance>S(?P<sentence>\d\d)(?P<intended>[AHNS])-"
    r"(?P<gender>[FM])"
    r"(?P<session>\d\d)-(?P<scenario>[A-Z])-[A-Z]+\d+)",
    formats={"speaker": "{gender}{session}", "text": "{sentence}-{scenario}"},
    labels=LabelLines(
        files="Eval*.txt",  # the corpus spells it Evalution.txt
        line=r"(?:MSP|UTD)-IMPROV-(?P<utterance>[\w-]+)\.avi\s*;\s*(?P<emotion>\w)\s*;",
        rater=r"(?P<rater>[\w-]+)\s*;\s*(?P<label>[A-Za-z]+)\s*;",
    ),
    codes={
        "gender": _GENDER,
        "text": _msp_improv_text,
        "intended": _shortened(1, "anger", "happiness", "neutral", "sadness"),
        "emotion": _shortened(1, "anger", "happiness", "neutral", "other", "sadness")
        | {"X": NO_AGREEMENT},
    },
    counts={"anger": 792, "happiness": 2644, "neutral": 3477, "sadness": 885},
    license="of its own, for research; a form has to be signed",
    citation="Busso et al., IEEE Transactions on Affective Computing 8, 2017",
    access="apply at https://ecs.utdallas.edu/research/researchlabs/msp-lab/",
    traps=(
        "The letter in S01A is the emotion intended, not the one heard. It stands in "
        "the column intended, not in the text: each sentence is said in four.",
        "Happiness and neutral are three quarters of it: read UAR, not accuracy.",
    ),
)

CMU_MOSEI = CorpusSpec(
    name="cmu-mosei",
    aliases=("mosei",),
    title="CMU-MOSEI: multimodal opinion sentiment and emotion intensity",
    language="English",
    # Segments, "video_clip" or "video/clip".
    pattern=r"(?P<speaker>[\w-]+)[_/](?P<clip>\d+)",
    labels=LabelVotes(
        files="*.csv",
        utterance=(
            ("Input.VIDEO_ID", "video_id", "video", "file"),
            ("Input.CLIP", "clip_id", "clip", "index"),
        ),
        votes={
            "anger": ("Answer.anger", "anger", "angry"),
            "disgust": ("Answer.disgust", "disgust"),
            "fear": ("Answer.fear", "fear"),
            "happiness": ("Answer.happiness", "happiness", "happy"),
            "sadness": ("Answer.sadness", "sadness", "sad"),
            "surprise": ("Answer.surprise", "surprise"),
        },
    ),
    codes={
        "emotion": {word: word for word in (*_SIX, "neutral")} | {"tie": NO_AGREEMENT}
    },
    license="of its own, for research",
    citation="Zadeh et al., ACL 2018",
    access="see http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    traps=(
        "It names no speakers: the video stands for the speaker here, though some "
        "people appear in several.",
        "Recordings are whole videos: cut them into segments, named video_clip, first.",
        "Emotions are intensities: the class is the one with the largest mean over the "
        "raters that gave one, none is neutral, and ties are left out.",
    ),
)

EMODB = CorpusSpec(
    name="emodb",
    title="EmoDB: Berlin database of emotional speech",
    language="German",
    pattern=r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[AEFLNTW])[a-z]",
    formats={"gender": "{speaker}"},
    codes={
        "gender": dict.fromkeys(("03", "10", "11", "12", "15"), "male")
        | dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
        "emotion": _codes(
            "A fear, E disgust, F happiness, L boredom, N neutral, T sadness, W anger"
        ),
    },
    counts={
        "anger": 127,
        "boredom": 81,
        "disgust": 46,
        "fear": 69,
        "happiness": 71,
        "neutral": 79,
        "sadness": 62,
    },
    license="free, without a licence text; CC0 1.0 in its later editions",
    citation="Burkhardt et al., Interspeech 2005",
    access="download http://emodb.bilderbar.info/download/download.zip and unpack it",
    archive=Archive(
        url="http://emodb.bilderbar.info/download/download.zip", known_hash=None
    ),
    traps=(
        "Ten sentences in all, each said in all emotions.",
        "Published folds share all ten speakers between train and test.",
    ),
)

ENTERFACE05 = CorpusSpec(
    name="enterface05",
    aliases=("enterface",),
    title="eNTERFACE'05 audio-visual emotion database",
    language="English",
    # By folder first: in subject 11 two sentences have one file name.
    pattern=(
        rf"subject ?(?P<speaker>\d+)/(?P<emotion>{'|'.join(_SIX)})/"
        r"sentence ?(?P<sentence>\d)(?:/[^/]*)?",
        r"s_?(?P<speaker>\d+)_(?P<emotion>an|di|fe|ha|sa|su)_?(?P<sentence>\d)"
        r"(?:\D.*)?",
    ),
    formats={
        "utterance": "s{speaker}_{emotion:.2}_{sentence}",
        "text": "{emotion:.2}{sentence}",
    },
    codes={
        "utterance": str.lower,
        "text": str.lower,
        "emotion": {code: word for word in _SIX for code in (word, word[:2])},
    },
    counts=dict.fromkeys(_SIX, 215) | {"happiness": 212},
    license="free for research",
    citation="Martin et al., ICDE Workshops 2006",
    access="download https://enterface.net/enterface05/ (project 2) and take the audio "
    "tracks out of the AVI files, for example with ffmpeg",
    traps=(
        "It has no neutral speech.",
        "Each emotion has five sentences of its own: the words tell the emotion.",
        "Subject 6 is not cut into sentences: its whole recordings are not read.",
        "Published folds share all 43 speakers between train and test.",
    ),
)

CASIA = CorpusSpec(
    name="casia",
    title="CASIA Chinese emotional corpus",
    language="Mandarin",
    pattern=r"(?P<speaker>liuchanhg|wangzhe|zhaoquanyin|ZhaoZuoxiang)[/_]"
    r"(?P<emotion>angry|fear|happy|neutral|sad|surprise)[/_](?P<text>\d+)",
    formats={"gender": "{speaker}"},
    codes={
        "emotion": _WORDS,
        "gender": _codes(
            "liuchanhg female, wangzhe male, zhaoquanyin female, ZhaoZuoxiang male"
        ),
    },
    counts=dict.fromkeys(
        ("anger", "fear", "happiness", "neutral", "sadness", "surprise"), 200
    ),
    license="not open: bought from the Chinese Linguistic Data Consortium",
    citation="Institute of Automation, Chinese Academy of Sciences, 2005",
    access="apply at http://www.chineseldc.org/",
    traps=("The public part has four speakers: intervals are wide.",),
)

RAVDESS = CorpusSpec(
    name="ravdess",
    title="RAVDESS: Ryerson audio-visual database, audio of the speech part",
    language="English",
    pattern=r"03-01-(?P<emotion>\d\d)-(?P<intensity>\d\d)-(?P<text>\d\d)-"
    r"(?P<repetition>\d\d)-(?P<speaker>\d\d)",
    formats={"gender": "{speaker}"},
    codes={
        "gender": {f"{i:02d}": ("female", "male")[i % 2] for i in range(1, 25)},
        "intensity": _codes("01 normal, 02 strong"),
        "emotion": _codes(
            "01 neutral, 02 calm, 03 happiness, 04 sadness, 05 anger, 06 fear, "
            "07 disgust, 08 surprise"
        ),
    },
    counts=dict.fromkeys((*_SIX, "calm"), 192) | {"neutral": 96},
    license="CC BY-NC-SA 4.0",
    citation="Livingstone and Russo, PLoS ONE 13(5), 2018",
    access="download https://zenodo.org/record/1188976",
    archive=Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
        known_hash="md5:bc696df654c87fed845eb13823edef8a",
    ),
    traps=(
        "One recording is there twice, under two names: see find_duplicates.",
        "About 0.9 s of near-silence on both sides, and levels 50 dB apart.",
        "Songs and videos, whose names start with other digits, are not read.",
    ),
)

EMOVO = CorpusSpec(
    name="emovo",
    title="EMOVO: Italian emotional speech database",
    language="Italian",
    pattern=r"(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-"
    r"(?P<speaker>(?P<gender>[fm])\d)-(?P<text>[a-z]\d)",
    codes={
        "gender": _GENDER,
        "emotion": _codes(
            "dis disgust, gio happiness, neu neutral, pau fear, rab anger, "
            "sor surprise, tri sadness"
        ),
    },
    channel=0,
    counts=dict.fromkeys((*_SIX, "neutral"), 84),
    license="free for research, without a licence text",
    citation="Costantini et al., LREC 2014",
    access="its page at http://voice.fub.it/EMOVO is gone; ask the authors",
    traps=(
        "The two channels are two microphones: their mean is a comb filter. Take one, "
        "with LogMelTransformer(channel=0).",
    ),
)

CREMA_D = CorpusSpec(
    name="crema-d",
    title="CREMA-D: crowd-sourced emotional multimodal actors dataset",
    language="English",
    pattern=r"(?P<speaker>\d{4})_(?P<text>[A-Z]{3})_"
    r"(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX?)",
    speakers=SpeakerTable(
        files="VideoDemographics.csv", speaker="ActorID", columns={"Sex": "gender"}
    ),
    codes={
        "gender": _GENDER | {"female": "female", "male": "male", "": ""},
        "intensity": {"LO": "low", "MD": "medium", "HI": "high", "XX": "", "X": ""},
        "emotion": _shortened(3, *_FIVE, "neutral"),
    },
    counts=dict.fromkeys(_FIVE, 1271) | {"neutral": 1087},
    license="Open Database License 1.0",
    citation="Cao et al., IEEE Transactions on Affective Computing 5, 2014",
    access="clone https://github.com/CheyneyComputerScience/CREMA-D with git-lfs",
    traps=(
        "Labels are what the actors meant: raters often heard something else.",
        "Published folds share all 91 speakers between train and test.",
        "1076_MTI_SAD_XX is silent.",
        "Cloned without git-lfs, its recordings are text files of three lines.",
    ),
)

SAVEE = CorpusSpec(
    name="savee",
    title="SAVEE: Surrey audio-visual expressed emotion database",
    language="English",
    pattern=r"(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>a|d|f|h|n|sa|su)(?P<number>\d\d)",
    formats={"text": "{emotion}{number}", "gender": "male"},
    codes={
        "text": _savee_text,
        "emotion": _shortened(1, *_FIVE[:4], "neutral")
        | _shortened(2, "sadness", "surprise"),
    },
    counts=dict.fromkeys(_SIX, 60) | {"neutral": 120},
    license="of its own, for research; a form has to be filled in",
    citation="Haq and Jackson, AVSP 2009",
    access="register at http://kahlan.eps.surrey.ac.uk/savee/",
    traps=(
        "Four men: nothing can be said about women's voices.",
        "Neutral repeats the twelve special sentences of the other emotions, and no "
        "name tells where: all that may be one of them have the text 'special'.",
    ),
)

TESS = CorpusSpec(
    name="tess",
    title="TESS: Toronto emotional speech set",
    language="English",
    # OA_bite_neutral lacks its F.
    pattern=r"(?P<age>[OY])AF?_(?P<text>[^_/]+)_"
    r"(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)",
    formats={"speaker": "{age}AF", "gender": "female"},
    codes={
        "speaker": str.upper,
        "age": _codes("O older, Y younger"),
        "emotion": _WORDS | {"ps": "surprise"},
    },
    license="CC BY-NC-ND 4.0",
    citation="Pichora-Fuller and Dupuis, 2020, doi:10.5683/SP2/E8H2MF",
    access="download https://doi.org/10.5683/SP2/E8H2MF",
    traps=(
        "Two speakers, both women: leaving one out trains on one voice. Figures near "
        "100 % come from folds that share them.",
        "Copies of the archive hold every recording twice.",
    ),
)

ESD = CorpusSpec(
    name="esd",
    title="ESD: emotional speech dataset",
    language="Mandarin (speakers 0001 to 0010) and English (0011 to 0020)",
    pattern=r"(?P<emotion>angry|happy|neutral|sad|surprise)/(?:[^/]+/)?"
    r"(?P<utterance>(?P<speaker>\d{4})_\d{6})",
    formats={"language": "{speaker}", "text": "{utterance}"},
    codes={
        "emotion": _WORDS,
        "language": {
            f"{i:04d}": "Mandarin" if i <= 10 else "English" for i in range(1, 21)
        },
        "text": _esd_text,
    },
    license="of its own, for research; a form has to be filled in",
    citation="Zhou et al., Speech Communication 137, 2022",
    access="apply at https://github.com/HLTSingapore/Emotional-Speech-Data",
    traps=(
        "Its official parts share all speakers; they are of use for voice conversion.",
        "It is two corpora: Mandarin and English speakers read different sentences.",
    ),
)

CORPORA = {
    spec.name: spec
    for spec in (
        *(IEMOCAP, CMU_MOSEI, MSP_IMPROV, EMODB, ENTERFACE05, CASIA),
        *(RAVDESS, EMOVO, CREMA_D, SAVEE, TESS, ESD),
    )
}
