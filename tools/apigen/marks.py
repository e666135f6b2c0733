"""What a document says of a thing in passing: that it is deprecated or experimental, and in a few words what it is."""

import re

from tools.apigen.document import OURS, Node
from tools.apigen.schemas import MARKS, Schema

_STAGES = ("x-stability", "x-stability-level", "x-status", "x-lifecycle", "x-maturity", "x-stage", "x-release-status")
_SELF = "this|it|endpoint|operation|route|method|parameter|field|property|header"
_WORDS = {"deprecated": "deprecated|sunset|obsolete", "x-experimental": "experimental|alpha|beta|preview|unstable"}


def found_marks(node: Node) -> Schema:
    """`deprecated` and `x-experimental`, as the keyword, as an extension, or in words, if these are the API's own."""
    return {mark: True for mark in MARKS if _is_marked(node.value, mark, words_too=OURS not in node.root)}


def _is_marked(raw: Schema, mark: str, *, words_too: bool) -> bool:
    words, word = _WORDS[mark], MARKS[mark]
    flags = [raw[key] for key in (word, *(f"x-{one}" for one in words.split("|"))) if key in raw]
    is_flagged = any(flag not in (False, None, "false") for flag in flags)
    if is_flagged or any(re.fullmatch(words, str(raw[key]), re.IGNORECASE) for key in _STAGES if key in raw):
        return True
    text = "\n".join(raw[key] for key in ("summary", "description") if isinstance(raw.get(key), str))
    said = rf"(?im)^\W*({word})\b(?![ -]\w+ing\b)|[(\[*]\W*({word})\W*[)\]*]|\b({_SELF}) (is|are) ({word})\b"
    return words_too and not flags and re.search(said, text) is not None


def own_summary(raw: Schema) -> Schema:
    """The document's summary as a sentence, if it is worth having: two words of text at least, a line at most."""
    text = raw.get("summary")
    if not isinstance(text, str):
        return {}
    text = re.sub(r"(?i)\W*[(\[*]\W*(deprecated|experimental|alpha|beta|preview)\W*[)\]*]\W*", " ", text)
    text = re.sub(r"(?i)^\s*(deprecated|experimental)\s*[:.!-]+", "", text)
    text = " ".join(text.split()).rstrip(".")
    sound = text.isprintable() and " " in text and len(text) <= 100 and not re.search(r'["\\`{}/]', text)
    return {"summary": f"{text[0].upper()}{text[1:]}."} if sound else {}
