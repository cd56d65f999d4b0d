// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tensors for tests: fresh random inputs from a seed that is printed, outputs that hold NaN until they are written, and
// the comparison of two results. PENSTOCK_TEST_SEED=<number> repeats a run. The host and the device both work on their
// memory; where that means pinned memory the build defines PENSTOCK_TEST_PINNED, and the environment of a test makes
// every operation end before its call returns.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "device/memory.hpp"
#include "device/queue.hpp"
#include "ops/reference/values.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::test {

#ifdef PENSTOCK_TEST_PINNED
using TestMemory = HostMemory;
#else
/// Owns memory from the heap, exactly as long as it says, so that the address sanitizer sees a step beyond it.
class TestMemory {
 public:
  TestMemory() = default;
  explicit TestMemory(std::size_t bytes) : data_(static_cast<std::byte*>(::operator new(bytes, alignment))) {}

  std::byte* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t alignment{128};  // as an Arena gives it
  struct Free {
    void operator()(std::byte* bytes) const { ::operator delete(bytes, alignment); }
  };

  std::unique_ptr<std::byte, Free> data_;
};
#endif

/// One value that operations read or write where they work; a copy has a place of its own.
template <typename T>
class Shared {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  explicit Shared(const T& value = T{}) : memory_(sizeof(T)) { new (memory_.data()) T(value); }
  Shared(const Shared& other) : Shared(*other) {}
  Shared& operator=(const Shared& other) {
    **this = *other;
    return *this;
  }

  T* get() const { return std::launder(reinterpret_cast<T*>(memory_.data())); }
  T& operator*() const { return *get(); }
  T* operator->() const { return get(); }

 private:
  TestMemory memory_;
};

/// Owns a tensor that starts poisoned: every byte 0xff, which is NaN in all floating types and -1 in int32.
/// A default-constructed one is an absent view.
class TestTensor {
 public:
  TestTensor() = default;
  TestTensor(DType type, const Shape& shape) : shape_(shape), type_(type) {
    memory_ = TestMemory(view().bytes());
    fill(0xff);
  }
  TestTensor(const TestTensor& other) : shape_(other.shape_), type_(other.type_) {
    if (!other.memory_.data()) return;
    memory_ = TestMemory(view().bytes());
    std::memcpy(memory_.data(), other.memory_.data(), view().bytes());
  }
  TestTensor(TestTensor&&) = default;
  TestTensor& operator=(TestTensor other) {
    std::swap(memory_, other.memory_);
    std::swap(shape_, other.shape_);
    std::swap(type_, other.type_);
    return *this;
  }

  TensorView view() const { return {memory_.data(), type_, shape_}; }
  operator TensorView() const { return view(); }  // NOLINT: arguments of operations read better without .view()

  /// Sets every byte.
  void fill(int byte) { std::memset(memory_.data(), byte, view().bytes()); }

 private:
  TestMemory memory_;
  Shape shape_;
  DType type_ = DType::float32;
};

/// Makes inputs; each is another stream under one seed.
class RandomTensors {
 public:
  RandomTensors() : seed_(fresh_seed()) {
    std::printf("seed: PENSTOCK_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed_));
  }

  /// Normal numbers, rounded to the type.
  TestTensor normal(DType type, const Shape& shape, double deviation = 1, double mean = 0) {
    const RandomKey key = next_key();
    reference::Values values(static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = mean + deviation * random_normal(key, i);
    TestTensor tensor(type, shape);
    reference::write(tensor, values);
    return tensor;
  }

  /// int32 numbers in [begin, end).
  TestTensor integers(const Shape& shape, std::int32_t begin, std::int32_t end) {
    const RandomKey key = next_key();
    TestTensor tensor(DType::int32, shape);
    const auto numbers = static_cast<std::uint32_t>(end - begin);
    for (std::int64_t i = 0; i < shape.elements(); ++i)
      tensor.view().data<std::int32_t>()[i] =
          begin + static_cast<std::int32_t>(random_words(key, static_cast<std::uint64_t>(i))[0] % numbers);
    return tensor;
  }

  /// A key of its own, for a dropout site.
  RandomKey next_key() { return random_key(seed_, "test tensor " + std::to_string(count_++)); }

 private:
  static std::uint64_t fresh_seed() {
    if (const char* given = std::getenv("PENSTOCK_TEST_SEED")) return std::strtoull(given, nullptr, 10);
    return std::random_device{}();
  }

  std::uint64_t seed_;
  int count_ = 0;
};

/// How two results differ, in the units of what is expected.
struct Difference {
  double norm = 0;     ///< L2 norm of the difference over that of `expected`
  double largest = 0;  ///< largest difference of an element over the root mean square of `expected`
};

/// Equal infinities differ by nothing; a NaN makes `norm` NaN, which is under no bound. The root mean square of
/// `expected` counts as at least `unit`; where it is 0 the difference itself is given.
inline Difference difference(const TensorView& actual, const TensorView& expected, double unit = 0) {
  const reference::Values a = reference::read(actual), e = reference::read(expected);
  ensure(a.size() == e.size(), "difference: tensors of different sizes");
  double errors = 0, squares = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double error = a[i] == e[i] ? 0 : std::abs(a[i] - e[i]);
    errors += error * error;
    largest = std::max(largest, error);
    if (std::isfinite(e[i])) squares += e[i] * e[i];
  }
  const auto count = static_cast<double>(a.size());
  const double size = std::max(std::sqrt(squares / count), unit);
  return size > 0 ? Difference{std::sqrt(errors / count) / size, largest / size}
                  : Difference{std::sqrt(errors), largest};
}

/// |actual - expected| / |expected| in the L2 norm.
inline double relative_difference(const TensorView& actual, const TensorView& expected) {
  return difference(actual, expected).norm;
}

/// Relative norm up to which a backend may differ from the reference, where operands are of this type.
/// float32 1e-5: a rounding is 6e-8, sums of up to some thousand terms lose a factor of ten to fifty, and cancellation
/// in gradients a little more. bfloat16 1e-2: a rounding is at most 2^-8 = 0.004 (in the mean square 0.0017) and a
/// result carries two or three (stored intermediates, the result itself); sums are float32 and add nothing.
constexpr double tolerance_of(DType type) { return type == DType::bfloat16 ? 1e-2 : 1e-5; }

/// Whether a backend's result is the reference's up to rounding: in norm, and no element off by fifty times as much of
/// the root mean square (elements are unequal in size, and their errors with them). Give as `unit` the size of the
/// terms of which the result is the sum where it has few elements: all of them may happen to be small by cancellation,
/// and their errors are those of the terms.
inline ::testing::AssertionResult is_close(const TensorView& actual, const TensorView& expected, double tolerance,
                                           double unit = 0) {
  const Difference found = difference(actual, expected, unit);
  if (found.norm <= tolerance && found.largest <= 50 * tolerance) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "relative norm of the difference " << found.norm << " (allowed " << tolerance
                                       << "), largest difference / root mean square " << found.largest << " (allowed "
                                       << 50 * tolerance << "), shape " << expected.shape().text();
}

inline bool same_bits(const TensorView& a, const TensorView& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// Fills the queue's workspace with a byte, where the host can write to it.
inline void fill_workspace([[maybe_unused]] Queue& queue, [[maybe_unused]] int byte) {
#ifndef PENSTOCK_TEST_PINNED
  if (const std::size_t bytes = queue.workspace_bytes()) std::memset(queue.workspace(bytes), byte, bytes);
#endif
}

/// Whether the bits of the outputs that `run` writes are the same whatever the outputs and the queue's workspace held
/// before. `run` sets what it adds to itself.
inline ::testing::AssertionResult ignores_old_memory(Queue& queue, const std::vector<TestTensor*>& outputs,
                                                     const std::function<void()>& run) {
  const auto run_after = [&](int byte) {
    for (TestTensor* output : outputs) output->fill(byte);
    fill_workspace(queue, byte);
    run();
    std::vector<TestTensor> copies;
    for (const TestTensor* output : outputs) copies.push_back(*output);
    return copies;
  };
  run();  // grows the workspace
  const std::vector<TestTensor> after_nan = run_after(0xff), after_zero = run_after(0);
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (!same_bits(after_nan[i], after_zero[i]))
      return ::testing::AssertionFailure() << "output " << i << " depends on what memory held before";
  return ::testing::AssertionSuccess();
}

}  // namespace penstock::test
