"""What was run: model, text with licences, seeds, digests, seconds and memory of every stage.

Reads manifests and the small JSON files beside them. Anything that is absent is left out, never guessed.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from bathyscope.web.run_folder import Artifact, RunFolder

OPEN_LICENCES = (
    "apache",
    "mit",
    "bsd",
    "isc",
    "cc0",
    "cc-by",
    "cc by",
    "public domain",
    "pddl",
    "odc",
    "ofl",
    "psf",
    "python",
    "unlicense",
    "mpl",
    "gpl",
    "lgpl",
)
CLOSED_MARKS = ("-nc", " nc", "-nd", " nd", "noncommercial", "non-commercial", "research only", "unknown", "terms")
COMMANDS = {
    "activations": ("bathyscope collect", "the text and the activations that were read"),
    "dictionary": ("bathyscope train", "the dictionary's settings"),
    "features": ("bathyscope index", "the list of features and their pages"),
    "explanations": ("bathyscope explain", "words for each feature"),
    "scores": ("bathyscope evaluate", "how much of the layer the dictionary keeps, beside its nulls"),
    "generations": ("bathyscope steer", "steered answers beside plain ones and a random direction"),
}


def run_card(run: RunFolder) -> dict[str, Any]:
    """Model, hookpoint, stages, texts, materials, versions, and what is missing with the command that makes it."""
    sources = _sources(run.one("activations"))
    materials = _materials(run, sources)
    return {
        "model": model_identity(run),
        "hookpoint": hookpoint(run),
        "stages": [_stage(artifact) for artifact in run.artifacts],
        "sources": sources,
        "materials": materials,
        "environment": _environment(run),
        "missing": [
            {"kind": kind, "command": command, "shows": shows}
            for kind, (command, shows) in COMMANDS.items()
            if not run.of_kind(kind)
        ],
    }


def model_identity(run: RunFolder) -> dict[str, str]:
    """Name, sum, description … of the model, from the first artifact that states it."""
    for kind, file, names in (
        ("activations", "index.json", ("model_identity", "model")),
        ("features", "summary.json", ("model_identity", "model")),
        ("dictionary", "config.json", ("model_identity", "model")),
    ):
        artifact = run.one(kind)
        content = artifact.json(file) if artifact else {}
        for name in names:
            found = content.get(name)
            if isinstance(found, dict) and found:
                return {str(k): str(v) for k, v in cast(dict[str, object], found).items() if v is not None}
            if isinstance(found, str):
                return {"name": found}
    return {}


def hookpoint(run: RunFolder) -> str | None:
    """Where in the model the dictionary sits, or None when no artifact says so."""
    for kind, file in (("dictionary", "config.json"), ("features", "summary.json")):
        artifact = run.one(kind)
        found = artifact.json(file).get("hookpoint") if artifact else None
        if isinstance(found, str):
            return found
    return None


def is_open(licence: str) -> bool:
    """Whether text under this licence may be passed on; an unknown licence may not."""
    name = licence.strip().lower()
    return any(mark in name for mark in OPEN_LICENCES) and not any(mark in name for mark in CLOSED_MARKS)


def _stage(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "folder": artifact.path.name,
        "kind": manifest.kind,
        "digest": manifest.digest,
        "seed": manifest.seed,
        "seconds": manifest.run.get("seconds"),
        "peak_memory_bytes": manifest.run.get("peak_memory_bytes"),
        "bytes": sum(int(entry["bytes"]) for entry in manifest.files.values()),
        "version": manifest.version,
        "config": manifest.config,
        "parents": {role: str(parent.get("digest", "")) for role, parent in manifest.parents.items()},
    }


def _sources(store: Artifact | None) -> list[dict[str, Any]]:
    """Documents and tokens per source label, most tokens first."""
    if store is None or not store.holds("documents.npy"):
        return []
    documents_T = np.load(store.file("documents.npy"), mmap_mode="r", allow_pickle=False)
    labels = source_labels(store)
    tokens: Counter[str] = Counter()
    documents: Counter[str] = Counter()
    for document, count in zip(*np.unique(documents_T, return_counts=True), strict=True):
        label = labels.get(int(document), "unnamed source")
        tokens[label] += int(count)
        documents[label] += 1
    ranked = sorted(tokens, key=lambda label: (-tokens[label], label))
    return [{"label": label, "documents": documents[label], "tokens": tokens[label]} for label in ranked]


def source_labels(store: Artifact | None) -> dict[int, str]:
    """Document number → label of its source."""
    content = store.json("sources.json") if store else {}
    entries = content.items() if isinstance(content, Mapping) else enumerate(content)
    return {int(document): str(label) for document, label in cast(Any, entries)}


def _materials(run: RunFolder, sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every model and text used, once, with its licence and the tokens read from it."""
    found: dict[str, dict[str, Any]] = {}
    for artifact in run.artifacts:
        for material in artifact.manifest.materials:
            name = str(material.get("name", "unnamed"))
            if name not in found:
                licence = str(material.get("licence", "unknown"))
                tokens = sum(source["tokens"] for source in sources if _is_from(source["label"], name))
                found[name] = {**material, "name": name, "licence": licence, "open": is_open(licence), "tokens": tokens}
    return sorted(found.values(), key=lambda material: (-material["tokens"], material["name"]))


def _is_from(label: str, material: str) -> bool:
    """Whether a source label such as `material:moby-dick/chapter-1` names this material."""
    name = label.removeprefix("material:")
    return name == material or name.startswith((f"{material}/", f"{material}:", f"{material} "))


def _environment(run: RunFolder) -> dict[str, str]:
    """Versions of the last artifact made, the only ones that can be told from a finished folder."""
    return dict(run.artifacts[-1].manifest.run.get("environment", {}))
