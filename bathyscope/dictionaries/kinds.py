"""Every kind of dictionary that can be trained, one line each: plain ones in `plain.py`, those that wrap one here."""

from bathyscope.dictionaries.crosscoder import Crosscoder
from bathyscope.dictionaries.end_to_end import EndToEnd
from bathyscope.dictionaries.frozen import Frozen
from bathyscope.dictionaries.plain import PlainKind
from bathyscope.dictionaries.pursuit import MatchingPursuit
from bathyscope.dictionaries.temporal import Temporal
from bathyscope.dictionaries.transcoder import Transcoder

Kind = PlainKind | Frozen | MatchingPursuit | Transcoder | Crosscoder | EndToEnd | Temporal
"""The union is the registry: settings files, the command line and the contract tests read it."""
