"""Nested named tuples handed to kernels by reference.

numba passes a tuple by value: a desk is some five hundred machine words, and every `desk.state.x`
in every kernel copies them before the optimiser throws all but one away. That is free when the code
runs, but compiling took minutes. Behind a reference the same line reads one field.
"""

import hashlib
from collections.abc import Callable
from typing import Any, cast

from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model


class Reference(types.Type):
    """The address of a named tuple; its name is short, since it is part of every symbol's name."""

    def __init__(self, target: Any) -> None:
        self.target = target
        digest = hashlib.sha256(target.name.encode()).hexdigest()[:16]
        name = f"Reference({target.instance_class.__name__}, {digest})"
        super().__init__(name=name)


@register_model(Reference)
class _Address(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Reference) -> None:
        tuple_type = manager.lookup(kind.target).get_value_type()
        super().__init__(manager, kind, tuple_type.as_pointer())  # type: ignore[no-untyped-call]


@infer_getattr
class _Fields(AttributeTemplate):
    key = Reference

    def generic_resolve(self, reference: Reference, field: str) -> Any:  # type: ignore[override]
        if field not in reference.target.fields:
            return None
        kind = reference.target[reference.target.fields.index(field)]
        return Reference(kind) if isinstance(kind, types.BaseNamedTuple) else kind


@lower_getattr_generic(Reference)  # type: ignore[no-untyped-call,untyped-decorator]
def _read_field(_context: Any, builder: Any, kind: Reference, address: Any, field: str) -> Any:
    position = kind.target.fields.index(field)
    at = cgutils.gep_inbounds(builder, address, 0, position)  # type: ignore[no-untyped-call]
    inner = isinstance(kind.target[position], types.BaseNamedTuple)
    return at if inner else builder.load(at)


def _keep(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return cgutils.alloca_once_value(builder, arguments[0])  # type: ignore[no-untyped-call]


def _refer(_context: Any, value: Any) -> Any:
    return Reference(value)(value), _keep


# Inside a kernel, the reference to a named tuple; it lives as long as the call, and is read like the
# tuple itself: `by_reference(desk).state.money[0]`.
by_reference = cast(Callable[[Any], Any], intrinsic(_refer))
