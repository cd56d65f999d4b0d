// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/hdf5.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "base/log.hpp"

namespace penstock {

namespace {

// The innermost reason (HDF5 walks upwards from it), on one line: the entries above only say who passed it on.
std::string error_stack_text() {
  std::string text;
  const auto take = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
    auto& reason = *static_cast<std::string*>(out);
    if (reason.empty() && error->desc) reason = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take, &text);
  H5Eclear2(H5E_DEFAULT);
  std::erase(text, '\n');
  return text.empty() ? "no reason given" : text;
}

// HDF5 requires lengths above zero; the end of the text is marked inside.
Hdf5Type text_type(std::size_t length) {
  Hdf5Type type(check_hdf5(H5Tcopy(H5T_C_S1), "making a text type"));
  check_hdf5(H5Tset_size(type.id(), length + 1), "making a text type");
  check_hdf5(H5Tset_strpad(type.id(), H5T_STR_NULLTERM), "making a text type");
  check_hdf5(H5Tset_cset(type.id(), H5T_CSET_UTF8), "making a text type");
  return type;
}

void write_scalar(hid_t object, const std::string& name, hid_t in_file, hid_t in_memory, const void* value) {
  const Hdf5Space scalar(check_hdf5(H5Screate(H5S_SCALAR), "making a scalar"));
  const Hdf5Attribute attribute(check_hdf5(
      H5Acreate2(object, name.c_str(), in_file, scalar.id(), H5P_DEFAULT, H5P_DEFAULT), "making attribute " + name));
  check_hdf5(H5Awrite(attribute.id(), in_memory, value), "writing attribute " + name);
}

std::string read_text(const Hdf5Attribute& attribute, const Hdf5Type& type, const std::string& name) {
  constexpr std::size_t most_bytes = std::size_t{64} << 20;
  const std::size_t bytes = H5Tget_size(type.id());
  if (check_hdf5(H5Tis_variable_str(type.id()), "looking at a text") > 0 || bytes == 0 || bytes > most_bytes)
    throw Hdf5Error(fmt::format("attribute {} is not a text of fixed length", name));
  std::string text(bytes, '\0');
  const Hdf5Type as_stored(check_hdf5(H5Tcopy(type.id()), "copying a text type"));
  check_hdf5(H5Aread(attribute.id(), as_stored.id(), text.data()), "reading attribute " + name);
  return text.substr(0, text.find('\0'));
}

Attribute read_opened(const Hdf5Attribute& attribute, const std::string& name) {
  const Hdf5Type type(check_hdf5(H5Aget_type(attribute.id()), "reading an attribute's type"));
  const Hdf5Space space(check_hdf5(H5Aget_space(attribute.id()), "reading an attribute's shape"));
  if (check_hdf5(H5Sget_simple_extent_npoints(space.id()), "reading an attribute's shape") != 1)
    throw Hdf5Error(fmt::format("attribute {} is not a single value", name));
  Attribute result{name, {}};
  switch (H5Tget_class(type.id())) {
    case H5T_INTEGER: {
      std::int64_t value = 0;
      check_hdf5(H5Aread(attribute.id(), H5T_NATIVE_INT64, &value), "reading attribute " + result.name);
      result.value = value;
      break;
    }
    case H5T_FLOAT: {
      double value = 0;
      check_hdf5(H5Aread(attribute.id(), H5T_NATIVE_DOUBLE, &value), "reading attribute " + result.name);
      result.value = value;
      break;
    }
    case H5T_STRING:
      result.value = read_text(attribute, type, result.name);
      break;
    default:
      throw Hdf5Error(fmt::format("attribute {} is neither a number nor a text", result.name));
  }
  return result;
}

}  // namespace

// HDF5 passes the system's errno on only in its text. If HDF5 followed a damaged address, the system refuses that
// number: then the file is damaged.
Hdf5Cause cause_in(std::string_view reason) {
  constexpr std::string_view number = "errno = ";
  Hdf5Cause cause;
  if (const std::size_t at = reason.find(number); at != std::string_view::npos)
    std::from_chars(reason.data() + at + number.size(), reason.data() + reason.size(), cause.system);
  if (cause.system == EINVAL || cause.system == EOVERFLOW || cause.system == EFBIG) cause.system = 0;
  const bool locked = reason.find("lock file") != std::string_view::npos && cause.system == EAGAIN;
  cause.open_elsewhere = locked || reason.find("already open for") != std::string_view::npos;
  return cause;
}

void throw_hdf5_error(std::string_view what, std::source_location where) {
  const std::string reason = error_stack_text();
  throw Hdf5Error(fmt::format("HDF5, {}: {} ({}:{})", what, reason, where.file_name(), where.line()), cause_in(reason));
}

void start_hdf5() {
  static const bool started = [] {
#if !H5_VERSION_GE(1, 10, 7)
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);  // later versions get it file by file, in the access properties
#endif
    H5dont_atexit();
    check_hdf5(H5open(), "opening the library");
    check_hdf5(H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr), "silencing the library");
    return true;
  }();
  static_cast<void>(started);
}

void log_unclosed(hid_t id) noexcept {
  try {
    log_error("HDF5, closing id {}: {}", id, error_stack_text());
  } catch (...) {  // a destructor cannot report errors
  }
}

Hdf5Properties make_properties(hid_t of_class) {
  return Hdf5Properties(check_hdf5(H5Pcreate(of_class), "making properties"));
}

hid_t file_type(DType type) {
  ensure(type == DType::float32 || type == DType::int32, "array files hold float32 and int32");
  return type == DType::float32 ? H5T_IEEE_F32LE : H5T_STD_I32LE;
}

hid_t memory_type(DType type) {
  ensure(type == DType::float32 || type == DType::int32, "array files hold float32 and int32");
  return type == DType::float32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_INT32;
}

Hdf5Space make_space(const Shape& shape) {
  std::array<hsize_t, Shape::most_dimensions> extents{};
  for (int d = 0; d < shape.dimensions(); ++d) extents[static_cast<std::size_t>(d)] = static_cast<hsize_t>(shape[d]);
  return Hdf5Space(
      check_hdf5(H5Screate_simple(shape.dimensions(), extents.data(), nullptr), "making a space of " + shape.text()));
}

void select_box(const Hdf5Space& space, const std::int64_t* offset, const Shape& extent) {
  std::array<hsize_t, Shape::most_dimensions> start{}, count{};
  for (int d = 0; d < extent.dimensions(); ++d) {
    start[static_cast<std::size_t>(d)] = static_cast<hsize_t>(offset[d]);
    count[static_cast<std::size_t>(d)] = static_cast<hsize_t>(extent[d]);
  }
  check_hdf5(H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
             "selecting a box of " + extent.text());
}

void write_attribute(hid_t object, const Attribute& attribute) {
  if (const auto* integer = std::get_if<std::int64_t>(&attribute.value)) {
    write_scalar(object, attribute.name, H5T_STD_I64LE, H5T_NATIVE_INT64, integer);
  } else if (const auto* real = std::get_if<double>(&attribute.value)) {
    write_scalar(object, attribute.name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, real);
  } else {
    const auto& text = std::get<std::string>(attribute.value);
    const Hdf5Type type = text_type(text.size());
    write_scalar(object, attribute.name, type.id(), type.id(), text.c_str());
  }
}

void rewrite_attribute(hid_t object, const std::string& name, std::int64_t value) {
  const Hdf5Attribute attribute(check_hdf5(H5Aopen(object, name.c_str(), H5P_DEFAULT), "opening attribute " + name));
  check_hdf5(H5Awrite(attribute.id(), H5T_NATIVE_INT64, &value), "writing attribute " + name);
}

// H5Aexists decodes all attributes. Opening one would also fail at an undecodable one, but crash while cleaning up
// (1.10.8).
std::optional<Attribute> read_attribute(hid_t object, const std::string& name) {
  if (check_hdf5(H5Aexists(object, name.c_str()), "looking for attribute " + name) == 0) return std::nullopt;
  return read_opened(Hdf5Attribute(check_hdf5(H5Aopen(object, name.c_str(), H5P_DEFAULT), "opening attribute " + name)),
                     name);
}

}  // namespace penstock
