"""What a document says of a thing in passing: that it is deprecated or experimental, and in a few words what it is."""

import re

from tools.apigen.description import Schema

_STAGES = ("x-stability", "x-stability-level", "x-status", "x-lifecycle", "x-maturity", "x-stage", "x-release-status")
_SELF = "this|it|endpoint|operation|route|method|parameter|field|property|header"
_WORDS = {"deprecated": "deprecated|sunset|obsolete", "experimental": "experimental|alpha|beta|preview|unstable"}


def marks(raw: Schema, *, words_too: bool = True) -> Schema:
    """`deprecated` and `x-experimental`, as the keyword, as an extension, or in words, if these are the API's own."""
    made: Schema = {}
    for mark, words in _WORDS.items():
        stages = [str(raw[key]) for key in _STAGES if key in raw]
        flags = [raw[key] for key in (mark, *(f"x-{word}" for word in words.split("|"))) if key in raw]
        text = "\n".join(raw[key] for key in ("summary", "description") if isinstance(raw.get(key), str))
        said = rf"(?im)^\W*({mark})\b(?![ -]\w+ing\b)|[(\[*]\W*({mark})\W*[)\]*]|\b({_SELF}) (is|are) ({mark})\b"
        if (
            any(flag not in (False, None, "false") for flag in flags)
            or any(re.fullmatch(words, stage, re.IGNORECASE) for stage in stages)
            or (words_too and not flags and re.search(said, text))
        ):
            made[mark] = True
    if made.pop("experimental", False):
        made["x-experimental"] = True
    return made


def own_summary(raw: Schema) -> str | None:
    """The document's summary as a sentence, if it is worth having: two words of text at least, a line at most."""
    text = raw.get("summary")
    if not isinstance(text, str):
        return None
    text = re.sub(r"(?i)\W*[(\[*]\W*(deprecated|experimental|alpha|beta|preview)\W*[)\]*]\W*", " ", text)
    text = re.sub(r"(?i)^\s*(deprecated|experimental)\s*[:.!-]+", "", text)
    text = " ".join(text.split()).rstrip(".")
    sound = text.isprintable() and " " in text and len(text) <= 100 and not re.search(r'["\\`{}/]', text)
    return f"{text[0].upper()}{text[1:]}." if sound else None
