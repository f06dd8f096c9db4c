"""What a module returns, seen as the one activation tensor it carries.

Attention modules return (activation, weights), older blocks return (activation, …), most modules return the tensor.
"""

from typing import Any

from torch import Tensor


def activation_of(output: Any) -> Tensor | None:
    """The floating-point tensor in a module's output (its first entry when that is a tuple), or None."""
    value: Any = output[0] if type(output) is tuple and output else output
    return value if isinstance(value, Tensor) and value.is_floating_point() else None


def with_activation(output: Any, x_BSD: Tensor) -> Any:
    """`output` with its activation exchanged for `x_BSD`; what else it carried stays."""
    return (x_BSD, *output[1:]) if type(output) is tuple else x_BSD
