"""What was run: model, text with licences, seeds, digests, seconds and memory of every stage.

Reads manifests and the small JSON files beside them. Anything that is absent is left out, never guessed.
"""

import re
from typing import Any, cast

from bathyscope.web.run_folder import Artifact, RunFolder

OPEN_LICENCES = re.compile(
    r"\b(apache|mit|bsd|isc|cc0|cc[- ]by(-sa)?|public domain|pddl|odc|ofl|psf|python|unlicense|mpl|a?gpl|lgpl)\b",
    re.IGNORECASE,
)
CLOSED_MARKS = re.compile(
    r"\bnc\b|\bnd\b|non-?commercial|research only|\bunknown\b|\bterms\b|not stated", re.IGNORECASE
)

COMMANDS = {
    "activations": ("bathyscope collect", "the text and the activations that were read"),
    "dictionary": ("bathyscope train", "the dictionary's settings"),
    "features": ("bathyscope index", "the list of features and their pages"),
    "explanations": ("bathyscope explain", "words for each feature"),
    "scores": ("bathyscope evaluate", "how much of the layer the dictionary keeps, beside its nulls"),
    "generations": ("bathyscope steer", "steered answers beside plain ones and a random direction"),
}
"""Kind → the command that makes it, and what the page shows of it."""


def run_card(run: RunFolder) -> dict[str, Any]:
    """Model, hookpoint, stages, texts, materials, versions, and what is missing with the command that makes it."""
    texts = _texts(run.one("activations"))
    return {
        "model": model_identity(run),
        "hookpoint": hookpoint(run),
        "stages": [_stage(artifact) for artifact in run.artifacts],
        "texts": texts,
        "materials": _materials(run, texts),
        "environment": _environment(run),
        "missing": [
            {"kind": kind, "command": command, "shows": shows}
            for kind, (command, shows) in COMMANDS.items()
            if not run.of_kind(kind)
        ],
    }


def model_identity(run: RunFolder) -> dict[str, str]:
    """Name, sum, description … of the model, from the first artifact that states it."""
    for kind, file in (("activations", "index.json"), ("features", "summary.json"), ("dictionary", "config.json")):
        artifact = run.one(kind)
        found = artifact.json(file).get("model") if artifact else None
        if isinstance(found, dict) and found:
            return {str(k): str(v) for k, v in cast(dict[str, object], found).items() if v is not None}
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
    """Whether text under this licence may be passed on; under an unknown licence it may not."""
    return bool(OPEN_LICENCES.search(licence)) and not CLOSED_MARKS.search(licence)


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


def _texts(store: Artifact | None) -> list[dict[str, Any]]:
    """Name, documents and tokens of every text, as the collection counted them; most tokens first."""
    texts = store.json("index.json").get("texts", []) if store else []
    rows = [{"name": t["text"], "documents": t.get("documents", 0), "tokens": t.get("tokens", 0)} for t in texts]
    return sorted(rows, key=lambda row: -row["tokens"])


def _materials(run: RunFolder, texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every model and text used, once, with its licence and the tokens read from it; most tokens first."""
    found: dict[str, dict[str, Any]] = {}
    for artifact in run.artifacts:
        for material in artifact.manifest.materials:
            name = str(material.get("name", "unnamed"))
            if name not in found:
                licence = str(material.get("licence", "unknown"))
                tokens = sum(text["tokens"] for text in texts if is_part(text["name"], name))
                found[name] = {**material, "name": name, "licence": licence, "open": is_open(licence), "tokens": tokens}
    return sorted(found.values(), key=lambda material: (-material["tokens"], material["name"]))


def is_part(text: str, material: str) -> bool:
    """Whether a text such as `catholic-bible/pt` is this material or a part of it."""
    return text == material or text.startswith(f"{material}/")


def _environment(run: RunFolder) -> dict[str, str]:
    """Versions recorded by the last artifact made."""
    return dict(run.artifacts[-1].manifest.run.get("environment", {}))
