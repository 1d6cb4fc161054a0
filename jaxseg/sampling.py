"""Read rows at weighted places, add to rows at weighted places: linear, and each other's transpose.

Both are derivatives of one form, the sum over maps n, targets m and taps k of

    weight[n, k, m] * dot(rows[n, index[n, k, m]], values[n, m]),

`pull` by the values and `push` by the rows; the third, by the weight, is private.  Each is
linear in either of its two arguments and transposes to the other two.  As primitives of
JAX they are differentiated both ways, to any order and under any `vmap`, and each
processor has its own loop: a CPU gathers fast, but XLA's scatter is several times slower
there than a plain loop over the targets, which would ruin an accelerator.

`bilinear_taps` gives the taps of bilinear sampling, whose geometry a warp and a deformable
convolution share.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxseg.arrays import Array


def pull(rows: Array, index: Array, weight: Array) -> Array:
    """Sum up weighted rows for every target.

    Args:
        rows: `[n, r, c]`, float.
        index: `[n, k, m]` int32, which of the r rows are the k taps of each target.
        weight: `[n, k, m]`, of the rows' type.

    Returns:
        `[n, m, c]`.
    """
    return _PULL.bind(rows, index, weight)


def push(values: Array, index: Array, weight: Array, *, size: int) -> Array:
    """Add each value to weighted rows: the transpose of `pull`.

    Args:
        values: `[n, m, c]`, float.
        index: `[n, k, m]` int32, which rows are the k taps of each value.
        weight: `[n, k, m]`, of the values' type.
        size: Number of rows.

    Returns:
        `[n, size, c]`; zero where nothing was added.
    """
    return _PUSH.bind(values, index, weight, size=size)


def bilinear_taps(positions: Array, *, height: int, width: int) -> tuple[Array, Array]:
    """List the four cells around each position in a map, and their weights.

    Args:
        positions: `[n, m, 2]` float32, (x, y) in cells; beyond the map, the nearest
            position of its border counts.
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        `index`, int32, counted along the rows of the map, and `weight`, of the positions'
        type, both `[n, 4, m]`; each position's weights sum to one.
    """
    x, y = jnp.clip(positions[..., 0], 0, width - 1), jnp.clip(positions[..., 1], 0, height - 1)
    left, top = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    right, bottom = jnp.minimum(left + 1, width - 1), jnp.minimum(top + 1, height - 1)
    across, down = x - left.astype(x.dtype), y - top.astype(y.dtype)
    lines, columns = [top, top, bottom, bottom], [left, right, left, right]
    index = [line * width + column for line, column in zip(lines, columns, strict=True)]
    weight = [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down]
    return jnp.stack(index, axis=1), jnp.stack(weight, axis=1)


def _take(rows: jax.Array, places: jax.Array) -> jax.Array:
    return jax.vmap(lambda one, at: jnp.take(one, at, axis=0, mode="clip"))(rows, places)


def _pull(rows: jax.Array, index: jax.Array, weight: jax.Array) -> jax.Array:
    taps = [
        _take(rows, index[:, k]) * jnp.expand_dims(weight[:, k], -1) for k in range(index.shape[1])
    ]
    return sum(taps[1:], start=taps[0])


def _push(values: jax.Array, index: jax.Array, weight: jax.Array, *, size: int) -> jax.Array:
    rows = jnp.zeros_like(values, shape=(values.shape[0], size, values.shape[2]))
    for k in range(index.shape[1]):
        part = values * jnp.expand_dims(weight[:, k], -1)
        rows = jax.vmap(lambda one, at, add: one.at[at].add(add))(rows, index[:, k], part)
    return rows


def _match(rows: jax.Array, index: jax.Array, values: jax.Array) -> jax.Array:
    """Compare each value with its taps: `[n, k, m]` dot products."""
    dots = [jnp.sum(_take(rows, index[:, k]) * values, axis=-1) for k in range(index.shape[1])]
    return jnp.stack(dots, axis=1)


def _push_in_a_loop(
    values: jax.Array, index: jax.Array, weight: jax.Array, *, size: int
) -> jax.Array:
    num_maps, num_taps, _ = index.shape
    if not values.size:
        return jnp.zeros_like(values, shape=(num_maps, size, values.shape[2]))

    def add(rows: Any, target: Any) -> tuple[Any, None]:
        value, places, weights = target
        for k in range(num_taps):
            row = lax.dynamic_index_in_dim(rows, places[k], keepdims=False)
            rows = lax.dynamic_update_index_in_dim(rows, row + weights[k] * value, places[k], 0)
        return rows, None

    start = jnp.zeros_like(values, shape=(num_maps * size, values.shape[2]))
    targets = lax.collapse(values, 0, 2), _by_target(_in_all(index, size)), _by_target(weight)
    return lax.scan(add, start, targets)[0].reshape(num_maps, size, values.shape[2])


def _match_in_a_loop(rows: jax.Array, index: jax.Array, values: jax.Array) -> jax.Array:
    num_maps, num_taps, num_targets = index.shape
    if not values.size:
        return jnp.zeros_like(values, shape=index.shape)
    all_rows = lax.collapse(rows, 0, 2)

    def dot(_: None, target: Any) -> tuple[None, Any]:
        value, places = target
        taps = [lax.dynamic_index_in_dim(all_rows, places[k]) for k in range(num_taps)]
        return None, jnp.concatenate(taps) @ value

    targets = lax.collapse(values, 0, 2), _by_target(_in_all(index, rows.shape[1]))
    dots = lax.scan(dot, None, targets)[1]
    return jnp.moveaxis(dots.reshape(num_maps, num_targets, num_taps), -1, 1)


def _in_all(index: jax.Array, size: int) -> jax.Array:
    """Count the rows of all maps in a row."""
    return index + size * lax.broadcasted_iota(index.dtype, index.shape, 0)


def _by_target(taps: jax.Array) -> jax.Array:
    """Map `[n, k, m]` to `[n * m, k]`."""
    return lax.collapse(jnp.moveaxis(taps, 1, -1), 0, 2)


def _define(name: str, compute: Callable[..., Any], on_cpu: Callable[..., Any]) -> Primitive:
    """Make a primitive of `(first, index, last)` that is linear in `first` and in `last`."""
    primitive = Primitive(name)
    bind = primitive.bind

    def infer(first: Any, index: Any, last: Any, **size: int) -> Any:
        result = jax.eval_shape(partial(compute, **size), first, index, last)
        return first.update(shape=result.shape, weak_type=False)

    def batch(arguments: Any, axes: Any, **size: int) -> tuple[Any, int]:
        # One more axis makes but more maps.
        pairs = list(zip(arguments, axes, strict=True))
        times = next(x.shape[axis] for x, axis in pairs if axis is not None)
        fronts = [
            jnp.broadcast_to(x, (times, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
            for x, axis in pairs
        ]
        result = bind(*(lax.collapse(x, 0, 2) for x in fronts), **size)
        return result.reshape(*fronts[0].shape[:2], *result.shape[1:]), 0

    primitive.def_impl(jax.jit(bind, static_argnames="size"))
    primitive.def_abstract_eval(infer)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(on_cpu, multiple_results=False), "cpu")
    ad.defjvp(
        primitive,
        lambda tangent, first, index, last, **size: bind(tangent, index, last, **size),
        None,
        lambda tangent, first, index, last, **size: bind(first, index, tangent, **size),
    )
    return primitive


def _transpose(by_first: Callable[..., Any], by_last: Callable[..., Any]) -> Callable[..., Any]:
    def rule(result: Any, first: Any, index: Any, last: Any, **_: int) -> tuple[Any, None, Any]:
        if isinstance(result, ad.Zero):
            return None, None, None
        if ad.is_undefined_primal(first):
            return by_first(result, index, last, first.aval.shape[1]), None, None
        return None, None, by_last(result, index, first)

    return rule


_PULL = _define("pull", _pull, _pull)
_PUSH = _define("push", _push, _push_in_a_loop)
_MATCH = _define("match", _match, _match_in_a_loop)
ad.primitive_transposes[_PULL] = _transpose(
    lambda result, index, weight, size: push(result, index, weight, size=size),
    lambda result, index, rows: _MATCH.bind(rows, index, result),
)
ad.primitive_transposes[_PUSH] = _transpose(
    lambda result, index, weight, _: pull(result, index, weight),
    lambda result, index, values: _MATCH.bind(result, index, values),
)
ad.primitive_transposes[_MATCH] = _transpose(
    lambda result, index, values, size: push(values, index, result, size=size),
    lambda result, index, rows: pull(rows, index, result),
)
