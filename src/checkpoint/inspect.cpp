// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/inspect.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/user_path.hpp"
#include "storage/owner.hpp"

namespace penstock {

namespace {

const std::vector<FileFormat> any_format{checkpoint_format, capture_format};

std::filesystem::path folder_of_checkpoints(const std::filesystem::path& folder) {
  constexpr std::string_view advice = "name the folder of a run, or its checkpoints folder";
  std::error_code error;
  const auto status = std::filesystem::status(folder, error);
  if (error == std::errc::permission_denied)
    throw_input_error("{}: cannot be looked at: {}: {}", folder.string(), error.message(),
                      cure_of_no_permission(folder, "rx"));
  if (!std::filesystem::is_directory(error ? status_of_path(folder, advice) : status))
    throw_input_error("{}: is not a folder; {}", folder.string(), advice);
  const std::filesystem::path inside = folder / "checkpoints";
  return std::filesystem::is_directory(inside, error) ? inside : folder;
}

// 0 if it is no file, or cannot be seen.
std::uint64_t bytes_of_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return 0;
  const std::uint64_t bytes = std::filesystem::file_size(path, error);
  return error ? 0 : bytes;
}

std::string text_of_bytes(std::uint64_t bytes) {
  const auto b = static_cast<double>(bytes);
  if (b >= 1e9) return fmt::format("{:.2f} GB", b / 1e9);
  if (b >= 1e6) return fmt::format("{:.2f} MB", b / 1e6);
  return fmt::format("{:.1f} kB", b / 1e3);
}

nlohmann::ordered_json json_of(const std::vector<Attribute>& attributes) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const Attribute& attribute : attributes)
    std::visit([&](const auto& value) { json[attribute.name] = value; }, attribute.value);
  return json;
}

nlohmann::ordered_json json_of(const Shape& shape) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (int d = 0; d < shape.dimensions(); ++d) json.push_back(shape[d]);
  return json;
}

std::string text_of(const Attribute& attribute) {
  if (const auto* text = std::get_if<std::string>(&attribute.value)) return *text;
  if (const auto* real = std::get_if<double>(&attribute.value)) return fmt::format("{}", *real);
  return std::to_string(std::get<std::int64_t>(attribute.value));
}

}  // namespace

std::vector<ListedCheckpoint> list_checkpoints(IoThread& io, const std::filesystem::path& folder,
                                               double quiet_seconds) {
  std::vector<ListedCheckpoint> list;
  for (const CheckpointFile& file : checkpoint_files(folder_of_checkpoints(folder))) {
    ListedCheckpoint listed{.file = file};
    listed.bytes = bytes_of_file(file.path);
    try {
      listed.meta =
          run_reading(
              io, file.path, wait_by_sleeping(),
              [path = file.path](Progress&) { return info_of(ArrayReader(path, {checkpoint_format})); }, quiet_seconds)
              .meta;
    } catch (const CannotOpen& problem) {
      listed.problem = problem.what();
      listed.opened = false;
    } catch (const InputError& problem) {
      listed.problem = problem.what();
      if (io.abandoned()) throw;
    }
    list.push_back(std::move(listed));
  }
  return list;
}

std::string text_of(const std::vector<ListedCheckpoint>& list) {
  if (list.empty()) return "no checkpoints\n";
  std::string text = fmt::format("{:>10} {:>12} {:>10}  file\n", "step", "samples", "size");
  for (const ListedCheckpoint& listed : list) {
    const bool whole = listed.problem.empty();
    const char* judgement = listed.opened ? "NOT WHOLE" : "CANNOT BE OPENED";
    text +=
        fmt::format("{:>10} {:>12} {:>10}  {}{}\n", listed.file.step, whole ? std::to_string(listed.meta.samples) : "-",
                    listed.bytes > 0 ? text_of_bytes(listed.bytes) : "-", listed.file.path.string(),
                    whole ? "" : fmt::format("\n           {}: {}", judgement, listed.problem));
  }
  return text;
}

std::string what_cannot_be_opened(const std::vector<ListedCheckpoint>& list) {
  const auto found = std::find_if(list.begin(), list.end(), [](const ListedCheckpoint& l) { return !l.opened; });
  return found == list.end() ? "" : found->problem;
}

nlohmann::ordered_json json_of(const std::vector<ListedCheckpoint>& list) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const ListedCheckpoint& listed : list) {
    nlohmann::ordered_json line{{"file", listed.file.path.string()},
                                {"step", listed.file.step},
                                {"bytes", listed.bytes},
                                {"whole", listed.problem.empty()}};
    if (listed.problem.empty()) {
      line["samples"] = listed.meta.samples;
      line["seed"] = listed.meta.seed;
    } else {
      line["problem"] = listed.problem;
      line["opened"] = listed.opened;
    }
    json.push_back(std::move(line));
  }
  return json;
}

Verification verify_file(IoThread& io, const std::filesystem::path& path, double quiet_seconds) {
  const auto start = Clock::now();
  Verification verification{.path = path};
  try {
    std::tie(verification.arrays, verification.bytes) = run_reading(
        io, path, wait_by_sleeping(),
        [path](Progress& progress) {
          ArrayReader reader(path, any_format);
          verify_share(reader, 0, 1, progress);
          return std::pair<std::uint64_t, std::uint64_t>(reader.contents().arrays.size(), reader.file_bytes());
        },
        quiet_seconds);
    verification.whole = true;
  } catch (const CannotOpen& problem) {
    verification.problem = problem.what();
    verification.opened = false;
  } catch (const InputError& problem) {
    verification.problem = problem.what();
  }
  verification.seconds = seconds_since(start);
  return verification;
}

std::string text_of(const Verification& verification) {
  if (!verification.whole) return verification.problem + "\n";
  return fmt::format("{}: whole: {} arrays, {}, read in {:.2f} s\n", verification.path.string(), verification.arrays,
                     text_of_bytes(verification.bytes), verification.seconds);
}

nlohmann::ordered_json json_of(const Verification& verification) {
  nlohmann::ordered_json json{{"file", verification.path.string()}, {"whole", verification.whole}};
  if (!verification.whole) {
    json["problem"] = verification.problem;
    json["opened"] = verification.opened;
  }
  json["arrays"] = verification.arrays;
  json["bytes"] = verification.bytes;
  json["seconds"] = verification.seconds;
  return json;
}

Shown show_file(IoThread& io, const std::filesystem::path& path, double quiet_seconds) {
  return run_reading(
      io, path, wait_by_sleeping(),
      [path](Progress&) {
        const ArrayReader reader(path, any_format);
        return Shown{path, reader.file_bytes(), reader.contents()};
      },
      quiet_seconds);
}

std::string text_of(const Shown& shown) {
  std::string text = fmt::format("{}: {}\n", shown.path.string(), text_of_bytes(shown.bytes));
  for (const Attribute& attribute : shown.contents.attributes)
    if (attribute.name == "products")  // each line is long; --json has them
      text += fmt::format("products = {} bytes\n", text_of(attribute).size());
    else if (attribute.name != "deck")
      text += fmt::format("{} = {}\n", attribute.name, text_of(attribute));
  for (const ArrayInfo& array : shown.contents.arrays) {
    text += fmt::format("{}  {} {}", array.path, name_of(array.type), array.shape.text());
    for (const Attribute& attribute : array.attributes)
      text += fmt::format("  {} = {}", attribute.name, text_of(attribute));
    text += "\n";
  }
  if (const Attribute* deck = shown.contents.attribute("deck")) text += "deck:\n" + text_of(*deck);
  return text;
}

nlohmann::ordered_json json_of(const Shown& shown) {
  nlohmann::ordered_json arrays = nlohmann::ordered_json::array();
  for (const ArrayInfo& array : shown.contents.arrays) {
    nlohmann::ordered_json line{{"name", array.path}, {"type", name_of(array.type)}, {"shape", json_of(array.shape)}};
    if (!array.attributes.empty()) line["attributes"] = json_of(array.attributes);
    arrays.push_back(std::move(line));
  }
  return {{"file", shown.path.string()},
          {"bytes", shown.bytes},
          {"attributes", json_of(shown.contents.attributes)},
          {"datasets", std::move(arrays)}};
}

}  // namespace penstock
