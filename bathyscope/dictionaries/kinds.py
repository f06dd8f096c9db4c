"""Every kind of dictionary that can be trained, one line each."""

from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK

Kind = ReLU | TopK
"""The union is the registry: settings files, the command line and the contract tests read it."""
