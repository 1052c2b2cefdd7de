"""Nested named tuples handed to kernels by reference.

numba passes a tuple by value: a desk is some five hundred machine words, and every `desk.state.x`
in every kernel copies them before the optimiser throws all but one away. That is free when the code
runs, but compiling took minutes. Behind a reference the same line reads one field.
"""

import hashlib
from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model


class Reference(types.Type):  # type: ignore[misc]
    """The address of a named tuple; its name is short, since it is part of every symbol's name."""

    def __init__(self, target: Any) -> None:
        self.target = target
        digest = hashlib.sha256(target.name.encode()).hexdigest()[:16]
        super().__init__(name=f"Reference({target.instance_class.__name__}, {digest})")


@register_model(Reference)
class _Address(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Reference) -> None:
        tuple_type = manager.lookup(kind.target).get_value_type()
        super().__init__(manager, kind, tuple_type.as_pointer())


@infer_getattr
class _Fields(AttributeTemplate):  # type: ignore[misc]
    key = Reference

    def generic_resolve(self, reference: Reference, field: str) -> Any:
        kind = reference.target[reference.target.fields.index(field)]
        return Reference(kind) if isinstance(kind, types.BaseNamedTuple) else kind


@lower_getattr_generic(Reference)
def _read_field(context: Any, builder: Any, reference: Reference, address: Any, field: str) -> Any:
    position = reference.target.fields.index(field)
    at = cgutils.gep_inbounds(builder, address, 0, position)
    inner = isinstance(reference.target[position], types.BaseNamedTuple)
    return at if inner else builder.load(at)


@intrinsic
def by_reference(context: Any, value: Any) -> Any:
    """Return a reference to a named tuple, inside a kernel; it lives as long as the call.

    A reference is read like the tuple itself: `desk.state.money[0]`.
    """

    def keep(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.alloca_once_value(builder, arguments[0])

    return Reference(value)(value), keep
