// SPDX-License-Identifier: Apache-2.0
#include "ops/rotate.hpp"

namespace penstock::ops {
namespace {

/// The checks of both passes for `from` and `to`, packed rows, and the tensors that belong to them.
void check_rotated_rows(const AttentionShape& shape, const TensorView& from, const TensorView& to,
                        const TensorView& table, const TensorView& query_norm, const TensorView& key_norm,
                        const TensorView& rstd) {
  ensure(shape.channels % 2 == 0, "rotate: a head has an odd number of channels");
  ensure(shape.heads % shape.key_heads() == 0, "rotate: the heads of k do not divide those of q");
  ensure(from.elements() == from.shape()[0] * shape.packed_width() && to.elements() == from.elements(),
         "rotate: a row is not q, k and v of the shape's heads");
  ensure(from.type() == to.type(), "rotate: what is read and what is written differ in type");
  ensure(table.elements() >= shape.sequence * shape.channels, "rotate: the table has fewer positions than a sample");
  ensure(query_norm.present() == key_norm.present(), "rotate: only one of q and k has a norm");
  ensure(!query_norm.present() || rstd.elements() == from.shape()[0] * (shape.heads + shape.key_heads()),
         "rotate: rstd does not hold a number for each head of q and k");
}

}  // namespace

void check_rotation(const Rotate& arguments) {
  check_rotated_rows(arguments.shape, arguments.qkv, arguments.out, arguments.table, arguments.query_norm,
                     arguments.key_norm, arguments.rstd);
}

void check_rotation(const RotateGradient& arguments) {
  check_rotated_rows(arguments.shape, arguments.dout, arguments.dqkv, arguments.table, arguments.query_norm,
                     arguments.key_norm, arguments.rstd);
  ensure(!arguments.query_norm.present() || (arguments.qkv.present() && arguments.qkv.raw() != arguments.dqkv.raw() &&
                                             arguments.qkv.type() == arguments.dout.type()),
         "rotate_gradient: the gradient of norms needs what they read, in a place of its own");
}

}  // namespace penstock::ops
