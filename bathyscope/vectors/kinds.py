"""The ways of learning a vector: the union is the registry."""

from bathyscope.vectors.decoder_row import DecoderRow
from bathyscope.vectors.denoised import DenoisedDiffMean
from bathyscope.vectors.diff_mean import DiffMean
from bathyscope.vectors.logistic import LogisticProbe
from bathyscope.vectors.multimax import MultiMax
from bathyscope.vectors.principal_component import PrincipalComponent
from bathyscope.vectors.reft import ReFTr1
from bathyscope.vectors.shift_column import ShiftColumn
from bathyscope.vectors.tomography import Tomography

Method = (
    DiffMean
    | PrincipalComponent
    | Tomography
    | LogisticProbe
    | MultiMax
    | ReFTr1
    | DecoderRow
    | ShiftColumn
    | DenoisedDiffMean
)
