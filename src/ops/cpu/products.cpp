// SPDX-License-Identifier: Apache-2.0
#include "ops/cpu/products.hpp"

#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <span>
#include <vector>

#include "device/cpu/backend.hpp"
#include "ops/cpu/parallel.hpp"
#include "ops/cpu/vector_math.hpp"

namespace penstock::ops {
namespace {

enum Operation : std::int64_t { packed_product = 1, plain_product, transposed_product };

dnnl::memory::data_type type_of(DType type) {
  return type == DType::float32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::memory::desc matrix(std::int64_t rows, std::int64_t columns, DType type) {
  return {{rows, columns}, type_of(type), dnnl::memory::dims{columns, 1}};
}

/// A [rows, columns] matrix that is stored as [columns, rows].
dnnl::memory::desc transposed_matrix(std::int64_t rows, std::int64_t columns, DType type) {
  return {{rows, columns}, type_of(type), dnnl::memory::dims{1, rows}};
}

dnnl::memory::desc weight_matrix(const RowProduct& product) {
  return product.use == WeightUse::transposed ? transposed_matrix(product.inputs, product.outputs, product.type)
                                              : matrix(product.inputs, product.outputs, product.type);
}

dnnl::memory::desc bias_row(std::int64_t outputs) { return matrix(1, outputs, DType::float32); }

bool multiplies_bfloat16() {
  static const bool does = [] {
    const dnnl::memory::desc square = matrix(16, 16, DType::bfloat16);
    try {
      const dnnl::matmul::primitive_desc found({square, square, square}, dnnl::engine(dnnl::engine::kind::cpu, 0));
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return does;
}

bool is_widened(DType type) { return type == DType::bfloat16 && !multiplies_bfloat16(); }

RowProduct as_multiplied(RowProduct product) {
  if (is_widened(product)) product.type = product.output_type = DType::float32;
  return product;
}

template <typename To, typename From>
void convert(const From* from, To* to, std::int64_t n) {
  for_vectors(n, [&](std::int64_t i, auto part) { store(to + i, load(from + i, part), part); });
}

constexpr std::int64_t converted_at_once = 16384;

template <typename To, typename From>
void convert_on_all_threads(Queue& queue, const From* from, To* to, std::int64_t n) {
  for_pieces(queue, n, converted_at_once, [&](std::int64_t, Piece piece) {
    convert(from + piece.begin, to + piece.begin, piece.end - piece.begin);
  });
}

std::int64_t page_bytes(std::int64_t floats) {
  return rounded_up(floats * static_cast<std::int64_t>(sizeof(float)), 4096);
}

std::int64_t widened_weight_bytes(const RowProduct& product) {
  return is_widened(product) ? page_bytes(product.inputs * product.outputs) : 0;
}

/// A block's rows, and its result if that is rounded afterwards.
std::int64_t widened_block_bytes(const RowProduct& product) {
  if (!is_widened(product)) return 0;
  const std::int64_t rows = BlockedProduct::block_rows(product.outputs, DType::float32);
  return page_bytes(rows * product.inputs) +
         (product.output_type == DType::float32 ? 0 : page_bytes(rows * product.outputs));
}

/// oneDNN compiles and runs a primitive for the number of threads that OpenMP reports.
class ThreadsOfOneDnn {
 public:
  explicit ThreadsOfOneDnn(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~ThreadsOfOneDnn() { omp_set_num_threads(before_); }
  ThreadsOfOneDnn(const ThreadsOfOneDnn&) = delete;
  ThreadsOfOneDnn& operator=(const ThreadsOfOneDnn&) = delete;

 private:
  int before_;
};

template <typename T, typename Make>
T& cached(Queue& queue, const PrimitiveKey& key, Make&& make) {
  std::shared_ptr<void>& place = queue.backend().primitives[key];
  if (!place) place = std::make_shared<T>(make());
  return *static_cast<T*>(place.get());
}

enum class Scratch { of_the_library, of_the_caller };

dnnl::matmul::primitive_desc describe(Queue& queue, const RowProduct& product, std::int64_t rows,
                                      const dnnl::memory::desc& weight, Scratch scratch) {
  const dnnl::memory::desc x = matrix(rows, product.inputs, product.type);
  const dnnl::memory::desc y = matrix(rows, product.outputs, product.output_type);
  const dnnl::matmul::desc operation =
      product.bias ? dnnl::matmul::desc(x, weight, bias_row(product.outputs), y) : dnnl::matmul::desc(x, weight, y);
  dnnl::primitive_attr attributes;
  if (scratch == Scratch::of_the_caller) attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return {operation, attributes, queue.backend().engine};
}

PrimitiveKey key_of(Operation operation, const RowProduct& product, std::int64_t rows) {
  return {operation,
          rows,
          product.inputs,
          product.outputs,
          static_cast<std::int64_t>(product.type) * 16 + static_cast<std::int64_t>(product.output_type),
          static_cast<std::int64_t>(product.use),
          product.bias,
          0};
}

void* writable(const void* data) { return const_cast<void*>(data); }  // dnnl::memory has no const form

/// A memory object that gets its data pointer at every call, because creating one takes memory.
dnnl::memory unbound(Queue& queue, const dnnl::memory::desc& description) {
  return {description, queue.backend().engine, nullptr};
}

using Argument = dnnl_exec_arg_t;

/// Runs a primitive without the maps that the C++ interface builds from the arguments of every call.
void execute(Queue& queue, const dnnl::primitive& primitive, std::span<const Argument> arguments) {
  dnnl::error::wrap_c_api(dnnl_primitive_execute(primitive.get(), queue.backend().stream.get(),
                                                 static_cast<int>(arguments.size()), arguments.data()),
                          "a product could not be executed");
}

/// A matrix product on all threads, with its operands.
struct WholeProduct {
  dnnl::matmul product;
  dnnl::memory left, right, out, bias;

  void multiply(Queue& queue, const void* a, const void* b, const float* row, void* c) {
    left.set_data_handle(writable(a));
    right.set_data_handle(writable(b));
    out.set_data_handle(c);
    if (row) bias.set_data_handle(writable(row));
    const Argument arguments[] = {{DNNL_ARG_SRC, left.get()},
                                  {DNNL_ARG_WEIGHTS, right.get()},
                                  {DNNL_ARG_DST, out.get()},
                                  {DNNL_ARG_BIAS, row ? bias.get() : nullptr}};
    execute(queue, product, std::span(arguments).first(row ? 4 : 3));
  }
};

}  // namespace

bool is_widened(const RowProduct& product) { return is_widened(product.type); }

struct BlockedProduct::Primitive {
  /// Belongs to one thread: threads share the primitive, not its operands.
  struct Operands {
    dnnl::memory x, y, scratch;
  };
  std::vector<Operands> of_thread;
  dnnl::memory weight, packed_weight, bias;
  std::size_t scratch_bytes;
  dnnl::matmul product;
  dnnl::reorder pack;

  Primitive(Queue& queue, const dnnl::matmul::primitive_desc& description, const RowProduct& of,
            const dnnl::reorder& packing)
      : weight(unbound(queue, weight_matrix(of))),
        packed_weight(unbound(queue, description.weights_desc())),
        bias(unbound(queue, bias_row(of.outputs))),
        scratch_bytes(description.scratchpad_desc().get_size()),
        product(description),
        pack(packing) {
    for (int thread = 0; thread < queue.threads(); ++thread)
      of_thread.push_back({unbound(queue, description.src_desc()), unbound(queue, description.dst_desc()),
                           unbound(queue, description.scratchpad_desc())});
  }
};

BlockedProduct::Primitive& BlockedProduct::primitive(Queue& queue, const RowProduct& product, std::int64_t rows) {
  return cached<Primitive>(queue, key_of(packed_product, product, rows), [&] {
    const dnnl::engine& engine = queue.backend().engine;
    // A short last block reads the weight in the packing of the whole blocks.
    const std::int64_t whole_rows = block_rows(product.outputs, product.output_type);
    const dnnl::memory::desc any{
        {product.inputs, product.outputs}, type_of(product.type), dnnl::memory::format_tag::any};
    const dnnl::memory::desc weight =
        rows == whole_rows ? any : primitive(queue, product, whole_rows).packed_weight.get_desc();
    const dnnl::matmul::primitive_desc description = [&] {
      const ThreadsOfOneDnn one_thread(1);
      return describe(queue, product, rows, weight, Scratch::of_the_caller);
    }();
    const ThreadsOfOneDnn all_threads(queue.threads());
    const dnnl::reorder pack(
        dnnl::reorder::primitive_desc(engine, weight_matrix(product), engine, description.weights_desc()));
    const ThreadsOfOneDnn one_thread(1);
    return Primitive(queue, description, product, pack);
  });
}

BlockedProduct::Primitives BlockedProduct::primitives(Queue& queue, const RowProduct& product) {
  const std::int64_t whole_rows = block_rows(product.outputs, product.output_type);
  Primitive& whole = primitive(queue, product, whole_rows);
  const std::int64_t rest_rows = product.rows % whole_rows;
  return {whole, rest_rows ? primitive(queue, product, rest_rows) : whole};
}

std::int64_t BlockedProduct::Primitives::packed_bytes() const {
  return rounded_up(static_cast<std::int64_t>(whole.packed_weight.get_desc().get_size()), 4096);
}

std::int64_t BlockedProduct::Primitives::scratch_bytes() const {
  return rounded_up(static_cast<std::int64_t>(std::max(whole.scratch_bytes, rest.scratch_bytes)), 4096);
}

std::int64_t BlockedProduct::block_rows(std::int64_t outputs, DType output_type) {
  constexpr std::int64_t wanted_bytes = 384 << 10;
  const std::int64_t rows = wanted_bytes / (outputs * static_cast<std::int64_t>(bytes_of(output_type)));
  return std::clamp<std::int64_t>(rows / 32 * 32, 128, 256);
}

std::int64_t BlockedProduct::workspace_bytes(Queue& queue, const RowProduct& product) {
  const Primitives of_product = primitives(queue, as_multiplied(product));
  return of_product.packed_bytes() + widened_weight_bytes(product) +
         queue.threads() * (of_product.scratch_bytes() + widened_block_bytes(product));
}

BlockedProduct::BlockedProduct(Queue& queue, const RowProduct& product, const void* weight, const float* bias,
                               std::byte* workspace)
    : queue_(&queue),
      product_(product),
      block_rows_(block_rows(product.outputs, as_multiplied(product).output_type)),
      primitives_(primitives(queue, as_multiplied(product))),
      bias_(bias),
      scratch_(workspace + primitives_.packed_bytes()),
      widened_(scratch_ + queue.threads() * primitives_.scratch_bytes() + widened_weight_bytes(product)) {
  if (is_widened(product)) {
    auto* widened = reinterpret_cast<float*>(widened_ - widened_weight_bytes(product));
    convert_on_all_threads(queue, static_cast<const bfloat16*>(weight), widened, product.inputs * product.outputs);
    weight = widened;
  }
  const ThreadsOfOneDnn all_threads(queue.threads());
  for (Primitive* primitive : {&primitives_.whole, &primitives_.rest}) {
    primitive->packed_weight.set_data_handle(workspace);
    if (bias) primitive->bias.set_data_handle(writable(bias));
  }
  primitives_.whole.weight.set_data_handle(writable(weight));
  const Argument arguments[] = {{DNNL_ARG_FROM, primitives_.whole.weight.get()},
                                {DNNL_ARG_TO, primitives_.whole.packed_weight.get()}};
  execute(queue, primitives_.whole.pack, arguments);
}

void BlockedProduct::multiply(const void* x, void* y, std::int64_t rows) const {
  Primitive& primitive = rows == block_rows_ ? primitives_.whole : primitives_.rest;
  const int thread = omp_get_thread_num();
  auto* const wide_x = reinterpret_cast<float*>(widened_ + thread * widened_block_bytes(product_));
  float* const wide_y = wide_x + page_bytes(block_rows_ * product_.inputs) / static_cast<std::int64_t>(sizeof(float));
  const bool rounds = is_widened(product_) && product_.output_type == DType::bfloat16;
  if (is_widened(product_)) {
    convert(static_cast<const bfloat16*>(x), wide_x, rows * product_.inputs);
    x = wide_x;
  }
  Primitive::Operands& own = primitive.of_thread[static_cast<std::size_t>(thread)];
  own.x.set_data_handle(writable(x));
  own.y.set_data_handle(rounds ? wide_y : y);
  // The library's own scratch belongs to the primitive; threads that share the primitive must not share it.
  own.scratch.set_data_handle(scratch_ + thread * primitives_.scratch_bytes());
  const Argument arguments[] = {{DNNL_ARG_SRC, own.x.get()},
                                {DNNL_ARG_WEIGHTS, primitive.packed_weight.get()},
                                {DNNL_ARG_DST, own.y.get()},
                                {DNNL_ARG_SCRATCHPAD, own.scratch.get()},
                                {DNNL_ARG_BIAS, primitive.bias.get()}};
  execute(*queue_, primitive.product, std::span(arguments).first(bias_ ? 5 : 4));
  if (rounds) convert(wide_y, static_cast<bfloat16*>(y), rows * product_.outputs);
}

bool library_cuts_sums_for_threads() {
  static const bool cuts = [] {
    const auto has = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
    const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
    return (has & needed) != needed;
  }();
  return cuts;
}

namespace {

/// c [m, n] (+)= a b, on the calling thread.
void multiply_on_this_thread(char transpose_a, char transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                             const float* a, std::int64_t row_of_a, const float* b, std::int64_t row_of_b,
                             bool accumulate, float* c, std::int64_t row_of_c) {
  const ThreadsOfOneDnn one_thread(1);
  const dnnl_status_t status = dnnl_sgemm(transpose_a, transpose_b, m, n, k, 1.0F, a, row_of_a, b, row_of_b,
                                          accumulate ? 1.0F : 0.0F, c, row_of_c);
  if (status != dnnl_success)
    throw SystemError(fmt::format("oneDNN's sgemm failed with status {}", static_cast<int>(status)));
}

/// Divided into pieces of the outputs.
void multiply_few_rows_in_pieces(Queue& queue, const RowProduct& product, const float* x, const float* weight,
                                 const float* bias, float* y) {
  constexpr std::int64_t outputs_of_a_piece = 96;
  const bool transposed = product.use == WeightUse::transposed;
  for_pieces(queue, product.outputs, outputs_of_a_piece, [&](std::int64_t, Piece piece) {
    const std::int64_t outputs = piece.end - piece.begin;
    multiply_on_this_thread('N', transposed ? 'T' : 'N', product.rows, outputs, product.inputs, x, product.inputs,
                            weight + piece.begin * (transposed ? product.inputs : 1),
                            transposed ? product.inputs : product.outputs, false, y + piece.begin, product.outputs);
    if (!bias) return;
    for (std::int64_t row = 0; row < product.rows; ++row) {
      float* to = y + row * product.outputs + piece.begin;
      for_vectors(outputs, [&](std::int64_t c, auto part) {
        store(to + c, load(to + c, part) + load(bias + piece.begin + c, part), part);
      });
    }
  });
}

}  // namespace

void multiply_few_rows(Queue& queue, const RowProduct& product, const void* x, const void* weight, const float* bias,
                       void* y) {
  if (library_cuts_sums_for_threads())
    return multiply_few_rows_in_pieces(queue, product, static_cast<const float*>(x), static_cast<const float*>(weight),
                                       bias, static_cast<float*>(y));
  const ThreadsOfOneDnn all_threads(queue.threads());
  cached<WholeProduct>(queue, key_of(plain_product, product, product.rows), [&] {
    return WholeProduct{.product = dnnl::matmul(
                            describe(queue, product, product.rows, weight_matrix(product), Scratch::of_the_library)),
                        .left = unbound(queue, matrix(product.rows, product.inputs, product.type)),
                        .right = unbound(queue, weight_matrix(product)),
                        .out = unbound(queue, matrix(product.rows, product.outputs, product.output_type)),
                        .bias = unbound(queue, bias_row(product.outputs))};
  }).multiply(queue, x, weight, bias, y);
}

namespace {

/// Divided into tiles of c: large enough that one thread multiplies at full speed, and at least 6 of them if c has that
/// many of 48 rows.
void multiply_transposed_in_tiles(Queue& queue, const SumProduct& product, const float* a, const float* b, float* c) {
  constexpr std::int64_t columns = 384, fewest_rows = 48, wanted = 6;
  const std::int64_t across = pieces_of(product.n, columns);
  std::int64_t rows = 192;
  while (rows > fewest_rows && pieces_of(product.m, rows) * across < wanted) rows /= 2;
  for_pieces(queue, pieces_of(product.m, rows) * across, 1, [&](std::int64_t tile, Piece) {
    const std::int64_t row = tile / across * rows, column = tile % across * columns;
    multiply_on_this_thread('T', 'N', std::min(rows, product.m - row), std::min(columns, product.n - column), product.k,
                            a + row, product.m, b + column, product.n, product.accumulate, c + row * product.n + column,
                            product.n);
  });
}

void multiply_transposed_floats(Queue& queue, const SumProduct& product, const float* a, const float* b, float* c) {
  if (library_cuts_sums_for_threads()) return multiply_transposed_in_tiles(queue, product, a, b, c);
  const ThreadsOfOneDnn all_threads(queue.threads());
  const dnnl_status_t status = dnnl_sgemm('T', 'N', product.m, product.n, product.k, 1.0F, a, product.m, b, product.n,
                                          product.accumulate ? 1.0F : 0.0F, c, product.n);
  if (status != dnnl_success)
    throw SystemError(fmt::format("oneDNN's sgemm failed with status {}", static_cast<int>(status)));
}

constexpr std::int64_t widened_rows = 512;  // of a and b at once

std::int64_t widened_bytes(const SumProduct& product) {
  const std::int64_t rows = std::min(product.k, widened_rows);
  return page_bytes(rows * product.m) + page_bytes(rows * product.n);
}

/// Some rows of both sides at a time.
void multiply_transposed_widened(Queue& queue, SumProduct product, const bfloat16* a, const bfloat16* b, void* c,
                                 std::byte* workspace) {
  const bool rounds = product.output_type == DType::bfloat16;
  auto* const wide_a = reinterpret_cast<float*>(workspace);
  float* const wide_b =
      wide_a + page_bytes(std::min(product.k, widened_rows) * product.m) / static_cast<std::int64_t>(sizeof(float));
  auto* const sum = static_cast<float*>(rounds ? workspace + widened_bytes(product) : c);
  const std::int64_t all_rows = product.k;
  for (std::int64_t row = 0; row < all_rows; row += widened_rows) {
    product.k = std::min(widened_rows, all_rows - row);
    convert_on_all_threads(queue, a + row * product.m, wide_a, product.k * product.m);
    convert_on_all_threads(queue, b + row * product.n, wide_b, product.k * product.n);
    multiply_transposed_floats(queue, product, wide_a, wide_b, sum);
    product.accumulate = true;
  }
  if (rounds) convert_on_all_threads(queue, sum, static_cast<bfloat16*>(c), product.m * product.n);
}

/// The size of a tile of c, and the number of tiles. One thread makes a tile: with several threads and AMX (2.6.3) the
/// primitive divides the sum among them, and the bits would depend on their number.
struct Tiles {
  std::int64_t rows, columns, down, across;
};

/// Tiles large enough that packing costs little, and at least 4 of them if c has that many of 96 rows.
Tiles tiles_of(const SumProduct& product) {
  constexpr std::int64_t largest = 384, fewest_rows = 96, wanted = 4;
  Tiles tiles{
      .rows = largest, .columns = std::min(largest, product.n), .down = 0, .across = pieces_of(product.n, largest)};
  while (tiles.rows > fewest_rows && pieces_of(product.m, tiles.rows) * tiles.across < wanted) tiles.rows /= 2;
  tiles.rows = std::min(tiles.rows, product.m);
  tiles.down = pieces_of(product.m, tiles.rows);
  return tiles;
}

/// The primitive of one tile of c, on one thread.
struct TileProduct {
  /// Belongs to one thread: threads share the primitive, not its operands.
  struct Operands {
    dnnl::memory left, right, out, scratch;
  };
  dnnl::matmul product;
  std::size_t scratch_bytes;
  std::vector<Operands> of_thread;
};

TileProduct& tile_product(Queue& queue, const SumProduct& product, std::int64_t rows, std::int64_t columns) {
  const PrimitiveKey key{transposed_product,
                         rows,
                         columns,
                         product.k,
                         product.m,
                         product.n,
                         product.accumulate,
                         static_cast<std::int64_t>(product.output_type)};
  return cached<TileProduct>(queue, key, [&] {
    const ThreadsOfOneDnn one_thread(1);
    const auto part = [](std::int64_t height, std::int64_t width, DType type, dnnl::memory::dims strides) {
      return dnnl::memory::desc({height, width}, type_of(type), strides);
    };
    const dnnl::memory::desc left = part(rows, product.k, product.type, {1, product.m});
    const dnnl::memory::desc right = part(product.k, columns, product.type, {product.n, 1});
    const dnnl::memory::desc out = part(rows, columns, product.output_type, {product.n, 1});
    dnnl::post_ops after;
    if (product.accumulate) after.append_sum(1.0F);
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(after);
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(left, right, out), attributes,
                                                   queue.backend().engine);
    const dnnl::memory::desc scratch = description.scratchpad_desc();
    TileProduct made{.product = dnnl::matmul(description), .scratch_bytes = scratch.get_size(), .of_thread = {}};
    for (int thread = 0; thread < queue.threads(); ++thread)
      made.of_thread.push_back(
          {unbound(queue, left), unbound(queue, right), unbound(queue, out), unbound(queue, scratch)});
    return made;
  });
}

/// Scratch bytes of one thread. Makes the primitives of all tiles, with and without a sum to add to: the last ones of a
/// row or a column may be smaller.
std::int64_t scratch_of_tiles(Queue& queue, SumProduct product) {
  const Tiles tiles = tiles_of(product);
  std::size_t bytes = 0;
  for (const std::int64_t rows : {tiles.rows, product.m % tiles.rows})
    for (const std::int64_t columns : {tiles.columns, product.n % tiles.columns})
      if (rows > 0 && columns > 0) bytes = std::max(bytes, tile_product(queue, product, rows, columns).scratch_bytes);
  return rounded_up(static_cast<std::int64_t>(bytes), 4096);
}

void multiply_transposed_halves(Queue& queue, const SumProduct& product, const bfloat16* a, const bfloat16* b, void* c,
                                std::byte* workspace) {
  const Tiles tiles = tiles_of(product);
  const std::int64_t scratch_bytes = scratch_of_tiles(queue, product);
  for_pieces(queue, tiles.down * tiles.across, 1, [&](std::int64_t tile, Piece) {
    const std::int64_t row = tile / tiles.across * tiles.rows, column = tile % tiles.across * tiles.columns;
    const ThreadsOfOneDnn one_thread(1);
    const int thread = omp_get_thread_num();
    TileProduct& part = tile_product(queue, product, std::min(tiles.rows, product.m - row),
                                     std::min(tiles.columns, product.n - column));
    TileProduct::Operands& own = part.of_thread[static_cast<std::size_t>(thread)];
    own.left.set_data_handle(writable(a + row));
    own.right.set_data_handle(writable(b + column));
    own.out.set_data_handle(static_cast<std::byte*>(c) +
                            static_cast<std::size_t>(row * product.n + column) * bytes_of(product.output_type));
    own.scratch.set_data_handle(workspace + thread * scratch_bytes);
    const Argument arguments[] = {{DNNL_ARG_SRC, own.left.get()},
                                  {DNNL_ARG_WEIGHTS, own.right.get()},
                                  {DNNL_ARG_DST, own.out.get()},
                                  {DNNL_ARG_SCRATCHPAD, own.scratch.get()}};
    execute(queue, part.product, arguments);
  });
}

}  // namespace

std::size_t workspace_bytes(Queue& queue, const SumProduct& product) {
  if (product.type == DType::float32) return 0;
  if (!is_widened(product.type)) return static_cast<std::size_t>(queue.threads() * scratch_of_tiles(queue, product));
  const std::int64_t sum = product.output_type == DType::bfloat16 ? page_bytes(product.m * product.n) : 0;
  return static_cast<std::size_t>(widened_bytes(product) + sum);
}

// Tiles of our own with both sides packed along the summed dimension were tried here: no faster in bfloat16, and a
// fifth slower than sgemm in float32.
void multiply_transposed(Queue& queue, const SumProduct& product, const void* a, const void* b, void* c,
                         std::byte* workspace) {
  // At least as fast as the matmul primitive with a transposed source, whose bits depend on the number of threads.
  if (product.type == DType::float32)
    return multiply_transposed_floats(queue, product, static_cast<const float*>(a), static_cast<const float*>(b),
                                      static_cast<float*>(c));
  const auto* const halves_of_a = static_cast<const bfloat16*>(a);
  const auto* const halves_of_b = static_cast<const bfloat16*>(b);
  if (is_widened(product.type))
    return multiply_transposed_widened(queue, product, halves_of_a, halves_of_b, c, workspace);
  multiply_transposed_halves(queue, product, halves_of_a, halves_of_b, c, workspace);
}

}  // namespace penstock::ops
