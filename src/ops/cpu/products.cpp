#include "ops/cpu/products.hpp"

#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <functional>

#include "device/cpu/backend.hpp"
#include "ops/cpu/parallel.hpp"

namespace penstock::ops {
namespace {

enum Operation : std::int64_t { packed_product = 1, plain_product, transposed_product };

dnnl::memory::data_type type_of(DType type) {
  return type == DType::float32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::memory::desc matrix(std::int64_t rows, std::int64_t columns, DType type) {
  return {{rows, columns}, type_of(type), dnnl::memory::dims{columns, 1}};
}

/// A [rows, columns] matrix that lies in memory as [columns, rows].
dnnl::memory::desc transposed_matrix(std::int64_t rows, std::int64_t columns, DType type) {
  return {{rows, columns}, type_of(type), dnnl::memory::dims{1, rows}};
}

dnnl::memory::desc weight_matrix(const RowProduct& product) {
  return product.use == WeightUse::transposed ? transposed_matrix(product.inputs, product.outputs, product.type)
                                              : matrix(product.inputs, product.outputs, product.type);
}

dnnl::memory::desc bias_row(std::int64_t outputs) { return matrix(1, outputs, DType::float32); }

/// oneDNN compiles and runs a primitive for as many threads as OpenMP would give it.
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

dnnl::matmul::primitive_desc describe(Queue& queue, const RowProduct& product, std::int64_t rows, const dnnl::memory::desc& weight) {
  const dnnl::memory::desc x = matrix(rows, product.inputs, product.type);
  const dnnl::memory::desc y = matrix(rows, product.outputs, product.output_type);
  const dnnl::matmul::desc operation =
      product.bias ? dnnl::matmul::desc(x, weight, bias_row(product.outputs), y) : dnnl::matmul::desc(x, weight, y);
  return {operation, queue.backend().engine};
}

PrimitiveKey key_of(Operation operation, const RowProduct& product, std::int64_t rows) {
  return {operation, rows, product.inputs, product.outputs,
          static_cast<std::int64_t>(product.type) * 16 + static_cast<std::int64_t>(product.output_type),
          static_cast<std::int64_t>(product.use), product.bias, 0};
}

void* writable(const void* data) { return const_cast<void*>(data); }  // dnnl::memory has no const form

void execute_product(const dnnl::matmul& product, const dnnl::stream& stream, const dnnl::memory& x, const dnnl::memory& weight,
                     const dnnl::memory& y, const dnnl::memory* bias) {
  if (bias)
    product.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, y}, {DNNL_ARG_BIAS, *bias}});
  else
    product.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, y}});
}

}  // namespace

struct BlockedProduct::Primitive {
  dnnl::memory::desc x;
  dnnl::memory::desc y;
  dnnl::memory::desc weight;
  dnnl::memory::desc packed_weight;
  dnnl::memory::desc bias;
  dnnl::matmul product;
  dnnl::reorder pack;

  Primitive(const dnnl::matmul::primitive_desc& description, const RowProduct& of, const dnnl::reorder& packing)
      : x(description.src_desc()),
        y(description.dst_desc()),
        weight(weight_matrix(of)),
        packed_weight(description.weights_desc()),
        bias(bias_row(of.outputs)),
        product(description),
        pack(packing) {}
};

BlockedProduct::Primitive& BlockedProduct::primitive(Queue& queue, const RowProduct& product, std::int64_t rows) {
  return cached<Primitive>(queue, key_of(packed_product, product, rows), [&] {
    const dnnl::engine& engine = queue.backend().engine;
    // A short last block reads the weight as the whole blocks packed it.
    const std::int64_t whole_rows = block_rows(product.outputs, product.output_type);
    const dnnl::memory::desc any{{product.inputs, product.outputs}, type_of(product.type), dnnl::memory::format_tag::any};
    const dnnl::memory::desc weight = rows == whole_rows ? any : primitive(queue, product, whole_rows).packed_weight;
    const dnnl::matmul::primitive_desc description = [&] {
      const ThreadsOfOneDnn one_thread(1);
      return describe(queue, product, rows, weight);
    }();
    const ThreadsOfOneDnn all_threads(queue.threads());
    const dnnl::reorder pack(
        dnnl::reorder::primitive_desc(engine, weight_matrix(product), engine, description.weights_desc()));
    const ThreadsOfOneDnn one_thread(1);
    return Primitive(description, product, pack);
  });
}

std::int64_t BlockedProduct::block_rows(std::int64_t outputs, DType output_type) {
  constexpr std::int64_t wanted_bytes = 384 << 10;
  const std::int64_t rows = wanted_bytes / (outputs * static_cast<std::int64_t>(bytes_of(output_type)));
  return std::clamp<std::int64_t>(rows / 32 * 32, 32, 256);
}

std::size_t BlockedProduct::packed_bytes(Queue& queue, const RowProduct& product) {
  return primitive(queue, product, block_rows(product.outputs, product.output_type)).packed_weight.get_size();
}

BlockedProduct::BlockedProduct(Queue& queue, const RowProduct& product, const void* weight, const float* bias, std::byte* packed)
    : queue_(&queue), block_rows_(block_rows(product.outputs, product.output_type)), bias_(bias), packed_(packed) {
  const Primitive& whole = primitive(queue, product, block_rows_);
  whole_ = &whole;
  rest_ = product.rows % block_rows_ ? &primitive(queue, product, product.rows % block_rows_) : nullptr;
  const ThreadsOfOneDnn all_threads(queue.threads());
  const dnnl::engine& engine = queue.backend().engine;
  dnnl::memory from(whole.weight, engine, writable(weight));
  dnnl::memory to(whole.packed_weight, engine, packed);
  whole.pack.execute(queue.backend().stream, from, to);
}

void BlockedProduct::multiply(const void* x, void* y, std::int64_t rows) const {
  const Primitive& primitive = rows == block_rows_ ? *whole_ : *rest_;
  const dnnl::engine& engine = queue_->backend().engine;
  const dnnl::memory from(primitive.x, engine, writable(x));
  const dnnl::memory weight(primitive.packed_weight, engine, writable(packed_));
  const dnnl::memory to(primitive.y, engine, y);
  const dnnl::memory bias = bias_ ? dnnl::memory(primitive.bias, engine, writable(bias_)) : dnnl::memory();
  execute_product(primitive.product, queue_->backend().stream, from, weight, to, bias_ ? &bias : nullptr);
}

void multiply_few_rows(Queue& queue, const RowProduct& product, const void* x, const void* weight, const float* bias, void* y) {
  const ThreadsOfOneDnn all_threads(queue.threads());
  const dnnl::engine& engine = queue.backend().engine;
  const dnnl::matmul& primitive = cached<dnnl::matmul>(queue, key_of(plain_product, product, product.rows), [&] {
    return dnnl::matmul(describe(queue, product, product.rows, weight_matrix(product)));
  });
  const dnnl::memory from(matrix(product.rows, product.inputs, product.type), engine, writable(x));
  const dnnl::memory by(weight_matrix(product), engine, writable(weight));
  const dnnl::memory to(matrix(product.rows, product.outputs, product.output_type), engine, y);
  const dnnl::memory plus = bias ? dnnl::memory(bias_row(product.outputs), engine, writable(bias)) : dnnl::memory();
  execute_product(primitive, queue.backend().stream, from, by, to, bias ? &plus : nullptr);
}

void multiply_transposed(Queue& queue, const SumProduct& product, const void* a, const void* b, float* c) {
  const ThreadsOfOneDnn all_threads(queue.threads());
  if (product.type == DType::float32) {  // measured: 5 % faster than the matmul primitive with a transposed source
    const dnnl_status_t status =
        dnnl_sgemm('T', 'N', product.m, product.n, product.k, 1.0F, static_cast<const float*>(a), product.m,
                   static_cast<const float*>(b), product.n, product.accumulate ? 1.0F : 0.0F, c, product.n);
    if (status != dnnl_success) throw SystemError(fmt::format("oneDNN's sgemm failed with status {}", static_cast<int>(status)));
    return;
  }
  const dnnl::engine& engine = queue.backend().engine;
  const dnnl::memory::desc left = transposed_matrix(product.m, product.k, product.type);
  const dnnl::memory::desc right = matrix(product.k, product.n, product.type);
  const dnnl::memory::desc out = matrix(product.m, product.n, DType::float32);
  const PrimitiveKey key{transposed_product, product.m, product.n, product.k, product.accumulate, 0, 0, 0};
  const dnnl::matmul& primitive = cached<dnnl::matmul>(queue, key, [&] {
    dnnl::post_ops after;
    if (product.accumulate) after.append_sum(1.0F);
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(after);
    return dnnl::matmul({dnnl::matmul::desc(left, right, out), attributes, engine});
  });
  execute_product(primitive, queue.backend().stream, dnnl::memory(left, engine, writable(a)),
                  dnnl::memory(right, engine, writable(b)), dnnl::memory(out, engine, c), nullptr);
}

}  // namespace penstock::ops
