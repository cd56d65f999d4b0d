// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/array_writer.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "checkpoint/file_contents.hpp"
#include "checkpoint/fletcher32.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

namespace {

// The chunks of whole rows, in the order of their elements.
class ChunkWalk {
 public:
  ChunkWalk(const Shape& array, const Shape& chunk, const Rows& rows) : array_(array), chunk_(chunk), end_(rows.end) {
    offset_[0] = static_cast<hsize_t>(rows.begin);
  }

  bool done() const { return at(0) >= end_; }
  const hsize_t* offset() const { return offset_.data(); }
  /// The part of the chunk inside the array.
  std::int64_t elements() const {
    std::int64_t count = 1;
    for (int d = 0; d < array_.dimensions(); ++d) count *= std::min(chunk_[d], array_[d] - at(d));
    return count;
  }
  void advance() {
    for (int d = array_.dimensions() - 1; d >= 0; --d) {
      offset_[static_cast<std::size_t>(d)] += static_cast<hsize_t>(chunk_[d]);
      if (d == 0 || at(d) < array_[d]) return;
      offset_[static_cast<std::size_t>(d)] = 0;
    }
  }

 private:
  std::int64_t at(int d) const { return static_cast<std::int64_t>(offset_[static_cast<std::size_t>(d)]); }

  Shape array_, chunk_;
  std::int64_t end_;
  std::array<hsize_t, Shape::most_dimensions> offset_{};
};

// The format of HDF5 1.10: since then all structures of a file have checksums.
Hdf5Properties file_format() {
  Hdf5Properties access = make_properties(H5P_FILE_ACCESS);
  check_hdf5(H5Pset_libver_bounds(access.id(), H5F_LIBVER_V110, H5F_LIBVER_V110), "choosing the file format");
  check_hdf5(H5Pset_cache(access.id(), 0, 0, 0, 0), "asking for no cache");  // so that a failure shows in the write
  return access;
}

Hdf5Properties file_access() {
  Hdf5Properties access = file_format();
  check_hdf5(H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG), "choosing how files close");
#if H5_VERSION_GE(1, 10, 7)
  check_hdf5(H5Pset_file_locking(access.id(), false, true),
             "turning file locks off");  // they fail on Lustre without flock
#endif
  return access;
}

// The property list for creating arrays. One for the whole file: making and copying such lists took a third of an
// array's creation.
class ArrayProperties {
 public:
  ArrayProperties() : links_(make_properties(H5P_LINK_CREATE)), creation_(make_properties(H5P_DATASET_CREATE)) {
    check_hdf5(H5Pset_char_encoding(links_.id(), H5T_CSET_UTF8), "asking for UTF-8 names");
    check_hdf5(H5Pset_fill_time(creation_.id(), H5D_FILL_TIME_NEVER),
               "asking for no fill values");  // every chunk is written
    check_hdf5(H5Pset_fletcher32(creation_.id()), "asking for checksums");
  }

  hid_t links() const { return links_.id(); }
  hid_t creation(const Shape& chunk) {
    std::array<hsize_t, Shape::most_dimensions> extents{};
    for (int d = 0; d < chunk.dimensions(); ++d) extents[static_cast<std::size_t>(d)] = static_cast<hsize_t>(chunk[d]);
    check_hdf5(H5Pset_chunk(creation_.id(), chunk.dimensions(), extents.data()), "setting chunks of " + chunk.text());
    return creation_.id();
  }

 private:
  Hdf5Properties links_, creation_;
};

// HDF5 would move more than 8 attributes of an object into a heap, with the same dangers as for links (see
// create_group).
void keep_attributes_in_header(const Hdf5Properties& creation) {
  constexpr unsigned most = 65535;
  check_hdf5(H5Pset_attr_phase_change(creation.id(), most, 0), "asking for attributes in the header");
}

// Links stay in the group's header, however many: HDF5 1.10 keeps more than 8 in a heap, and listing a heap with a
// flipped bit crashes it. The header is made in one piece: growing it piece by piece takes time proportional to the
// cube of the number of links.
void create_group(const Hdf5File& file, const std::string& group, const std::vector<ArraySpec>& arrays) {
  constexpr unsigned most = 65535;
  std::size_t links = 0, longest = 1;
  for (const ArraySpec& array : arrays) {
    if (!array.path.starts_with(group + "/")) continue;
    ++links;
    longest = std::max(longest, array.path.size() - group.size() - 1);
  }
  const auto limited = [](std::size_t number) { return static_cast<unsigned>(std::min<std::size_t>(number, most)); };
  const Hdf5Properties creation = make_properties(H5P_GROUP_CREATE);
  check_hdf5(H5Pset_link_phase_change(creation.id(), most, 0), "asking for links in the header");
  check_hdf5(H5Pset_est_link_info(creation.id(), limited(links), limited(longest)), "asking for room for links");
  const Hdf5Group made(check_hdf5(H5Gcreate2(file.id(), group.c_str(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
                                  "creating group " + group));
}

void create_groups(const Hdf5File& file, const std::vector<ArraySpec>& arrays) {
  std::set<std::string> groups;  // sorted: outer before inner
  for (const ArraySpec& array : arrays)
    for (std::size_t end = array.path.find('/', 1); end != std::string::npos; end = array.path.find('/', end + 1))
      groups.insert(array.path.substr(0, end));
  for (const std::string& group : groups) create_group(file, group, arrays);
}

Hdf5Dataset create_array(const Hdf5File& file, const ArraySpec& array, ArrayProperties& properties) {
  const Hdf5Space space = make_space(array.shape);
  const hid_t creation = properties.creation(chunk_shape(array.shape, array.type));
  Hdf5Dataset dataset(check_hdf5(H5Dcreate2(file.id(), array.path.c_str(), file_type(array.type), space.id(),
                                            properties.links(), creation, H5P_DEFAULT),
                                 "creating " + array.path));
  for (const Attribute& attribute : attributes_of(array)) write_attribute(dataset.id(), attribute);
  return dataset;
}

// Chunks with their checksums, and HDF5's own data about them: generous, because the rest is returned.
std::uint64_t bytes_wanted(const std::vector<Attribute>& attributes, const std::vector<ArraySpec>& arrays) {
  constexpr std::uint64_t for_the_file = std::uint64_t{64} << 10, for_an_array = std::uint64_t{4} << 10;
  std::uint64_t bytes = for_the_file;
  for (const Attribute& attribute : attributes)
    if (const auto* text = std::get_if<std::string>(&attribute.value)) bytes += 2 * text->size();
  for (const ArraySpec& array : arrays) {
    const std::uint64_t stored = stored_bytes(array);
    bytes += for_an_array + stored + stored / 1024;
  }
  return bytes;
}

}  // namespace

ArrayWriter::~ArrayWriter() {
  if (file_.open() && !shared_ && !image_) divert_to_memory();
}

// Closing flushes HDF5's remaining data, which cannot succeed on a full disk, and an id that does not close crashes
// later in MPI_Finalize. The failed file will be removed anyway, so its descriptor is redirected to memory.
void ArrayWriter::divert_to_memory() noexcept {
  void* handle = nullptr;
  if (H5Fget_vfd_handle(file_.id(), H5P_DEFAULT, &handle) < 0 || handle == nullptr) return;
  const int memory = memfd_create("penstock-failed-file", MFD_CLOEXEC);
  if (memory < 0) return;
  dup2(memory, *static_cast<int*>(handle));
  ::close(memory);
}

void ArrayWriter::create(const std::vector<Attribute>& attributes, const std::vector<ArraySpec>& arrays) {
  start_hdf5();
  const Hdf5Properties access = file_access();
  make(access, attributes, arrays);
  wanted_bytes_ = bytes_wanted(attributes, arrays);
  reserve_space(path_, wanted_bytes_);
}

void ArrayWriter::create_in_memory(const std::vector<Attribute>& attributes, const std::vector<ArraySpec>& arrays) {
  start_hdf5();
  make_empty(path_);
  const Hdf5Properties access = file_access();
  image_.emplace().hold(access, bytes_wanted(attributes, arrays));
  make(access, attributes, arrays);
}

void ArrayWriter::make(const Hdf5Properties& access, const std::vector<Attribute>& attributes,
                       const std::vector<ArraySpec>& arrays) {
  const Hdf5Properties creation = make_properties(H5P_FILE_CREATE);
  keep_attributes_in_header(creation);
  file_ = Hdf5File(
      check_hdf5(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()), "creating " + path_.string()));
  const FileContents contents = contents_of(attributes, arrays);
  for (const Attribute& attribute : contents.attributes) write_attribute(file_.id(), attribute);
  write_attribute(file_.id(), {std::string(digest_name), digest_of(contents)});
  write_attribute(file_.id(), {std::string(complete_name), std::int64_t{0}});
  create_groups(file_, arrays);
  ArrayProperties properties;
  for (const ArraySpec& array : arrays) arrays_[array.path] = create_array(file_, array, properties);
}

void ArrayWriter::hand_over() {
  flush_and_close();
  reserve_space(path_, wanted_bytes_);  // once more: closing has truncated the file at its end
}

#ifdef H5_HAVE_PARALLEL

void ArrayWriter::open_shared(MPI_Comm writers, MPI_Info hints) {
  start_hdf5();
  shared_ = true;
  const Hdf5Properties access = file_format();
  check_hdf5(H5Pset_fapl_mpio(access.id(), writers, hints), "choosing MPI-IO");
  check_hdf5(H5Pset_coll_metadata_write(access.id(), true), "asking for collective metadata");
  check_hdf5(H5Pset_all_coll_metadata_ops(access.id(), true), "asking for collective metadata");
  file_ = Hdf5File(check_hdf5(H5Fopen(path_.c_str(), H5F_ACC_RDWR, access.id()), "opening together " + path_.string()));
}

void ArrayWriter::ask_for_collective_writes(const Hdf5Properties& transfer) {
  check_hdf5(H5Pset_dxpl_mpio(transfer.id(), H5FD_MPIO_COLLECTIVE), "asking for a collective write");
}

#else

// `choose_writers` has refused several of them.
void ArrayWriter::open_shared(MPI_Comm, MPI_Info) { throw LogicError("several writers without parallel HDF5"); }
void ArrayWriter::ask_for_collective_writes(const Hdf5Properties&) {}

#endif

void ArrayWriter::write(const ArraySpec& array, const Rows& rows, const std::byte* values) {
  if (shared_)
    write_shared(array, rows, values);
  else if (!rows.empty())
    write_chunks(arrays_.at(array.path), array, rows, values);
}

// A chunk is dense in the rows: it has whole inner dimensions, and one index of the outer ones.
void ArrayWriter::write_chunks(const Hdf5Dataset& dataset, const ArraySpec& array, const Rows& rows,
                               const std::byte* values) {
  const Shape chunk = chunk_shape(array.shape, array.type);
  const auto chunk_bytes = static_cast<std::size_t>(chunk.elements()) * bytes_of(array.type);
  chunk_.resize(chunk_bytes + sizeof(std::uint32_t));
  for (ChunkWalk walk(array.shape, chunk, rows); !walk.done(); walk.advance()) {
    const std::size_t bytes = static_cast<std::size_t>(walk.elements()) * bytes_of(array.type);
    std::memcpy(chunk_.data(), values, bytes);
    std::fill(chunk_.begin() + static_cast<std::ptrdiff_t>(bytes), chunk_.end(), std::byte{0});  // beyond the array
    const std::uint32_t checksum = fletcher32({chunk_.data(), chunk_bytes});
    std::memcpy(chunk_.data() + chunk_bytes, &checksum, sizeof checksum);
    check_hdf5(H5Dwrite_chunk(dataset.id(), H5P_DEFAULT, 0, walk.offset(), chunk_.size(), chunk_.data()),
               fmt::format("writing rows {} to {} of {}", rows.begin, rows.end, array.path));
    begin_writing_back(chunk_.size());
    values += bytes;
  }
}

// So the device works while the next chunks are copied, and the sync at the end has little left to wait for. Only a
// hint: errors show in that sync.
void ArrayWriter::begin_writing_back(std::size_t more_bytes) {
  constexpr std::size_t at_once = std::size_t{32} << 20;
  in_memory_bytes_ += more_bytes;
  if (in_memory_bytes_ < at_once || image_) return;
  in_memory_bytes_ = 0;
  void* handle = nullptr;
  if (H5Fget_vfd_handle(file_.id(), H5P_DEFAULT, &handle) < 0 || handle == nullptr) return;
  sync_file_range(*static_cast<int*>(handle), 0, 0, SYNC_FILE_RANGE_WRITE);
}

// An empty box still takes part: it selects nothing.
void ArrayWriter::write_shared(const ArraySpec& array, const Rows& rows, const std::byte* values) {
  Hdf5Dataset dataset(check_hdf5(H5Dopen2(file_.id(), array.path.c_str(), H5P_DEFAULT), "opening " + array.path));
  const Hdf5Properties transfer = make_properties(H5P_DATASET_XFER);
  ask_for_collective_writes(transfer);
  const Box part = part_in_rows({{}, array.shape, 0}, rows.empty() ? Rows{0, 1, 0} : rows);
  const Hdf5Space in_file = make_space(array.shape), in_memory = make_space(part.extent);
  select_box(in_file, part.offset.data(), part.extent);
  if (rows.empty()) {
    check_hdf5(H5Sselect_none(in_file.id()), "selecting nothing");
    check_hdf5(H5Sselect_none(in_memory.id()), "selecting nothing");
  }
  check_hdf5(H5Dwrite(dataset.id(), memory_type(array.type), in_memory.id(), in_file.id(), transfer.id(), values),
             fmt::format("writing rows {} to {} of {}", rows.begin, rows.end, array.path));
  dataset.close("closing " + array.path);
}

void ArrayWriter::flush_and_close() {
  for (auto& [path, dataset] : arrays_) dataset.close("closing " + path);
  arrays_.clear();
  check_hdf5(H5Fflush(file_.id(), H5F_SCOPE_LOCAL), "flushing " + path_.string());
  if (image_) image_->measure(file_);
  file_.close("closing " + path_.string());
}

void ArrayWriter::close_shared() {
  if (!file_.open()) return;
  flush_and_close();
  sync(path_);  // each writer's own bytes: over a network every node has its own cache
}

std::uint64_t ArrayWriter::complete() {
  if (!file_.open()) {
    const Hdf5Properties access = file_access();
    file_ = Hdf5File(check_hdf5(H5Fopen(path_.c_str(), H5F_ACC_RDWR, access.id()), "opening " + path_.string()));
  }
  rewrite_attribute(file_.id(), std::string(complete_name), 1);
  flush_and_close();
  if (image_) {
    fill_file(path_, image_->bytes());
  } else {
    give_back_space(path_);
    sync(path_);
  }
  std::error_code error;
  const std::uint64_t bytes = std::filesystem::file_size(path_, error);
  if (error) throw SystemError(fmt::format("{}: cannot be looked at: {}", path_.string(), error.message()));
  return bytes;
}

}  // namespace penstock
