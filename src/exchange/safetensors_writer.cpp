// SPDX-License-Identifier: Apache-2.0
#include "exchange/safetensors_writer.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "base/error.hpp"
#include "base/sync_folder.hpp"
#include "base/user_path.hpp"
#include "exchange/transpose.hpp"

namespace penstock {
namespace {

constexpr std::string_view index_name = "model.safetensors.index.json";
constexpr std::string_view name_a_new_folder = "name a folder that is empty or not there yet";
constexpr std::int64_t elements_at_once = std::int64_t{128} << 10;  // what is narrowed is still in the core's cache

/// Next to the file, hidden, with the mark that all of Penstock's temporary files have.
std::filesystem::path temporary(const std::filesystem::path& folder, std::string_view file, std::string_view mark) {
  return folder / fmt::format(".{}.tmp-{}", file, mark);
}

FileDescriptor create_temporary(const std::filesystem::path& path) {
  auto file = FileDescriptor::create(path);
  if (!file) throw SystemError(fmt::format("{}: is there already: two exports have one mark", path.string()));
  return std::move(*file);
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  FileDescriptor file = create_temporary(path);
  file.write(std::as_bytes(std::span(text)));
  file.sync();
  file.close();
}

void give_name(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) throw SystemError(fmt::format("{}: cannot be given its name: {}", to.string(), error.message()));
}

void make_folder(const std::filesystem::path& folder) {
  const auto status = status_of_path(folder, name_a_new_folder);
  if (std::filesystem::exists(status) && !std::filesystem::is_directory(status))
    throw_input_error("{}: is a file, and a model is written as a folder; {}", folder.string(), name_a_new_folder);
  std::error_code error;
  const bool is_new = std::filesystem::create_directories(folder, error);
  if (is_new) sync_folder(folder.parent_path());
  if (error) throw_input_error("{}: cannot be made: {}; {}", folder.string(), error.message(), name_a_new_folder);
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name == "config.json" || name == index_name || (name.starts_with("model") && name.ends_with(".safetensors")))
      throw_input_error("{}: holds a model already (it has {}), which would be mixed with this one; {}",
                        folder.string(), name, name_a_new_folder);
  }
  if (error) throw_input_error("{}: cannot be read: {}; {}", folder.string(), error.message(), name_a_new_folder);
}

std::uint64_t offset_of(const SafetensorsShard& shard, const StoredTensor& tensor, std::int64_t element,
                        std::int64_t bytes) {
  return shard.header.size() + tensor.begin + static_cast<std::uint64_t>(element * bytes);
}

void check_part(const StoredTensor& tensor, const MatrixPart& part) {
  ensure(tensor.shape.size() <= 2 && part.first_row >= 0 && part.first_column >= 0 && part.rows >= 0 &&
             part.columns >= 0 && part.first_row + part.rows <= tensor.rows() &&
             part.first_column + part.columns <= tensor.columns(),
         "SafetensorsWriter: a part of the tensor");
}

}  // namespace

void prepare_safetensors(const std::filesystem::path& folder, const SafetensorsPlan& plan, std::string_view mark) {
  make_folder(folder);
  for (const SafetensorsShard& shard : plan.shards()) {
    FileDescriptor file = create_temporary(temporary(folder, shard.file, mark));
    file.write(std::as_bytes(std::span(shard.header)));
    file.resize(shard.bytes);
    file.close();
  }
}

SafetensorsWriter::SafetensorsWriter(std::filesystem::path folder, const SafetensorsPlan& plan, std::string_view mark)
    : folder_(std::move(folder)), plan_(&plan), mark_(mark), files_(plan.shards().size()) {}

FileDescriptor& SafetensorsWriter::file(std::size_t shard) {
  if (!files_[shard])
    files_[shard] = FileDescriptor::open_to_write(temporary(folder_, plan_->shards()[shard].file, mark_));
  return *files_[shard];
}

void SafetensorsWriter::write_bytes(FileDescriptor& file, std::uint64_t offset, std::span<const std::byte> bytes) {
  constexpr std::uint64_t at_once = std::uint64_t{32} << 20;
  file.write_at(offset, bytes);
  not_asked_for_ += bytes.size();
  if (not_asked_for_ < at_once) return;
  file.begin_writing_back();
  not_asked_for_ = 0;
}

void SafetensorsWriter::write_run(FileDescriptor& file, std::uint64_t offset, const float* values, std::int64_t count) {
  if (plan_->type() == DType::float32)
    return write_bytes(file, offset, std::as_bytes(std::span(values, static_cast<std::size_t>(count))));
  const auto element = static_cast<std::int64_t>(bytes_of(plan_->type()));
  stored_.resize(std::max(stored_.size(), static_cast<std::size_t>(std::min(count, elements_at_once) * element)));
  for (std::int64_t done = 0; done < count; done += elements_at_once) {
    const std::int64_t now = std::min(elements_at_once, count - done);
    narrow(plan_->type(), values + done, stored_.data(), now);
    write_bytes(file, offset + static_cast<std::uint64_t>(done * element),
                std::span(stored_.data(), static_cast<std::size_t>(now * element)));
  }
}

void SafetensorsWriter::write(std::string_view name, const MatrixPart& part, const float* values, std::int64_t stride) {
  const auto [shard, tensor] = plan_->find(name);
  check_part(*tensor, part);
  if (part.rows == 0 || part.columns == 0) return;
  const auto element = static_cast<std::int64_t>(bytes_of(plan_->type()));
  const std::int64_t width = tensor->columns(), first = part.first_row * width + part.first_column;
  const bool one_run = part.columns == width && stride == width;
  for (std::int64_t r = 0; r < (one_run ? 1 : part.rows); ++r)
    write_run(file(shard), offset_of(plan_->shards()[shard], *tensor, first + r * width, element), values + r * stride,
              one_run ? part.rows * width : part.columns);
}

void SafetensorsWriter::write_transposed(std::string_view name, const MatrixPart& part, const float* values,
                                         std::int64_t stride) {
  const auto [shard, tensor] = plan_->find(name);
  check_part(*tensor, part);
  for_each_tile(part, [&](const MatrixPart& tile, float* memory, std::int64_t tile_stride) {
    // Whole rows follow each other in the file: they are written in one piece.
    const std::int64_t dense = tile.columns == tensor->columns() ? tile.columns : tile_stride;
    transpose(values + (tile.first_column - part.first_column) * stride + (tile.first_row - part.first_row), stride,
              tile.columns, tile.rows, memory, dense);
    write(name, tile, memory, dense);
  });
}

void SafetensorsWriter::finish() {
  for (std::optional<FileDescriptor>& file : files_) {
    if (!file) continue;
    file->sync();
    file->close();
    file.reset();
  }
}

void publish_safetensors(const std::filesystem::path& folder, const SafetensorsPlan& plan, std::string_view mark,
                         const std::vector<std::pair<std::string, std::string>>& more_files) {
  for (const auto& [name, text] : more_files) write_text(temporary(folder, name, mark), text);
  const std::string index = plan.index_text();
  if (!index.empty()) write_text(temporary(folder, index_name, mark), index);
  for (const auto& [name, text] : more_files) give_name(temporary(folder, name, mark), folder / name);
  for (const SafetensorsShard& shard : plan.shards())
    give_name(temporary(folder, shard.file, mark), folder / shard.file);
  sync_folder(folder);
  if (index.empty()) return;
  give_name(temporary(folder, index_name, mark), folder / index_name);
  sync_folder(folder);
}

void discard_safetensors(const std::filesystem::path& folder, std::string_view mark) noexcept try {
  std::error_code ignored;
  const std::string end = fmt::format(".tmp-{}", mark);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (entry.path().filename().string().ends_with(end)) files.push_back(entry.path());
  for (const std::filesystem::path& file : files) std::filesystem::remove(file, ignored);
} catch (...) {  // memory for a name: the files stay
}

}  // namespace penstock
