"""SIMD vectors of float32 in numba's compiled functions, for kernels whose channels lie side by side in memory.

docs/simd.md tells how it works, and which parts of numba and llvmlite it stands on.

`lanes` is a tuple of as many items as a vector has. numba's cache notices changes of a kernel's own file only: after a
change here, remove the __pycache__ folders.
"""

import functools
import operator

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

FLOAT_BYTES = 4


class Vector(types.Type):
    """numba's type of `lanes` float32 values in SIMD registers."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, ir.VectorType(ir.FloatType(), vector.lanes))


def _splat(builder, scalar, lanes: int):
    """A vector of equal values."""
    vector = builder.insert_element(ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined), scalar, _int32(0))
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def _int32(value: int):
    return ir.Constant(ir.IntType(32), value)


@intrinsic
def load(typing_context, address, lanes):
    """The vector at an address."""

    def generate(context, builder, signature, arguments):
        vector = context.get_value_type(signature.return_type)
        return builder.load(builder.inttoptr(arguments[0], vector.as_pointer()), align=FLOAT_BYTES)

    return Vector(len(lanes))(address, lanes), generate


@intrinsic
def load_bfloat16(typing_context, address, lanes):
    """The vector at an address of bfloat16 values."""

    def generate(context, builder, signature, arguments):
        count = signature.return_type.lanes
        words, halves = (ir.VectorType(ir.IntType(bits), count) for bits in (32, 16))
        values = builder.load(builder.inttoptr(arguments[0], halves.as_pointer()), align=2)
        bits = builder.shl(builder.zext(values, words), ir.Constant(words, [16] * count))
        return builder.bitcast(bits, context.get_value_type(signature.return_type))

    return Vector(len(lanes))(address, lanes), generate


@intrinsic
def store(typing_context, address, vector):
    """Write a vector to an address."""

    def generate(context, builder, signature, arguments):
        address, value = arguments
        builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=FLOAT_BYTES)

    return types.void(address, vector), generate


@intrinsic
def store_bfloat16(typing_context, address, vector):
    """Write a vector to an address as bfloat16, rounded to nearest, ties to even; NaN stays NaN."""

    def generate(context, builder, signature, arguments):
        address, value = arguments
        lanes = signature.args[1].lanes
        words, halves = (ir.VectorType(ir.IntType(bits), lanes) for bits in (32, 16))

        def constant(number):
            return ir.Constant(words, [number] * lanes)

        bits = builder.bitcast(value, words)
        odd = builder.and_(builder.lshr(bits, constant(16)), constant(1))
        rounded = builder.add(bits, builder.add(odd, constant(0x7FFF)))
        quiet = builder.or_(bits, constant(0x400000))
        rounded = builder.select(builder.fcmp_unordered("uno", value, value), quiet, rounded)
        result = builder.trunc(builder.lshr(rounded, constant(16)), halves)
        builder.store(result, builder.inttoptr(address, halves.as_pointer()), align=2)

    return types.void(address, vector), generate


@intrinsic
def total(typing_context, vector):
    """The sum of a vector's values."""

    def generate(context, builder, signature, arguments):
        lanes = [builder.extract_element(arguments[0], _int32(i)) for i in range(signature.args[0].lanes)]
        while len(lanes) > 1:  # neighbours first: always the same order of sums
            pairs = [builder.fadd(*lanes[i : i + 2]) for i in range(0, len(lanes) - 1, 2)]
            lanes = pairs + lanes[2 * len(pairs) :]
        return lanes[0]

    return types.float32(vector), generate


@intrinsic
def totals(typing_context, vector, parts):
    """The sums of a vector's equal parts, as many as the tuple `parts` has items, as a tuple."""

    def generate(context, builder, signature, arguments):
        value, count = arguments[0], signature.args[0].lanes
        while count // len(parts) % 2 == 0:  # neighbours first: always the same order of sums
            even, odd = (
                builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(ir.IntType(32), count // 2), places))
                for places in (list(range(0, count, 2)), list(range(1, count, 2)))
            )
            value, count = builder.fadd(even, odd), count // 2
        size, sums = count // len(parts), []
        for first in range(0, count, size):
            lanes = [builder.extract_element(value, _int32(first + i)) for i in range(size)]
            sums.append(functools.reduce(builder.fadd, lanes))
        return context.make_tuple(builder, signature.return_type, sums)

    return types.UniTuple(types.float32, len(parts))(vector, parts), generate


def _arithmetic(operation: str):
    """An intrinsic of two vectors, or of a vector and a number; a product and a sum may fuse."""

    @intrinsic
    def combine(typing_context, left, right):
        vector = left if isinstance(left, Vector) else right

        def generate(context, builder, signature, arguments):
            operands = [
                argument
                if isinstance(kind, Vector)
                else _splat(builder, context.cast(builder, argument, kind, types.float32), vector.lanes)
                for argument, kind in zip(arguments, signature.args, strict=True)
            ]
            return getattr(builder, operation)(*operands, flags=("contract",))

        return vector(left, right), generate

    return combine


_add, _subtract, _multiply = (_arithmetic(operation) for operation in ("fadd", "fsub", "fmul"))


def _has_vector(*kinds) -> bool:
    return any(isinstance(kind, Vector) for kind in kinds)


@overload(operator.add)
def _overload_add(left, right):
    if _has_vector(left, right):
        return lambda left, right: _add(left, right)


@overload(operator.sub)
def _overload_subtract(left, right):
    if _has_vector(left, right):
        return lambda left, right: _subtract(left, right)


@overload(operator.mul)
def _overload_multiply(left, right):
    if _has_vector(left, right):
        return lambda left, right: _multiply(left, right)
