// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/array_reader.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>

#include "base/fault.hpp"
#include "base/user_path.hpp"
#include "checkpoint/name_list.hpp"
#include "storage/owner.hpp"

namespace penstock {

namespace {

constexpr std::string_view cure = "use another checkpoint (`penstock checkpoint list` shows them)";

[[noreturn]] void throw_damaged(const std::filesystem::path& path, std::string_view why) {
  throw_input_error("{}: damaged or cut off: {}; {}", path.string(), why, cure);
}

[[noreturn]] void throw_no_answer(const std::filesystem::path& path, int reason) {
  throw CannotOpen(
      fmt::format("{}: cannot be read: {}: that says nothing about what it holds; try again when the cause is gone",
                  path.string(), std::strerror(reason)));
}

// The system's error when the file was opened.
[[noreturn]] void throw_not_opened(const std::filesystem::path& path, int reason) {
  if (reason == EACCES || reason == EPERM)
    throw CannotOpen(fmt::format("{}: cannot be read: {}: {}", path.string(), std::strerror(reason),
                                 cure_of_no_permission(path, "r")));
  if (reason != ENOENT && reason != ENOTDIR) throw_no_answer(path, reason);
  throw CannotOpen(
      fmt::format("{}: cannot be read: {}; `penstock checkpoint list RUN/checkpoints` names the files of a run, "
                  "--restart latest takes the newest whole one",
                  path.string(), std::strerror(reason)));
}

// An error of HDF5 when opening or reading.
[[noreturn]] void throw_not_read(const std::filesystem::path& path, const Hdf5Error& error) {
  if (error.cause().open_elsewhere)
    throw CannotOpen(
        fmt::format("{}: open for writing elsewhere; close it, or run h5clear -s {} where the program that had it open "
                    "was killed ({})",
                    path.string(), path.string(), error.what()));
  if (error.cause().system != 0) throw_no_answer(path, error.cause().system);
  throw_damaged(path, error.what());
}

// Checks with the system first, because HDF5's chain of reasons is long.
void ensure_readable(const std::filesystem::path& path) {
  std::error_code error;
  auto status = std::filesystem::status(path, error);
  for (const std::errc name : {std::errc::filename_too_long, std::errc::too_many_symbolic_link_levels,
                               std::errc::no_such_file_or_directory})  // the name itself may be wrong
    if (error == name) status = status_of_path(path, cure);
  if (std::filesystem::is_directory(status))
    throw_input_error("{}: is a folder, not a file; name a file in it", path.string());
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))  // opening a pipe would wait
    throw_input_error("{}: is not a regular file; {}", path.string(), cure);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw_not_opened(path, errno);
  close(file);
}

// A file that is truncated near its beginning is also an error to HDF5.
bool begins_as_hdf5(const std::filesystem::path& path) try {
  return check_hdf5(H5Fis_hdf5(path.c_str()), "looking for its beginning") > 0;
} catch (const Hdf5Error& error) {
  if (error.cause().system != 0) throw;
  return false;
}

Hdf5File open_to_read(const std::filesystem::path& path) {
  start_hdf5();
  ensure_readable(path);
  if (!begins_as_hdf5(path))
    throw_input_error("{}: not an HDF5 file, or its beginning is damaged; {}", path.string(), cure);
  const Hdf5Properties access = make_properties(H5P_FILE_ACCESS);
  check_hdf5(H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG), "choosing how files close");
#if H5_VERSION_GE(1, 10, 7)
  check_hdf5(H5Pset_file_locking(access.id(), false, true), "turning file locks off");
#endif
  return Hdf5File(check_hdf5(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), "opening"));
}

Shape shape_of(const Hdf5Dataset& dataset) {
  const Hdf5Space space(check_hdf5(H5Dget_space(dataset.id()), "reading a shape"));
  const int dimensions = check_hdf5(H5Sget_simple_extent_ndims(space.id()), "reading a shape");
  if (dimensions < 1 || dimensions > Shape::most_dimensions)
    throw Hdf5Error(fmt::format("an array of {} dimensions", dimensions));
  std::array<hsize_t, Shape::most_dimensions> e{};
  check_hdf5(H5Sget_simple_extent_dims(space.id(), e.data(), nullptr), "reading a shape");
  const auto extent = [&](std::size_t d) { return static_cast<std::int64_t>(e[d]); };
  switch (dimensions) {
    case 1:
      return {extent(0)};
    case 2:
      return {extent(0), extent(1)};
    case 3:
      return {extent(0), extent(1), extent(2)};
    case 4:
      return {extent(0), extent(1), extent(2), extent(3)};
    default:
      return {extent(0), extent(1), extent(2), extent(3), extent(4)};
  }
}

std::optional<DType> type_of(const Hdf5Dataset& dataset) {
  const Hdf5Type type(check_hdf5(H5Dget_type(dataset.id()), "reading a type"));
  for (const DType known : {DType::float32, DType::int32})
    if (check_hdf5(H5Tequal(type.id(), file_type(known)), "comparing types") > 0) return known;
  return std::nullopt;
}

// Without the filter nothing checks the chunks against a checksum.
bool has_checksums(const Hdf5Dataset& dataset) {
  const Hdf5Properties creation(check_hdf5(H5Dget_create_plist(dataset.id()), "reading how an array is stored"));
  const int filters = check_hdf5(H5Pget_nfilters(creation.id()), "looking for checksums");
  for (unsigned f = 0; f < static_cast<unsigned>(filters); ++f) {
    unsigned flags = 0, configuration = 0;
    std::size_t values = 0;
    if (H5Pget_filter2(creation.id(), f, &flags, &values, nullptr, 0, nullptr, &configuration) == H5Z_FILTER_FLETCHER32)
      return true;
  }
  return false;
}

Hdf5Dataset open_array(const Hdf5File& file, const std::string& path) {
  return Hdf5Dataset(check_hdf5(H5Dopen2(file.id(), path.c_str(), H5P_DEFAULT), "opening " + path));
}

// A value of the file that must have this type; nothing if it is missing.
template <typename T>
std::optional<T> value_in(const Hdf5File& file, std::string_view name) {
  const std::optional<Attribute> attribute = read_attribute(file.id(), std::string(name));
  if (!attribute || !std::holds_alternative<T>(attribute->value)) return std::nullopt;
  return std::get<T>(attribute->value);
}

// The file's format and version.
FileFormat format_in(const std::filesystem::path& path, const Hdf5File& file, const std::vector<FileFormat>& allowed) {
  const auto name = value_in<std::string>(file, "format");
  const auto format =
      std::find_if(allowed.begin(), allowed.end(), [&](const FileFormat& f) { return name && f.name == *name; });
  if (format == allowed.end())
    throw_input_error("{}: an HDF5 file, but not a {} (attribute `format` is {}); {}", path.string(),
                      allowed.front().name, name ? "\"" + *name + "\"" : "missing", cure);
  const auto version = value_in<std::int64_t>(file, "format_version");
  if (!version) throw_damaged(path, "attribute `format_version` is missing");
  if (*version < oldest_version || *version > format->version)
    throw CannotOpen(fmt::format(
        "{}: format_version = {}; this program reads versions {} to {}; use the version of Penstock that wrote it",
        path.string(), *version, oldest_version, format->version));
  return {format->name, *version};
}

void ensure_complete(const std::filesystem::path& path, const Hdf5File& file) {
  const auto complete = value_in<std::int64_t>(file, complete_name);
  if (!complete || *complete != 1)
    throw_input_error("{}: not complete: its writing was interrupted (attribute `complete` is {}); {}", path.string(),
                      complete ? std::to_string(*complete) : "missing", cure);
}

// Missing names are skipped; the digest shows it.
void add_attribute(hid_t object, const std::string& name, std::vector<Attribute>& attributes) {
  if (std::optional<Attribute> attribute = read_attribute(object, name)) attributes.push_back(std::move(*attribute));
}

// ---- Version 1: the names that it wrote. ----

std::vector<std::string> hard_links(const Hdf5File& file, const std::string& group_name) {
  std::vector<std::string> names;
  if (check_hdf5(H5Lexists(file.id(), group_name.c_str(), H5P_DEFAULT), "looking for " + group_name) == 0) return names;
  const Hdf5Group group(
      check_hdf5(H5Gopen2(file.id(), group_name.c_str(), H5P_DEFAULT), "opening group " + group_name));
  const auto add = [](hid_t, const char* name, const H5L_info_t* link, void* out) -> herr_t {
    if (link->type == H5L_TYPE_HARD) static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  // This decodes all of them; listing would crash in libhdf5 1.10.8 at one that cannot be decoded.
  check_hdf5(H5Lexists(group.id(), "no link has this name", H5P_DEFAULT), "looking at a group");
  check_hdf5(H5Literate(group.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names), "listing a group");
  return names;
}

void add_arrays_of_group(const Hdf5File& file, const std::string& group, std::vector<ArrayInfo>& arrays) {
  for (const std::string& name : hard_links(file, group)) {
    const std::string path = (group == "/" ? "" : group) + "/" + name;
    H5O_info_t info{};
    check_hdf5(H5Oget_info_by_name2(file.id(), path.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT), "looking at " + path);
    if (info.type != H5O_TYPE_DATASET) continue;
    const Hdf5Dataset dataset = open_array(file, path);
    const std::optional<DType> type = type_of(dataset);
    if (!type || !has_checksums(dataset)) continue;
    arrays.push_back({path, shape_of(dataset), *type, {}});
    add_attribute(dataset.id(), "dimensions", arrays.back().attributes);
  }
}

FileContents contents_of_version_1(const Hdf5File& file, const FileFormat& format) {
  const bool capture = format.name == capture_format.name;
  FileContents contents;
  for (const char* name : {"format", "format_version", "step"}) add_attribute(file.id(), name, contents.attributes);
  if (!capture)
    for (const char* name : {"samples", "seed", "deck"}) add_attribute(file.id(), name, contents.attributes);
  const std::vector<std::string> groups =
      capture ? std::vector<std::string>{"/", "/taps"}
              : std::vector<std::string>{"/parameters", "/optimizer/first_moment", "/optimizer/second_moment"};
  for (const std::string& group : groups) add_arrays_of_group(file, group, contents.arrays);
  if (capture)
    std::erase_if(contents.arrays, [](const ArrayInfo& array) {
      return !array.path.starts_with("/taps/") && array.path != "/tokens" && array.path != "/targets";
    });
  return contents;
}

// ---- From version 2 on: the names that the file states. ----

ArrayInfo stated_array(const Hdf5File& file, const std::string& path) {
  const Hdf5Dataset dataset = open_array(file, path);
  const std::optional<DType> type = type_of(dataset);
  if (!type) throw Hdf5Error(path + " is an array of neither float32 nor int32");
  if (!has_checksums(dataset)) throw Hdf5Error(path + " has no checksums");
  return {path, shape_of(dataset), *type, {}};
}

FileContents stated_contents(const Hdf5File& file) {
  const auto text = value_in<std::string>(file, covered_name);
  auto names = text ? unfolded(*text) : std::nullopt;
  if (!names) throw Hdf5Error(fmt::format("attribute `{}` is {}", covered_name, text ? "no list of names" : "missing"));
  std::sort(names->begin(), names->end());
  if (std::adjacent_find(names->begin(), names->end()) != names->end())
    throw Hdf5Error(fmt::format("attribute `{}` holds a name twice", covered_name));
  FileContents contents;
  std::map<std::string, std::vector<Attribute>> of_arrays;
  for (const std::string& name : *names) {
    const std::size_t at = name.find('@');
    if (!name.starts_with('/'))
      add_attribute(file.id(), name, contents.attributes);
    else if (at == std::string::npos)
      contents.arrays.push_back(stated_array(file, name));
    else
      add_attribute(open_array(file, name.substr(0, at)).id(), name.substr(at + 1), of_arrays[name.substr(0, at)]);
  }
  for (ArrayInfo& array : contents.arrays) array.attributes = std::move(of_arrays[array.path]);
  return contents;
}

// Memory is allocated by the shapes. Arrays are stored uncompressed; a tool that has compressed them since cannot have
// achieved more than this.
void ensure_shapes(const std::vector<ArrayInfo>& arrays, std::uint64_t file_bytes) {
  constexpr double most_compression = 1100;  // of deflate: 1032
  double bytes = 0;                          // does not wrap
  for (const ArrayInfo& array : arrays) {
    double elements = 1;
    for (int d = 0; d < array.shape.dimensions(); ++d)
      elements *= static_cast<double>(std::max<std::int64_t>(0, array.shape[d]));
    if (elements == 0) throw Hdf5Error(fmt::format("{} has the shape {}", array.path, array.shape.text()));
    bytes += elements * static_cast<double>(bytes_of(array.type));
  }
  if (bytes > most_compression * static_cast<double>(file_bytes))
    throw Hdf5Error(fmt::format("arrays of {:.0f} bytes in a file of {}", bytes, file_bytes));
}

}  // namespace

std::vector<Attribute> format_attributes(const FileFormat& format) {
  return {{"format", std::string(format.name)}, {"format_version", format.version}};
}

ArrayReader::ArrayReader(const std::filesystem::path& path, const std::vector<FileFormat>& allowed) try : path_(path) {
  file_ = open_to_read(path_);
  const FileFormat format = format_in(path_, file_, allowed);
  ensure_complete(path_, file_);
  contents_ = format.version == 1 ? contents_of_version_1(file_, format) : stated_contents(file_);
  const std::string stated = value_in<std::string>(file_, digest_name).value_or("missing");
  if (const std::string found = digest_of(contents_); found != stated)
    throw_damaged(path_,
                  fmt::format("its attributes, names and shapes have the digest {}, it states {}", found, stated));
  std::erase_if(contents_.attributes, [](const Attribute& a) { return a.name == covered_name; });
  std::error_code error;
  file_bytes_ = std::filesystem::file_size(path_, error);
  if (error) throw_no_answer(path_, error.value());
  ensure_shapes(contents_.arrays, file_bytes_);
} catch (const Hdf5Error& error) {
  throw_not_read(path, error);
}

const Hdf5Dataset& ArrayReader::opened(const ArrayInfo& array) {
  if (current_ == array.path) return dataset_;
  constexpr std::size_t slots = 521, bytes = std::size_t{16} << 20;
  const Hdf5Properties access = make_properties(H5P_DATASET_ACCESS);
  check_hdf5(H5Pset_chunk_cache(access.id(), slots, bytes, 1.0), "choosing the cache of chunks");
  current_.clear();
  dataset_ = Hdf5Dataset(check_hdf5(H5Dopen2(file_.id(), array.path.c_str(), access.id()), "opening " + array.path));
  chunks_ = ChunkReader::of(dataset_, array.shape);
  current_ = array.path;
  return dataset_;
}

void ArrayReader::read(const ArrayInfo& array, const Box& box, void* values) try {
  const Hdf5Dataset& dataset = opened(array);
  if (chunks_ && chunks_->read(dataset, box, static_cast<std::byte*>(values))) return;
  const Hdf5Space in_file = make_space(array.shape), in_memory = make_space(box.extent);
  select_box(in_file, box.offset.data(), box.extent);
  check_hdf5(H5Dread(dataset.id(), memory_type(array.type), in_memory.id(), in_file.id(), H5P_DEFAULT, values),
             fmt::format("reading {} elements of {}", box.elements(), array.path));
} catch (const Hdf5Error& error) {
  throw_not_read(path_, error);
}

void read_boxes(ArrayReader& reader, const std::vector<BoxRequest>& requests, Progress& progress) {
  for (const BoxRequest& request : requests) {
    const ArrayInfo* array = reader.contents().find(request.array);
    if (!array) throw_input_error("{}: holds no array {}", reader.path().string(), request.array);
    reader.read(*array, request.box, request.destination);
    progress.advance(static_cast<std::uint64_t>(request.box.elements()) * bytes_of(array->type));
  }
}

std::vector<Box> row_blocks(const ArrayInfo& array, std::int64_t bytes) {
  const std::int64_t rows = array.shape[0];
  const std::int64_t row_bytes = array.shape.elements() / rows * static_cast<std::int64_t>(bytes_of(array.type));
  const std::int64_t chunk_rows = chunk_shape(array.shape, array.type)[0];
  const std::int64_t block = std::max<std::int64_t>(1, bytes / (row_bytes * chunk_rows)) * chunk_rows;
  std::vector<Box> blocks;
  for (std::int64_t begin = 0; begin < rows; begin += block)
    blocks.push_back(part_in_rows({{}, array.shape, 0}, {begin, std::min(rows, begin + block), 0}));
  return blocks;
}

void verify_share(ArrayReader& reader, int reader_index, int readers, Progress& progress) {
  std::vector<std::byte> values;
  std::int64_t number = 0;
  for (const ArrayInfo& array : reader.contents().arrays)
    for (const Box& block : row_blocks(array)) {
      if (number++ % readers != reader_index) continue;
      const std::size_t bytes = static_cast<std::size_t>(block.elements()) * bytes_of(array.type);
      values.resize(std::max(values.size(), bytes));  // what grows is cleared: only once
      reader.read(array, block, values.data());
      progress.advance(bytes);
    }
}

}  // namespace penstock
