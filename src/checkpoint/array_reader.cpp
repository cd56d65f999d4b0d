// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/array_reader.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>

#include "base/fault.hpp"

namespace penstock {

namespace {

constexpr std::string_view cure = "use another checkpoint (`penstock checkpoint list` shows them)";

[[noreturn]] void throw_damaged(const std::filesystem::path& path, std::string_view why) {
  throw_input_error("{}: damaged or cut off: {}; {}", path.string(), why, cure);
}

// What the system says about opening, before HDF5's long chain of reasons.
void ensure_readable(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path))
    throw_input_error("{}: is a folder, not a file; name a file in it", path.string());
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path))  // opening a pipe would wait
    throw_input_error("{}: is not a regular file; {}", path.string(), cure);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    throw_input_error(
        "{}: cannot be read: {}; `penstock checkpoint list RUN/checkpoints` names the files of a run, --restart latest "
        "takes the newest whole one",
        path.string(), std::strerror(errno));
  close(file);
}

Hdf5File open_to_read(const std::filesystem::path& path) {
  start_hdf5();
  ensure_readable(path);
  if (H5Fis_hdf5(path.c_str()) <= 0)
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

DType type_of(const Hdf5Dataset& dataset) {
  const Hdf5Type type(check_hdf5(H5Dget_type(dataset.id()), "reading a type"));
  for (const DType known : {DType::float32, DType::int32})
    if (check_hdf5(H5Tequal(type.id(), file_type(known)), "comparing types") > 0) return known;
  throw Hdf5Error("an array of neither float32 nor int32");
}

// Without the filter nothing holds the chunks against a checksum.
void ensure_checksums(const Hdf5Dataset& dataset) {
  const Hdf5Properties creation(check_hdf5(H5Dget_create_plist(dataset.id()), "reading how an array is stored"));
  unsigned flags = 0, configuration = 0;
  std::size_t values = 0;
  check_hdf5(
      H5Pget_filter_by_id2(creation.id(), H5Z_FILTER_FLETCHER32, &flags, &values, nullptr, 0, nullptr, &configuration),
      "looking for checksums");
}

std::vector<std::string> link_names(const Hdf5Group& group) {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  // This decodes all of them, where listing would crash in libhdf5 1.10.8 at one that cannot be.
  check_hdf5(H5Lexists(group.id(), "no link has this name", H5P_DEFAULT), "looking at a group");
  check_hdf5(H5Literate(group.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names), "listing a group");
  return names;
}

// A group that holds itself would be read over and over: `seen` are the addresses of those that were read.
void read_group(const Hdf5File& file, const std::string& path, int depth, std::set<haddr_t>& seen,
                std::vector<ArrayInfo>& arrays) {
  constexpr int deepest = 8;
  if (depth > deepest) throw Hdf5Error("groups within groups without an end");
  const Hdf5Group group(check_hdf5(H5Gopen2(file.id(), path.c_str(), H5P_DEFAULT), "opening group " + path));
  for (const std::string& name : link_names(group)) {
    const std::string full = (path == "/" ? "" : path) + "/" + name;
    H5O_info_t info{};
    check_hdf5(H5Oget_info_by_name2(file.id(), full.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT), "looking at " + full);
    if (info.type == H5O_TYPE_GROUP) {
      if (!seen.insert(info.addr).second) throw Hdf5Error(full + " is a group that has another name, too");
      read_group(file, full, depth + 1, seen, arrays);
      continue;
    }
    const Hdf5Dataset dataset(check_hdf5(H5Dopen2(file.id(), full.c_str(), H5P_DEFAULT), "opening " + full));
    ensure_checksums(dataset);
    arrays.push_back({full, shape_of(dataset), type_of(dataset), read_attributes(dataset.id())});
  }
}

// Memory is allotted by the shapes. Arrays are stored as they are; where a tool has compressed them since, it cannot
// have done more than this.
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

const Attribute* find(const std::vector<Attribute>& attributes, std::string_view name) {
  const auto found =
      std::find_if(attributes.begin(), attributes.end(), [&](const Attribute& a) { return a.name == name; });
  return found == attributes.end() ? nullptr : &*found;
}

template <typename T>
const T* value(const std::vector<Attribute>& attributes, std::string_view name) {
  const Attribute* attribute = find(attributes, name);
  return attribute ? std::get_if<T>(&attribute->value) : nullptr;
}

void ensure_format(const std::filesystem::path& path, const std::vector<Attribute>& attributes,
                   const std::vector<FileFormat>& allowed) {
  const auto* name = value<std::string>(attributes, "format");
  const auto* version = value<std::int64_t>(attributes, "format_version");
  const auto format =
      std::find_if(allowed.begin(), allowed.end(), [&](const FileFormat& f) { return name && f.name == *name; });
  if (format == allowed.end())
    throw_input_error("{}: an HDF5 file, but not a {} (attribute `format` is {}); {}", path.string(),
                      allowed.front().name, name ? "\"" + *name + "\"" : "missing", cure);
  if (!version || *version != format->version)
    throw_input_error(
        "{}: format_version = {}; this program reads version {}; use the version of Penstock that wrote it",
        path.string(), version ? std::to_string(*version) : "missing", format->version);
}

}  // namespace

std::vector<Attribute> format_attributes(const FileFormat& format) {
  return {{"format", std::string(format.name)}, {"format_version", format.version}};
}

ArrayReader::ArrayReader(const std::filesystem::path& path, const std::vector<FileFormat>& allowed) try : path_(path) {
  file_ = open_to_read(path_);
  std::vector<Attribute> attributes = read_attributes(file_.id());
  ensure_format(path_, attributes, allowed);
  const auto* complete = value<std::int64_t>(attributes, complete_name);
  if (!complete || *complete != 1)
    throw_input_error("{}: not complete: its writing was interrupted (attribute `complete` is {}); {}", path_.string(),
                      complete ? std::to_string(*complete) : "missing", cure);
  const auto* digest = value<std::string>(attributes, digest_name);
  const std::string stated = digest ? *digest : "missing";
  std::erase_if(attributes, [](const Attribute& a) { return a.name == digest_name || a.name == complete_name; });
  contents_.attributes = std::move(attributes);
  std::set<haddr_t> groups;
  read_group(file_, "/", 0, groups, contents_.arrays);
  if (const std::string found = digest_of(contents_); found != stated)
    throw_damaged(path_,
                  fmt::format("its attributes, names and shapes have the digest {}, it states {}", found, stated));
  file_bytes_ = std::filesystem::file_size(path_);
  ensure_shapes(contents_.arrays, file_bytes_);
} catch (const Hdf5Error& error) {
  throw_damaged(path, error.what());
}

const Hdf5Dataset& ArrayReader::opened(const std::string& array) {
  if (current_ == array) return dataset_;
  constexpr std::size_t slots = 521, bytes = std::size_t{16} << 20;
  const Hdf5Properties access = make_properties(H5P_DATASET_ACCESS);
  check_hdf5(H5Pset_chunk_cache(access.id(), slots, bytes, 1.0), "choosing the cache of chunks");
  dataset_ = Hdf5Dataset(check_hdf5(H5Dopen2(file_.id(), array.c_str(), access.id()), "opening " + array));
  current_ = array;
  return dataset_;
}

void ArrayReader::read(const ArrayInfo& array, const Box& box, void* values) try {
  const Hdf5Dataset& dataset = opened(array.path);
  const Hdf5Space in_file = make_space(array.shape), in_memory = make_space(box.extent);
  select_box(in_file, box.offset.data(), box.extent);
  hid_t transfer = H5P_DEFAULT;  // with which HDF5 checks what it reads
  if (planted(Fault::unchecked_checksum)) H5Pset_edc_check(transfer = H5Pcreate(H5P_DATASET_XFER), H5Z_DISABLE_EDC);
  check_hdf5(H5Dread(dataset.id(), memory_type(array.type), in_memory.id(), in_file.id(), transfer, values),
             fmt::format("reading {} elements of {}", box.elements(), array.path));
} catch (const Hdf5Error& error) {
  throw_damaged(path_, error.what());
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
      values.resize(static_cast<std::size_t>(block.elements()) * bytes_of(array.type));
      reader.read(array, block, values.data());
      progress.advance(values.size());
    }
}

}  // namespace penstock
