// SPDX-License-Identifier: Apache-2.0
#include "exchange/model_directory.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <span>

#include "base/error.hpp"
#include "base/json_object.hpp"
#include "base/user_path.hpp"
#include "config/mistakes.hpp"

namespace penstock {
namespace {

constexpr std::string_view one_file = "model.safetensors", index_file = "model.safetensors.index.json";
constexpr std::string_view cure_of_a_directory =
    "name a directory with config.json and model.safetensors (or shards and model.safetensors.index.json), as "
    "save_pretrained of transformers writes it";
constexpr std::string_view download_again = "download or copy the directory again";
constexpr std::size_t most_mistakes_of_an_index = 20;

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// Shards by name, each with the tensors that the index places in it.
using WeightMap = std::map<std::string, std::vector<std::string>>;

WeightMap read_index(const std::filesystem::path& path) {
  const nlohmann::json index = parse_json_object(read_small_file(path, download_again), path.string(), download_again);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object())
    throw_input_error("{}: weight_map is {}, and must be an object of tensors and their files; {}", path.string(),
                      map == index.end() ? "missing" : shown(*map), download_again);
  WeightMap weights;
  Mistakes mistakes;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    // A shard must be next to its index: a path that leads elsewhere cannot come from a program that writes shards.
    if (name.empty() || name != std::filesystem::path(name).filename().string() || name.find('\0') != std::string::npos)
      mistakes.add("{}: weight_map places tensor {} in {}, and must name a file of this directory; {}", path.string(),
                   tensor, shown(file), download_again);
    else
      weights[name].push_back(tensor);
    if (mistakes.lines().size() >= most_mistakes_of_an_index) break;
  }
  if (weights.empty() && !mistakes.any()) mistakes.add("{}: weight_map is empty; {}", path.string(), download_again);
  mistakes.throw_if_any();
  return weights;
}

void check_shards_are_there(const std::filesystem::path& folder, const WeightMap& weights) {
  Mistakes mistakes;
  for (const auto& [name, tensors] : weights)
    if (!is_there(folder / name) && mistakes.lines().size() < most_mistakes_of_an_index)
      mistakes.add("{}: does not exist, and {} places {} tensors in it (the first is {}); {}", (folder / name).string(),
                   index_file, tensors.size(), tensors.front(), download_again);
  mistakes.throw_if_any();
}

/// What has weights, and none that are read.
void refuse_other_formats(const std::filesystem::path& folder) {
  constexpr std::array pickles{"pytorch_model.bin", "pytorch_model.bin.index.json"};
  for (const std::string_view name : pickles)
    if (is_there(folder / name))
      throw_input_error(
          "{}: has {} and no {}: files of pickled Python objects are not read, for they can run any program; convert "
          "them with AutoModelForCausalLM.from_pretrained(\"DIR\", torch_dtype=\"auto\").save_pretrained(\"NEW\", "
          "safe_serialization=True) of transformers",
          folder.string(), name, one_file);
  throw_input_error("{}: has neither {} nor {}; {}", folder.string(), one_file, index_file, cure_of_a_directory);
}

}  // namespace

std::string PlacedTensor::text() const { return fmt::format("{}: tensor {}", file->path().string(), tensor->name); }

std::string read_small_file(const std::filesystem::path& path, std::string_view cure) {
  constexpr std::uint64_t most = std::uint64_t{64} << 20;
  // Opening a pipe would wait for its writer: look before.
  if (!reading_problem(path) && !std::filesystem::is_regular_file(path))
    throw_input_error("{}: is not a regular file; {}", path.string(), cure);
  const FileDescriptor file = FileDescriptor::open_to_read(path, cure);
  const std::uint64_t size = file.size_in_bytes();
  if (size > most) throw_input_error("{}: has {} bytes, and at most {} are read; {}", path.string(), size, most, cure);
  std::string text(size, '\0');
  text.resize(file.read_at(0, std::as_writable_bytes(std::span(text))));
  return text;
}

ModelDirectory::ModelDirectory(std::filesystem::path path) : path_(std::move(path)) {
  const auto status = status_of_path(path_, cure_of_a_directory);
  if (!std::filesystem::is_directory(status))
    throw_input_error("{}: {}; {}", path_.string(),
                      std::filesystem::exists(status) ? "is a file, not a directory" : "does not exist",
                      cure_of_a_directory);
  config_text_ = read_small_file(config_path(), cure_of_a_directory);
  WeightMap weights;
  const bool whole = is_there(path_ / one_file);  // transformers prefers it, too
  if (!whole) {
    if (!is_there(path_ / index_file)) refuse_other_formats(path_);
    weights = read_index(path_ / index_file);
    check_shards_are_there(path_, weights);
  }
  if (whole) files_.emplace_back(path_ / one_file);
  for (const auto& [name, tensors] : weights) files_.emplace_back(path_ / name);

  for (const SafetensorsFile& file : files_)
    for (const StoredTensor& tensor : file.tensors()) tensors_.push_back({&file, &tensor});
  std::stable_sort(tensors_.begin(), tensors_.end(),
                   [](const PlacedTensor& a, const PlacedTensor& b) { return a.tensor->name < b.tensor->name; });

  Mistakes mistakes;
  const auto add = [&](std::string line) {
    if (mistakes.lines().size() < most_mistakes_of_an_index) mistakes.add("{}; {}", line, download_again);
  };
  for (std::size_t i = 1; i < tensors_.size(); ++i)
    if (tensors_[i].tensor->name == tensors_[i - 1].tensor->name)
      add(fmt::format("{} is in {}, too", tensors_[i].text(), tensors_[i - 1].file->path().filename().string()));
  std::size_t file_index = 0;
  for (auto& [name, names] : weights) {
    const SafetensorsFile& file = files_[file_index++];
    for (const std::string& tensor : names)
      if (!file.find(tensor))
        add(fmt::format("{}: has no tensor {}, which {} places in it", file.path().string(), tensor, index_file));
    std::sort(names.begin(), names.end());
    for (const StoredTensor& tensor : file.tensors())
      if (!std::binary_search(names.begin(), names.end(), tensor.name))
        add(fmt::format("{}: has tensor {}, which {} does not place in it", file.path().string(), tensor.name,
                        index_file));
  }
  mistakes.throw_if_any();
}

std::optional<PlacedTensor> ModelDirectory::find(std::string_view name) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const PlacedTensor& placed, std::string_view key) { return placed.tensor->name < key; });
  return found != tensors_.end() && found->tensor->name == name ? std::optional(*found) : std::nullopt;
}

std::vector<std::string> ModelDirectory::files_to_carry_along() const {
  constexpr std::array names{
      "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "added_tokens.json",  "special_tokens_map.json",
      "vocab.json",     "merges.txt",      "chat_template.jinja",   "chat_template.json", "generation_config.json",
      "LICENSE",        "NOTICE"};
  std::vector<std::string> files;
  std::error_code ignored;
  for (const char* name : names)
    if (std::filesystem::is_regular_file(path_ / name, ignored)) files.emplace_back(name);
  return files;
}

}  // namespace penstock
