"""What every subcommand's dataclass has in common, and the table of subcommands.

The table names modules as text: only the chosen stage is imported, so `bathyscope --help` needs no torch.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Fields that every subcommand has."""

    json: bool = False
    """Print one JSON object per progress step and result on standard output instead of text."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table of subcommands."""

    module: str
    """Module that holds the dataclass `config` and the function `run`."""
    config: str
    """Name of the dataclass."""
    help: str
    """One line for `bathyscope --help`."""
    together: bool = False
    """Whether several processes can run it together (docs/many-processes.md)."""


COMMANDS: dict[str, Entry] = {
    "demo": Entry(
        "bathyscope.cli.demo", "Demo", "Run every stage on SmolLM2-135M and open-licence text; ends with a page."
    ),
    "collect": Entry("bathyscope.cli.collect", "Collect", "Turn text into activations on disk.", together=True),
    "pairs": Entry("bathyscope.cli.pairs", "Pairs", "Turn pairs of texts into pairs of activations and their shifts."),
    "counterfactuals": Entry(
        "bathyscope.cli.counterfactuals", "Counterfactuals", "Have a language model rewrite texts, a factor at a time."
    ),
    "train": Entry("bathyscope.cli.train", "Train", "Learn a sparse dictionary from activations.", together=True),
    "sweep": Entry("bathyscope.cli.sweep", "Sweep", "Learn several dictionaries from one stream and compare them."),
    "shifts": Entry(
        "bathyscope.cli.shifts", "Shifts", "Learn concepts from pairs, and say whether the pairs can identify them."
    ),
    "index": Entry(
        "bathyscope.cli.index",
        "Index",
        "Say for each feature when it fires, how often and what it writes.",
        together=True,
    ),
    "explain": Entry("bathyscope.cli.explain", "Explain", "Put each feature into words."),
    "write": Entry("bathyscope.cli.write", "Write", "Have a language model describe features in a few words."),
    "judge": Entry(
        "bathyscope.cli.judge", "JudgeExplanations", "Score descriptions on other documents, beside shuffled ones."
    ),
    "evaluate": Entry(
        "bathyscope.cli.evaluate", "Evaluate", "Measure a dictionary on held-out documents, beside its nulls."
    ),
    "probe": Entry("bathyscope.cli.probe", "Probe", "Tell labels of texts from a few features, beside baselines."),
    "absorption": Entry(
        "bathyscope.cli.absorption", "Absorption", "Count words whose first-letter feature a narrower one replaces."
    ),
    "stability": Entry("bathyscope.cli.stability", "Stability", "Compare the features of dictionaries, seed by seed."),
    "search": Entry(
        "bathyscope.cli.search",
        "Search",
        "Find features by words, prompts, tokens or their part in an answer.",
    ),
    "concepts": Entry("bathyscope.cli.concepts", "Concepts", "Find the features of a concept, beside nulls."),
    "completeness": Entry(
        "bathyscope.cli.completeness", "Completeness", "Count listed words that have a feature, by their frequency."
    ),
    "splitting": Entry(
        "bathyscope.cli.splitting", "Splitting", "Follow the features of a small dictionary into a large one."
    ),
    "languages": Entry("bathyscope.cli.languages", "Languages", "Compare features on the same verses in languages."),
    "map": Entry("bathyscope.cli.plane", "Map", "Lay the features of a dictionary out in a plane."),
    "influence": Entry(
        "bathyscope.cli.influence", "Influence", "Hold features, and see whether their own words become likelier."
    ),
    "steer": Entry(
        "bathyscope.cli.steer", "Steer", "Answer prompts with features held, beside plain and random control."
    ),
    "vector": Entry(
        "bathyscope.cli.vector", "Vector", "Learn a steering vector from labelled texts or pairs, beside nulls."
    ),
    "vector-steer": Entry(
        "bathyscope.cli.vector_steer", "VectorSteer", "Answer prompts with a vector added, beside plain and random."
    ),
    "vector-convert": Entry(
        "bathyscope.cli.vector_convert", "VectorConvert", "Read or write steering vectors of other tools."
    ),
    "serve": Entry(
        "bathyscope.cli.serve", "Serve", "Answer OpenAI's clients from a model that each request may steer."
    ),
    "convert": Entry(
        "bathyscope.cli.convert", "Convert", "Read or write dictionaries of other tools, and check what they claim."
    ),
    "risk": Entry(
        "bathyscope.cli.risk", "Risk", "Estimate the probability of an output too rare to sample.", together=True
    ),
    "launch": Entry(
        "bathyscope.cli.launch", "Launch", "Run collect, train, index or risk in several processes of this machine."
    ),
    "bench": Entry("bathyscope.cli.bench", "Bench", "Measure every kind on worlds whose truth is known, beside nulls."),
    "plan": Entry("bathyscope.cli.plan", "Plan", "Say what a job will cost before it runs, and how to lay it out."),
    "export": Entry("bathyscope.cli.export", "Export", "Write a run as one HTML file that opens without a server."),
    "verify": Entry("bathyscope.cli.verify", "Verify", "Check every file of an artifact or run against its manifest."),
    "models": Entry("bathyscope.cli.models", "Models", "List a model's hookpoints and their widths."),
    "materials": Entry("bathyscope.cli.materials", "Materials", "List pinned models and texts, or fetch one."),
}

TOGETHER = tuple(name for name, entry in COMMANDS.items() if entry.together)
"""The stages that several processes can run together."""
