// SPDX-License-Identifier: Apache-2.0
#include "ops/layer_norm.hpp"

#include "ops/norm_rows.cuh"

namespace penstock::ops {
namespace {

/// Each thread handles 8 channels of one row.
template <typename T, typename Branch>
__global__ void join_rows(const Join<T, Branch> join) {
  const PlaceInRow place = place_of_thread(parts_of(join.channels, eight));
  const std::int64_t r = join.rows - 1 - place.row;
  if (r >= 0) join_eight(join, r, MaskRow(join.dropout, join.tokens, r), place.block);
}

/// Each thread handles 8 channels of one row.
template <typename T>
__global__ void multiply_by_mask(const T* from, T* to, std::int64_t rows, std::int64_t channels, DropoutSite dropout,
                                 TokenRows tokens, bool aligned) {
  const PlaceInRow place = place_of_thread(parts_of(channels, eight));
  const std::int64_t r = place.row, c = place.block * eight;
  if (r >= rows) return;
  const MaskRow row(dropout, tokens, r);
  float factors[eight];
  dropout_factors(dropout, row.sample, row.position, place.block, factors);
  Eight values = load_eight(from + r * channels + c, channels - c, aligned);
#pragma unroll
  for (int i = 0; i < eight; ++i) values[i] *= factors[i];
  store_eight(to + r * channels + c, values, channels - c, aligned);
}

}  // namespace

void layer_norm(Queue& queue, const LayerNorm& arguments) {
  if (arguments.x.elements() == 0) return;
  with_device_type(arguments.x.type(),
                   [&]<typename T>(T) { launch_norm(queue, Norm<T, NormKind::layer>(arguments, arguments.x)); });
}

void residual(Queue& queue, const Residual& arguments) {
  if (arguments.out.elements() == 0) return;
  with_stream_types(arguments.out.type(), arguments.branch.type(), [&]<typename T, typename Branch>(T, Branch) {
    const Join<T, Branch> join(arguments);
    join_rows<<<grid_of(join.rows * parts_of(join.channels, eight)), block_threads, 0, stream_of(queue)>>>(join);
    check_launch();
  });
}

void residual_layer_norm(Queue& queue, const ResidualLayerNorm& arguments) {
  const TensorView& stream = arguments.residual.out;
  if (stream.elements() == 0) return;
  with_stream_types(stream.type(), arguments.residual.branch.type(), [&]<typename T, typename Branch>(T, Branch) {
    launch_residual_norm(queue, Join<T, Branch>(arguments.residual), Norm<T, NormKind::layer>(arguments.norm, stream));
  });
}

void dropout_gradient(Queue& queue, const DropoutGradient& arguments) {
  ensure(arguments.dbranch.type() == arguments.dout.type(), "dropout_gradient: dbranch and dout differ in type");
  if (arguments.dout.elements() == 0) return;
  const std::int64_t rows = arguments.dout.shape()[0], channels = arguments.dout.shape()[1];
  const bool aligned = rows_are_aligned(channels, eight, {arguments.dout.raw(), arguments.dbranch.raw()});
  with_device_type(arguments.dout.type(), [&]<typename T>(T) {
    multiply_by_mask<<<grid_of(rows * parts_of(channels, eight)), block_threads, 0, stream_of(queue)>>>(
        device_data<const T>(arguments.dout), device_data<T>(arguments.dbranch), rows, channels,
        DropoutSite(arguments.dropout), arguments.rows, aligned);
    check_launch();
  });
}

}  // namespace penstock::ops
