"""Every kind of dictionary that stands for itself and learns from [N, D] batches, one line each."""

from bathyscope.dictionaries.abs_topk import AbsTopK
from bathyscope.dictionaries.batch_topk import BatchTopK
from bathyscope.dictionaries.gated import Gated
from bathyscope.dictionaries.jumprelu import JumpReLU
from bathyscope.dictionaries.matryoshka import Matryoshka
from bathyscope.dictionaries.p_anneal import PAnneal
from bathyscope.dictionaries.pursuit import MatchingPursuit
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.shift import Shift
from bathyscope.dictionaries.topk import TopK

PlainKind = ReLU | PAnneal | Gated | JumpReLU | TopK | AbsTopK | BatchTopK | Matryoshka | MatchingPursuit | Shift
"""What a kind that wraps another one (`Frozen`) can wrap. Decoder rows are the parameter W_dec_FD in each, encoder rows
W_enc_FD in those that have some."""
