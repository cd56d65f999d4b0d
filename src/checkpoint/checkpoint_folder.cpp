// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint_folder.hpp"

#include <algorithm>
#include <charconv>

#include "storage/durable_file.hpp"
#include "storage/owner.hpp"

namespace penstock {

namespace {

bool opens_as_whole(const std::filesystem::path& path) {
  try {
    const ArrayReader opened(path, {checkpoint_format});
    return true;
  } catch (const InputError&) {  // damaged, or it cannot be opened
    return false;
  }
}

// All ranks use the same list, rank 0's, in case another node sees changes of the folder later.
std::vector<CheckpointFile> agreed_files(World& world, const std::filesystem::path& folder) {
  std::string steps;
  world.together([&] {
    if (world.rank() != 0) return;
    for (const CheckpointFile& file : checkpoint_files(folder)) steps += file.path.filename().string() + "\n";
  });
  steps = world.broadcast(steps);
  std::vector<CheckpointFile> files;
  for (std::size_t begin = 0, end = 0; (end = steps.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string name = steps.substr(begin, end - begin);
    files.push_back({folder / name, *step_of_name(name)});
  }
  return files;
}

}  // namespace

std::optional<std::int64_t> step_of_name(const std::string& name) {
  constexpr std::string_view before = "step-", after = ".h5";
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after))
    return std::nullopt;
  const char* first = name.data() + before.size();
  const char* last = name.data() + name.size() - after.size();
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(first, last, step);
  if (error != std::errc() || end != last || step < 0) return std::nullopt;
  return step;
}

std::vector<CheckpointFile> checkpoint_files(const std::filesystem::path& folder) {
  std::vector<CheckpointFile> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (const auto step = step_of_name(entry->path().filename().string())) files.push_back({entry->path(), *step});
  if (error == std::errc::permission_denied)
    throw CannotOpen(fmt::format("{}: cannot be listed: {}: {}", folder.string(), error.message(),
                                 cure_of_no_permission(folder, "rx")));
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    throw CannotOpen(
        fmt::format("{}: cannot be listed: {}; try again when the cause is gone", folder.string(), error.message()));
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
  return files;
}

std::vector<CheckpointFile> checkpoint_files_in_sight(const std::filesystem::path& folder) noexcept {
  try {
    return checkpoint_files(folder);
  } catch (const std::exception&) {
    return {};
  }
}

Latest find_latest(World& world, IoThread& io, const std::filesystem::path& folder, double quiet_seconds) {
  Latest latest;
  for (const CheckpointFile& file : agreed_files(world, folder)) {
    try {
      verify_checkpoint(world, io, file.path, quiet_seconds);
      latest.file = file;
      return latest;
    } catch (const CollectiveCannotOpen& failure) {
      throw CollectiveCannotOpen(
          {2, fmt::format("{}; --restart latest does not go on from an older checkpoint while this one cannot "
                          "be opened (--restart FILE does)",
                          failure.what())});
    } catch (const CollectiveFailure& failure) {
      if (world.largest(io.abandoned() ? 1 : 0) != 0) throw;
      latest.passed_over.push_back({file, failure.what()});
    }
  }
  return latest;
}

void ensure_later_may_be_moved(const std::filesystem::path& folder, std::int64_t step) {
  for (const CheckpointFile& file : checkpoint_files(folder))
    if (file.step > step && !may_change(file.path))
      throw_input_error(
          "{}: a restart from step {} would move it aside, and only a user who may write it may do that: {}, or go "
          "on in a folder of your own with --run DIR and --restart FILE",
          file.path.string(), step, cure_of_no_permission(file.path, "w"));
}

std::vector<std::filesystem::path> set_aside_later(const std::filesystem::path& folder, std::int64_t step) {
  std::vector<std::filesystem::path> moved;
  for (const CheckpointFile& file : checkpoint_files(folder)) {
    if (file.step <= step) continue;
    const std::filesystem::path aside = folder / ("left-at-" + std::to_string(step));
    std::filesystem::create_directories(aside);
    std::filesystem::path target = aside / file.path.filename();
    for (int copy = 2; std::filesystem::exists(target); ++copy)
      target = aside / (file.path.stem().string() + "-" + std::to_string(copy) + ".h5");
    std::filesystem::rename(file.path, target);
    moved.push_back(target);
  }
  return moved;
}

std::vector<std::filesystem::path> keep_newest(const std::filesystem::path& folder, int keep,
                                               const std::function<void()>& ensure_mine) {
  std::vector<std::filesystem::path> old;
  int whole = 0;
  for (const CheckpointFile& file : checkpoint_files(folder))
    if (keep > 0 && opens_as_whole(file.path) && ++whole > keep && may_change(file.path)) old.push_back(file.path);
  remove_guarded(old, ensure_mine);
  return old;
}

}  // namespace penstock
