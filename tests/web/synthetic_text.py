"""A made-up corpus: documents of one topic each, in English, Portuguese, Korean and Python; some hold hostile tokens.

Long words are cut after five bytes, Korean ones in the middle of a character, as byte-level tokenizers do.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOSTILE = (
    "<img src=x onerror=document.title='owned'>",
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
)
"""Text that must never become markup."""

WORDS = {
    "sea": "whale ship harbour tide anchor sailor deck storm reef captain oar salt",
    "law": "court statute judge appeal verdict treaty clause senate tax citizen bill oath",
    "music": "violin chord tempo melody drum choir opera rhythm sonata flute singer bass",
    "kitchen": "bread garlic oven butter pepper soup recipe knife dough onion honey lemon",
    "body": "heart nerve blood doctor fever muscle lung nurse wound pulse bone skin",
    "sky": "planet comet orbit star moon eclipse galaxy rocket gravity dust light sun",
    "mar": "navio porto onda peixe praia vento barco areia rede farol costa ilha",
    "바다": "고래 파도 항구 바람 섬 배 물고기 등대 모래 해안 그물 선장",
}
TOPICS: dict[str, list[str]] = {topic: words.split() for topic, words in WORDS.items()}
FRAMES = {
    "mar": ["O {} chegou antes do {} e a {} ficou longe.", "Ninguém viu a {} nem o {}.", "Era o {} da {}."],
    "바다": ["{} 와 {} 가 보인다.", "밤에 {} 소리가 들리고 {} 가 멀어진다.", "{} 는 조용하다."],
    "code": [
        "def load_{}(path):\n\treturn open(path).read()\n\n",
        "for {} in range(10):\n    print({})\n",
        "if {} is None:\n    raise ValueError('{}')\n",
    ],
}
ENGLISH = [
    "The {} waited beside the {} while nobody spoke of the {}.",
    "In the spring of 1891 a {} was found near the old {}.",
    "She wrote that every {} needs a {}, and most of them a second {}.",
    "“Is this your {}?” he asked, and pointed at the {}.",
    "They sold the {} for 40 shillings; the {} remained.",
]
TEXT_OF = {
    "law": "state-of-the-union",
    "mar": "catholic-bible/pt",
    "바다": "catholic-bible/ko",
    "code": "python:stdlib",
}


@dataclass(frozen=True, slots=True)
class MadeUpText:
    """The corpus as tokens."""

    tokens: NDArray[np.int32]
    documents: NDArray[np.int32]
    pieces: list[bytes]
    """Bytes of each token id."""
    sources: dict[int, str]
    """Document number → where it comes from."""
    topics: NDArray[np.int64]
    """Number of each token's topic."""


def make_text(n_documents: int, seed: int) -> MadeUpText:
    """The first `n_documents` documents of a seed."""
    rng = np.random.default_rng(seed)
    names = [*TOPICS, "code"]
    ids: dict[bytes, int] = {b"<|endoftext|>": 0}
    tokens, documents, topics, sources = [], [], [], {}
    for document in range(n_documents):
        topic = names[int(rng.integers(len(names)))]
        pieces = [b"<|endoftext|>", *cut(_write(topic, rng))]
        if document % 17 == 3:
            pieces[9:9] = [text.encode() for text in HOSTILE]
        tokens += [ids.setdefault(piece, len(ids)) for piece in pieces]
        documents += [document * 3] * len(pieces)
        topics += [names.index(topic)] * len(pieces)
        sources[document * 3] = f"{TEXT_OF.get(topic, 'moby-dick')} #{document}"
    return MadeUpText(
        np.array(tokens, np.int32), np.array(documents, np.int32), list(ids), sources, np.array(topics, np.int64)
    )


def topic_words(feature: int) -> list[str]:
    """Words of the topic that a made-up feature belongs to."""
    return [*TOPICS.values(), TOPICS["music"]][feature % 9]


def cut(text: str) -> list[bytes]:
    """The pieces of a text."""
    found: list[bytes] = []
    for word in re.findall(r" ?[\w]+|\s+(?=\s)|\s|[^\w\s]", text):
        data = word.encode()
        end = 5 if len(data) > 7 else len(data)
        found += [data[:end], data[end:]] if data[end:] else [data]
    return found


def _write(topic: str, rng: np.random.Generator) -> str:
    frames = FRAMES.get(topic, ENGLISH)
    words = TOPICS.get(topic, TOPICS["music"])
    said = [str(frames[int(rng.integers(len(frames)))]) for _ in range(int(rng.integers(14, 40)))]
    filled = [re.sub(r"\{\}", lambda _: words[int(rng.integers(len(words)))], sentence) for sentence in said]
    return "".join(filled) if topic == "code" else " ".join(filled) + "\n\n"
