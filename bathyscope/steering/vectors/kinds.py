"""The ways of learning a vector: the union is the registry."""

from bathyscope.steering.vectors.decoder_row import DecoderRow
from bathyscope.steering.vectors.denoised import DenoisedDiffMean
from bathyscope.steering.vectors.diff_mean import DiffMean
from bathyscope.steering.vectors.logistic import LogisticProbe
from bathyscope.steering.vectors.multimax import MultiMax
from bathyscope.steering.vectors.principal_component import PrincipalComponent
from bathyscope.steering.vectors.reft import ReFTr1
from bathyscope.steering.vectors.shift_column import ShiftColumn
from bathyscope.steering.vectors.tomography import Tomography

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
