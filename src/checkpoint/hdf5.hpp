// SPDX-License-Identifier: Apache-2.0
#pragma once
// HDF5's C interface with owners and checks. HDF5 is not thread-safe: in a process that runs an IoThread, only that
// thread may call functions declared here.

#include <hdf5.h>

#include <concepts>
#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "tensor/dtype.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// Why HDF5 refused a call, if the reason says nothing about the file.
struct Hdf5Cause {
  int system = 0;               ///< errno of the file system that did not answer
  bool open_elsewhere = false;  ///< another program has the file open for writing, or was killed meanwhile
};

/// HDF5 refused a call. The message says what was tried and gives HDF5's innermost reason.
class Hdf5Error : public SystemError {
 public:
  explicit Hdf5Error(const std::string& message, Hdf5Cause cause = {}) : SystemError(message), cause_(cause) {}
  const Hdf5Cause& cause() const { return cause_; }

 private:
  Hdf5Cause cause_;
};

/// The cause, from HDF5's text of a reason.
Hdf5Cause cause_in(std::string_view reason);

/// Throws Hdf5Error with `what` was being done and the reason from HDF5's error stack.
[[noreturn]] void throw_hdf5_error(std::string_view what, std::source_location where);

/// Returns `result` (an id, a size, a status or a truth value) unless it is negative: then throws Hdf5Error.
template <std::signed_integral T>
T check_hdf5(T result, std::string_view what, std::source_location where = std::source_location::current()) {
  if (result < 0) [[unlikely]]
    throw_hdf5_error(what, where);
  return result;
}

/// Sets up the library: it prints no errors by itself, and does no clean-up at exit, which would walk through
/// structures that an abandoned reader may still use. Cheap if called again.
void start_hdf5();

/// Logs that an id could not be closed; for destructors, which do not throw.
void log_unclosed(hid_t id) noexcept;

/// Owns one id of a kind that `close_function` closes. Move-only; an empty handle is negative.
template <herr_t (*close_function)(hid_t)>
class Hdf5Handle {
 public:
  Hdf5Handle() = default;
  explicit Hdf5Handle(hid_t id) : id_(id) {}
  ~Hdf5Handle() {
    if (id_ >= 0 && close_function(id_) < 0) log_unclosed(id_);
  }
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }

  hid_t id() const { return id_; }
  bool open() const { return id_ >= 0; }
  /// Closes now, to learn of errors. Throws Hdf5Error; the handle is empty afterwards in any case.
  void close(std::string_view what, std::source_location where = std::source_location::current()) {
    if (id_ >= 0) check_hdf5(close_function(std::exchange(id_, -1)), what, where);
  }

 private:
  hid_t id_ = -1;
};

using Hdf5File = Hdf5Handle<H5Fclose>;
using Hdf5Group = Hdf5Handle<H5Gclose>;
using Hdf5Dataset = Hdf5Handle<H5Dclose>;
using Hdf5Space = Hdf5Handle<H5Sclose>;
using Hdf5Type = Hdf5Handle<H5Tclose>;
using Hdf5Attribute = Hdf5Handle<H5Aclose>;
using Hdf5Properties = Hdf5Handle<H5Pclose>;

/// Creates a property list of a class (H5P_FILE_ACCESS, ...).
Hdf5Properties make_properties(hid_t of_class);

/// Little-endian type in the file, and the type in this machine's memory. float32 and int32 only.
hid_t file_type(DType type);
hid_t memory_type(DType type);

/// A dataspace of the shape, and the selection of a box in it (`offset` has as many elements as `extent` dimensions).
Hdf5Space make_space(const Shape& shape);
void select_box(const Hdf5Space& space, const std::int64_t* offset, const Shape& extent);

/// A named value of a file or an array. Texts are stored with a fixed length, because HDF5 stores texts of variable
/// length in a part of the file without a checksum.
struct Attribute {
  std::string name;
  std::variant<std::int64_t, double, std::string> value;
  bool operator==(const Attribute&) const = default;
};

void write_attribute(hid_t object, const Attribute& attribute);
/// Gives an existing attribute another value of the same type: an integer.
void rewrite_attribute(hid_t object, const std::string& name, std::int64_t value);
/// The object's attribute of this name, or nothing. Throws Hdf5Error for types that write_attribute does not write.
std::optional<Attribute> read_attribute(hid_t object, const std::string& name);

}  // namespace penstock
